"""The only place that knows the XDG folders, HF_HOME and the MODELDECK_* variables."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from platformdirs import PlatformDirs


@dataclass(frozen=True, slots=True)
class Paths:
    """Where everything lies, absolute; reading them creates nothing."""

    config_file: Path
    """The user's ``config.toml``."""
    generation_file: Path
    """``generation.toml``, beside it; written by the program."""
    state: Path
    """What is kept between runs: how models were loaded last, and the log."""
    cache: Path
    """What can be made again: prepared GGUF copies, compiled code, the index of the catalog."""
    log_file: Path
    hub_cache: Path
    """The Hugging Face cache, where huggingface_hub puts it under the same environment."""
    model_folders: tuple[Path, ...] | None
    """From ``MODELDECK_MODEL_DIRS``; None leaves it to ``config.toml``."""

    @property
    def profiles_file(self) -> Path:
        """``profiles.toml``, beside ``generation.toml``; written by the program."""
        return self.generation_file.parent / "profiles.toml"

    @property
    def consents(self) -> Path:
        """The code of models' own that may run."""
        return self.state / "consents.json"

    @property
    def pickle_consents(self) -> Path:
        """The pickled weights that may be read."""
        return self.state / "pickle_consents.json"

    @property
    def templates(self) -> Path:
        """The chat templates that models were loaded with last."""
        return self.state / "templates.json"

    @property
    def remembered_loads(self) -> Path:
        """The options that models were loaded with last."""
        return self.state / "loads.json"

    @property
    def remembered_list(self) -> Path:
        """Favourites, the models that were loaded last, and the order of the list."""
        return self.state / "list.json"

    @property
    def measurements(self) -> Path:
        """What loads took on this machine, for the estimates of later ones."""
        return self.state / "measured.json"

    @property
    def chats(self) -> Path:
        """The conversations, a file each."""
        return self.state / "chats"

    @property
    def crashes(self) -> Path:
        """What is known of the last errors of the program itself, a report each."""
        return self.state / "crashes"

    @property
    def load_times(self) -> Path:
        """How long the stages of loads took on this machine, for what is said of later ones."""
        return self.state / "load_times.json"

    @property
    def gguf_copies(self) -> Path:
        """Prepared safetensors copies of GGUF models."""
        return self.cache / "gguf"

    @property
    def compiled(self) -> Path:
        """What was compiled of models for this machine's GPUs."""
        return self.cache / "compiled"

    @property
    def catalog_index(self) -> Path:
        """The models that were found last."""
        return self.cache / "catalog.jsonl"

    @classmethod
    def from_environment(cls) -> Paths:
        """Work out every path from ``MODELDECK_CONFIG``, ``MODELDECK_MODEL_DIRS``, ``HF_*``, ``XDG_*`` and ``HOME``.

        Raises RuntimeError, in one sentence, where neither ``HOME`` nor the user database names a home folder.
        """
        folders = PlatformDirs("modeldeck", appauthor=False)
        named = os.environ.get("MODELDECK_CONFIG")
        config_file = _absolute(named) if named else folders.user_config_path / "config.toml"
        searched = os.environ.get("MODELDECK_MODEL_DIRS")
        return cls(
            config_file=config_file,
            generation_file=config_file.parent / "generation.toml",
            state=folders.user_state_path,
            cache=folders.user_cache_path,
            log_file=folders.user_log_path / "modeldeck.log",
            hub_cache=_hub_cache(),
            model_folders=None if searched is None else _folder_list(searched),
        )


def _absolute(path: str) -> Path:
    """Expand ``~`` and make absolute, without raising for a user that does not exist."""
    return Path(os.path.abspath(os.path.expanduser(path)))  # noqa: PTH100, PTH111  (Path.expanduser raises)


def _folder_list(text: str) -> tuple[Path, ...]:
    """Folders joined as in ``PATH``, each once."""
    return tuple(dict.fromkeys(_absolute(folder) for folder in text.split(os.pathsep) if folder))


def _hub_cache() -> Path:
    """As huggingface_hub 2.4 (``constants.py``) resolves it, without importing it before the first frame.

    Even an empty variable counts there, and means the working folder.
    """
    home = os.environ.get("XDG_CACHE_HOME", os.path.expanduser("~/.cache"))  # noqa: PTH111  (as over there)
    root = os.environ.get("HF_HOME", os.path.join(home, "huggingface"))  # noqa: PTH118
    default = os.path.join(_expanded(root), "hub")  # noqa: PTH118
    cache = os.environ.get("HF_HUB_CACHE", os.environ.get("HUGGINGFACE_HUB_CACHE", default))
    return Path(os.path.abspath(_expanded(cache)))  # noqa: PTH100


def _expanded(path: str) -> str:
    """Expand ``~``, then ``$VARIABLES``."""
    return os.path.expandvars(os.path.expanduser(path))  # noqa: PTH111
