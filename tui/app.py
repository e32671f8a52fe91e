"""The application: one screen, the keys that hold everywhere, the way out."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, ClassVar

from textual import events, on
from textual.app import App
from textual.binding import Binding, BindingType
from textual.css.query import NoMatches
from textual.filter import LineFilter
from textual.widget import MountError
from textual.worker import WorkerFailed

from modeldeck.backend.text import clean_name, clean_paste, clean_text
from modeldeck.tui.ascii_filter import AsciiFilter
from modeldeck.tui.control_guard import ControlGuard, InOne
from modeldeck.tui.key_order import KeyOrder
from modeldeck.tui.messages import PanesMounted
from modeldeck.tui.screens.main import MainScreen
from modeldeck.tui.terminal import TerminalGuard

if TYPE_CHECKING:
    from rich.console import RenderableType
    from textual.command import Provider
    from textual.dom import DOMNode
    from textual.driver import Driver
    from textual.notifications import SeverityLevel

    from modeldeck.tui.actions import Action
    from modeldeck.tui.services import Services

_logger = logging.getLogger(__name__)


def _commands() -> type[Provider]:
    from modeldeck.tui.commands import DeckCommands

    return DeckCommands


class ModeldeckApp(App[int], inherit_bindings=False):
    """Browse, load, talk to and tune the models of this machine."""

    TITLE = "modeldeck"
    CSS_PATH: ClassVar[list[str | PurePath]] = ["app.tcss", "screens/main.tcss"]
    COMMANDS = {_commands}  # noqa: RUF012  # Textual declares it so

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+q", "quit", "Quit", show=False, priority=True, id="app.quit", tooltip="Leave modeldeck"),
        Binding(
            "ctrl+c",
            "interrupt",
            "Stop or copy",
            show=False,
            priority=True,
            id="app.interrupt",
            tooltip="Stop the reply, or copy what is selected",
        ),
        Binding(
            "ctrl+z",
            "suspend_process",
            "Suspend",
            show=False,
            priority=True,  # in a text too, where Textual's undo has the same key
            id="app.suspend",
            tooltip="Back to the shell; fg comes back",
        ),
        Binding("ctrl+p", "command_palette", "Palette", show=False, id="app.palette", tooltip="Search all commands"),
        Binding("f1", "help", "Help", show=False, id="app.help_anywhere", tooltip="Show all keys"),
    ]

    def __init__(self, services: Services) -> None:
        super().__init__()
        self.services = services
        self.crashed = False
        """Whether it ended because of an error that nobody expected, which the log has."""
        self.crash_report: Path | None = None
        """Where the report of that error lies; None where it could not be written."""
        self._leaving = False
        self._own_filters: list[LineFilter] = [ControlGuard()]
        if services.settings.ascii:
            self._own_filters.append(AsciiFilter(sys.__stderr__.encoding if sys.__stderr__ is not None else "utf-8"))
        self._line_filter = InOne(self._own_filters)
        self._key_order = KeyOrder(self, super().on_event)
        self._terminal = TerminalGuard(self._leave, lambda: services.manager.engine_pids)

    def get_default_screen(self) -> MainScreen:
        """The only screen that is not a dialog."""
        return MainScreen(self.services)

    @property
    def main_screen(self) -> MainScreen:
        """The deck, also while a dialog lies over it."""
        screen = self.screen_stack[0]
        assert isinstance(screen, MainScreen)  # get_default_screen made it
        return screen

    def get_driver_class(self) -> type[Driver]:
        """Ours, which survives whatever the terminal sends."""
        from modeldeck.tui.driver import TerminalDriver

        return TerminalDriver

    def get_line_filters(self) -> Sequence[LineFilter]:
        """The last look at every line before the terminal gets it."""
        filters = (*super().get_line_filters(), *self._own_filters)
        if filters != self._line_filter.filters:
            self._line_filter = InOne(filters)
        return [self._line_filter]

    def copy_to_clipboard(self, text: str) -> None:
        """Copy what is harmless when it is pasted into a shell."""
        super().copy_to_clipboard(clean_text(text))

    def notify(
        self,
        message: str,
        *,
        title: str = "",
        severity: SeverityLevel = "information",
        timeout: float | None = None,
        markup: bool = False,  # what is said is never markup
    ) -> None:
        """Say it in a corner; names and errors of others may be in it."""
        message, title = clean_text(message), clean_name(title)
        super().notify(message, title=title, severity=severity, timeout=timeout, markup=False)

    def get_key_display(self, binding: Binding) -> str:
        """The sign of a key, or its name where signs cannot be drawn."""
        shown = super().get_key_display(binding)
        return binding.key if self.services.settings.ascii and not shown.isascii() else shown

    async def on_event(self, event: events.Event) -> None:
        """Keys and pastes come one at a time; everything else as ever."""
        if isinstance(event, events.Key | events.Paste) and not event.is_forwarded:
            if isinstance(event, events.Paste):
                event.text = clean_paste(event.text)
            await self._key_order.take(event)
        else:
            await super().on_event(event)

    @contextmanager
    def guarded_terminal(self) -> Iterator[None]:
        """Watch the terminal and the signals, from before it is drawn on until everything is back in order."""
        self._terminal.start()
        try:
            yield
        finally:
            self._terminal.stop()

    def on_mount(self) -> None:
        """Take over the user's theme and keys."""
        settings = self.services.settings
        if settings.theme in self.available_themes:
            self.theme = settings.theme
        self.set_keymap(settings.keys)
        self.app_resume_signal.subscribe(self, self._draw_all)

    def _draw_all(self, _app: App[object]) -> None:
        """After a suspend the terminal is empty, and Textual would only draw what has changed."""
        self.refresh(layout=True)

    async def on_unmount(self) -> None:
        """No child outlives the screen."""
        self.services.memory.stop()
        await asyncio.gather(self.services.manager.close(), self.services.catalog.close())

    def handle_bindings_clash(self, clashed_bindings: set[Binding], node: DOMNode) -> None:
        """Nothing here: ``settings_check`` has told of these and of more."""

    async def action_quit(self) -> None:
        """Leave; asks only when a reply or a download would be lost."""
        lost = [
            what
            for what, runs in (
                ("a reply", self.services.manager.generating),
                ("a download", self.main_screen.downloads.running),
            )
            if runs
        ]
        if not lost:
            self._leave(0)
            return
        from modeldeck.tui.screens.confirm import Confirm

        if isinstance(self.screen, Confirm) and self.screen.asks_to_quit:
            self._leave(0)  # asked for twice is answer enough
            return

        def answered(yes: bool | None) -> None:
            if yes:
                self._leave(0)

        kept = " What is written of the reply so far is kept." if "a reply" in lost else ""
        running = "is" if len(lost) == 1 else "are"
        question = f"{' and '.join(lost).capitalize()} {running} still running.{kept}"
        self.push_screen(Confirm("Quit modeldeck?", question, "Quit", "Stay", asks_to_quit=True), answered)

    async def action_interrupt(self) -> None:
        """Stop the reply; else copy what is selected; else say how to leave."""
        if await self.main_screen.stop_reply():
            return
        selected = getattr(self.focused, "selected_text", "") or self.screen.get_selected_text()
        if selected:
            self.copy_to_clipboard(selected)
            self.notify("Copied, if this terminal allows it.", markup=False)
        else:
            self.notify("Nothing to stop and nothing selected. Ctrl+q quits.", markup=False)

    def action_help(self) -> None:
        """Show all keys."""
        from modeldeck.tui.actions import all_actions
        from modeldeck.tui.screens.help import HelpScreen

        if not isinstance(self.screen, HelpScreen):
            actions = all_actions(self, self.main_screen, self.services.settings.keys)
            self.push_screen(HelpScreen(actions, self.main_screen.pane.capitalize()))

    async def run_deck_action(self, action: Action) -> None:
        """Do what the palette offers; says so when it does not apply now."""
        if not await self.run_action(action.action, action.node):
            self.notify(f"{action.title} does not apply now.", severity="warning", markup=False)

    def _leave(self, code: int) -> None:
        self._leaving = True
        self._terminal.arm(code)
        self.exit(code, return_code=code)

    def _handle_exception(self, error: Exception) -> None:
        """The last handler of everything that Textual runs: the log gets the traceback, and a report is written."""
        cause = error.error if isinstance(error, WorkerFailed) else error
        if self._leaving and isinstance(cause, NoMatches | MountError):
            _logger.info("Something still looked for a widget that had gone: %s", cause)
            return
        _logger.critical("The app met an error that nobody expected.", exc_info=cause)
        self._terminal.arm(1)
        if not self.crashed:
            self.crashed = True
            from modeldeck.tui.crash_report import write_crash_report  # only a crash needs it

            self.crash_report = write_crash_report(self.services.paths.crashes, cause, self.services)
        super()._handle_exception(error)

    def panic(self, *renderables: RenderableType) -> None:
        """Textual would print what it is given, and end as if all were well; the thread that reads the keys asks so."""
        if self.crashed:
            self._fatal_error()
        else:
            self._handle_exception(RuntimeError("Textual gave up, most likely because the keys cannot be read."))

    def _fatal_error(self) -> None:
        """Textual would print the values of all variables, which are prompts and replies."""
        self._close_messages_no_wait()

    @on(PanesMounted)
    def _report_settings(self) -> None:
        from modeldeck.tui.settings_check import settings_problems

        for sentence in settings_problems(self.services.settings, self.available_themes):
            self._warn(sentence)

    def _warn(self, sentence: str) -> None:
        self.services.log.append(sentence)
        self.notify(sentence, title="Configuration", severity="warning", timeout=12, markup=False)
