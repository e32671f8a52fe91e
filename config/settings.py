"""What the user may set in ``config.toml``, declared once: file, errors, help and ``doctor`` read it from here."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Literal

from msgspec import Meta, Struct

from modeldeck.config.paths import Paths

Device = Annotated[
    str,
    Meta(
        pattern=r"^(auto|cpu|mps|cuda|cuda:[0-9]{1,2}(\+cuda:[0-9]{1,2}){0,15})\Z",
        extra={"limits": "auto, cpu, mps, cuda, cuda:N, or several as in cuda:0+cuda:2"},
    ),
]
Folder = Annotated[str, Meta(min_length=1)]
MOST_IDLE_MINUTES = 100_000
IdleMinutes = Annotated[
    float,
    Meta(
        ge=0,
        le=MOST_IDLE_MINUTES,
        title="Idle time-out",
        description="A model is unloaded after so many minutes without a reply; 0 keeps it",
    ),
]
DtypeName = Literal["auto", "float32", "float16", "bfloat16"]
QuantizationName = Literal[
    "none",
    "8bit",
    "4bit",
    "4bit-fp4",
    "torchao-int8",
    "torchao-int4",
    "hqq-8bit",
    "hqq-4bit",
    "quanto-int8",
    "quanto-int4",
]
DeviceMapName = Literal["auto", "single", "sequential"]
AttentionName = Literal["auto", "sdpa", "eager", "flash_attention_2"]


class Settings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The user's own settings; the program reads them and never writes them."""

    model_folders: Annotated[
        tuple[Folder, ...], Meta(title="Model folders", description="Folders that are searched for models")
    ] = ("~/models",)
    device: Annotated[
        Device,
        Meta(title="Device", description="Where models load"),
    ] = "auto"
    dtype: Annotated[
        DtypeName, Meta(title="Dtype", description="The precision that models load in; auto is as stored")
    ] = "auto"
    quantization: Annotated[
        QuantizationName, Meta(title="Quantization", description="What is done to the weights while a model loads")
    ] = "none"
    max_models: Annotated[
        int,
        Meta(ge=1, le=9, title="Models held", description="How many models may be held at a time, if memory allows"),
    ] = 4
    idle_minutes: IdleMinutes = 0.0
    spare_engine: Annotated[
        bool, Meta(title="Spare engine", description="Keep one engine ready, so that loads skip the imports (350 MB)")
    ] = True
    prefetch: Annotated[
        bool,
        Meta(title="Read ahead", description="Read a model's files into free memory while its dialog is open"),
    ] = True
    engine_python: Annotated[
        str,
        Meta(
            title="Engine Python",
            description="Interpreter of an environment that has this machine's torch; empty is the one of modeldeck",
        ),
    ] = ""
    stall_seconds: Annotated[
        float,
        Meta(ge=10, le=86_400, title="Stall time", description="A load without any progress for so long is ended"),
    ] = 300.0
    gguf_copies_gb: Annotated[
        float,
        Meta(ge=0, le=10_000, title="GGUF copies", description="Disk for prepared copies of GGUF models; 0 keeps none"),
    ] = 20.0
    theme: Annotated[str, Meta(title="Theme", description="A Textual theme, such as textual-dark or ansi-dark")] = (
        "textual-dark"
    )
    ascii: Annotated[bool, Meta(title="ASCII", description="Draw with ASCII characters only")] = False
    mouse: Annotated[bool, Meta(title="Mouse", description="Let the program have the mouse")] = True
    keys: Annotated[
        dict[str, str], Meta(title="Keys", description='Other keys for actions, such as "engine.cancel" = "ctrl+x"')
    ] = {}  # msgspec copies an empty default


def model_folders(settings: Settings, paths: Paths) -> tuple[Path, ...]:
    """The folders to search, absolute and each once; ``MODELDECK_MODEL_DIRS`` replaces those of ``config.toml``.

    In ``config.toml``, ``~`` and ``$VARIABLES`` are expanded, and a relative folder counts from that file's own.
    """
    if paths.model_folders is not None:
        return paths.model_folders
    base = paths.config_file.parent
    named = (os.path.expanduser(os.path.expandvars(folder)) for folder in settings.model_folders)  # noqa: PTH111  (Path.expanduser raises for an unknown user)
    return tuple(dict.fromkeys(Path(os.path.abspath(base / folder)) for folder in named))  # noqa: PTH100  (Path.absolute leaves "..")
