"""From a request to a model that can reply at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from transformers import AutoConfig, AutoTokenizer, PretrainedConfig
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from modeldeck.backend.engine.absurd import refuse_absurd
from modeldeck.backend.engine.adapting import put_adapter, refuse_impossible_adapter
from modeldeck.backend.engine.chat import processor_template
from modeldeck.backend.engine.devices import Placement, placement_for
from modeldeck.backend.engine.failures import REMOTE_CODE_SENTENCE, first_line, is_fatal, is_out_of_memory, trace
from modeldeck.backend.engine.generating import Replier
from modeldeck.backend.engine.heap import tight_heap
from modeldeck.backend.engine.images import Images
from modeldeck.backend.engine.kernels import drop_kernels
from modeldeck.backend.engine.metering import peak_bytes
from modeldeck.backend.engine.model_classes import auto_class, is_multimodal, replying_part
from modeldeck.backend.engine.opening import open_beside
from modeldeck.backend.engine.pickles import guarded_pickles
from modeldeck.backend.engine.prepared import UnpreparedCopy, is_current
from modeldeck.backend.engine.progress import Progress, tensor_sizes, weights_reported
from modeldeck.backend.engine.quantizing import quantization_config, refuse_impossible
from modeldeck.backend.engine.residency import read_meanwhile
from modeldeck.backend.engine.stored import stored_bytes
from modeldeck.backend.errors import (
    LoadError,
    NotEnoughMemory,
    QuantizationUnavailable,
    RemoteCodeRefused,
    UnsupportedModel,
)
from modeldeck.backend.gguf_copies import GgufCopies
from modeldeck.backend.models import Attention, LoadedModel, LoadRequest, LoadStage, Quantization
from modeldeck.backend.text import clean_name

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

COPIES_VARIABLE = "MODELDECK_GGUF_COPIES"
"""The environment variable that names the folder of prepared GGUF copies."""
_UNLIMITED = 10**9
"""Tokenizers that know no limit say 1e30."""

Log = Callable[[str], None]


@dataclass(frozen=True)
class Source:
    """What is read: a folder as transformers writes it, or a GGUF file."""

    folder: Path
    gguf: Path | None = None
    """Set when the weights come out of this file."""
    prepared_from: Path | None = None
    """Set when the folder is a prepared copy of this file."""

    @property
    def names(self) -> dict[str, Any]:
        """What every ``from_pretrained`` is told."""
        names: dict[str, Any] = {"pretrained_model_name_or_path": str(self.folder), "local_files_only": True}
        return names | ({"gguf_file": self.gguf.name} if self.gguf else {})


@dataclass
class Loaded:
    """A model that has produced its first token."""

    request: LoadRequest
    model: PreTrainedModel
    replier: Replier
    context_length: int | None
    placement: Placement
    notes: list[str] = field(default_factory=list)
    unprepared: UnpreparedCopy | None = None
    """The copy that is worth writing now, or None."""

    def describe(self, seconds: float) -> LoadedModel:
        """What really was done, from the model itself."""
        return LoadedModel(
            model_id=self.request.model_id,
            device=self.placement.devices_of(self.model),
            dtype=str(self.model.dtype).removeprefix("torch."),
            quantization=_quantization_of(self.model, self.request),
            context_length=self.context_length,
            weight_bytes=stored_bytes(self.model),
            parameters=int(self.model.num_parameters()),
            has_chat_template=self.replier.prompts.has_template,
            seconds=seconds,
            takes_images=self.replier.takes_images,
            can_think=self.replier.prompts.can_think,
            template_digest=self.replier.prompts.digest,
            attention=str(getattr(self.model.config, "_attn_implementation", None) or ""),
            peaks=self.placement.named(peak_bytes(self.model)),
            notes=tuple(self.notes),
        )


def load_model(request: LoadRequest, progress: Progress, log: Log) -> Loaded:
    """Load what was asked for. Raises LoadError, or whatever the libraries raise (see ``failures``)."""
    path = Path(request.path)
    if not path.exists():
        raise LoadError(f"There is nothing at {path}; it may have been moved or deleted.")
    if path.suffix.lower() != ".gguf":
        return _load(Source(path), request, progress, log)
    placement_for(request)  # a device that is not there says nothing about the copy
    copies = _copies()
    copy = copies.use(path) if copies else None
    if copies and copy and not is_current(copy):
        log("The prepared copy was made by another version and is removed; this load makes a new one.")
        copies.remove(path)
    elif copies and copy:
        try:
            return _load(Source(copy, prepared_from=path), request, progress, log)
        except Exception as error:  # a damaged copy costs time, never the load: the file itself is still there
            if not _blames_copy(error, request):
                raise
            log(f"The prepared copy could not be read and is removed: {first_line(error)}")
            copies.remove(path)
    return _load(Source(path.parent, gguf=path), request, progress, log, copies)


def _blames_copy(error: Exception, request: LoadRequest) -> bool:
    """Whether an error may come from what is in the copy, and not from the device or from what was asked for."""
    if isinstance(error, LoadError):
        return not isinstance(error, (NotEnoughMemory, QuantizationUnavailable))
    return not (is_out_of_memory(error) or is_fatal(error) or request.quantization is not Quantization.NONE)


def _copies() -> GgufCopies | None:
    folder = os.environ.get(COPIES_VARIABLE)
    return GgufCopies(Path(folder)) if folder else None


def _load(
    source: Source, request: LoadRequest, progress: Progress, log: Log, copies: GgufCopies | None = None
) -> Loaded:
    placement = placement_for(request)
    with _quick(source, progress), guarded_pickles(allowed=request.allow_pickles):
        progress.stage(LoadStage.READING_CONFIG)
        config = _read_config(source, request)
        drop_kernels(config, log)
        refuse_impossible(request, config, is_gguf=source.gguf is not None)
        refuse_impossible_adapter(request.adapter)
        open_beside(placement.gpus)
        with _reading(source, placement, progress):
            progress.stage(LoadStage.READING_TOKENIZER)
            tokenizer = _read_tokenizer(source, request, config)
            with tight_heap():
                model = _read_weights(source, request, config, placement, progress)
                put_adapter(model, request.adapter)
                context_length = _context_length(config, tokenizer, request.context_limit)
                progress.stage(LoadStage.WARMING_UP)
                multimodal = is_multimodal(model.config)
                images = Images(source.folder, multimodal=multimodal, trusted=request.trust_remote_code)
                replier = Replier(model, tokenizer, context_length, log, images)
                replier.warm_up()  # the first token may rewrite weights: bitsandbytes repacks them for some CPUs
    loaded = Loaded(request, model, replier, context_length, placement)
    if request.adapter:
        loaded.notes.append(f"With the adapter {clean_name(request.adapter, 400)}.")
    if source.prepared_from:
        loaded.notes.append("Loaded from the prepared copy of the GGUF file.")
    if source.gguf:
        loaded.notes.append(f"The GGUF weights were dequantized to {str(model.dtype).removeprefix('torch.')}.")
        if copies:
            loaded.unprepared = UnpreparedCopy.of(source.gguf, model, tokenizer, copies, request, log)
    return loaded


def _reading(source: Source, placement: Placement, progress: Progress) -> AbstractContextManager[None]:
    """Weights that stay mapped are read beside everything else; elsewhere they are read by whoever moves them."""
    if source.gguf is not None or placement.device_map is not None:
        return nullcontext()
    return read_meanwhile(source.folder, progress)


def _quick(source: Source, progress: Progress) -> AbstractContextManager[None]:
    if source.gguf is None:
        return nullcontext()
    from modeldeck.backend.engine.gguf import quick_gguf  # imports gguf, which only such files need

    return quick_gguf(progress)


def _read_config(source: Source, request: LoadRequest) -> PretrainedConfig:
    """The model's config. Raises RemoteCodeRefused when only the model's own code could read it."""
    if source.gguf is None:
        if not (source.folder / "config.json").is_file():
            raise LoadError(f"{source.folder} has no config.json, so it is not a model that transformers can load.")
        raw, _ = PretrainedConfig.get_config_dict(str(source.folder), local_files_only=True)
        refuse_absurd(raw)
        if not request.trust_remote_code:
            _refuse_own_code(raw)
    config: PretrainedConfig = AutoConfig.from_pretrained(  # nosec B615  # a folder of this machine, offline
        **source.names, trust_remote_code=request.trust_remote_code
    )
    return config


def _refuse_own_code(raw: Mapping[str, Any]) -> None:
    """Transformers says the same, but only for the first of the three classes that may come from such code."""
    if raw.get("auto_map") and raw.get("model_type") not in CONFIG_MAPPING:
        raise RemoteCodeRefused(REMOTE_CODE_SENTENCE)


def _read_tokenizer(source: Source, request: LoadRequest, config: PretrainedConfig) -> PreTrainedTokenizerBase:
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(  # nosec B615  # as above
            **source.names, config=config, trust_remote_code=request.trust_remote_code
        )
    except (OSError, ValueError, TypeError, KeyError, ImportError) as error:
        if "trust_remote_code" in str(error):
            raise
        raise LoadError(f"The model's tokenizer could not be read: {first_line(error)}", trace(error)) from error
    if source.gguf is None and not tokenizer.chat_template:
        tokenizer.chat_template = processor_template(source.folder)
    return tokenizer


def _read_weights(
    source: Source,
    request: LoadRequest,
    config: PretrainedConfig,
    placement: Placement,
    progress: Progress,
) -> PreTrainedModel:
    quantization = quantization_config(request, config)
    stage = LoadStage.READING_WEIGHTS if quantization is None else LoadStage.QUANTIZING
    device_map = placement.device_map
    options: dict[str, Any] = {"max_memory": placement.max_memory} if placement.max_memory is not None else {}
    if request.attention is not Attention.AUTO:
        options["attn_implementation"] = request.attention.value
    if quantization is not None:
        options["quantization_config"] = quantization
        device_map = device_map or {"": "cpu"}
    if source.gguf is None:
        options["use_safetensors"] = _has_safetensors(source.folder)
    loader = auto_class(config, trusted=request.trust_remote_code, is_gguf=source.gguf is not None)
    with weights_reported(progress, stage, tensor_sizes(source.folder) if source.gguf is None else {}):
        model: PreTrainedModel = loader.from_pretrained(
            **source.names,
            config=replying_part(config),
            dtype=request.dtype,
            device_map=device_map,
            trust_remote_code=request.trust_remote_code,
            **options,
        )
    if not model.can_generate():
        raise UnsupportedModel(f"{type(model).__name__} generates no text.")
    return model


def _has_safetensors(folder: Path) -> bool:
    """Pickled weights are read only where there are no others, if at all (``pickles``)."""
    if any(folder.glob("*.safetensors")):
        return True
    if not any(folder.glob("*.bin")):
        raise LoadError(f"{folder} has no weights (*.safetensors or *.bin); the download may be incomplete.")
    return False


def _context_length(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase, limit: int | None) -> int | None:
    """Tokens; by the config, else by the tokenizer, else unknown; never more than the limit that was asked for."""
    length = getattr(config.get_text_config(), "max_position_embeddings", None) or tokenizer.model_max_length
    known = int(length) if length and 0 < length < _UNLIMITED else None
    return known if limit is None else min(limit, known or limit)


def _quantization_of(model: PreTrainedModel, request: LoadRequest) -> str:
    """``none``, what bitsandbytes did, or the method of a checkpoint that came quantized and stayed so."""
    if request.quantization is not Quantization.NONE:
        return str(request.quantization)
    found = getattr(model.config, "quantization_config", None)
    method = found.get("quant_method") if isinstance(found, dict) else getattr(found, "quant_method", None)
    name = str(getattr(method, "value", method) or "none")
    if name == "gguf" and not any(parameter.dtype == torch.uint8 for parameter in model.parameters()):
        return "none"  # transformers unpacked the blocks and kept the word
    return name
