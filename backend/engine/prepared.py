"""The prepared copy of a GGUF model: what transformers made of it, as safetensors, written while nobody waits."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import torch
import transformers

from modeldeck.backend.engine.failures import first_line
from modeldeck.backend.gguf_copies import GgufCopies
from modeldeck.backend.models import LoadRequest

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_CHUNK = 4 * 2**20
"""Bytes written at one go: a few milliseconds, for which a reply may have to wait."""
_DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}
_UNLIMITED = 10**9
_STAMP = "made-by.json"
_FORMAT = 1
"""Raised when ``_write_all`` writes something else than before."""


def is_current(copy: Path) -> bool:
    """Whether a copy was made as this program and this transformers would make it now."""
    try:
        return (copy / _STAMP).read_text() == _stamp()
    except (OSError, ValueError):
        return False


def _stamp() -> str:
    return json.dumps({"format": _FORMAT, "transformers": transformers.__version__})


@dataclass(frozen=True)
class UnpreparedCopy:
    """A model that came out of a GGUF file, and where its copy shall go."""

    gguf: Path
    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    copies: GgufCopies

    @classmethod
    def of(
        cls,
        gguf: Path,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        copies: GgufCopies,
        request: LoadRequest,
        log: Callable[[str], None],
    ) -> UnpreparedCopy | None:
        """The copy to write, or None, and then the log says why it is not."""
        state = _unshared(model.state_dict())
        size = sum(tensor.numel() * tensor.element_size() for tensor in state.values())
        reason = ""
        if request.prepared_copy_limit_bytes <= 0:
            reason = "the settings keep none"
        elif request.dtype not in ("auto", str(model.dtype).removeprefix("torch.")) or model.dtype != torch.float32:
            reason = f"it was loaded in {str(model.dtype).removeprefix('torch.')}, and a copy holds full precision"
        elif not all(tensor.dtype in _DTYPES and not tensor.is_meta for tensor in state.values()):
            reason = "its weights are packed or not in memory"
        elif not copies.room_for(size, request.prepared_copy_limit_bytes):
            reason = f"{size / 2**30:.1f} GiB is more than the disk or the limit for copies has room for"
        if reason:
            log(f"No prepared copy of {gguf.name} is written: {reason}.")
            return None
        return cls(gguf, model, tokenizer, copies)


class CopyWriter:
    """Writes one copy in a thread that steps aside while a reply is generated.

    The end of the process at any moment leaves a draft that nobody will take for a copy.
    """

    def __init__(self, unprepared: UnpreparedCopy, log: Callable[[str], None], written: Callable[[Path], None]) -> None:
        self._unprepared = unprepared
        self._log = log
        self._written = written
        self._free = threading.Event()
        self._free.set()
        self._turn = threading.Lock()
        threading.Thread(target=self._run, name="copy", daemon=True).start()

    def pause(self) -> None:
        """Return as soon as the writer has stepped aside."""
        self._free.clear()
        self._turn.acquire()

    def resume(self) -> None:
        """Let the writer go on; to be called once for each ``pause``."""
        self._turn.release()
        self._free.set()

    def _run(self) -> None:
        work = self._unprepared
        try:
            draft = work.copies.draft(work.gguf)
        except OSError as error:
            self._log(f"No prepared copy of {work.gguf.name} is written: {first_line(error)}")
            return
        try:
            for _ in self._steps(draft):
                pass
            folder = work.copies.publish(draft, work.gguf)
            self._log(f"A prepared copy of {work.gguf.name} was written to {folder}; the next load will be quick.")
            self._written(work.gguf)
        except Exception as error:  # noqa: BLE001  # the last handler of this thread: the model is loaded and stays so
            work.copies.discard(draft)
            self._log(f"The prepared copy of {work.gguf.name} could not be written: {first_line(error)}")

    def _steps(self, draft: Path) -> Iterator[None]:
        """Do the work step by step, each in a turn that a reply may take first."""
        steps = _write_all(self._unprepared, draft)
        while True:
            self._free.wait()
            with self._turn:
                if next(steps, self) is self:
                    return
            yield


def _write_all(work: UnpreparedCopy, draft: Path) -> Iterator[None]:
    """Everything that ``from_pretrained`` wants to find, the weights in chunks."""
    (draft / _STAMP).write_text(_stamp())
    config = deepcopy(work.model.config)
    config.__dict__.pop("quantization_config", None)  # the weights are plain floats by now
    config.name_or_path = ""
    config.architectures = [type(work.model).__name__]
    config.dtype = work.model.dtype
    config.save_pretrained(str(draft))
    if work.model.generation_config is not None:
        work.model.generation_config.save_pretrained(str(draft))
    yield
    length = getattr(config.get_text_config(), "max_position_embeddings", None)
    if length and work.tokenizer.model_max_length > _UNLIMITED:
        work.tokenizer.model_max_length = int(length)
    work.tokenizer.save_pretrained(str(draft))
    yield
    with (draft / "model.safetensors").open("wb") as stream:
        yield from _write_weights(stream, _unshared(work.model.state_dict()))


def _unshared(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Tied weights once, under their first name; the config ties them again."""
    seen: set[tuple[int, torch.Size]] = set()
    kept = {}
    for name, tensor in state.items():
        key = (tensor.data_ptr(), tensor.shape)
        if key not in seen:
            seen.add(key)
            kept[name] = tensor
    return kept


def _write_weights(stream: BinaryIO, state: dict[str, torch.Tensor]) -> Iterator[None]:
    """The safetensors format: the length of the header, the header, the bytes (huggingface/safetensors, README).

    ``save_file`` writes the same, but in one call that nothing can interrupt.
    """
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, tensor in state.items():
        end = at + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": _DTYPES[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [at, end]}
        at = end
    encoded = json.dumps(header, separators=(",", ":")).encode()
    encoded += b" " * (-len(encoded) % 8)
    stream.write(len(encoded).to_bytes(8, "little") + encoded)
    for tensor in state.values():
        data: Any = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy()
        for start in range(0, len(data), _CHUNK):
            stream.write(memoryview(data)[start : start + _CHUNK])
            yield
