from __future__ import annotations

from msgspec import structs

from modeldeck.backend.chat_messages import ChatMessage, FinishReason
from modeldeck.tui.chats.conversation import Conversation
from modeldeck.tui.chats.figures import ReplyClock
from modeldeck.tui.chats.turns import TurnState
from tests.fakes.in_process import stats


def test_the_engine_gets_every_turn_with_a_reply_and_the_waiting_question() -> None:
    conversation = Conversation()
    first = conversation.begin("one", "A")
    first.add("reply")
    first.finish(stats(2))
    conversation.begin("two", "B")
    assert conversation.messages() == (
        ChatMessage("user", "one"),
        ChatMessage("assistant", "reply"),
        ChatMessage("user", "two"),
    )


def test_a_cancelled_reply_without_text_is_left_out_so_that_questions_and_replies_alternate() -> None:
    conversation = Conversation()
    conversation.begin("nothing came", "A").finish(stats(0, FinishReason.CANCELLED))
    cut = conversation.begin("cut", "A")
    cut.add("half")
    cut.fail("The engine is gone.")
    conversation.begin("next", "A")
    assert [message.content for message in conversation.messages()] == ["cut", "half", "next"]


def test_summary_tells_figures_and_how_it_ended() -> None:
    conversation = Conversation()
    turn = conversation.begin("q", "A")
    assert turn.summary() == ""
    turn.finish(stats(0, FinishReason.CANCELLED))
    assert turn.line_below() == "0 tokens · cancelled (left out of what follows)"
    turn.add("reply")
    assert turn.line_below() == turn.summary()
    turn.finish(stats(142))
    assert turn.summary() == "142 tokens · 61.2 tok/s · first token 0.18 s · stop"
    turn.finish(stats(142, FinishReason.LENGTH))
    assert turn.summary().endswith("length: cut at the token limit")
    turn.finish(structs.replace(stats(142, FinishReason.LENGTH), context_full=True))
    assert turn.summary().endswith("length: the model's context is full")
    turn.finish(stats(0, FinishReason.CANCELLED))
    assert (turn.summary(), turn.state) == ("0 tokens · cancelled", TurnState.CANCELLED)
    turn.fail("The engine died.")
    assert turn.summary() == "failed: The engine died."


def test_last_reply_is_the_newest_with_text() -> None:
    conversation = Conversation()
    assert conversation.last_reply() == ""
    conversation.begin("a", "A").add("first")
    conversation.begin("b", "A")
    assert conversation.last_reply() == "first"


def test_the_clock_counts_from_the_first_token() -> None:
    clock = ReplyClock(started=10.0)
    assert clock.line(10.5) == "waiting for the first token"
    assert clock.line(13.2) == "waiting for the first token · 3.2 s"
    assert clock.saw(1, 14.0) == 0.0
    assert clock.saw(21, 16.0) == 10.0
    assert clock.line(16.0) == "21 tokens · 10.0 tok/s"
