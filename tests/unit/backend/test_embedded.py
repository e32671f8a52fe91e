"""How the children are started, and what of the user's environment they get (S5, S7, S14, F28)."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

import pytest

import modeldeck.backend.embedded as embedded_module
from modeldeck.backend.embedded import (
    downloader_environment,
    embedded_engine,
    engine_command,
    engine_environment,
)
from modeldeck.backend.errors import EngineDied
from modeldeck.config.paths import Paths
from modeldeck.config.settings import Settings

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


async def test_f28_an_interpreter_that_is_not_there_is_named(paths: Paths) -> None:
    start = embedded_engine(Settings(engine_python="/no/such/python"), paths, lambda _line: None)
    with pytest.raises(EngineDied, match="/no/such/python: No such file"):
        await start()


def test_another_environment_runs_our_modules_with_its_own_libraries(plain_python: Path) -> None:
    """Stand-ins for the libraries in the other environment; none of modeldeck is installed there."""
    (libraries,) = plain_python.parents[1].glob("lib/python3*/site-packages")
    for name in ("msgspec", "torch", "transformers", "accelerate"):
        (libraries / f"{name}.py").write_text("")
    (libraries / "probe.py").write_text(
        "import importlib.util, sys\n"
        "from modeldeck.backend.text import clean_text\n"
        "import torch\n"
        "print(sys.prefix, torch.__file__, importlib.util.find_spec('engine_process'), sys.argv[1:], __name__)\n"
    )
    done = bootstrap(plain_python, "probe")
    prefix = str(plain_python.parents[1])
    assert done.stdout == f"{prefix} {libraries / 'torch.py'} None [] __main__\n", done.stderr
