"""How the children are started, and what of the user's environment they get (S5, S6, S7, S14, F28)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator
from pathlib import Path

import pytest

import modeldeck.backend.embedded as embedded_module
from modeldeck.backend.bootstrap import NEEDED, OLDEST_TORCH
from modeldeck.backend.embedded import (
    downloader_environment,
    embedded_engine,
    engine_command,
    engine_environment,
)
from modeldeck.backend.errors import EngineDied
from modeldeck.config.paths import Paths
from modeldeck.config.settings import Settings
from modeldeck.tui.cli_commands.examination import declared_requirements

_NAMES = """
HF_TOKEN HUGGING_FACE_HUB_TOKEN OPENAI_API_KEY GITHUB_TOKEN github_token DB_PASSWORD MY_SECRET API_KEYS AWS_PROFILE
AWS_ACCESS_KEY_ID SSH_AUTH_SOCK GOOGLE_APPLICATION_CREDENTIALS TOKEN PGPASSWORD MYSQL_PWD GITHUB_PAT APIKEY
DATABASE_URL REDISCLI_AUTH HF_API_KEY PYTHON_KEYRING_PASSWORD
"""
SECRETS = dict.fromkeys(_NAMES.split(), "canary")
HARMLESS = {"PATH": "/bin", "HOME": "/home/me", "CUDA_VISIBLE_DEVICES": "1", "LANG": "C.UTF-8"}
_NEEDED = """
USER TMPDIR TZ LC_ALL LD_LIBRARY_PATH NVIDIA_VISIBLE_DEVICES HIP_VISIBLE_DEVICES OMP_NUM_THREADS MKL_NUM_THREADS
PYTORCH_CUDA_ALLOC_CONF TORCHINDUCTOR_CACHE_DIR TRITON_CACHE_DIR BNB_CUDA_VERSION HF_HOME XDG_CACHE_HOME CONDA_PREFIX
PYTHONPATH VIRTUAL_ENV NCCL_DEBUG
"""


def test_s5_s7_s14_an_engine_gets_no_secret_and_no_network(paths: Paths) -> None:
    environment = engine_environment(paths, HARMLESS | SECRETS)
    assert "canary" not in environment.values()
    assert environment.items() >= HARMLESS.items()
    assert environment["HF_HUB_OFFLINE"] == environment["DISABLE_SAFETENSORS_CONVERSION"] == "1"
    assert environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    assert environment["HF_TOKEN_PATH"] == "/dev/null"
    assert environment["MODELDECK_GGUF_COPIES"] == str(paths.gguf_copies)
    assert environment["MODELDECK_COMPILED"] == str(paths.compiled)


def test_an_engine_keeps_what_finds_libraries_gpus_and_caches(paths: Paths) -> None:
    environ = dict.fromkeys(_NEEDED.split(), "kept")
    assert engine_environment(paths, environ).items() >= environ.items()


def test_s5_an_engine_gets_nothing_that_it_has_no_use_for(paths: Paths) -> None:
    assert not {"MONKEY", "EDITOR", "HTTPS_PROXY"} & set(
        engine_environment(paths, {"MONKEY": "yes", "EDITOR": "vi", "HTTPS_PROXY": "http://me:secret@proxy"})
    )


def test_s14_the_downloader_gets_the_token_of_the_hub_and_no_other_secret(paths: Paths) -> None:
    environment = downloader_environment(paths, HARMLESS | SECRETS)
    assert {name for name, value in environment.items() if value == "canary"} == {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}
    assert environment["HF_HUB_CACHE"] == str(paths.hub_cache)
    assert "HF_HUB_OFFLINE" not in environment
    proxy = {"https_proxy": "http://me:secret@proxy", "SSL_CERT_FILE": "/etc/ours.pem"}
    assert downloader_environment(paths, proxy).items() >= proxy.items()


def test_another_python_does_not_get_what_belongs_to_ours(paths: Paths) -> None:
    ours = {"PYTHONPATH": "/ours", "VIRTUAL_ENV": "/ours", "PYTHONHOME": "/ours"}
    assert not set(engine_environment(paths, ours, foreign=True)) & set(ours)
    assert set(engine_environment(paths, ours)) >= set(ours)


def test_the_command_of_each_interpreter(tmp_path: Path, home: Path) -> None:
    assert engine_command() == (sys.executable, "-P", "-m", "modeldeck.backend.engine")
    python, script, module = engine_command("~/env/bin/python")
    assert python == str(home / "env/bin/python")
    assert (Path(script).name, module) == ("bootstrap.py", "modeldeck.backend.engine")
    assert engine_command(str(tmp_path))[0] == str(tmp_path / "bin/python")


def bootstrap(python: Path, module: str) -> subprocess.CompletedProcess[str]:
    script = Path(embedded_module.__file__).with_name("bootstrap.py")
    return subprocess.run([python, script, module], capture_output=True, text=True, timeout=50, check=False)


@pytest.fixture(scope="module")
def plain_python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("env") / "venv"
    venv.create(folder, with_pip=False, symlinks=True)
    return folder / "bin" / "python"


async def test_f28_an_environment_without_the_libraries_is_told_the_line_that_mends_it(
    plain_python: Path, paths: Paths
) -> None:
    start = embedded_engine(Settings(engine_python=str(plain_python)), paths, lambda _line: None)
    with pytest.raises(EngineDied, match=r"lacks msgspec torch .*; run: .*/python -m pip install msgspec"):
        await start()


SLOW_PIPE = """
import os, time
write = os.write
def slowly(descriptor, data):
    time.sleep(0.5)
    return write(descriptor, data)
os.write = slowly
"""
"""What an engine says may take longer to go out than it takes to find that a library is missing."""


async def test_f28_libraries_that_are_missing_or_old_are_named_by_the_engine_itself(
    tmp_path: Path, paths: Paths, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old transformers is there but lacks what the engine imports; stand-ins, since the real ones take seconds."""
    for name in ("torch", "transformers"):
        (tmp_path / f"{name}.py").write_text("")
    (tmp_path / "sitecustomize.py").write_text(SLOW_PIPE)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    client = await embedded_engine(Settings(), paths, lambda _line: None)()
    death = await client.gone
    await client.kill()
    assert "exit code 1: No module named 'transformers.models'" in str(death)
    assert f"run: {sys.executable} -m pip install --upgrade transformers" in str(death)


async def test_f28_an_interpreter_that_is_not_there_is_named(paths: Paths) -> None:
    start = embedded_engine(Settings(engine_python="/no/such/python"), paths, lambda _line: None)
    with pytest.raises(EngineDied, match="/no/such/python: No such file"):
        await start()


@pytest.fixture
def stand_ins(plain_python: Path) -> Iterator[Path]:
    """The other environment's libraries; none of modeldeck is installed there."""
    (libraries,) = plain_python.parents[1].glob("lib/python3*/site-packages")
    for name in NEEDED:
        (libraries / f"{name}.py").write_text("")
    yield libraries
    for name in NEEDED:
        (libraries / f"{name}.py").unlink()


@pytest.mark.parametrize(("version", "code"), [("2.5.1+cu124", 1), ("1.13.0", 1), ("2.6.0", 0), ("2.10.0a0", 0)])
def test_s5_s6_an_environment_with_an_old_torch_is_refused_with_the_line_that_mends_it(
    plain_python: Path, stand_ins: Path, version: str, code: int
) -> None:
    (stand_ins / "started.py").write_text("")
    about = stand_ins / f"torch-{version}.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")
    try:
        done = bootstrap(plain_python, "started")
    finally:
        shutil.rmtree(about)
    assert done.returncode == code, done.stderr
    said = f"engine_python has torch {version}, and engines need 2.6 or newer; run: {plain_python} -m pip install"
    assert (f"{said} 'torch>=2.6'" in done.stderr) is bool(code)


def test_the_oldest_torch_of_another_environment_is_that_of_our_own_requirements() -> None:
    assert declared_requirements()["torch"] == f"torch>={'.'.join(map(str, OLDEST_TORCH))}"


def test_another_environment_runs_our_modules_with_its_own_libraries(plain_python: Path, stand_ins: Path) -> None:
    (stand_ins / "probe.py").write_text(
        "import importlib.util, sys\n"
        "from modeldeck.backend.text import clean_text\n"
        "import torch\n"
        "print(sys.prefix, torch.__file__, importlib.util.find_spec('engine_process'), sys.argv[1:], __name__)\n"
    )
    done = bootstrap(plain_python, "probe")
    prefix = str(plain_python.parents[1])
    assert done.stdout == f"{prefix} {stand_ins / 'torch.py'} None [] __main__\n", done.stderr
