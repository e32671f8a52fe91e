"""Coverage-guided fuzzing of what reads headers and lines, and the targets that ``test_corpus`` replays.

It needs a package that the tests do not (``.venv/bin/pip install atheris``). Ten minutes for one target, then a small
corpus of what was found::

    .venv/bin/python -m tests.fuzz.coverage_guided gguf /tmp/found tests/fuzz/corpus/gguf -max_total_time=600
    .venv/bin/python -m tests.fuzz.coverage_guided gguf --keep tests/fuzz/corpus/gguf /tmp/found

What follows the target is libFuzzer's: new inputs go into the first folder. JSON is decoded in C, which is not
instrumented, so of ``frames`` it sees little more than whether a line was one.
"""

from __future__ import annotations

import re
import struct
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import Any

_INSTRUMENTED = (
    "modeldeck.backend.catalog.files",
    "modeldeck.backend.catalog.safetensors_header",
    "modeldeck.backend.catalog.gguf_cursor",
    "modeldeck.backend.catalog.gguf_header",
    "modeldeck.backend.protocol",
)
_FOLDER = Path("/dev/shm") if Path("/dev/shm").is_dir() else None
"""A million files are written; None is the usual place."""


def _with_file(read: Callable[[Path], object]) -> Callable[[bytes], object]:
    """A target that finds its input in a file ``x`` of a folder."""
    home = tempfile.TemporaryDirectory(dir=_FOLDER)
    file = Path(home.name) / "x"

    def target(data: bytes, _kept: object = home) -> object:
        file.write_bytes(data)
        return read(file)

    return target


def _safetensors(file: Path) -> None:
    """The input as it is, then with the length that its header really has."""
    from modeldeck.backend.catalog.files import ModelFolder, Unreadable
    from modeldeck.backend.catalog.safetensors_header import read_safetensors_header

    data = file.read_bytes()
    for text in (data, struct.pack("<Q", len(data)) + data + bytes(64)):
        file.write_bytes(text)
        with suppress(Unreadable):
            header = read_safetensors_header(ModelFolder(str(file.parent)), file.name)
            assert header.file_bytes == len(text)
            assert all(0 <= tensor.stored_bytes <= len(text) for tensor in header.tensors)


def _gguf(file: Path) -> None:
    from modeldeck.backend.catalog.files import ModelFolder, Unreadable
    from modeldeck.backend.catalog.gguf_header import read_gguf_header

    with suppress(Unreadable):
        header = read_gguf_header(ModelFolder(str(file.parent)), file.name)
        assert header.parts > 0
        assert header.parameters >= header.expert_elements >= 0


def _frames(data: bytes) -> object:
    """Which messages the input is: the most that can be told of a decoder that is not instrumented."""
    from modeldeck.backend.protocol import ProtocolError, decode_event, decode_request, encode

    event: object = None
    request: object = None
    with suppress(ProtocolError):
        event = decode_event(data)
        assert decode_event(encode(event)) == event
    with suppress(ProtocolError):
        request = decode_request(data)
        assert decode_request(encode(request)) == request
    return type(event), type(request)


TARGETS: Mapping[str, Callable[[bytes], object]] = {
    "safetensors": _with_file(_safetensors),
    "gguf": _with_file(_gguf),
    "frames": _frames,
}
"""Each takes any bytes; whatever it raises is a fault of the program."""


def reached(target: Callable[[bytes], object], data: bytes) -> set[object]:
    """What one input reaches: steps from line to line, errors without their figures, and what the target returns."""
    files = {sys.modules[name].__file__ for name in _INSTRUMENTED}
    found: set[object] = set()
    before: dict[FrameType, int] = {}

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        if frame.f_code.co_filename not in files:
            return None
        if event == "exception":
            found.add((argument[0], re.sub(r"[^ ]*[^A-Za-z ][^ ]*", "", str(argument[1]))))
        found.add((frame.f_code.co_name, before.get(frame), frame.f_lineno))
        before[frame] = frame.f_lineno
        return trace

    sys.settrace(trace)
    try:
        found.add(target(data))
    finally:
        sys.settrace(None)
    return found


def keep(target: Callable[[bytes], object], folder: Path, sources: Sequence[Path]) -> None:
    """Copy into the folder what reaches something that nothing smaller does."""
    for name in _INSTRUMENTED:
        import_module(name)
    known: set[object] = set()
    folder.mkdir(parents=True, exist_ok=True)
    files = [file for source in (folder, *sources) for file in source.iterdir()]
    for number, file in enumerate(sorted(files, key=lambda file: file.stat().st_size)):
        data = file.read_bytes()
        if not (new := reached(target, data) - known):
            continue
        known |= new
        (folder / f"new-{number:04}").write_bytes(data)
    for file in files:
        if file.parent == folder:
            file.unlink()
    for number, file in enumerate(sorted(folder.iterdir())):
        file.rename(folder / f"{number:03}")


def main() -> None:
    """Fuzz one target until libFuzzer's limits end it, and the process with it; or keep what it has found."""
    target = TARGETS[sys.argv[1]]
    if sys.argv[2] == "--keep":
        keep(target, Path(sys.argv[3]), [Path(source) for source in sys.argv[4:]])
        return
    atheris = import_module("atheris")
    with atheris.instrument_imports(include=list(_INSTRUMENTED)):
        for name in _INSTRUMENTED:
            import_module(name)
    atheris.Setup([sys.argv[0], "-max_len=4096", "-timeout=5", "-rss_limit_mb=2048", *sys.argv[2:]], target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
