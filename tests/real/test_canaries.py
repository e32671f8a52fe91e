"""Models that bring code by every way there is, loaded by a real engine: none of it runs that nobody asked for."""

from __future__ import annotations

import asyncio
import json
import os
import pickle
import shutil
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest

from modeldeck.backend.chat_messages import ChatMessage
from modeldeck.backend.embedded import embedded_engine, engine_environment
from modeldeck.backend.errors import EngineDied
from modeldeck.backend.models import LoadRequest
from modeldeck.backend.protocol import LoadFinished
from modeldeck.config.generation import BUILT_IN
from modeldeck.config.paths import Paths
from modeldeck.config.settings import Settings
from tests.conftest import CANARY
from tests.fakes.driving import managing
from tests.helpers import eventually
from tests.real.engine import running_engine
from tests.real.models import CHATML, make_llama

RAN = "import os\nwith open(os.path.expanduser('~/ran'), 'a') as file: file.write('{}\\n')\n"
KERNELS = (
    RAN.format("import kernels")
    + """
class Mode:
    INFERENCE = TRAINING = 0
def get_kernel(name, **options):
    with open(os.path.expanduser('~/ran'), 'a') as file: file.write(f'kernel {name}\\n')
    raise ValueError(name)
def __getattr__(name):
    if name.startswith('__'):
        raise AttributeError(name)
    return lambda *arguments, **options: lambda thing: thing
"""
)
"""Stands in for the package that fetches kernels, and tells when one is asked for."""
LOOKS_AROUND = """
import json, os
import huggingface_hub
from transformers import LlamaConfig
seen = {'environment': dict(os.environ), 'token': huggingface_hub.get_token()}
try:
    huggingface_hub.HfApi().model_info('org/model')
except Exception as error:
    seen['network'] = f'{type(error).__name__} {error}'
with open(os.path.expanduser('~/seen'), 'w') as file: json.dump(seen, file)
class C(LlamaConfig):
    model_type = 'own-llama'
"""
SPINS = "{% for a in range(99999) %}" * 3 + "{% endfor %}" * 3
SPINS_WHEN_ASKED = "{% if messages[0]['content'] == 'spin' %}" + SPINS + "{% endif %}" + CHATML


class Bomb:
    """Makes a folder when it is unpickled."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (str(self.folder),))


def change(file: Path, **values: object) -> None:
    before = json.loads(file.read_text()) if file.exists() else {}
    file.write_text(json.dumps(before | values))


@pytest.fixture
def laden(llama: Path, tmp_path: Path, home: Path) -> Path:
    """A Llama that loads as it is, with code beside it in every place that something may run it from."""
    folder = Path(shutil.copytree(llama, tmp_path / "laden"))
    (folder / "custom_generate").mkdir()
    for name in ("configuration_own.py", "modeling_own.py", "tok.py", "proc.py", "custom_generate/generate.py"):
        (folder / name).write_text(RAN.format(name))
    classes = {"AutoConfig": "configuration_own.C", "AutoModelForCausalLM": "modeling_own.M"}
    kernel = "evil/kernel"
    change(
        folder / "config.json",
        auto_map=classes,
        attn_implementation=kernel,
        _attn_implementation=kernel,
        _attn_implementation_internal=kernel,
        trust_remote_code=True,
        custom_generate="custom_generate",
    )
    change(folder / "tokenizer_config.json", auto_map={"AutoTokenizer": [None, "tok.T"]}, trust_remote_code=True)
    change(folder / "processor_config.json", auto_map={"AutoProcessor": "proc.P"})
    change(folder / "generation_config.json", auto_map=classes, custom_generate=".", trust_remote_code=True)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb(home / "ran")))
    return folder


@pytest.fixture
def kernels(tmp_path: Path) -> Path:
    """A folder to import the package ``kernels`` from, of a version that transformers takes."""
    from transformers.utils.import_utils import KERNELS_MIN_VERSION

    place = tmp_path / "site"
    (place / "kernels").mkdir(parents=True)
    (place / "kernels" / "__init__.py").write_text(KERNELS)
    about = place / f"kernels-{KERNELS_MIN_VERSION}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: kernels\nVersion: {KERNELS_MIN_VERSION}\n")
    return place


def ran(home: Path) -> list[str]:
    """What of all that came with the model has run, in its order."""
    return (home / "ran").read_text().splitlines()


def test_s4_s5_s6_a_model_that_can_do_without_its_code_loads_and_replies_without_it(
    laden: Path, kernels: Path, home: Path, paths: Paths
) -> None:
    path = os.pathsep.join([str(kernels), *filter(None, [os.environ.get("PYTHONPATH")])])
    with running_engine(home, engine_environment(paths, os.environ | {"PYTHONPATH": path})) as engine:
        result = engine.load(laden)
        assert ran(home) == ["import kernels"]
        assert isinstance(result, LoadFinished), result
        assert engine.reply("Hello", max_new_tokens=3).failure == ""
    assert ran(home) == ["import kernels"]
    assert [line for line in engine.logs if "asks for the kernel evil/kernel" in line]


def test_s5_s7_code_that_was_allowed_finds_no_network_no_token_and_no_secret(
    llama: Path, tmp_path: Path, home: Path, paths: Paths
) -> None:
    folder = Path(shutil.copytree(llama, tmp_path / "own"))
    (folder / "configuration_own.py").write_text(LOOKS_AROUND)
    change(folder / "config.json", model_type="own-llama", auto_map={"AutoConfig": "configuration_own.C"})
    secrets = dict.fromkeys(("AWS_SECRET_ACCESS_KEY", "OPENAI_API_KEY", "SSH_AUTH_SOCK", "PGPASSWORD"), CANARY)
    opened = {"TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1", "HF_HUB_OFFLINE": "0", "DISABLE_SAFETENSORS_CONVERSION": "0"}
    with running_engine(home, engine_environment(paths, os.environ | secrets | opened)) as engine:
        engine.load(folder, trust_remote_code=True)  # which fails: there is no model for it
    seen = json.loads((home / "seen").read_text())
    environment = seen["environment"]
    assert seen["token"] is None
    assert CANARY not in json.dumps(seen)
    assert not {"SSH_AUTH_SOCK", "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", *secrets} & set(environment)
    switched_on = ("HF_HUB_OFFLINE", "DISABLE_SAFETENSORS_CONVERSION", "TORCH_FORCE_WEIGHTS_ONLY_LOAD")
    assert {environment[name] for name in switched_on} == {"1"}
    assert seen["network"].startswith("OfflineModeIsEnabled")


async def test_s10_a_reply_that_hangs_in_its_template_is_stopped_with_its_engine(
    libraries: None, tmp_path: Path, paths: Paths
) -> None:
    folder = make_llama(tmp_path / "spins", SPINS_WHEN_ASKED)
    async with managing(embedded_engine(Settings(), paths, lambda _line: None)) as manager:
        async with aclosing(manager.load(LoadRequest(model_id="spins", path=str(folder)))) as steps:
            assert [step async for step in steps]
        events = manager.generate((ChatMessage("user", "spin"),), BUILT_IN)
        reply = asyncio.ensure_future(anext(events))
        await eventually(lambda: any(one.generating for one in manager.residents))
        await manager.stop_reply()
        with pytest.raises(EngineDied, match="did not stop the reply within 2 seconds"):
            await reply
        await events.aclose()
        assert manager.engine_pids == ()
