"""The children that come with modeldeck: how they are started, and what of our environment they may see."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from modeldeck.backend.engine_client import EngineClient
from modeldeck.backend.spare_engine import EngineStarter
from modeldeck.config.paths import Paths
from modeldeck.config.settings import Settings

_SECRET = re.compile(r"(^|_)(TOKEN|KEY|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL)S?$|^AWS_|^SSH_AUTH_SOCK$", re.I)
_HUB_TOKENS = frozenset({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"})
_OF_THIS_PYTHON = frozenset({"PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV", "__PYVENV_LAUNCHER__"})


def embedded_engine(settings: Settings, paths: Paths, on_log: Callable[[str], None]) -> EngineStarter:
    """What starts an engine: a model in it gets no network, no token and no secret of the user's environment."""

    async def start() -> EngineClient:
        return await EngineClient.start(
            engine_command(settings.engine_python),
            engine_environment(paths, os.environ, foreign=bool(settings.engine_python)),
            on_log=on_log,
        )

    return start


def embedded_downloader(settings: Settings, paths: Paths, on_log: Callable[[str], None]) -> EngineStarter:
    """What starts the child of one download, which alone has the network and the hub's token."""

    async def start() -> EngineClient:
        return await EngineClient.start(
            (sys.executable, "-P", "-m", "modeldeck.backend.downloader"),
            downloader_environment(paths, os.environ),
            on_log=on_log,
        )

    return start


def engine_command(engine_python: str = "") -> tuple[str, ...]:
    """The command line of an engine in this interpreter, or in that of another environment.

    ``-P`` keeps the current folder, which may be anybody's, from being imported from.
    """
    module = "modeldeck.backend.engine"
    if not engine_python:
        return (sys.executable, "-P", "-m", module)
    python = Path(engine_python).expanduser()
    if python.is_dir():
        python = python / "bin" / "python"
    return (str(python), str(Path(__file__).resolve().with_name("bootstrap.py")), module)


def engine_environment(paths: Paths, environ: Mapping[str, str], *, foreign: bool = False) -> dict[str, str]:
    """The environment without secrets; ``foreign`` also leaves out what belongs to this interpreter alone."""
    kept = {name: value for name, value in environ.items() if not _SECRET.search(name)}
    if foreign:
        kept = {name: value for name, value in kept.items() if name not in _OF_THIS_PYTHON}
    return kept | {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_TOKEN_PATH": os.devnull,  # nor the token that lies in the user's home
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DISABLE_SAFETENSORS_CONVERSION": "1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # cuda:0 is then the same GPU for torch as for NVML, which counts so
        "PYTHONUNBUFFERED": "1",
        "MODELDECK_GGUF_COPIES": str(paths.gguf_copies),
    }


def downloader_environment(paths: Paths, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment with the hub's token and without other secrets; the cache is the one the catalog reads."""
    kept = {name: value for name, value in environ.items() if name in _HUB_TOKENS or not _SECRET.search(name)}
    return kept | {"HF_HUB_CACHE": str(paths.hub_cache), "PYTHONUNBUFFERED": "1"}
