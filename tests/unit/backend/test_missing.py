"""Which package a load lacked."""

from __future__ import annotations

import shlex
import sys

import pytest

from modeldeck.backend.engine.missing import missing_package, pip_line


@pytest.mark.parametrize(
    ("sentence", "package"),
    [
        ("Loading a GPTQ quantized model requires gptqmodel (`pip install gptqmodel`) library.", "gptqmodel"),
        ("Using `aqlm` quantization requires AQLM: `pip install aqlm[gpu,cpu]`", "aqlm[gpu,cpu]"),
        ("Using `higgs` quantization requires FLUTE: `pip install flute-kernel>=0.3.0`", "flute-kernel"),
        (
            "This modeling file requires the following packages that were not found in your environment: einops, "
            "flash_attn. Run `pip install einops flash_attn`",
            "einops flash_attn",
        ),
        ("Please install it with pip install -U tiktoken first", "tiktoken"),
        ("LlamaTokenizer requires the SentencePiece library but it was not found", "SentencePiece"),
        ("Using fbgemm fp8 quantization requires a GPU or XPU", ""),
    ],
)
def test_what_the_libraries_say_is_understood(sentence: str, package: str) -> None:
    assert missing_package(ImportError(sentence)) == package


@pytest.mark.parametrize(
    ("module", "package"), [("flash_attn.ops", "flash-attn"), ("PIL", "pillow"), ("transformers.models.gone", "")]
)
def test_a_module_that_is_not_there(module: str, package: str) -> None:
    assert missing_package(ModuleNotFoundError(f"No module named '{module}'", name=module)) == package


def test_it_is_found_behind_another_error() -> None:
    error = ValueError("The tokenizer could not be read")
    error.__cause__ = ModuleNotFoundError("No module named 'tiktoken'", name="tiktoken")
    assert missing_package(error) == "tiktoken"


def test_other_errors_lack_nothing() -> None:
    assert missing_package(ValueError("pip install everything")) == ""
    assert missing_package(ImportError("cannot import name 'x' from 'y'")) == ""


@pytest.mark.parametrize(
    ("module", "install"),
    [
        ("no_such_library", "no_such_library"),
        ("no_such_library.part", "no_such_library"),
        ("PIL", "pillow"),
        ("msgspec.no_such_part", "--upgrade msgspec"),  # which is there, but is too old
    ],
)
def test_f28_the_line_that_mends_an_import_of_the_engine(
    module: str, install: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    error = ModuleNotFoundError(f"No module named '{module}'", name=module)
    assert pip_line(error) == f"{shlex.quote(sys.executable)} -m pip install {install}"
