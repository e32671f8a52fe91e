"""What can be done with one turn: copy it, ask again, edit, go on, look at its versions."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from modeldeck.backend.text import clean_text
from modeldeck.tui.chats.code_blocks import code_blocks
from modeldeck.tui.chats.turns import Turn

if TYPE_CHECKING:
    from modeldeck.backend.models import LoadedModel
    from modeldeck.tui.widgets.chat_panel import ChatPanel

NO_TURN = "Nothing was said yet."


class TurnFlow:
    """Acts on the turn that was chosen, else on the last one."""

    def __init__(self, panel: ChatPanel) -> None:
        self._panel = panel
        self._copied: tuple[Turn, int] | None = None
        self._deeds: dict[str, Callable[[Turn], None]] = {
            "copy": self._copy,
            "copy_code": self._copy_code,
            "regenerate": self._regenerate,
            "edit": self.edit,
            "continue": self._continue,
            "branch": self._branch,
            "before": lambda turn: self._version(turn, -1),
            "after": lambda turn: self._version(turn, 1),
            "above": lambda turn: self._choose(turn, -1),
            "below": lambda turn: self._choose(turn, 1),
            "fold": self._fold,
            "look": panel.looking.look,
            "compare": lambda turn: self._compare(turn),
        }

    def __contains__(self, deed: str) -> bool:
        return deed in self._deeds

    def do(self, deed: str) -> None:
        """Do it, or say why it cannot be done."""
        turn = self.meant
        if turn is None:
            if deed == "compare":
                self._compare(None)
            else:
                self._panel.say("There is no reply to copy yet." if deed in {"copy", "copy_code"} else NO_TURN)
            return
        self._deeds[deed](turn)

    @property
    def meant(self) -> Turn | None:
        """The turn that a key means."""
        turns = self._panel.conversation.turns
        return self._panel.view.chosen or (turns[-1] if turns else None)

    def _copy(self, turn: Turn) -> None:
        chosen = self._panel.view.chosen
        reply = clean_text(chosen.reply if chosen is not None else self._panel.conversation.last_reply())
        if not reply:
            self._panel.say("There is no reply to copy yet.")
            return
        self._panel.app.copy_to_clipboard(reply)
        self._panel.say("Reply copied, if this terminal allows it.")

    def _copy_code(self, turn: Turn) -> None:
        blocks = code_blocks(turn.reply)
        if not blocks:
            self._panel.say("There is no code block in this reply.")
            return
        before = self._copied
        place = (before[1] + 1) % len(blocks) if before is not None and before[0] is turn else 0
        self._copied = (turn, place)
        self._panel.app.copy_to_clipboard(clean_text(blocks[place]))
        which = f"Code block {place + 1} of {len(blocks)}" if len(blocks) > 1 else "Code block"
        self._panel.say(f"{which} copied, if this terminal allows it.")

    def _regenerate(self, turn: Turn) -> None:
        if (model := self._free_model()) is not None:
            self._panel.replies.again(turn, model)

    def edit(self, turn: Turn) -> None:
        """Its question goes into the prompt, and is asked anew from there."""
        if self._panel.replying:
            self._panel.say_busy()
            return
        self._panel.replies.editing = turn
        self._panel.lines.put_instead(turn.question)
        self._panel.focus_prompt()
        self._panel.lines.refresh()

    def _continue(self, turn: Turn) -> None:
        if (model := self._free_model()) is None:
            return
        if not turn.can_continue:
            why = "It ended by itself, or at a stop string" if turn.reply else "No reply here could go on"
            self._panel.say(f"{why}; R asks again.")
            return
        self._panel.replies.go_on(turn, model)

    def _branch(self, turn: Turn) -> None:
        panel = self._panel
        if panel.replying:
            panel.say_busy()
            return
        followed = panel.conversation.turns[-1] is not turn
        panel.conversation.go_to(turn.number)
        panel.view.choose(None)
        panel.lines.show_turns()
        panel.focus_prompt()
        panel.say(f"What you ask now follows this turn{'; [ shows what followed it' * followed}.")

    def _version(self, turn: Turn, by: int) -> None:
        panel = self._panel
        if panel.replying:
            panel.say_busy()
        elif panel.view.chosen is None and panel.conversation.go_back(turn):
            panel.lines.show_turns()  # what B has hidden
            panel.say("")
        elif len(panel.conversation.siblings(turn)) == 1:
            panel.say("There is only one version of this turn; R makes another.")
        elif not panel.conversation.step(turn, by):
            panel.say("That is the last version." if by > 0 else "That is the first version.")
        else:
            path = panel.conversation.turns
            place = next(i for i, other in enumerate(path) if other.parent == turn.parent)
            panel.lines.show_turns(choose=path[place] if panel.view.chosen is not None else None)

    def _choose(self, turn: Turn, by: int) -> None:
        turns = self._panel.conversation.turns
        place = turns.index(turn) + (by if self._panel.view.chosen is not None or by < 0 else 0)
        if self._panel.view.chosen is None and by < 0:
            place = len(turns) - 1
        past_the_end = place >= len(turns)
        self._panel.view.choose(None if past_the_end else turns[max(0, place)])
        if past_the_end:
            self._panel.view.scroll_end(animate=False)

    def _fold(self, turn: Turn) -> None:
        reply = self._panel.view.reply_of(turn)
        if reply is None or not reply.fold():
            self._panel.say("The model reasoned nothing here that could be shown.")

    def _compare(self, turn: Turn | None) -> None:
        self._panel.post_message(self._panel.Wanted(self._panel, "compare", turn))

    def _free_model(self) -> LoadedModel | None:
        """The model that could reply now; says so where none could."""
        if self._panel.replying:
            self._panel.say_busy()
            return None
        if self._panel.loaded is None:
            self._panel.say_busy()
        return self._panel.loaded
