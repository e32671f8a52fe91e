"""What the chat wants of the rest of the deck: another way to load its model, and models to compare."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from msgspec import structs

from modeldeck.backend.chat_messages import ChatMessage, ReplyMode
from modeldeck.backend.models import Quantization
from modeldeck.backend.text import clean_name
from modeldeck.config.generation import merge
from modeldeck.tui.actions import declared_bindings

if TYPE_CHECKING:
    from textual.screen import Screen

    from modeldeck.backend.models import ModelInfo
    from modeldeck.tui.chats.turns import Turn
    from modeldeck.tui.load_flow import LoadFlow
    from modeldeck.tui.screens.compare_screen import Contender
    from modeldeck.tui.services import Services
    from modeldeck.tui.widgets.chat_panel import ChatPanel


class ChatWishes:
    """Fulfils them, or says why not; ``find`` knows the models of the list."""

    def __init__(
        self, screen: Screen[Any], services: Services, loads: LoadFlow, find: Callable[[str], ModelInfo | None]
    ) -> None:
        self._screen = screen
        self._services = services
        self._loads = loads
        self._find = find

    def fulfil(self, wish: ChatPanel.Wanted) -> None:
        """Do it."""
        if wish.what == "compare":
            self._compare(wish.panel, wish.turn)
        elif wish.what == "tell_left_open":
            self._tell_left_open(wish.panel)
        else:
            self._reload(wish.what)

    def _reload(self, how: str) -> None:
        """Open the load options of the model that is talked to: in 4 bits, with all its context, or to change that."""
        resident = self._services.manager.residents.current
        model = self._find(resident.model_id) if resident is not None else None
        if resident is None or model is None:
            self._screen.notify("That model is no longer in the list.", severity="warning", markup=False)
            return
        request = resident.request
        if how == "4bit":
            request = structs.replace(request, quantization=Quantization.NF4)
        elif how == "more_context":
            if request.context_limit is None:
                self._screen.notify("This model was made for no more context than it has.", markup=False)
                return
            request = structs.replace(request, context_limit=None)
        self._loads.options(model, request)

    def _tell_left_open(self, panel: ChatPanel) -> None:
        """Not in the log, which crash reports quote: the title is what was said."""
        keys = {binding.id: binding for binding in declared_bindings(type(self._screen))}["pane.next"]
        keymap = self._services.settings.keys
        key = self._screen.app.get_key_display(keys.with_key(keymap.get("pane.next", keys.key).split(",")[0].strip()))
        title = panel.conversation.shown_title
        said = f'modeldeck ended in the middle of "{title}". It is open again: {key} goes there.'
        self._screen.notify(said, timeout=12, markup=False)

    def _compare(self, panel: ChatPanel, turn: Turn | None) -> None:
        """Put the question of this turn, or a new one, to two of those that are loaded."""
        contenders = self._contenders(panel)
        if not contenders:
            panel.say_busy()
            return
        from modeldeck.tui.screens.compare_screen import CompareScreen  # only a comparison needs it

        conversation = panel.conversation
        raw = turn.mode is ReplyMode.RAW if turn is not None else conversation.raw
        mode = ReplyMode.RAW if raw else ReplyMode.CHAT
        before = conversation.messages(turn, ReplyMode.CHAT)[:-1] if turn is not None and not raw else ()
        question = turn.asks() if turn is not None else ChatMessage("user", panel.draft)
        screen = CompareScreen(panel.talker, contenders, before, question, mode, conversation.thinking)
        self._screen.app.push_screen(screen)

    def _contenders(self, panel: ChatPanel) -> list[Contender]:
        """The models as they are set, the one that is talked to first; then each with every preset."""
        from modeldeck.tui.screens.compare_screen import Contender

        residents = self._services.manager.residents
        held = sorted((one for one in residents if one.holds), key=lambda one: one is not residents.current)
        names = {one.model_id: clean_name(self._loads.name_of(one.model_id), 40) for one in held}
        settings = {one.model_id: panel.lines.settings_for(one.model_id) for one in held}
        plain = [Contender(names[one.model_id], one.model_id, settings[one.model_id]) for one in held]
        store = self._services.generation
        with_presets = [
            Contender(
                f"{names[one.model_id]} · {clean_name(preset, 40)}",
                one.model_id,
                merge(settings[one.model_id], store.preset_values(preset)),
            )
            for one in held
            for preset in reversed(store.preset_names)
        ]
        return [*plain, *with_presets]
