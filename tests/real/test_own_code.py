"""What is said of a model's own code, held to what a real load really runs of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest

from modeldeck.backend.models import ModelFormat, ModelInfo, ModelSource
from modeldeck.backend.protocol import LoadFailed, LoadFinished
from modeldeck.backend.remote_code import OwnCode, own_code
from tests.real.engine import running_engine
from tests.unit.catalog.trees import COMMIT, hub_repo

TELLS = "import os\nwith open(os.path.expanduser('~/ran'), 'a') as file: file.write('{}\\n')\n"
CONFIG = "from transformers import LlamaConfig\nclass C(LlamaConfig):\n    model_type = 'own-llama'\n"
MODEL = """
from transformers import LlamaForCausalLM
from .configuration_own import C
from .parts import nothing
class M(LlamaForCausalLM):
    config_class = C
"""
TOKENIZER = "from transformers import PreTrainedTokenizerFast\nclass T(PreTrainedTokenizerFast): pass\n"
GENERATE = """
from .beam import nothing
def generate(model, input_ids, **options):
    return type(model).generate(model, input_ids=input_ids, **options)
"""
"""Called as ``generate(**inputs)``, which is how the library has it, after ``model`` by keyword."""

OWN_REPLY = """
import torch
def generate(model, input_ids, generation_config=None, streamer=None, **options):
    for tokens in ([input_ids, *torch.tensor([[40], [41]])] if streamer else []):
        streamer.put(tokens)
    return input_ids
"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir(exist_ok=True)
    return tmp_path / "home"


@pytest.fixture
def cache(home: Path) -> Path:
    return home / ".cache/huggingface/hub"


@pytest.fixture
def model(llama: Path, cache: Path, tmp_path: Path) -> Path:
    """A Llama whose classes are all its own; the tokenizer's comes from another repository."""
    folder = Path(shutil.copytree(llama, tmp_path / "own llama"))
    sources = {
        "configuration_own.py": CONFIG,
        "modeling_own.py": MODEL,
        "parts.py": "try:\n    from .lost_and_found import nothing\nexcept ImportError:\n    nothing = 1\n",
        "lost_and_found.py": "nothing = 1\n",
        "slow.py": "",
        "train.py": "",
        "custom_generate/generate.py": GENERATE,
        "custom_generate/beam.py": "nothing = 1\n",
    }
    (folder / "custom_generate").mkdir()
    for name, source in sources.items():
        (folder / name).write_text(TELLS.format(name) + source)
    tokenizers = {"tok.py": "from .helper import nothing\n" + TOKENIZER, "helper.py": "nothing = 1\n", "other.py": ""}
    files = {name: (TELLS.format(f"org/tok:{name}") + source).encode() for name, source in tokenizers.items()}
    hub_repo(cache, "org/tok", files, COMMIT)
    classes = {"AutoConfig": "configuration_own.C", "AutoModelForCausalLM": "modeling_own.M"}
    change(folder / "config.json", model_type="own-llama", auto_map=classes)
    change(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": ["slow.T", "org/tok--tok.T"]})
    return folder


def change(file: Path, **values: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


def code_of(folder: Path, cache: Path) -> OwnCode:
    row = ModelInfo(
        id=str(folder), name="x", path=str(folder), source=ModelSource.FOLDER, format=ModelFormat.SAFETENSORS
    )
    code = own_code(row, cache)
    assert code is not None
    return code


def loaded(folder: Path, home: Path, environment: Mapping[str, str], *, trusted: bool) -> LoadFinished | LoadFailed:
    with running_engine(home, environment) as engine:
        return engine.load(folder, trust_remote_code=trusted)


def test_s4_the_files_that_are_named_are_those_that_run(
    model: Path, cache: Path, home: Path, environment: dict[str, str]
) -> None:
    code = code_of(model, cache)
    assert code.problem == ""
    named = {f"{file.repository}:{file.name}".lstrip(":") for file in code.files}
    result = loaded(model, home, environment, trusted=True)
    assert isinstance(result, LoadFinished), result
    ran = set((home / "ran").read_text().split())
    assert ran == named - {"slow.py"}  # which is there for whoever wants the slow tokenizer


def test_s4_none_of_it_runs_without_consent(model: Path, home: Path, environment: dict[str, str]) -> None:
    result = loaded(model, home, environment, trusted=False)
    assert isinstance(result, LoadFailed)
    assert not (home / "ran").exists()


@pytest.mark.parametrize("lost", ["modeling_own.py", "lost_and_found.py", "configuration_own.py"])
def test_where_a_needed_file_is_missing_no_load_succeeds_either(
    lost: str, model: Path, cache: Path, home: Path, environment: dict[str, str]
) -> None:
    (model / lost).unlink()
    assert code_of(model, cache).problem == f"{lost} is missing."
    assert isinstance(loaded(model, home, environment, trusted=True), LoadFailed)


def test_a_repository_that_is_not_here_is_not_fetched(
    model: Path, cache: Path, home: Path, environment: dict[str, str]
) -> None:
    shutil.rmtree(cache)
    assert code_of(model, cache).problem == "org/tok is not on this machine."
    assert isinstance(loaded(model, home, environment, trusted=True), LoadFailed)


def test_a_generate_of_its_own_is_called_as_the_library_calls_it(
    llama: Path, home: Path, tmp_path: Path, environment: dict[str, str]
) -> None:
    from transformers import AutoTokenizer

    folder = Path(shutil.copytree(llama, tmp_path / "own generate"))
    (folder / "custom_generate").mkdir()
    (folder / "custom_generate/generate.py").write_text(OWN_REPLY)
    with running_engine(home, environment) as engine:
        result = engine.load(folder, trust_remote_code=True)
        assert isinstance(result, LoadFinished), result
        reply = engine.reply("Hello", max_new_tokens=5)
    assert reply.text == AutoTokenizer.from_pretrained(llama).decode([40, 41])
