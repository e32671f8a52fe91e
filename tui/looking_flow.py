"""Looks into a reply: asks the model how likely each of its tokens was."""

from __future__ import annotations

from typing import TYPE_CHECKING

from modeldeck.backend.chat_messages import ReplyMode
from modeldeck.backend.errors import BackendError
from modeldeck.backend.protocol import Generate
from modeldeck.backend.text import clean_name
from modeldeck.tui.chats.turns import Turn, TurnState

if TYPE_CHECKING:
    from modeldeck.tui.widgets.chat_panel import ChatPanel

LOOKING = "Reading the reply once more to see how likely each token was ..."


class LookingFlow:
    """One look at a time."""

    def __init__(self, panel: ChatPanel) -> None:
        self._panel = panel

    def look(self, turn: Turn) -> None:
        """Show the tokens of this reply, when the model has read it again."""
        panel = self._panel
        if turn.state is TurnState.RUNNING:
            panel.say_busy()
        elif turn.stats is None or not turn.stats.token_ids:
            panel.say("The tokens of this reply were not kept, so it cannot be looked into.")
        else:
            panel.say(LOOKING)
            panel.run_worker(
                self._look(turn, turn.stats.token_ids), group="chat.look", exclusive=True, exit_on_error=False
            )

    async def _look(self, turn: Turn, token_ids: tuple[int, ...]) -> None:
        panel = self._panel
        mode = ReplyMode.RAW if turn.mode is ReplyMode.RAW else ReplyMode.CHAT
        asked = Generate(0, panel.conversation.messages(turn, mode), turn.settings, mode, turn.thinking)
        try:
            tokens = await panel.talker.look_into(asked, token_ids, turn.model_id)
        except BackendError as error:
            name = clean_name(turn.model_name, 40)
            panel.say(f"{name} cannot be asked about its reply: {clean_name(str(error), 300)}", warning=True)
            return
        panel.say("")
        if not tokens:
            panel.say("The model told of no token.")
            return
        from modeldeck.tui.screens.look_screen import LookScreen  # only a look needs it

        panel.app.push_screen(LookScreen(tokens, turn.model_name))
