"""Runs a child in the interpreter of another environment, which has torch but not modeldeck.

Called by path (``PYTHON backend/bootstrap.py MODULE``), so nothing of modeldeck may be imported before ``main`` has
made it importable: the three parts lie beside each other, in the source tree as in an installed wheel, and are found
there as one package. Everything else comes from the other environment. Written for any Python 3, so that an old one
is told what is missing instead of meeting a syntax error.
"""

import runpy
import sys
import types
from importlib.util import find_spec
from pathlib import Path

NEEDED = ("msgspec", "torch", "transformers", "accelerate")
OLDEST_TORCH = (2, 6)
"""As in our own requirements: the first that reads pickles as weights alone, whatever they hold."""


def main() -> None:
    """Check the environment, make ``modeldeck`` importable, run the module as the main program."""
    here = Path(__file__).resolve().parent
    sys.path[:] = [entry for entry in sys.path if not entry or Path(entry).resolve() != here]
    if sys.version_info < (3, 11):  # noqa: UP036  # the other environment is not bound by our requires-python
        sys.exit(f"engine_python must be Python 3.11 or newer; {sys.executable} is {sys.version.split()[0]}")
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        names = " ".join(missing)
        sys.exit(f"engine_python lacks {names}; run: {sys.executable} -m pip install {names}")
    _refuse_old_torch()
    package = types.ModuleType("modeldeck")
    package.__path__ = [str(here.parent)]
    sys.modules["modeldeck"] = package
    module = sys.argv.pop(1)
    runpy.run_module(module, run_name="__main__", alter_sys=True)


def _refuse_old_torch() -> None:
    from importlib.metadata import PackageNotFoundError, version

    try:
        found = version("torch")
    except PackageNotFoundError:  # a build of one's own may have no metadata
        return
    numbers = found.split(".")[:2]
    if all(number.isdigit() for number in numbers) and tuple(map(int, numbers)) < OLDEST_TORCH:
        oldest = ".".join(map(str, OLDEST_TORCH))
        line = f"{sys.executable} -m pip install 'torch>={oldest}'"
        sys.exit(f"engine_python has torch {found}, and engines need {oldest} or newer; run: {line}")


if __name__ == "__main__":
    main()
