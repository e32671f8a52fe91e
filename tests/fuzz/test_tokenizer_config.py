"""``tokenizer_config.json`` and what processors read: template or not, code of its own or not, and nothing else."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from modeldeck.backend.models import ModelInfo, ModelSource
from modeldeck.backend.remote_code import OwnCode, own_code
from tests.fuzz.broken import broken_json, words
from tests.fuzz.profiles import fuzzed
from tests.fuzz.reading import is_harmless, is_sentence, modest, read
from tests.unit.catalog.trees import model_folder

TOKENIZER = {
    "tokenizer_class": "LlamaTokenizer", "bos_token": {"content": "<s>", "lstrip": False}, "model_max_length": 10**30,
    "chat_template": [{"name": "default", "template": "{{ messages }}"}, {"name": "tool_use", "template": "{{ 1 }}"}],
    "auto_map": {"AutoTokenizer": ["tokenization_x.Slow", "tokenization_x.Fast"]},
    "added_tokens_decoder": {"0": {"content": "<unk>", "special": True}},
    "extra": {"auto_map": {"AutoModel": "org/name--other.Class"}},
}  # fmt: skip
PROCESSOR = {"chat_template": "{{ messages }}", "processor_class": "X", "auto_map": {"AutoProcessor": "a.B"}}
_NAMES = st.sampled_from(
    ["tokenizer_config.json", "processor_config.json", "chat_template.json", "preprocessor_config.json", "config.json"]
)


@given(name=_NAMES, data=broken_json(TOKENIZER, PROCESSOR))
@fuzzed
def test_no_tokenizer_does_harm(name: str, data: bytes, tmp_path: Path) -> None:
    model = model_folder(tmp_path / "m")
    (model / "tokenization_x.py").write_text("from .other import x\nimport .more\n")
    (model / name).write_bytes(data)
    row = read(model)
    with modest():
        code = own_code(row, tmp_path / "hub")
    assert_fit(code)
    (model / name).unlink()


@given(reference=words | st.text("ab./-_\\~", max_size=20), source=st.binary(max_size=100))
@fuzzed
def test_no_reference_leads_out_of_the_folder(reference: str, source: bytes, tmp_path: Path) -> None:
    model = model_folder(tmp_path / "m", {"auto_map": {"AutoConfig": reference.encode(errors="replace").decode()}})
    (tmp_path / "ab.py").write_text("outside = 1\n")
    (model / "a.py").write_bytes(source)
    code = own_code(ModelInfo(id="m", name="m", path=str(model), source=ModelSource.FOLDER), tmp_path / "hub")
    assert_fit(code)
    assert code is None or all(".." not in file.name.split("/") for file in code.files if not file.absent)


def assert_fit(code: OwnCode | None) -> None:
    """What is told of the code is fit to be shown, and nobody can agree to what could not be looked at."""
    assert code is None or not code.problem or (is_sentence(code.problem) and not code.digest)
    assert code is None or all(is_harmless(file.origin) and is_harmless(file.name) for file in code.files)
