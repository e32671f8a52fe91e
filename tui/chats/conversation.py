"""A conversation without a screen: a tree of turns, of which one path is on show."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from time import time

from modeldeck.backend.chat_messages import ChatMessage, ReplyMode
from modeldeck.backend.text import clean_name
from modeldeck.config.generation import GenerationSettings
from modeldeck.tui.chats.records import (
    Asked,
    Ended,
    Instructed,
    LeftOut,
    Named,
    PutBy,
    Record,
    Resumed,
    Shown,
    Ways,
    kept_settings,
)
from modeldeck.tui.chats.turns import TextFile, Turn, TurnState

TITLE_LENGTH = 60
"""Characters of the first question that stand for a title."""


class Conversation:
    """The turns since the chat was begun; only one can be running.

    What asks the same again, or something else in its place, is another turn with the same parent. Everything that is
    to be kept is told to ``note``, but for the text of a running reply, of which ``Ended`` is the end.
    """

    def __init__(self, id: str = "", created: float | None = None) -> None:  # noqa: A002  # what it is called
        self.id = id
        """The name of its file, without the ending; empty before it has one."""
        self.created = time() if created is None else created
        self.title = ""
        """As it was given; untrusted text, and empty where nobody gave one."""
        self.system_prompt: str | None = None
        """Its own; None leaves that to the settings."""
        self.raw = False
        """Whether questions are completed as plain text, without the chat template."""
        self.thinking: bool | None = None
        """Whether the model shall reason; None leaves that to its template."""
        self.left_out: frozenset[int] = frozenset()
        """The turns that are not sent any more, because the context was full."""
        self.draft = ""
        """What stood in the prompt when it was left, not sent yet."""
        self.leaf: int | None = None
        """The last turn on show."""
        self.note: Callable[[Record], None] = lambda _record: None
        self.by_number: dict[int, Turn] = {}
        self._preferred: dict[int | None, int] = {}

    @property
    def turns(self) -> list[Turn]:
        """The path on show, the first turn first."""
        return self.path_to(self.leaf)

    def path_to(self, number: int | None) -> list[Turn]:
        """The turns from the beginning to this one."""
        path: list[Turn] = []
        while number is not None:
            turn = self.by_number[number]
            path.append(turn)
            number = turn.parent
        return path[::-1]

    def siblings(self, turn: Turn) -> list[Turn]:
        """What was asked or replied in the same place, this turn included, the oldest first."""
        return [other for other in self.by_number.values() if other.parent == turn.parent]

    @property
    def shown_title(self) -> str:
        """What people call it, on one line and safe to draw."""
        first = next(iter(self.by_number.values()), None)
        return clean_name(" ".join((self.title or (first.question if first else "")).split()), TITLE_LENGTH)

    def begin(
        self,
        question: str,
        model_name: str,
        *,
        model_id: str = "",
        settings: GenerationSettings | None = None,
        files: tuple[TextFile, ...] = (),
        images: tuple[str, ...] = (),
    ) -> Turn:
        """Add a turn at the end of the path, whose reply is still to come."""
        turn = Turn(
            question,
            model_name,
            number=max(self.by_number, default=0) + 1,
            parent=self.leaf,
            model_id=model_id,
            settings=settings or GenerationSettings(),
            mode=ReplyMode.RAW if self.raw else ReplyMode.CHAT,
            thinking=self.thinking,
            files=files,
            images=images,
            asked_at=time(),
            without=tuple(turn.number for turn in self.turns if turn.number in self.left_out),
        )
        self.add(turn)
        self.note(asked(turn))
        return turn

    def add(self, turn: Turn) -> None:
        """Put a turn into the tree and on show."""
        self.by_number[turn.number] = turn
        self.draft = ""  # it was sent, or given up for another question
        self.show(turn.number)

    def resume(self, turn: Turn) -> None:
        """The reply goes on, and the path ends with it."""
        turn.resume()
        self.show(turn.number)
        self.note(Resumed(turn.number, turn.without))

    def ended(self, turn: Turn) -> None:
        """The reply of this turn has ended, as the turn says."""
        self.note(Ended(turn.number, turn.state, turn.stats, turn.reason))

    def go_to(self, leaf: int | None) -> None:
        """Let the path end here; what is asked next follows this turn."""
        self.show(leaf)
        self.note(Shown(leaf))

    def step(self, turn: Turn, by: int) -> bool:
        """Show the sibling so many places on, with what followed it when it was seen last; False without one."""
        siblings = self.siblings(turn)
        place = siblings.index(turn) + by
        if not 0 <= place < len(siblings):
            return False
        number = siblings[place].number
        while number in self._preferred:
            number = self._preferred[number]
        self.go_to(number)
        return True

    def go_back(self, turn: Turn) -> bool:
        """Show what followed this turn, at which the path ends, when it was seen last; False where nothing did."""
        number = turn.number
        while number in self._preferred:
            number = self._preferred[number]
        if number == turn.number:
            return False
        self.go_to(number)
        return True

    def leave_out(self, turns: Iterable[Turn]) -> None:
        """Send these turns no more; they stay in the conversation."""
        self.left_out |= {turn.number for turn in turns}
        self.note(LeftOut(tuple(sorted(self.left_out))))

    def put_by(self, draft: str) -> None:
        """Keep what stands in the prompt for the next time."""
        if draft != self.draft:
            self.draft = draft
            self.note(PutBy(draft))

    def rename(self, title: str) -> None:
        """Give it a title; an empty one takes it away."""
        self.title = title
        self.note(Named(title))

    def instruct(self, system_prompt: str | None) -> None:
        """Give it a system prompt of its own, or none."""
        self.system_prompt = system_prompt
        self.note(Instructed(system_prompt))

    def set_ways(self, *, raw: bool, thinking: bool | None) -> None:
        """Say how replies are asked for from now on."""
        self.raw, self.thinking = raw, thinking
        self.note(Ways(raw, thinking))

    def messages(self, turn: Turn | None = None, mode: ReplyMode | None = None) -> tuple[ChatMessage, ...]:
        """What the engine is sent for this turn, the last one on show by default; ``mode`` is its own by default.

        Every turn before it with a reply, then the question, and for CONTINUE what there is of the reply. A turn that
        ended without a single character of reply is left out whole, because many chat templates refuse two questions
        in a row. The system prompt travels in the settings.
        """
        turn = turn if turn is not None else self.by_number[self.leaf] if self.leaf is not None else None
        if turn is None:
            return ()
        if ReplyMode.RAW in {mode or turn.mode, turn.mode}:
            asks = turn.asks()
            goes_on = mode is ReplyMode.CONTINUE
            return (ChatMessage("user", asks.content + turn.reply, asks.images) if goes_on else asks,)
        messages: list[ChatMessage] = []
        for before in self.path_to(turn.parent):
            if before.reply and before.number not in turn.without:
                messages += [before.asks(), ChatMessage("assistant", before.reply)]
        if turn.state is not TurnState.RUNNING and not turn.reply and mode is None:
            return tuple(messages)
        messages.append(turn.asks())
        if mode is ReplyMode.CONTINUE:
            messages.append(ChatMessage("assistant", turn.reply))
        return tuple(messages)

    def last_reply(self) -> str:
        """The newest reply on show that has any text, also one that is still running; empty when there is none."""
        return next((turn.reply for turn in reversed(self.turns) if turn.reply), "")

    @property
    def used_tokens(self) -> int:
        """How many tokens of the context the path took when the model said so last."""
        stats = next((turn.stats for turn in reversed(self.turns) if turn.stats is not None), None)
        return stats.prompt_tokens + stats.new_tokens if stats is not None else 0

    def show(self, leaf: int | None) -> None:
        """Let the path end here, without a note of it."""
        follows = leaf is not None and self.by_number[leaf].parent == self.leaf
        self.leaf = leaf
        if leaf is not None and follows:  # the rest of the path was on show: a long one is not gone through each time
            self._preferred[self.by_number[leaf].parent] = leaf
            return
        for turn in self.turns:
            self._preferred[turn.parent] = turn.number


def asked(turn: Turn) -> Asked:
    """The question as it is kept."""
    return Asked(
        number=turn.number,
        parent=turn.parent,
        question=turn.question,
        model_id=turn.model_id,
        model_name=turn.model_name,
        at=turn.asked_at,
        settings=kept_settings(turn.settings),
        mode=turn.mode,
        thinking=turn.thinking,
        files=turn.files,
        images=turn.images,
        without=turn.without,
    )
