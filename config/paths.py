"""The only place that knows the XDG folders, HF_HOME and the MODELDECK_* variables."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Paths:
    """Where everything lies; reading them creates nothing."""

    config_file: Path
    """The user's ``config.toml``."""
    generation_file: Path
    """``generation.toml``, beside it; written by the program."""
    state: Path
    """What is kept between runs: recent models, transcripts, logs."""
    cache: Path
    """What can be made again: prepared GGUF copies, the catalog index."""
    log_file: Path
    hub_cache: Path
    """The Hugging Face cache, where huggingface_hub puts it under the same environment."""
    model_folders: tuple[Path, ...] | None
    """From ``MODELDECK_MODEL_DIRS``; None leaves it to ``config.toml``."""

    @property
    def gguf_copies(self) -> Path:
        """Prepared safetensors copies of GGUF models."""
        return self.cache / "gguf"

    @classmethod
    def from_environment(cls, environ: Mapping[str, str] = os.environ) -> Paths:
        """Work out every path from ``MODELDECK_CONFIG``, ``MODELDECK_MODEL_DIRS``, ``HF_*`` and ``XDG_*``."""
        home = Path(environ.get("HOME") or Path.home())
        config = Path(environ["MODELDECK_CONFIG"]).expanduser() if environ.get("MODELDECK_CONFIG") else None
        config_file = config or _xdg(environ, "XDG_CONFIG_HOME", home / ".config") / "modeldeck" / "config.toml"
        cache_home = _xdg(environ, "XDG_CACHE_HOME", home / ".cache")
        state = _xdg(environ, "XDG_STATE_HOME", home / ".local" / "state") / "modeldeck"
        folders = environ.get("MODELDECK_MODEL_DIRS")
        return cls(
            config_file=config_file,
            generation_file=config_file.with_name("generation.toml"),
            state=state,
            cache=cache_home / "modeldeck",
            log_file=state / "log" / "modeldeck.log",
            hub_cache=_hub_cache(environ, cache_home),
            model_folders=tuple(Path(f).expanduser() for f in folders.split(":") if f) if folders is not None else None,
        )


def _xdg(environ: Mapping[str, str], name: str, default: Path) -> Path:
    """An XDG folder; a relative value is ignored, as the XDG specification asks."""
    value = Path(environ.get(name, ""))
    return value if value.is_absolute() else default


def _hub_cache(environ: Mapping[str, str], cache_home: Path) -> Path:
    """As huggingface_hub 2.4 (``constants.py``) resolves it, without importing it before the first frame."""
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"):
        if value := environ.get(name):
            return Path(os.path.expandvars(value)).expanduser()
    hf_home = environ.get("HF_HOME")
    root = Path(os.path.expandvars(hf_home)).expanduser() if hf_home else cache_home / "huggingface"
    return root / "hub"
