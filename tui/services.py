"""The composition root's work: everything is built here, once, and passed in."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from modeldeck.backend.catalog.live_catalog import LiveCatalog
    from modeldeck.backend.gguf_copies import GgufCopies
    from modeldeck.backend.load_times import PastLoads
    from modeldeck.backend.measurements import Measurements
    from modeldeck.backend.pipeline_manager import EngineStarter, PipelineManager
    from modeldeck.config.consents import Consents
    from modeldeck.config.paths import Paths
    from modeldeck.config.profiles import Profiles
    from modeldeck.config.remembered import RememberedLoads
    from modeldeck.config.remembered_list import RememberedList
    from modeldeck.config.settings import Settings
    from modeldeck.config.store import ConfigProblem, GenerationStore
    from modeldeck.tui.chats.store import ChatStore
    from modeldeck.tui.generation_desk import GenerationDesk
    from modeldeck.tui.log_buffer import EngineLogBuffer
    from modeldeck.tui.memory_feed import MemoryFeed


@dataclass(frozen=True, slots=True)
class Services:
    """What the screens work with."""

    paths: Paths
    settings: Settings
    problems: tuple[ConfigProblem, ...]
    """What is wrong with the files of the user; the app starts all the same and says so."""
    generation: GenerationStore
    desk: GenerationDesk
    """The same with what the models' own files say and what holds for this session."""
    manager: PipelineManager
    catalog: LiveCatalog
    """The models of this machine, followed by a child of its own."""
    log: EngineLogBuffer
    start_download: EngineStarter
    """Starts the child that one download runs in."""
    gguf_copies: GgufCopies
    """The prepared copies of GGUF models."""
    consents: Consents
    """Which models may run code of their own."""
    pickle_consents: Consents
    """Which pickled weights may be read."""
    templates: Consents
    """Which chat template a model had at its last load."""
    profiles: Profiles
    """Named ways to load."""
    remembered: RememberedLoads
    """How models were loaded last."""
    memory: MemoryFeed
    """The devices and the RAM, second by second; the screen starts it."""
    measurements: Measurements
    """What loads took on this machine."""
    past_loads: PastLoads
    """How long they took."""
    remembered_list: RememberedList
    """Favourites, recents and the order of the list."""
    chats: ChatStore
    """The conversations."""


def build_services(
    paths: Paths,
    *,
    start_engine: EngineStarter | None = None,
    start_download: EngineStarter | None = None,
    ascii_only: bool = False,
) -> Services:
    """Read the user's files and build everything; starts no process and imports nothing heavy.

    ``start_engine`` and ``start_download`` replace the real children, which tests do; ``ascii_only`` holds whatever
    the user's file says, for terminals that cannot draw more.
    """
    from msgspec import structs

    from modeldeck.backend.catalog.live_catalog import LiveCatalog
    from modeldeck.backend.catalog.places import Places
    from modeldeck.backend.embedded import embedded_downloader, embedded_engine, embedded_scanner
    from modeldeck.backend.gguf_copies import GgufCopies
    from modeldeck.backend.load_times import PastLoads
    from modeldeck.backend.measurements import Measurements
    from modeldeck.backend.pipeline_manager import PipelineManager
    from modeldeck.config.consents import Consents
    from modeldeck.config.profiles import Profiles
    from modeldeck.config.remembered import RememberedLoads
    from modeldeck.config.remembered_list import RememberedList
    from modeldeck.config.settings import model_folders
    from modeldeck.config.store import GenerationStore, load_settings
    from modeldeck.tui.chats.store import ChatStore
    from modeldeck.tui.generation_desk import GenerationDesk
    from modeldeck.tui.log_buffer import EngineLogBuffer
    from modeldeck.tui.memory_feed import MemoryFeed

    settings, problems = load_settings(paths.config_file)
    settings = structs.replace(settings, ascii=settings.ascii or ascii_only)
    generation = GenerationStore(paths.generation_file)
    generation_problems = generation.load()
    remembered_list = RememberedList(paths.remembered_list)
    profiles = Profiles(paths.profiles_file)
    profile_problems = profiles.load()
    log = EngineLogBuffer()
    manager = PipelineManager(
        start_engine or embedded_engine(settings, paths, log.append),
        keep_spare=settings.spare_engine,
        stall_seconds=settings.stall_seconds,
    )
    memory = MemoryFeed(lambda: manager.model_pids)
    manager.read_memory = memory.fresh
    return Services(
        paths=paths,
        settings=settings,
        problems=(*problems, *generation_problems, *profile_problems, *remembered_list.problems),
        generation=generation,
        desk=GenerationDesk(generation),
        manager=manager,
        catalog=LiveCatalog(
            Places.of(model_folders(settings, paths), paths.hub_cache),
            paths.catalog_index,
            embedded_scanner(log.append),
            log=log.append,
        ),
        log=log,
        start_download=start_download or embedded_downloader(settings, paths, log.append),
        gguf_copies=GgufCopies(paths.gguf_copies),
        consents=Consents(paths.consents),
        pickle_consents=Consents(paths.pickle_consents),
        templates=Consents(paths.templates),
        profiles=profiles,
        remembered=RememberedLoads(paths.remembered_loads),
        memory=memory,
        measurements=Measurements(paths.measurements),
        past_loads=PastLoads(paths.load_times),
        remembered_list=remembered_list,
        chats=ChatStore(paths.chats),
    )
