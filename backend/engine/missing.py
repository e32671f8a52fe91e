"""Which package a load lacked, and the line that installs it."""

from __future__ import annotations

import re
import shlex
import sys
from importlib.util import find_spec

_PIP = re.compile(r"pip install ((?:-U |--upgrade )?[A-Za-z0-9][\w.\-]*(?:\[[\w,]+\])?(?: [A-Za-z0-9][\w.\-]*)*)")
_REQUIRES = re.compile(r"requires? (?:the )?(?:latest )?`?([A-Za-z0-9][\w.\-]*)`? (?:library|package)", re.IGNORECASE)
_NAMES = {"PIL": "pillow", "cv2": "opencv-python", "sklearn": "scikit-learn", "yaml": "PyYAML"}
"""What pip calls a package that is imported under another name."""
_OURS = frozenset({"modeldeck", "torch", "transformers", "accelerate"})
"""What is certainly there; an error about these is another one."""
_MOST_CAUSES = 5


def missing_package(error: BaseException) -> str:
    """What pip would have to install, names separated by spaces; empty where nothing is known to be missing."""
    cause: BaseException | None = error
    for _ in range(_MOST_CAUSES):
        if cause is None:
            break
        if isinstance(cause, ModuleNotFoundError) and cause.name:
            name = cause.name.partition(".")[0]
            return "" if name in _OURS else _NAMES.get(name, name.replace("_", "-"))
        if isinstance(cause, ImportError) and (named := _PIP.search(str(cause)) or _REQUIRES.search(str(cause))):
            return _without_flags(named[1])
        cause = cause.__cause__ or cause.__context__
    return ""


def pip_line(error: ImportError) -> str:
    """The command that mends an import which every load needs: what is missing is installed, what is old renewed."""
    name = (error.name or "").partition(".")[0] or "modeldeck"
    upgrade = ["--upgrade"] if find_spec(name) is not None else []
    return shlex.join([sys.executable, "-m", "pip", "install", *upgrade, _NAMES.get(name, name)])


def _without_flags(words: str) -> str:
    """The packages alone; a sentence that goes on behind them is no part of it."""
    kept = []
    for word in words.split():
        if word in {"and", "or", "to", "then", "first", "if", "for"}:
            break
        if not word.startswith("-"):
            kept.append(_NAMES.get(word, word).rstrip("."))
    return " ".join(kept)
