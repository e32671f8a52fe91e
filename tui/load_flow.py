"""From "the user wants this model" to a load that runs: the questions, the worker, the ends."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from msgspec import structs

from modeldeck.backend.catalog.config_part import is_known
from modeldeck.backend.errors import (
    BackendError,
    EngineBusy,
    LoadCancelled,
    PicklesRefused,
    QuantizationUnavailable,
    RemoteCodeRefused,
)
from modeldeck.backend.estimate.figures import Verdict
from modeldeck.backend.estimate.planning import Room
from modeldeck.backend.load_defaults import default_request, options_of
from modeldeck.backend.models import LoadRequest, ModelFormat, ModelInfo, ModelStatus, Quantization
from modeldeck.backend.text import clean_name
from modeldeck.tui.code_consent import CodeConsent
from modeldeck.tui.fitting import Fitting
from modeldeck.tui.held_flow import HeldFlow
from modeldeck.tui.interrupting import is_typing
from modeldeck.tui.load_news import LoadNews
from modeldeck.tui.load_profiles import LoadProfiles
from modeldeck.tui.messages import EngineChanged, LoadProgressed
from modeldeck.tui.pickle_consent import PickleConsent
from modeldeck.tui.read_ahead import ReadAhead
from modeldeck.tui.replacing_question import ReplacingQuestion

if TYPE_CHECKING:
    from textual.screen import Screen
    from textual.worker import Worker

    from modeldeck.tui.screens.load_dialog import Chosen
    from modeldeck.tui.services import Services
    from modeldeck.tui.shelf import ModelShelf


class LoadFlow:
    """Decides what a wish to load means in the state that the manager is in.

    ``shelf`` knows the models, ``show_chat`` is called when the wanted model is already there.
    """

    def __init__(
        self,
        screen: Screen[Any],
        services: Services,
        shelf: Callable[[], ModelShelf],
        show_chat: Callable[[], None],
    ) -> None:
        self._screen = screen
        self._manager = services.manager
        self._settings = services.settings
        self._log = services.log
        self._shelf = shelf
        self.held = HeldFlow(screen, services, self.name_of, show_chat)
        """What can be done with the models that are held."""
        self._remembered = services.remembered
        self._list = services.remembered_list
        self.fitting = Fitting(
            services.memory,
            self.request_for,
            services.manager.residents,
            services.settings.max_models,
            services.measurements.find,
            services.gguf_copies.find,
        )
        """What loads would need now."""
        self._needs_code: set[str] = set()
        """Models that the engine would not load without their own code, though their config.json names none."""
        self._names: dict[str, str] = {}
        """Of the models that were loaded: one whose folder is deleted meanwhile still runs."""
        self._worker: Worker[None] | None = None
        self.news = LoadNews(screen, services, self._find, self.name_of, self.fitting)
        """What is said of loads that nobody asked about."""
        self.question = ReplacingQuestion(screen, services.manager, self.fitting, self.name_of)
        """Whether what stands in the way may go."""
        self._read_ahead = ReadAhead(screen, services)
        self._consent = CodeConsent(services)
        self._pickles = PickleConsent(services)
        self._profiles = LoadProfiles(services)

    def _find(self, model_id: str) -> ModelInfo | None:
        return self._shelf().get(model_id)

    def name_of(self, model_id: str) -> str:
        """What people call the model, also when the list no longer has it; its id if it never was asked for before."""
        model = self._find(model_id)
        if model is not None:
            self._names[model_id] = model.name
        return self._names.get(model_id, model_id)

    def request_for(self, model: ModelInfo) -> LoadRequest:
        """How enter loads this model; never with its code."""
        return self._profiles.usual(model)

    def choose(self, model: ModelInfo) -> None:
        """Enter on a row: load it, or talk to what is there already."""
        current = self._manager.request
        same = current is not None and current.model_id == model.id
        if self.held.talk_to(model.id):
            pass
        elif same and self._manager.status is ModelStatus.LOADING:
            self._say(f"{clean_name(model.name)} is being loaded. Escape cancels it.")
        elif same and self._manager.status is ModelStatus.FAILED:
            self.show_error()
        elif model.format is ModelFormat.ADAPTER and (base := self._shelf().base_of(model.id)) is not None:
            request = self.request_for(base)
            self.options(base, structs.replace(request, adapter=model.path, adapter_bytes=model.size_bytes))
        elif not model.loadable:
            self._show_problems(model)
        elif self.fitting.verdict(model) is Verdict.DOES_NOT_FIT:
            self.options(model)  # with the figures before the eyes; it can be loaded all the same
        else:
            self.start(model, self.request_for(model))

    def options(self, model: ModelInfo, tried: LoadRequest | None = None) -> None:
        """Ask how to load the model, then load it; begins with the options that were tried."""
        if not model.loadable:
            self._show_problems(model)
            return
        from modeldeck.tui.screens.load_dialog import LoadDialog  # Select, which no first frame waits for

        def answered(chosen: Chosen | None) -> None:
            self._read_ahead.end()
            if chosen is not None:
                self.start(model, chosen.request, chosen)

        request = tried or self.request_for(model)
        own_code = model.needs_remote_code or model.id in self._needs_code
        dialog = LoadDialog(
            model,
            request,
            fitting=self.fitting,
            name_of=self.name_of,
            profiles=self._profiles,
            adapters=self._shelf().adapters_of(model.id),
            look_at_code=lambda: self._consent.look(model),
            own_code=own_code,
            look_at_pickles=self._pickles.is_allowed if self._pickles.concerns(model) else None,
        )
        self._screen.app.push_screen(dialog, answered)
        self._read_ahead.begin(model)

    def start(self, model: ModelInfo, request: LoadRequest, chosen: Chosen | None = None) -> None:
        """Load with these options; asks first when that would end something of which the user was not told.

        ``chosen`` is what the dialog answered, where there was one.
        """
        if self._refuse_broken(model):
            return
        room = self.fitting.room(model, request)
        if room.one_too_many:
            limit = f"As many models are held as max_models allows ({len(room.keeps)})"
            self._say(f"{limit}, and all of them are pinned: unpin one with p, or unload it with u.", "warning")
            return
        may_go = {*(chosen.room.unload_ids if chosen is not None else ()), model.id}
        unsaid = not may_go.issuperset(room.unload_ids) or (room.ends_reply and chosen is None)
        if self._manager.load_running or unsaid:
            self.question.ask(model, request, lambda room: self._run(model, request, room, chosen, replace=True))
        else:
            self._run(model, request, room, chosen, replace=False)

    def cancel(self) -> bool:
        """Stop the load; False when none runs."""
        if self._worker is not None and self._worker.is_running:
            self._worker.cancel()
        elif not self._manager.load_running:
            return False
        else:
            self._screen.run_worker(self._manager.cancel_load(), group="cancel", exit_on_error=False)
        return True

    def show_error(self) -> None:
        """The sentence, what stands behind it, and another try."""
        failure = self._manager.failure
        if failure is None:
            return
        from modeldeck.tui.screens.error_dialog import ErrorDialog

        error, request = failure.error, failure.request
        model = self._find(request.model_id)

        def answered(choice: str | None) -> None:
            if model is None:
                return
            if choice == "again":
                self.start(model, request)
            elif choice == "options":
                self.options(model, request)

        title = f"{self.name_of(request.model_id)} failed"
        sentence = "\n".join(filter(None, (str(error), self.news.advice)))
        self._screen.app.push_screen(ErrorDialog(title, sentence, error.detail, again=model is not None), answered)

    def _show_problems(self, model: ModelInfo) -> None:
        """Why a broken model cannot be loaded; no load is tried for that."""
        from modeldeck.tui.screens.error_dialog import ErrorDialog

        title = f"{model.name} cannot be loaded"
        detail = "\n".join([*model.problems[1:], model.path])
        self._screen.app.push_screen(ErrorDialog(title, model.why_not_loadable, detail, again=False))

    def _refuse_broken(self, model: ModelInfo) -> bool:
        if model.loadable:
            return False
        self._say(f"{clean_name(model.name)} cannot be loaded: {clean_name(model.why_not_loadable, 400)}", "warning")
        return True

    def _run(self, model: ModelInfo, request: LoadRequest, room: Room, chosen: Chosen | None, *, replace: bool) -> None:
        self._worker = self._screen.run_worker(
            self._load(model, request, room, chosen, replace=replace), name="load", group="engine", exit_on_error=False
        )

    async def _load(
        self, model: ModelInfo, request: LoadRequest, room: Room, chosen: Chosen | None, *, replace: bool
    ) -> None:
        """The thin seam to the manager, which keeps the state; only what needs an answer is handled here."""
        digest = chosen.code_digest if chosen is not None else ""
        applied = await self._consent.applied(model, request, digest)
        if applied is None:
            self._say(f"The code of {clean_name(model.name)} is not what you allowed; look at it again.", "warning")
            return
        cannot_do_without = model.needs_remote_code and not is_known(model.architecture or "")
        if cannot_do_without and chosen is None and not applied.trust_remote_code:
            self._say(f"{clean_name(model.name)} has code of its own, which you have not allowed as it is now.")
            self.options(model)
            return
        if digest:
            await self._consent.answer(model, digest, allowed=request.trust_remote_code)
        request = await self._pickles.applied(model, applied, answered=chosen is not None)
        if model.format is ModelFormat.PICKLE and chosen is None and not request.allow_pickles:
            self._say(f"The weights of {clean_name(model.name)} are pickled, and you have not allowed them.")
            self.options(model)
            return
        wait_for = chosen.wait_for if chosen is not None else None
        steps = self._manager.load(request, unload=room.unload_ids, wait_for=wait_for, replace=replace)
        try:
            async with aclosing(steps):
                async for step in steps:
                    self._screen.post_message(LoadProgressed(step))
            await self._remember(request)
        except LoadCancelled:
            pass  # the user's own wish: another load took its place, or none shall run
        except EngineBusy as error:
            self._say(str(error), "warning")
        except QuantizationUnavailable as error:
            if self._manager.failure is None or self._manager.failure.request != request:
                pass  # another load has taken its place
            elif is_typing(self._screen):  # what is typed must not answer a question that has just appeared
                self._say(f"{error} Press e for other options.", "warning")
            else:
                self._offer_full_precision(request, error)
        except BackendError as error:
            if isinstance(error, RemoteCodeRefused):
                self._needs_code.add(request.model_id)
            elif isinstance(error, PicklesRefused):
                self._pickles.refused(request.model_id)
        finally:
            self._screen.post_message(EngineChanged())

    async def _remember(self, request: LoadRequest) -> None:
        """Keep how a model was loaded, where that is not what the settings say anyway."""
        model = self._find(request.model_id)
        if model is None:
            return
        chosen = options_of(request)
        request = structs.replace(request, gpu_uuids={})  # which are looked up for each load
        asked = structs.replace(request, trust_remote_code=False, allow_pickles=False)  # which are never kept here
        plain = asked == default_request(self._settings, model)
        try:
            await asyncio.to_thread(self._remembered.put, model.id, None if plain else chosen)
            await asyncio.to_thread(self._list.add_recent, model.id)
        except (OSError, UnicodeEncodeError) as error:
            self._log.append(f"How {clean_name(model.name)} was loaded is not remembered: {clean_name(str(error))}")
        self.fitting.outdate()  # enter would load it otherwise now

    def _offer_full_precision(self, request: LoadRequest, error: QuantizationUnavailable) -> None:
        from modeldeck.tui.screens.confirm import Confirm

        def answered(yes: bool | None) -> None:
            model = self._find(request.model_id)
            if yes and model is not None:
                self.start(model, structs.replace(request, quantization=Quantization.NONE))

        title = f"{request.quantization.value} cannot be applied"
        self._screen.app.push_screen(Confirm(title, str(error), "Load in full precision"), answered)

    def _say(self, sentence: str, severity: str = "information") -> None:
        self._log.append(sentence)
        self._screen.notify(sentence, severity=severity, markup=False)  # type: ignore[arg-type]  # a literal above
