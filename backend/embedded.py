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

_ENGINE_NAMES = frozenset(
    {
        "PATH",  # triton calls compilers, and engine_python may be a script that calls others
        "HOME", "USER", "LOGNAME",  # where caches lie; torch asks for the user's name
        "LANG", "LANGUAGE", "TZ",  # how text and times are read
        "TMPDIR", "TMP", "TEMP",  # where there is room
        "VIRTUAL_ENV", "__PYVENV_LAUNCHER__",  # which Python this is
        "CC", "CXX", "CPATH", "C_INCLUDE_PATH", "LIBRARY_PATH",  # how triton compiles
        "GPU_DEVICE_ORDINAL", "GLIBC_TUNABLES",  # which GPU (AMD); how memory is given
    }
)  # fmt: skip
_ENGINE_GROUPS = (
    "LC_",  # as LANG
    "LD_",  # where the libraries of the GPU's driver are found
    "CUDA_", "NVIDIA_", "HIP_", "ROCR_", "ROCM_", "HSA_", "NCCL_",  # which GPUs, and how they are used
    "OMP_", "GOMP_", "MKL_", "KMP_", "OPENBLAS_", "RAYON_", "MALLOC_",  # threads and memory on the CPU
    "TORCH", "PYTORCH_", "TRITON_", "BNB_", "HF_", "TRANSFORMERS_", "TOKENIZERS_", "SAFETENSORS_", "ACCELERATE_",
    "XDG_",  # where their caches lie
    "CONDA_", "PYTHON",  # which Python this is, and how it runs
    "MODELDECK_",  # ours
)  # fmt: skip
"""What an engine may need, each group by how its names begin. Everything else stays away from it: a model may bring
code of its own, and no list of names that look secret is ever complete (``PGPASSWORD``, ``DATABASE_URL``)."""
_NETWORK_NAMES = frozenset(
    {"SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "NETRC"}  # a hub behind a company's wall
    | {f"{kind}_PROXY" for kind in ("HTTP", "HTTPS", "ALL", "NO")}
    | {f"{kind}_proxy" for kind in ("http", "https", "all", "no")}
)
_SECRET = re.compile(r"(^|_)(TOKEN|KEY|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIAL|PAT)S?$", re.I)
"""Not even when a group has it, as ``HF_TOKEN``."""
_TALKATIVE = frozenset({"HF_DEBUG"})
"""Has huggingface_hub log every request as a line for curl."""
_OPENS_PICKLES = frozenset({"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"})
_HUB_TOKENS = frozenset({"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_HUB_DISABLE_IMPLICIT_TOKEN"})
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


def embedded_scanner(on_log: Callable[[str], None]) -> EngineStarter:
    """What starts the child that looks for models: no secret, since what it reads may be anybody's."""

    async def start() -> EngineClient:
        return await EngineClient.start(
            (sys.executable, "-P", "-m", "modeldeck.backend.catalog.scanner"),
            scanner_environment(os.environ),
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
    """What of the environment an engine needs; ``foreign`` leaves out what belongs to this interpreter alone."""
    dropped = _OF_THIS_PYTHON if foreign else frozenset()
    kept = {name: value for name, value in environ.items() if _is_for_engines(name) and name not in dropped}
    return kept | {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_TOKEN_PATH": os.devnull,  # nor the token that lies in the user's home
        "HF_HUB_DISABLE_IMPLICIT_TOKEN": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DISABLE_SAFETENSORS_CONVERSION": "1",
        "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # cuda:0 is then the same GPU for torch as for NVML, which counts so
        "PYTHONUNBUFFERED": "1",
        "MODELDECK_GGUF_COPIES": str(paths.gguf_copies),
        "MODELDECK_COMPILED": str(paths.compiled),
    }


def downloader_environment(paths: Paths, environ: Mapping[str, str]) -> dict[str, str]:
    """An engine's, with the way to the hub and its token; the cache is the one that the catalog reads."""
    more = _NETWORK_NAMES | _HUB_TOKENS
    kept = {name: value for name, value in environ.items() if name in more or _is_for_engines(name)}
    return kept | {"HF_HUB_CACHE": str(paths.hub_cache), "PYTHONUNBUFFERED": "1"}


def scanner_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """An engine's: where Python and the starter's package are found, and the user's home."""
    return {name: value for name, value in environ.items() if _is_for_engines(name)}


def _is_for_engines(name: str) -> bool:
    wanted = name in _ENGINE_NAMES or name.startswith(_ENGINE_GROUPS)
    return wanted and name not in _TALKATIVE | _OPENS_PICKLES and not _SECRET.search(name)
