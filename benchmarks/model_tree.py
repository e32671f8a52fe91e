"""A thousand models on disk for the catalog benchmark: real layouts, configurations and headers, holes for weights."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

FOLDER_SHARE = 10
"""One model in so many lies in a model folder, the others in the hub's cache."""
SHARDED_SHARE = 8
"""One in so many comes in two files with an index."""
_SHAPES = (
    ("llama", "LlamaForCausalLM", 16, 2048, 8192),
    ("qwen3", "Qwen3ForCausalLM", 28, 1024, 3072),
    ("mistral", "MistralForCausalLM", 32, 4096, 14336),
    ("gemma2", "Gemma2ForCausalLM", 26, 2304, 9216),
    ("phi3", "Phi3ForCausalLM", 32, 3072, 8192),
)
_TEMPLATE = "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}{% endfor %}" * 20
_OTHER_FILES = {
    ".gitattributes": 1_519,
    "LICENSE": 11_343,
    "merges.txt": 1_671_853,
    "special_tokens_map.json": 613,
    "tokenizer.json": 11_422_654,
    "vocab.json": 2_776_833,
}
"""What a snapshot has besides, with the sizes that Qwen3 has; only their names and sizes matter here."""

Tensors = dict[str, tuple[int, ...]]


def make_models(folders: Path, hub_cache: Path, count: int, *, bare: bool = False) -> None:
    """Write ``count`` models, some in ``folders`` and most in ``hub_cache``.

    Bare ones have none of the files that nobody reads.
    """
    for number in range(count):
        files = {name: file for name, file in _files(number) if not bare or name not in _OTHER_FILES}
        name = f"org-{number % 40:02}/model-{number:05}"
        if number % FOLDER_SHARE == 0:
            for file, (data, size) in files.items():
                _write(folders / name / file, data, size)
        else:
            _in_cache(hub_cache / f"models--{name.replace('/', '--')}", files)


def _in_cache(repo: Path, files: dict[str, tuple[bytes, int]]) -> None:
    commit = sha256(repo.name.encode()).hexdigest()[:40]
    snapshot = repo / "snapshots" / commit
    snapshot.mkdir(parents=True)
    _write(repo / "refs" / "main", commit.encode(), 40)
    for file, (data, size) in files.items():
        blob = sha256(f"{repo.name} {file}".encode()).hexdigest()
        _write(repo / "blobs" / blob, data, size)
        (snapshot / file).symlink_to(f"../../blobs/{blob}")


def _write(path: Path, data: bytes, size: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.write(data)
        file.truncate(size)


def _files(number: int) -> Iterator[tuple[str, tuple[bytes, int]]]:
    """Every file with its bytes and its size; what is missing to the size is a hole."""
    kind, architecture, layers, hidden, inner = _SHAPES[number % len(_SHAPES)]
    config = {
        "architectures": [architecture],
        "model_type": kind,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_hidden_layers": layers,
        "num_attention_heads": 16,
        "num_key_value_heads": 8,
        "head_dim": hidden // 16,
        "vocab_size": 32_000 + number,
        "max_position_embeddings": 8192,
        "rms_norm_eps": 1e-6,
        "pad_token_id": 0,
        "bos_token_id": 1,
        "eos_token_id": 2,
        "tie_word_embeddings": False,
        "torch_dtype": "bfloat16",
    }
    for name, document in (
        ("config.json", config),
        ("generation_config.json", {"do_sample": True, "temperature": 0.6, "top_p": 0.9}),
        ("tokenizer_config.json", {"tokenizer_class": "PreTrainedTokenizerFast", "chat_template": _TEMPLATE}),
    ):
        text = json.dumps(document, indent=2).encode()
        yield name, (text, len(text))
    card = f"---\nlicense: apache-2.0\ntags:\n- text-generation\n---\n# Model {number}\n".encode()
    yield "README.md", (card, len(card))
    for name, size in _OTHER_FILES.items():
        yield name, (b"", size)
    yield from _weights(_tensors(layers, hidden, inner, 32_000 + number), number % SHARDED_SHARE == 0)


def _weights(tensors: Tensors, sharded: bool) -> Iterator[tuple[str, tuple[bytes, int]]]:
    if not sharded:
        yield "model.safetensors", _safetensors(tensors)
        return
    names = list(tensors)
    half = len(names) // 2
    shards = {f"model-0000{index}-of-00002.safetensors": part for index, part in ((1, names[:half]), (2, names[half:]))}
    for file, part in shards.items():
        yield file, _safetensors({name: tensors[name] for name in part})
    index = {"metadata": {}, "weight_map": {name: file for file, part in shards.items() for name in part}}
    text = json.dumps(index).encode()
    yield "model.safetensors.index.json", (text, len(text))


def _tensors(layers: int, hidden: int, inner: int, vocabulary: int) -> Tensors:
    tensors: Tensors = {"model.embed_tokens.weight": (vocabulary, hidden)}
    for layer in range(layers):
        prefix = f"model.layers.{layer}"
        for name in ("q_proj", "o_proj"):
            tensors[f"{prefix}.self_attn.{name}.weight"] = (hidden, hidden)
        for name in ("k_proj", "v_proj"):
            tensors[f"{prefix}.self_attn.{name}.weight"] = (hidden // 2, hidden)
        for name in ("gate_proj", "up_proj"):
            tensors[f"{prefix}.mlp.{name}.weight"] = (inner, hidden)
        tensors[f"{prefix}.mlp.down_proj.weight"] = (hidden, inner)
        for name in ("input_layernorm", "post_attention_layernorm"):
            tensors[f"{prefix}.{name}.weight"] = (hidden,)
    return {**tensors, "model.norm.weight": (hidden,), "lm_head.weight": (vocabulary, hidden)}


def _safetensors(tensors: Tensors) -> tuple[bytes, int]:
    """The header of a file, and the size of the whole."""
    header: dict[str, object] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, shape in tensors.items():
        size = 2 * shape[0] * (shape[1] if len(shape) > 1 else 1)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": (end, end + size)}
        end += size
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text, 8 + len(text) + end
