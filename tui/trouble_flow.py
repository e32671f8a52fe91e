"""When the context or the memory is full: what can be done is said, and nothing is done unasked."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING

from modeldeck.backend.errors import BackendError
from modeldeck.tui import format as fmt
from modeldeck.tui.chats.turns import Turn

if TYPE_CHECKING:
    from modeldeck.tui.screens.choice_dialog import Choice
    from modeldeck.tui.widgets.chat_panel import ChatPanel

OUT_OF_MEMORY = "The device ran out of memory for this reply"
"""How the engine's sentence begins."""
CACHES = ("quantized", "offloaded")
"""Ways to keep the conversation in memory that take less of the device."""
_TOO_LONG = ("The conversation is ", "this model's context is ")
KEPT_SHARE = 0.5
"""Of the context that the turns which are still sent may take, when the oldest are left out."""


class Kind(Enum):
    """What is full."""

    CONTEXT = auto()
    MEMORY = auto()


@dataclass(frozen=True, slots=True)
class Trouble:
    """A reply that found no room."""

    kind: Kind
    turn: Turn
    alone: bool = False
    """Whether nothing was sent before this question, so that nothing else can be left out."""


def trouble_of(turn: Turn, error: BackendError | None) -> Trouble | None:
    """What a reply that has ended was short of; None where that was nothing of the kind."""
    if turn.stats is not None and turn.stats.context_full and error is None:
        return Trouble(Kind.CONTEXT, turn)
    said = str(error) if error is not None else ""
    if said.startswith(OUT_OF_MEMORY):
        return Trouble(Kind.MEMORY, turn)
    return Trouble(Kind.CONTEXT, turn) if all(part in said for part in _TOO_LONG) else None


class TroubleFlow:
    """Keeps the last trouble of this conversation until something was done about it."""

    def __init__(self, panel: ChatPanel) -> None:
        self._panel = panel
        self.trouble: Trouble | None = None

    @property
    def line(self) -> str:
        """What is said above the prompt; empty while all is well."""
        match self.trouble:
            case Trouble(kind=Kind.CONTEXT, alone=True, turn=turn) if not turn.reply:
                return "This question alone is longer than the context. ctrl+g: shorten it, or load with more context"
            case Trouble(kind=Kind.CONTEXT, alone=True):
                return "The context is full. ctrl+g: load with more context, or begin a new conversation"
            case Trouble(kind=Kind.CONTEXT):
                return "The context is full. ctrl+g: leave out the oldest turns, or load with more context"
            case Trouble(kind=Kind.MEMORY):
                return "Out of memory; the reply so far is kept. ctrl+g: less context, a smaller cache, 4-bit"
            case _:
                return ""

    def look(self, turn: Turn, error: BackendError | None) -> None:
        """A reply has ended."""
        found = trouble_of(turn, error)
        self.trouble = found and replace(found, alone=not self._before(turn))
        self._panel.lines.refresh()

    def forget(self) -> None:
        """Another conversation, or something was done."""
        self.trouble = None
        self._panel.lines.refresh()

    def choose(self) -> None:
        """Ask what to do."""
        if self.trouble is None:
            self._panel.say("Neither the context nor the memory is full.")
        elif self._panel.replying:
            self._panel.say_busy()
        else:
            self._panel.run_worker(
                self._choose(self.trouble), group="chat.choices", exclusive=True, exit_on_error=False
            )

    async def _choose(self, trouble: Trouble) -> None:
        from modeldeck.tui.screens.choice_dialog import ChoiceDialog  # only trouble needs it

        oldest, tokens = await self._oldest(trouble)
        title = "The context is full" if trouble.kind is Kind.CONTEXT else "Out of memory"
        text = (
            "Nothing is left out or summarised unless you say so."
            if trouble.kind is Kind.CONTEXT
            else ("The reply so far is kept, and the model is still loaded.")
        )

        def answered(what: str | None) -> None:
            if what is not None:
                self._do(what, trouble, oldest)

        choices = _choices(trouble, oldest, tokens)
        possible = [one for one in choices if one.id not in CACHES or self._panel.lines.can_use_cache(one.id)]
        self._panel.app.push_screen(ChoiceDialog(title, text, possible), answered)

    def _before(self, turn: Turn) -> list[Turn]:
        """The turns that are sent with this one."""
        conversation = self._panel.conversation
        path = conversation.path_to(turn.parent)
        return [one for one in path if one.reply and one.number not in conversation.left_out]

    async def _oldest(self, trouble: Trouble) -> tuple[list[Turn], int]:
        """The turns that would be left out, and their tokens (0 where nobody can count)."""
        panel = self._panel
        before = self._before(trouble.turn)
        if not before:
            return [], 0
        texts = [f"{turn.asks().content}\n{turn.reply}" for turn in before]
        try:
            counts = list(await panel.talker.count_tokens(texts, panel.model_id))
        except BackendError:
            half = (len(before) + 1) // 2
            return before[:half], 0
        limit = panel.loaded.context_length if panel.loaded is not None else None
        room = int((limit or sum(counts)) * KEPT_SHARE)
        dropped = 1
        while dropped < len(before) and sum(counts[dropped:]) > room:
            dropped += 1
        return before[:dropped], sum(counts[:dropped])

    def _do(self, what: str, trouble: Trouble, oldest: list[Turn]) -> None:
        panel, model = self._panel, self._panel.loaded
        if what in {"4bit", "context"}:
            more = what == "context" and trouble.kind is Kind.CONTEXT
            panel.post_message(panel.Wanted(panel, "more_context" if more else what))
            return
        if what == "new":
            panel.chats.do("new")
            return
        if what == "edit":
            panel.turn_deeds.edit(trouble.turn)
            return
        if what == "oldest":
            panel.conversation.leave_out(oldest)
            panel.view.mark()
        elif model is not None:
            panel.lines.use_cache(model.model_id, what)
        self.forget()
        if model is None or panel.replying:
            panel.say_busy()
        elif trouble.turn.can_continue:
            if what == "oldest":
                trouble.turn.without = (*trouble.turn.without, *(turn.number for turn in oldest))
            panel.replies.go_on(trouble.turn, model)
        else:
            panel.replies.again(trouble.turn, model)


def _choices(trouble: Trouble, oldest: list[Turn], tokens: int) -> list[Choice]:
    from modeldeck.tui.screens.choice_dialog import Choice

    choices: list[Choice] = []
    if oldest:
        turns = "the oldest turn" if len(oldest) == 1 else f"the {len(oldest)} oldest turns"
        size = f" ({fmt.tokens(tokens)})" if tokens else ""
        choices.append(Choice("oldest", f"Leave out {turns}{size}", "Kept in the conversation, but not sent any more"))
    if trouble.kind is Kind.MEMORY:
        choices += [
            Choice("quantized", "Keep the cache in 4 bits", "For this model, until modeldeck ends"),
            Choice("offloaded", "Keep the cache in RAM", "Slower; for this model, until modeldeck ends"),
            Choice("4bit", "Load the model in 4 bits ...", "The weights then take about a quarter"),
            Choice("context", "Load it with another context limit ...", "A shorter one takes less memory"),
        ]
    else:
        choices.append(Choice("context", "Load it with another context limit ...", "Up to what the model was made for"))
    if trouble.alone and not trouble.turn.reply:
        choices.insert(0, Choice("edit", "Shorten the question ...", "It goes back into the prompt"))
    else:
        choices.append(Choice("new", "Begin a new conversation", "This one is kept"))
    return choices
