"""The words that both processes and the whole program share. Bytes are bytes, times are seconds."""

from __future__ import annotations

from enum import StrEnum

from msgspec import Struct

from modeldeck.backend.model_shape import AdapterShape, ModelShape, WeightBlock


class ModelFormat(StrEnum):
    """How the weights lie on disk."""

    SAFETENSORS = "safetensors"
    PICKLE = "pickle"
    GGUF = "gguf"
    ADAPTER = "adapter"
    """A LoRA adapter: no model of its own; it goes on top of its base model."""


class ModelSource(StrEnum):
    """Where the catalog found a model."""

    FOLDER = "folder"
    HUB_CACHE = "hub cache"
    STARTER = "starter"


class Quantization(StrEnum):
    """What is done to the weights while they are loaded; ``backend.quantizers`` tells by which package."""

    NONE = "none"
    INT8 = "8bit"
    """LLM.int8() of bitsandbytes."""
    NF4 = "4bit"
    """nf4 of bitsandbytes."""
    FP4 = "4bit-fp4"
    """fp4 of bitsandbytes."""
    TORCHAO_INT8 = "torchao-int8"
    """Weights only, a scale for each output feature."""
    TORCHAO_INT4 = "torchao-int4"
    """Weights only, in groups of 128."""
    HQQ_8 = "hqq-8bit"
    """In groups of 64."""
    HQQ_4 = "hqq-4bit"
    QUANTO_INT8 = "quanto-int8"
    """Weights only, a scale for each output feature."""
    QUANTO_INT4 = "quanto-int4"
    """Weights only, in groups of 128."""

    @property
    def is_bnb_4bit(self) -> bool:
        """Whether double quantization and a compute dtype can be chosen."""
        return self in {Quantization.NF4, Quantization.FP4}


class DeviceMap(StrEnum):
    """How transformers deals a model out to several devices; on a single one there is nothing to deal out."""

    AUTO = "auto"
    """The GPUs are filled evenly; what finds no room goes to RAM. transformers 5.23 calls it ``balanced``, too."""
    SINGLE = "single"
    """Everything on the first of them."""
    SEQUENTIAL = "sequential"
    """One GPU is filled before the next."""


class Attention(StrEnum):
    """How attention is computed, in transformers' words; kernels from the hub are not offered."""

    AUTO = "auto"
    """What transformers takes: sdpa where the model's class has it, else eager."""
    SDPA = "sdpa"
    EAGER = "eager"
    """Plain matrices of tokens by tokens."""
    FLASH_2 = "flash_attention_2"
    """Of the package flash-attn, on GPUs, in 16 bits."""


class ModelInfo(Struct, frozen=True, kw_only=True):
    """A model on disk, as its own files describe it; nothing here needs torch."""

    id: str
    """Unique and stable: ``org/name@revision``, an absolute path, or ``starter``."""
    name: str
    """What people call it; untrusted text."""
    path: str
    """The folder to load from, or the ``.gguf`` file. Absolute."""
    source: ModelSource
    format: ModelFormat | None = None
    """None when no weights were found."""
    architecture: str | None = None
    """``model_type`` of config.json or ``general.architecture`` of the GGUF header."""
    parameters: int | None = None
    """Counted from tensor shapes; None when unknown."""
    dtype: str | None = None
    """The dtype in which most weights are stored, in torch's words (``bfloat16``)."""
    quantization: str | None = None
    """How the stored weights are quantized already (``Q4_1``, ``awq``), or None."""
    quantization_details: str | None = None
    """The same at more length (``4 bits in groups of 128``, ``Q4_K 86%, Q6_K 13%``), or None."""
    context_length: int | None = None
    """Tokens."""
    size_bytes: int = 0
    """All weight files together."""
    has_chat_template: bool = False
    needs_remote_code: bool = False
    """config.json or tokenizer_config.json names code of the model's own (``auto_map``)."""
    architecture_class: str | None = None
    """The first of ``architectures`` in config.json (``LlamaForCausalLM``)."""
    shape: ModelShape | None = None
    """The sizes of the network; None where no configuration could be read."""
    weights: tuple[WeightBlock, ...] = ()
    """What the weights are made of, from the headers; empty where that is not known (pickles, broken files)."""
    load_dtype: str | None = None
    """The dtype that config.json names, into which everything is loaded unless another one is asked for; may differ
    from the one in which most weights are stored."""
    active_parameters: int | None = None
    """Of a mixture of experts: those that one token goes through. None for a dense model, or where it is unknown."""
    modality: str = "text"
    """What goes in besides text, in the hub's words: ``text``, ``image-text``, ``audio-text``, ``any``; ``encoder`` for
    a model that generates nothing."""
    licence: str | None = None
    """From the model card or the GGUF header; untrusted text, cleaned."""
    tags: tuple[str, ...] = ()
    """From the model card; untrusted text, cleaned."""
    revision: str | None = None
    """The commit, in the hub's cache."""
    refs: tuple[str, ...] = ()
    """The branches and tags that stand for this commit here (``main``)."""
    base_model: str | None = None
    """Of an adapter: the name or path of the model it belongs to, as its configuration says it; untrusted text."""
    adapter: AdapterShape | None = None
    """Of an adapter: what it changes."""
    file_count: int = 0
    """Files that belong to the model, weights and all others."""
    disk_bytes: int = 0
    """What all of them take on disk."""
    last_used: float | None = None
    """Seconds since the epoch: when the weights were read last, as far as the file system keeps it."""
    problems: tuple[str, ...] = ()
    """Why this model cannot be loaded, one sentence each; empty when nothing is wrong."""

    @property
    def loadable(self) -> bool:
        """Whether a load may be tried."""
        return not self.problems and self.format is not ModelFormat.ADAPTER

    @property
    def why_not_loadable(self) -> str:
        """The first reason why it cannot be loaded, a sentence; empty where a load may be tried."""
        if self.problems:
            return self.problems[0]
        if self.format is not ModelFormat.ADAPTER:
            return ""
        if self.base_model is None:
            return "It is an adapter and no model of its own, and its files do not name its base model."
        return f"It is an adapter and no model of its own: load its base model, {self.base_model}."


class LoadRequest(Struct, frozen=True, kw_only=True):
    """Which model to load, and how."""

    model_id: str
    path: str
    """The folder, or the ``.gguf`` file."""
    device: str = "auto"
    """``auto``, ``cuda``, ``cuda:N``, ``mps`` or ``cpu``; several GPUs are joined with ``+``: ``cuda:0+cuda:2``."""
    dtype: str = "auto"
    """``auto`` (as stored), ``float32``, ``float16`` or ``bfloat16``."""
    quantization: Quantization = Quantization.NONE
    double_quantization: bool = True
    """Of nf4 and fp4: whether the scales are quantized, too."""
    compute_dtype: str = "auto"
    """Of nf4 and fp4: what they are computed in; ``auto`` is the model's own dtype."""
    device_map: DeviceMap = DeviceMap.AUTO
    """Where there are several devices."""
    memory_limits: dict[str, int] = {}
    """The most bytes of weights on a device, by its name (``cuda:0``, ``cpu``); unnamed ones have no limit."""
    cpu_offload: bool = True
    """Whether weights that find no room on the GPUs may lie in RAM, where that is possible at all."""
    gpu_uuids: dict[str, str] = {}
    """Which GPU each name means that ``device`` has, as its driver calls it; names alone count where it does not."""
    context_limit: int | None = None
    """The most tokens of a conversation; None is the model's own limit."""
    adapter: str | None = None
    """The folder of a LoRA adapter that is put on top; absolute."""
    adapter_bytes: int = 0
    """What its weights take in memory, for the estimate."""
    attention: Attention = Attention.AUTO
    trust_remote_code: bool = False
    allow_pickles: bool = False
    """Whether pickled weights may be read, as weights alone, where there are no others."""
    prepared_copy_limit_bytes: int = 0
    """How much disk all prepared GGUF copies together may take; 0 keeps none."""
    size_bytes: int | None = None
    """Of the weights' files as they were listed: what is measured of the load holds only for a model of this size."""
    idle_minutes: float = 0.0
    """After so long without a reply the model is unloaded; 0 keeps it. The manager's business, not the engine's."""


class LoadStage(StrEnum):
    """What a load is doing; the words are shown to the user."""

    STARTING = "starting engine"
    READING_CONFIG = "reading config"
    READING_TOKENIZER = "reading tokenizer"
    READING_WEIGHTS = "reading weights"
    QUANTIZING = "quantizing"
    MOVING = "placing weights"
    """On their devices, and into the dtype that was asked for."""
    WARMING_UP = "warming up"


SPARING_SECONDS = 0.2
"""So often pieces of a reply are told, and painted, where the model computes on the cores that this needs."""


class LoadedModel(Struct, frozen=True, kw_only=True):
    """What the engine really did with a ``LoadRequest``."""

    model_id: str
    device: str
    """``cpu``, ``cuda:0``, or several joined with ``+``."""
    dtype: str
    quantization: str
    """``none``, ``8bit``, ``4bit`` or the method of a pre-quantized checkpoint."""
    context_length: int | None
    weight_bytes: int
    """What the parameters and buffers take in memory."""
    parameters: int
    has_chat_template: bool
    seconds: float
    takes_images: bool = False
    can_think: bool = False
    """Whether the chat template lets reasoning be turned on and off."""
    template_digest: str = ""
    """SHA-256 of the chat template, in hex; empty without one."""
    attention: str = ""
    """As transformers calls it: ``sdpa``, ``eager`` ...; empty where the model has none or does not say."""
    peaks: dict[str, int] = {}
    """The most bytes that the engine has held so far on each device (``ram``, ``cuda:0``); empty where unknown."""
    notes: tuple[str, ...] = ()
    """What the user should know, one sentence each ("loaded from the prepared copy")."""

    @property
    def on_cpu(self) -> bool:
        """Whether the CPU computes it, or a part of it."""
        return "cpu" in self.device.split("+")


class ModelStatus(StrEnum):
    """Where the manager stands with a model."""

    NOT_LOADED = "NOT LOADED"
    LOADING = "LOADING"
    LOADED = "LOADED"
    PARKING = "PARKING"
    """On its way from the GPU to RAM."""
    PARKED = "PARKED"
    """Its weights lie in RAM; it must be woken before it can reply."""
    WAKING = "WAKING"
    UNLOADING = "UNLOADING"
    FAILED = "FAILED"


PARKING = frozenset({ModelStatus.PARKING, ModelStatus.PARKED, ModelStatus.WAKING})
"""An engine holds the model, and it must come back to its GPU before it can reply."""
HOLDING = PARKING | {ModelStatus.LOADED}
"""An engine holds the model, and nobody is ending it."""


TRANSITIONS: dict[ModelStatus, frozenset[ModelStatus]] = {
    ModelStatus.NOT_LOADED: frozenset({ModelStatus.LOADING}),
    ModelStatus.LOADING: frozenset({ModelStatus.LOADED, ModelStatus.FAILED, ModelStatus.NOT_LOADED}),
    ModelStatus.LOADED: frozenset({ModelStatus.UNLOADING, ModelStatus.FAILED, ModelStatus.PARKING}),
    ModelStatus.PARKING: frozenset({ModelStatus.PARKED, ModelStatus.LOADED, ModelStatus.UNLOADING, ModelStatus.FAILED}),
    ModelStatus.PARKED: frozenset({ModelStatus.WAKING, ModelStatus.UNLOADING, ModelStatus.FAILED}),
    ModelStatus.WAKING: frozenset({ModelStatus.LOADED, ModelStatus.PARKED, ModelStatus.UNLOADING, ModelStatus.FAILED}),
    ModelStatus.UNLOADING: frozenset({ModelStatus.NOT_LOADED}),
    ModelStatus.FAILED: frozenset({ModelStatus.LOADING, ModelStatus.NOT_LOADED}),
}
"""Every change of state that may happen. LOADING to NOT_LOADED is a cancel; LOADED to FAILED is an engine that died;
PARKING to LOADED and WAKING to PARKED are moves that found no room."""
