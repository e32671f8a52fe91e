from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldeck.backend.catalog.files import list_folder
from modeldeck.backend.code_places import MAX_SOURCE
from modeldeck.backend.code_references import relative_imports
from modeldeck.backend.code_search import MAX_FILES
from modeldeck.backend.models import ModelFormat, ModelInfo, ModelSource
from modeldeck.backend.remote_code import CodeFile, OwnCode, own_code
from tests.unit.catalog.trees import COMMIT, hub_repo

OTHER_COMMIT = "f" * 40
CONFIG = "configuration_x.XConfig"
MODEL = "modeling_x.XForCausalLM"
DEEP = b"[" * 100_000


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "hub"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    path = tmp_path / "models" / "x"
    path.mkdir(parents=True)
    return path


def write(folder: Path, files: dict[str, object]) -> None:
    """Files by name; what is no text or bytes is written as JSON."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            path.write_bytes(content)
        else:
            path.write_text(content if isinstance(content, str) else json.dumps(content))


def auto_map(**classes: object) -> dict[str, object]:
    return {"model_type": "x", "auto_map": classes}


def info(path: Path, revision: str | None = None, form: ModelFormat = ModelFormat.SAFETENSORS) -> ModelInfo:
    return ModelInfo(id=str(path), name="x", path=str(path), source=ModelSource.FOLDER, format=form, revision=revision)


def found(path: Path, cache: Path) -> OwnCode:
    code = own_code(info(path), cache)
    assert code is not None
    assert bool(code.digest) is not bool(code.problem)
    return code


def names(code: OwnCode | None) -> list[str]:
    return [f"{file.repository}:{file.name}".lstrip(":") for file in code.files if not file.absent] if code else []


class TestWhichFiles:
    @pytest.mark.parametrize(
        "files",
        [
            {},
            {"config.json": {"model_type": "llama"}},
            {"config.json": {"auto_map": {}}, "modeling_x.py": "x = 1", "tokenizer_config.json": {"auto_map": None}},
            {"config.json": {"auto_map": 5, "parts": [{"auto_map": [None, 7]}]}, "custom_generate/train.py": ""},
        ],
        ids=["empty", "none named", "not named", "odd"],
    )
    def test_none(self, files: dict[str, object], folder: Path, cache: Path) -> None:
        write(folder, files)
        assert own_code(info(folder), cache) is None

    def test_those_of_the_classes_that_a_load_takes(self, folder: Path, cache: Path) -> None:
        write(
            folder,
            {
                "config.json": auto_map(AutoConfig=CONFIG, AutoModelForCausalLM=MODEL),
                "tokenizer_config.json": {"auto_map": {"AutoTokenizer": ["tok_slow.Slow", "tok_fast.Fast"]}},
                "configuration_x.py": "a = 1",
                "modeling_x.py": "bb = 2",
                "tok_slow.py": "",
                "tok_fast.py": "",
                "train.py": "",
            },
        )
        code = found(folder, cache)
        assert names(code) == ["configuration_x.py", "modeling_x.py", "tok_fast.py", "tok_slow.py"]
        assert code.files[1] == CodeFile("modeling_x.py", size=6)
        assert code.files[1].origin == "the model's own folder"
        assert re.fullmatch("[0-9a-f]{64}", code.digest)

    @pytest.mark.parametrize(
        ("file", "document"),
        [
            ("config.json", auto_map(AutoModelForVision2Seq="m.C")),
            ("config.json", {"vision_config": {"layers": [{"auto_map": {"AutoModel": "m.C"}}]}}),
            ("tokenizer_config.json", {"auto_map": ["m.C", None]}),
            ("tokenizer_config.json", {"auto_map": {"AutoProcessor": "m.C"}}),
            ("processor_config.json", auto_map(AutoProcessor="m.C")),
            ("preprocessor_config.json", auto_map(AutoImageProcessor=["m.C", None])),
            ("video_preprocessor_config.json", auto_map(AutoVideoProcessor="m.C")),
            ("generation_config.json", auto_map(AutoModel="m.C")),
        ],
        ids=["other class", "part", "old list", "processor", "own file", "image", "video", "generation"],
    )
    def test_s4_s5_those_of_every_auto_map(self, file: str, document: object, folder: Path, cache: Path) -> None:
        write(folder, {file: document, "m.py": ""})
        assert names(found(folder, cache)) == ["m.py"]

    def test_another_configuration_for_this_release(self, folder: Path, cache: Path) -> None:
        write(
            folder,
            {
                "config.json": {"configuration_files": ["config.4.0.0.json", "config.5.0.0.json", {}]},
                "config.5.0.0.json": auto_map(AutoConfig=CONFIG),
                "configuration_x.py": "",
            },
        )
        assert names(found(folder, cache)) == ["configuration_x.py"]

    def test_imports_are_followed_from_the_folder_of_the_first(self, folder: Path, cache: Path) -> None:
        write(
            folder,
            {
                "config.json": auto_map(AutoConfig="sub/a.C", AutoModelForCausalLM="top.C"),
                "sub/a.py": "try:\r  from .b import (\r    x)\rexcept ImportError: pass\rimport .c",
                "sub/b.py": "from  .a\nimport y\nfrom b.d import z\n# from .e import z\nimport f",
                "sub/c.py": '"""\n  from .g.h import one\n"""',
                "sub/g.h.py": "",
                "top.py": "from .b import y",
                "b.py": "",
                **{f"sub/{name}.py": "" for name in "defg"},
            },
        )
        expected = ["b.py", "sub/a.py", "sub/b.py", "sub/c.py", "sub/g.h.py", "top.py"]
        assert names(found(folder, cache)) == expected

    def test_s4_s5_a_generate_of_its_own_needs_no_mention(self, folder: Path, cache: Path) -> None:
        write(
            folder,
            {
                "config.json": {"model_type": "llama"},
                "custom_generate/generate.py": "from .beam import search",
                "custom_generate/beam.py": "",
                "beam.py": "",
            },
        )
        assert names(found(folder, cache)) == ["custom_generate/beam.py", "custom_generate/generate.py"]

    def test_of_a_gguf_file_what_lies_beside_it(self, folder: Path, cache: Path) -> None:
        write(
            folder,
            {
                "x.gguf": "",
                "config.json": auto_map(AutoConfig=CONFIG),
                "tokenizer_config.json": {"auto_map": {"AutoTokenizer": [None, "tok.Fast"]}},
                "tok.py": "",
            },
        )
        gguf = info(folder / "x.gguf", form=ModelFormat.GGUF)
        code = own_code(gguf, cache)
        assert code is not None
        assert (names(code), code.problem) == (["tok.py"], "")
        (folder / "tokenizer_config.json").unlink()
        assert own_code(gguf, cache) is None


@given(st.lists(st.sampled_from(["from", "import", ".a", ".b.c", "..", " ", "\n", "\r", "\t\n", "\x0b", "x", "#"])))
def test_imports_are_found_as_transformers_finds_them(pieces: list[str]) -> None:
    text = "".join(pieces)
    as_opened = text.replace("\r\n", "\n").replace("\r", "\n")
    theirs = re.findall(r"^\s*import\s+\.(\S+)\s*$", as_opened, flags=re.MULTILINE)
    theirs += re.findall(r"^\s*from\s+\.(\S+)\s+import", as_opened, flags=re.MULTILINE)
    assert relative_imports(text.encode()) == set(theirs)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("piece", [b"\n", b" \n", b"from\n", b"import .", b"from .a\n", b"\tfrom ."])
def test_a_long_file_of_nothing_takes_no_long(piece: bytes) -> None:
    relative_imports(piece * (MAX_SOURCE // len(piece)))


class TestTheHubCache:
    def test_of_the_model_itself(self, cache: Path) -> None:
        files = {
            "config.json": json.dumps(auto_map(AutoConfig=CONFIG, AutoModelForCausalLM="sub/m.C")).encode(),
            "configuration_x.py": b"",
            "sub/m.py": b"",
        }
        code = own_code(info(hub_repo(cache, "org/x", files), COMMIT), cache)
        assert code is not None
        assert code.problem == ""
        assert code.files == (CodeFile("configuration_x.py", commit=COMMIT), CodeFile("sub/m.py", commit=COMMIT))
        assert code.files[0].origin == "the model's own folder at 0123456789ab"

    def test_of_another_repository_as_its_main_is(self, folder: Path, cache: Path) -> None:
        files = {"m.py": b"from .n import x", "n.py": b""}
        hub_repo(cache, "org/code", files, OTHER_COMMIT)
        hub_repo(cache, "org/code", {"m.py": b"old"}, COMMIT, ref="v1")
        write(folder, {"config.json": auto_map(AutoConfig="org/code--m.C", AutoModel=MODEL), "modeling_x.py": ""})
        code = found(folder, cache)
        assert names(code) == ["modeling_x.py", "org/code:m.py", "org/code:n.py"]
        assert code.files[1] == CodeFile("m.py", "org/code", OTHER_COMMIT, 16)
        assert code.files[1].origin == "org/code at ffffffffffff"

    def test_of_one_that_is_not_on_this_machine(self, folder: Path, cache: Path) -> None:
        write(folder, {"config.json": auto_map(AutoConfig="org/code--m.C")})
        code = found(folder, cache)
        assert code == OwnCode(
            (CodeFile("m.py", "org/code", absent="not on this machine"),), problem="org/code is not on this machine."
        )
        assert code.files[0].origin == "org/code, not on this machine"
        hub_repo(cache, "org/code", {"n.py": b""}, OTHER_COMMIT)
        code = found(folder, cache)
        assert code.problem == "m.py of org/code is not on this machine."
        assert code.files[0].origin == "org/code at ffffffffffff, not on this machine"

    @pytest.mark.parametrize("ref", [b"", b"main", b"../../../../x", b"\xff", OTHER_COMMIT.upper().encode()])
    def test_a_main_that_is_no_commit(self, ref: bytes, folder: Path, cache: Path) -> None:
        hub_repo(cache, "org/code", {"m.py": b""}, OTHER_COMMIT)
        (cache / "models--org--code" / "refs" / "main").write_bytes(ref)
        write(folder, {"config.json": auto_map(AutoConfig="org/code--m.C")})
        assert found(folder, cache).problem == "org/code is not on this machine."

    def test_a_folder_of_that_name_where_the_program_was_started(
        self, folder: Path, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hub_repo(cache, "org/code", {"m.py": b""}, OTHER_COMMIT)
        write(folder, {"config.json": auto_map(AutoConfig="org/code--m.C")})
        monkeypatch.chdir(tmp_path)
        assert found(folder, cache).problem == ""
        write(tmp_path, {"org/code/m.py": "evil"})
        problem = found(folder, cache).problem
        assert problem == "The folder org/code, where modeldeck was started, would be taken for the repository."


class TestTheDigest:
    @pytest.fixture
    def before(self, folder: Path, cache: Path) -> str:
        hub_repo(cache, "org/code", {"m.py": b"m"}, OTHER_COMMIT)
        write(
            folder,
            {
                "config.json": auto_map(AutoConfig=CONFIG, AutoModel="org/code--m.C", AutoProcessor="later.C"),
                "configuration_x.py": "from .helper import x",
                "helper.py": "ab",
                "other.py": "c",
            },
        )
        return found(folder, cache).digest

    def test_the_same_code_has_the_same(self, before: str, folder: Path, cache: Path) -> None:
        write(folder, {"other.py": "changed", "README.md": "new", "model.safetensors": ""})
        os.utime(folder / "helper.py", (1, 1))
        assert found(folder, cache).digest == before

    def test_s4_a_byte_of_an_import(self, before: str, folder: Path, cache: Path) -> None:
        write(folder, {"helper.py": "aB"})
        assert found(folder, cache).digest != before

    def test_a_byte_more_here_and_one_less_there(self, before: str, folder: Path, cache: Path) -> None:
        write(folder, {"configuration_x.py": "from .helper import xa", "helper.py": "b"})
        assert found(folder, cache).digest != before

    def test_a_file_that_was_named_and_is_there_now(self, before: str, folder: Path, cache: Path) -> None:
        write(folder, {"later.py": ""})
        assert found(folder, cache).digest != before

    def test_s4_another_commit_with_the_same_files(self, before: str, folder: Path, cache: Path) -> None:
        hub_repo(cache, "org/code", {"m.py": b"m"}, "e" * 40)
        code = found(folder, cache)
        assert names(code)[-1] == "org/code:m.py"
        assert code.digest != before

    def test_s4_another_commit_of_the_model(self, before: str, folder: Path, cache: Path) -> None:
        digests = {code.digest for each in "ab" if (code := own_code(info(folder, each * 40), cache)) is not None}
        assert len(digests | {before}) == 3


class TestWhatCannotBeSeen:
    """No digest, so that nobody can agree to it, and a sentence."""

    def refusal(self, folder: Path, cache: Path) -> str:
        code = found(folder, cache)
        assert code.digest == ""
        return code.problem

    @pytest.mark.parametrize("missing", ["modeling_x.py", "helper.py"])
    def test_a_file_that_a_load_needs(self, missing: str, folder: Path, cache: Path) -> None:
        write(
            folder,
            {
                "config.json": auto_map(AutoModelForCausalLM=MODEL),
                "modeling_x.py": "from .helper import x",
                "helper.py": "",
            },
        )
        (folder / missing).unlink()
        assert self.refusal(folder, cache) == f"{missing} is missing."
        absent = [file for file in found(folder, cache).files if file.absent]
        assert [file.origin for file in absent] == ["the model's own folder, missing"]

    def test_but_not_one_that_no_load_needs(self, folder: Path, cache: Path) -> None:
        unused = {"AutoModel": "lost.C", "AutoProcessor": "no/lost--m.C", "Odd": "a.b.c"}
        write(
            folder,
            {
                "config.json": auto_map(AutoConfig="c.C", **unused),
                "tokenizer_config.json": {"auto_map": {"AutoTokenizer": ["slow.Slow", "fast.Fast"]}},
                "c.py": "",
                "fast.py": "",
            },
        )
        code = found(folder, cache)
        assert code.problem == ""
        assert names(code) == ["c.py", "fast.py"]
        assert {file.name: file.absent for file in code.files if file.absent} == {
            "lost.py": "missing",
            "slow.py": "missing",
            "m.py": "not on this machine",
        }

    @pytest.mark.parametrize(
        ("reference", "problem"),
        [
            ("modeling", "“modeling” does not name a class in a way that transformers can follow."),
            ("a.b.C", "“a.b.C” does not name a class in a way that transformers can follow."),
            ("o/a--o/b--m.C", "“o/a--o/b--m.C” does not name a class in a way that transformers can follow."),
            ("/tmp/m.C", "Its code is to come from /tmp/m.py, outside of its folder."),
            ("a//m.C", "Its code is to come from a//m.py, outside of its folder."),
            ("/tmp/evil--m.C", "Its code is to come from “/tmp/evil”, which is no repository of the hub."),
            ("../x/y--m.C", "Its code is to come from “../x/y”, which is no repository of the hub."),
            ("--m.C", "Its code is to come from “”, which is no repository of the hub."),
            (".--m.C", "The folder ., where modeldeck was started, would be taken for the repository."),
            ("\x1b[2Jx\n.C", "\u241b[2Jx\u240a.py is missing."),
            ("a\0.C", "a\u2400.py is missing."),
            ("\ud800.C", "\ufffd.py is missing."),
        ],
    )
    def test_s12_references_that_lead_nowhere_or_out(
        self, reference: str, problem: str, folder: Path, cache: Path
    ) -> None:
        write(folder, {"config.json": auto_map(AutoConfig=reference)})
        assert self.refusal(folder, cache) == problem

    @pytest.mark.parametrize("module", ["/../../evil", "a/b", "/etc/passwd"])
    def test_s12_imports_that_lead_out(self, module: str, folder: Path, cache: Path) -> None:
        write(folder, {"config.json": auto_map(AutoModel="m.C"), "m.py": f'"""\nfrom .{module} import x\n"""'})
        assert self.refusal(folder, cache) == f"It imports “{module}”, which is no module."

    def test_s13_links(self, folder: Path, cache: Path, tmp_path: Path) -> None:
        outside = tmp_path / "outside.py"
        outside.write_text("")
        write(folder, {"config.json": auto_map(AutoConfig="m.C"), "n.py": ""})
        link = folder / "m.py"
        link.symlink_to("n.py")
        assert found(folder, cache).problem == ""
        for target, problem in (
            (outside, "m.py is a link to a place outside of the model folders."),
            (Path("m.py"), "m.py is a link that leads to itself."),
            (tmp_path / "gone", "m.py is missing."),
        ):
            link.unlink()
            link.symlink_to(target)
            assert self.refusal(folder, cache) == problem

    def test_blobs_of_another_repository(self, cache: Path) -> None:
        hub_repo(cache, "org/other", {"m.py": b""}, OTHER_COMMIT)
        files = {"config.json": json.dumps(auto_map(AutoConfig="m.C")).encode()}
        snapshot = hub_repo(cache, "org/x", files)
        blob = next((cache / "models--org--other" / "blobs").iterdir())
        (snapshot / "m.py").symlink_to(blob)
        assert self.refusal(snapshot, cache) == "m.py is a link to a place outside of the model folders."

    def test_s13_folders_behind_links(self, folder: Path, cache: Path, tmp_path: Path) -> None:
        write(tmp_path, {"outside/generate.py": "evil", "outside/m.py": "evil"})
        (folder / "custom_generate").symlink_to(tmp_path / "outside")
        assert self.refusal(folder, cache) == "custom_generate/generate.py is behind a link, and not in a folder."
        (folder / "custom_generate").unlink()
        (folder / "sub").symlink_to(tmp_path / "outside")
        write(folder, {"config.json": auto_map(AutoModel="sub/m.C")})
        assert self.refusal(folder, cache) == "sub/m.py is behind a link, and not in a folder."

    def test_s13_what_is_no_file(self, folder: Path, cache: Path) -> None:
        write(folder, {"config.json": auto_map(AutoModel="m.C", AutoProcessor="dir.C")})
        os.mkfifo(folder / "m.py")
        (folder / "dir.py").mkdir()
        code = found(folder, cache)
        assert code.problem == "dir.py is not a regular file."
        assert [file.origin for file in code.files] == ["the model's own folder, cannot be read"] * 2

    def test_too_long_too_many_too_much(self, folder: Path, cache: Path) -> None:
        write(folder, {"config.json": auto_map(AutoModel="m.C"), "m.py": b"#" * (MAX_SOURCE + 1)})
        assert self.refusal(folder, cache).startswith("m.py is 4,194,305 bytes, more than")
        imports = [f"m{number}" for number in range(MAX_FILES)]
        write(folder, {f"{name}.py": "" for name in imports})
        write(folder, {"m.py": "".join(f"from .{name} import x\n" for name in imports[1:])})
        assert len(names(found(folder, cache))) == MAX_FILES
        write(folder, {"m.py": "".join(f"from .{name} import x\n" for name in imports)})
        assert self.refusal(folder, cache) == "Its code has more than 200 files."
        for name in imports[:9]:
            write(folder, {f"{name}.py": b"#" * MAX_SOURCE})
        write(folder, {"m.py": "".join(f"from .{name} import x\n" for name in imports[:9])})
        assert self.refusal(folder, cache) == "Its code has more than 33,554,432 bytes."

    @pytest.mark.parametrize("name", ["config.json", "tokenizer_config.json", "processor_config.json"])
    @pytest.mark.parametrize(
        "content", [b"", b"{", b"[]", b"\xff", b"[" * 100_000], ids=["empty", "cut", "list", "no text", "deep"]
    )
    def test_files_that_name_code_or_not(self, name: str, content: bytes, folder: Path, cache: Path) -> None:
        write(folder, {name: content})
        assert name in self.refusal(folder, cache)

    def test_endless_versions_of_the_configuration(self, folder: Path, cache: Path) -> None:
        versions = [f"config.5.0.{number}.json" for number in range(21)]
        write(folder, {"config.json": {"configuration_files": versions}, **dict.fromkeys(versions, "{}")})
        assert self.refusal(folder, cache) == "config.json has more than 20 versions."

    @pytest.mark.parametrize(
        ("refused", "problem"),
        [("x", "{} cannot be read: permission denied."), ("sub", "sub/m.py cannot be read: permission denied.")],
    )
    def test_folders_that_may_not_be_listed(
        self, refused: str, problem: str, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def listed(path: str) -> list[os.DirEntry[str]]:
            if Path(path).name == refused:
                raise PermissionError(13, "Permission denied")
            return list_folder(path)

        write(folder, {"config.json": auto_map(AutoModel="sub/m.C"), "sub/m.py": ""})
        monkeypatch.setattr("modeldeck.backend.catalog.files.list_folder", listed)
        assert self.refusal(folder, cache) == problem.format(folder)

    def test_a_model_that_is_gone(self, folder: Path, cache: Path) -> None:
        folder.rmdir()
        assert self.refusal(folder, cache) == f"{folder} is not there."


@given(
    st.recursive(
        st.none() | st.integers() | st.text(max_size=20) | st.sampled_from(["m.C", "o/r--m.C"]),
        lambda inner: (
            st.lists(inner, max_size=4)
            | st.dictionaries(st.sampled_from(["auto_map", "AutoConfig", "AutoTokenizer", "x"]), inner, max_size=4)
        ),
        max_leaves=20,
    )
)
def test_no_configuration_raises(tmp_path_factory: pytest.TempPathFactory, document: object) -> None:
    folder = tmp_path_factory.mktemp("model")
    write(folder, {"config.json": {"auto_map": document}, "tokenizer_config.json": {"x": document}, "m.py": ""})
    code = own_code(info(folder), folder / "hub")
    assert code is None or bool(code.digest) is not bool(code.problem)
