"""Which files of a repository are fetched, whether the disk has room for them, and the fetching."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from huggingface_hub import HfApi, constants, get_token, snapshot_download
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]  # public, but not in its __all__

from modeldeck.backend.downloader.leftovers import remove_leftovers
from modeldeck.backend.downloader.progress import Reporter
from modeldeck.backend.errors import DownloadError, OnlyPickles
from modeldeck.backend.hub_endpoint import is_in_the_clear
from modeldeck.backend.pickled_weights import ENDINGS as PICKLES
from modeldeck.backend.text import clean_name

MARGIN_BYTES = 2**30
"""What must stay free on the disk."""

_REVISION = re.compile(r"(?!.*\.\.)[A-Za-z0-9][A-Za-z0-9._/-]{0,199}")
_OTHER_RUNTIMES = (".h5", ".msgpack", ".onnx", ".onnx_data", ".ot", ".tflite", ".mlmodel", ".mlpackage", ".pb")
_OTHER_FOLDERS = frozenset({"original", "onnx", "openvino", "coreml", "metal"})


def fetch(repo_id: str, revision: str | None, reporter: Reporter, *, allow_pickles: bool = False) -> Path:
    """Download a model; returns its snapshot folder. Raises DownloadError and what huggingface_hub raises."""
    check_names(repo_id, revision)
    check_endpoint(constants.ENDPOINT)
    api = HfApi()
    info = api.model_info(repo_id, revision=revision)
    commit = info.sha or ""
    listed = [sibling.rfilename for sibling in info.siblings or ()]
    files = wanted_files(repo_id, listed, allow_pickles=allow_pickles)
    planned = snapshot_download(
        repo_id, revision=commit, allow_patterns=_literally(files), tqdm_class=reporter.bar(), dry_run=True
    )
    total = sum(file.file_size or 0 for file in planned if file.will_download)
    remove_leftovers(repo_id, Path(constants.HF_HUB_CACHE))
    check_room(repo_id, total, Path(constants.HF_HUB_CACHE))
    reporter.begin(total)
    folder = Path(  # what was examined, even when the name means something newer by now
        snapshot_download(repo_id, revision=commit, allow_patterns=_literally(files), tqdm_class=reporter.bar())
    )
    _remember(folder, revision or constants.DEFAULT_REVISION)
    remove_leftovers(repo_id, Path(constants.HF_HUB_CACHE))  # those that were too young before
    reporter.finish()
    return folder


def _remember(snapshot: Path, revision: str) -> None:
    """Tell the cache which commit a name stands for, as huggingface_hub does when it is given the name."""
    if revision != snapshot.name:
        reference = snapshot.parents[1] / "refs" / revision
        reference.parent.mkdir(parents=True, exist_ok=True)
        draft = reference.with_name(f"{reference.name}.{os.getpid()}.tmp")
        draft.write_text(snapshot.name)
        draft.replace(reference)


def check_endpoint(endpoint: str) -> None:
    """Raises DownloadError where the user's token would go over the network for all to read."""
    if is_in_the_clear(endpoint) and not constants.HF_HUB_DISABLE_IMPLICIT_TOKEN and get_token() is not None:
        raise DownloadError(
            f"Your token would be sent in the clear to {clean_name(endpoint.rpartition('@')[2])}: give HF_ENDPOINT an "
            "address with https, or set HF_HUB_DISABLE_IMPLICIT_TOKEN=1 to download without the token."
        )


def check_names(repo_id: str, revision: str | None) -> None:
    """Raises DownloadError when the hub can have no such name."""
    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise DownloadError(f"{repo_id!r} is not a Hub id; it looks like organisation/name.", str(error)) from error
    if revision is not None and _REVISION.fullmatch(revision) is None:
        raise DownloadError(f"{revision!r} is not a revision; give a branch, a tag or a commit.")


def wanted_files(repo_id: str, files: Sequence[str], *, allow_pickles: bool = False) -> list[str]:
    """What transformers may need: no weights of other runtimes, and pickles only where they are allowed and needed.

    Raises OnlyPickles, and DownloadError when there are several GGUF files and nothing else to load.
    """
    own = [name for name in files if not _is_foreign(name)]
    plain = [name for name in own if not name.lower().endswith(PICKLES)]
    if _have(own, ".safetensors"):
        return [name for name in plain if not name.lower().endswith(".gguf")]
    gguf = [name for name in own if name.lower().endswith(".gguf")]
    pickled = _have(own, *PICKLES)
    if pickled and allow_pickles:
        return [name for name in own if len(gguf) == 1 or not name.lower().endswith(".gguf")]
    if pickled and len(gguf) != 1:
        raise OnlyPickles(
            f"{repo_id} has pickled weights only, a form that can hold code, so they are not downloaded unasked."
        )
    if len(gguf) > 1:
        raise DownloadError(
            f"{repo_id} has {len(gguf)} GGUF files; fetch the one you want into a model folder with: "
            f"hf download {repo_id} FILE --local-dir ~/models",
            "\n".join(gguf),
        )
    if not gguf:
        raise DownloadError(f"{repo_id} has no weights that transformers can load.", "\n".join(files))
    return plain


def check_room(repo_id: str, needed: int, folder: Path) -> None:
    """Raises DownloadError, with the figures, when the disk has too little room."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    free = shutil.disk_usage(existing).free
    if needed + MARGIN_BYTES > free:
        raise DownloadError(
            f"{repo_id} takes {_gib(needed)} and {existing} has {_gib(free)} free ({_gib(MARGIN_BYTES)} must stay "
            "free); make room, or set HF_HOME to a folder on a larger disk."
        )


def _is_foreign(name: str) -> bool:
    path = PurePosixPath(name)
    return name.lower().endswith(_OTHER_RUNTIMES) or bool(_OTHER_FOLDERS & set(path.parts[:-1]))


def _have(files: Iterable[str], *endings: str) -> bool:
    return any(name.lower().endswith(endings) for name in files)


def _literally(files: Sequence[str]) -> list[str]:
    """Patterns that match these names and no others."""
    return [re.sub(r"([*?\[])", r"[\1]", name) for name in files]


def _gib(number: int) -> str:
    return f"{number / 2**30:.1f} GiB"
