"""How a model loads when nobody said anything else: in the app and on the command line alike."""

from __future__ import annotations

import msgspec
from msgspec import structs

from modeldeck.backend.models import LoadRequest, ModelFormat, ModelInfo, Quantization
from modeldeck.config.remembered import LoadOptions
from modeldeck.config.settings import Settings

_GB = 10**9


def default_request(settings: Settings, model: ModelInfo) -> LoadRequest:
    """The options of the user's settings; a model that is stored quantized is not quantized once more."""
    plain = model.quantization is not None or model.format is ModelFormat.GGUF
    return LoadRequest(
        model_id=model.id,
        path=model.path,
        device=settings.device,
        dtype=settings.dtype,
        quantization=Quantization.NONE if plain else Quantization(settings.quantization),
        prepared_copy_limit_bytes=int(settings.gguf_copies_gb * _GB),
        size_bytes=model.size_bytes,
        idle_minutes=settings.idle_minutes,
    )


def options_of(request: LoadRequest) -> LoadOptions:
    """What of a request is remembered: how it is loaded, not what."""
    values = {name: getattr(request, name) for name in LoadOptions.__struct_fields__}
    return msgspec.convert(msgspec.to_builtins(values), LoadOptions)


def with_options(request: LoadRequest, options: LoadOptions) -> LoadRequest:
    """The same model, loaded so."""
    values = msgspec.to_builtins(structs.asdict(options))
    return msgspec.convert({**msgspec.to_builtins(request), **values}, LoadRequest)
