from __future__ import annotations

import os
from pathlib import Path
from time import process_time

import pytest
import tomli_w

from modeldeck.config.paths import Paths
from modeldeck.config.settings import Settings
from modeldeck.config.store import ConfigProblem, load_settings
from modeldeck.config.toml_file import MAX_BYTES
from tests.conftest import made_in
from tests.unit.config.values import QUANTIZATIONS


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config.toml"


def problems_of(file: Path) -> list[tuple[str, str]]:
    problems = load_settings(file)[1]
    assert all(problem.path == file for problem in problems)
    return [(problem.key, problem.message) for problem in problems]


class TestReading:
    def test_no_file_means_the_defaults(self, home: Path, paths: Paths) -> None:
        assert load_settings(paths.config_file) == (Settings(), ())
        assert made_in(home) == []

    def test_a_link_to_nothing_too(self, file: Path) -> None:
        file.symlink_to("gone")
        assert load_settings(file) == (Settings(), ())

    @pytest.mark.parametrize("text", ["", "\n", "# nothing\n", "\ufeff# from Windows\r\n"])
    def test_an_empty_file_too(self, text: str, file: Path) -> None:
        file.write_text(text)
        assert load_settings(file) == (Settings(), ())

    def test_everything_set(self, file: Path) -> None:
        settings = Settings(
            model_folders=("/models", "~/more"),
            device="cuda:1",
            dtype="bfloat16",
            quantization="4bit",
            max_models=2,
            idle_minutes=30.0,
            spare_engine=False,
            prefetch=False,
            engine_python="/opt/torch/bin/python",
            stall_seconds=60.0,
            gguf_copies_gb=0.0,
            theme="nord",
            ascii=True,
            mouse=False,
            keys={"engine.cancel": "ctrl+x"},
        )
        values = {name: getattr(settings, name) for name in Settings.__struct_fields__}
        file.write_text(tomli_w.dumps(values))
        assert load_settings(file) == (settings, ())
        assert not [name for name in values if values[name] == getattr(Settings(), name)]

    def test_keys_may_be_written_without_quotes(self, file: Path) -> None:
        file.write_text('[keys]\nengine.cancel = "ctrl+x"\n"model.load" = "l"\n')
        assert load_settings(file)[0].keys == {"engine.cancel": "ctrl+x", "model.load": "l"}

    def test_windows_line_ends(self, file: Path) -> None:
        file.write_bytes(b'\xef\xbb\xbftheme = "nord"\r\nascii = true\r\n')
        assert load_settings(file) == (Settings(theme="nord", ascii=True), ())


class TestProblems:
    def test_all_else_still_counts(self, file: Path) -> None:
        file.write_text(
            'theme = "nord"\ndevise = "cpu"\nquantization = "16bit"\nstall_seconds = 1\nascii = true\n'
            'temperature = 0.5\n[mouse]\nx = 1\n[keys]\na = 5\nb = "c"\n[zzz]\ndevice = "cpu"\n'
        )
        settings, _ = load_settings(file)
        assert settings == Settings(theme="nord", ascii=True, keys={"b": "c"})
        assert problems_of(file) == [
            ("devise", "is not a setting; did you mean device?"),
            ("quantization", f"must be one of {QUANTIZATIONS}, not '16bit'"),
            ("stall_seconds", "must be 10 to 86400, not 1"),
            ("temperature", "is a generation setting, and those are kept in generation.toml"),
            ("mouse", "must be true or false, not a table"),
            ("keys", "entry 'a' must be text, not 5"),
            ("zzz", "is not a setting"),
        ]

    def test_keys_that_are_no_table(self, file: Path) -> None:
        file.write_text('keys = "ctrl+x"')
        assert problems_of(file) == [("keys", "must be a table of strings, not 'ctrl+x'")]

    def test_reads_as_one_line_with_file_key_and_what_is_allowed(self, home: Path, paths: Paths) -> None:
        paths.config_file.parent.mkdir(parents=True)
        paths.config_file.write_text("spare_engine = 1")
        (problem,) = load_settings(paths.config_file)[1]
        assert str(problem) == "~/.config/modeldeck/config.toml: spare_engine: must be true or false, not 1"

    def test_of_the_whole_file_has_no_key(self) -> None:
        assert str(ConfigProblem(Path("/etc/deck.toml"), "", "is empty")) == "/etc/deck.toml: is empty"

    def test_nothing_invisible_in_it(self, file: Path) -> None:
        file.write_text('"a\\u001b[31m\\u202e" = 1\n')
        assert problems_of(file) == [("a\ufffd[31m\ufffd", "is not a setting")]

    @pytest.mark.parametrize(
        ("data", "message"),
        [
            (
                b'theme = "nord"\nascii true\n',
                "is not valid TOML: line 2, column 7, expected '=' after a key in a key/value pair;"
                " nothing in it is used",
            ),
            (b"a = 1\na = 2", "is not valid TOML: end of document, cannot overwrite a value; nothing in it is used"),
            (b"a = " + b"9" * 5000, "is not valid TOML: a number has too many digits; nothing in it is used"),
            (b"a = " + b"[" * 5000, "is nested too deeply, so nothing in it is used"),
            (b"a = 1\n# caf\xe9\n", "is not UTF-8 text (line 2), so nothing in it is used"),
            (b"#" * (10 * 1024**2), "is larger than 2 MiB, so nothing in it is used"),
        ],
        ids=["syntax", "twice", "digits", "nesting", "latin-1", "10 MB"],
    )
    def test_a_file_that_is_no_toml(self, data: bytes, message: str, file: Path) -> None:
        file.write_bytes(data)
        assert problems_of(file) == [("", message)]
        assert load_settings(file)[0] == Settings()
        assert file.read_bytes() == data

    def test_the_largest_file_that_is_read(self, file: Path) -> None:
        file.write_bytes(b"#" * MAX_BYTES)
        assert problems_of(file) == []

    def test_a_folder(self, file: Path) -> None:
        file.mkdir()
        assert problems_of(file) == [("", "cannot be read: it is not a file")]

    def test_a_pipe_is_not_waited_for(self, file: Path) -> None:
        os.mkfifo(file)
        assert problems_of(file) == [("", "cannot be read: it is not a file")]

    def test_a_file_in_place_of_the_folder(self, file: Path) -> None:
        file.write_text("")
        assert problems_of(file / "config.toml") == [("", "cannot be read: Not a directory")]

    def test_a_file_of_another_user(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file.write_text("ascii = true")

        def denied(*_: object) -> int:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(os, "open", denied)
        assert problems_of(file) == [("", "cannot be read: Permission denied")]

    @pytest.mark.parametrize(
        "text",
        ["{}x = 1", "[{}x]", "k = {{ {}x = 1 }}", "[[{}x]]"],
    )
    @pytest.mark.parametrize("part", ["a.", "a . ", '"a\\"b".', "'a'\t."])
    def test_a_key_of_thousands_of_parts_is_refused_before_it_takes_gigabytes(
        self, file: Path, text: str, part: str
    ) -> None:
        file.write_text(text.format(part * 30_000))
        begin = process_time()
        assert problems_of(file) == [("", "has a key of more than 32 parts, so nothing in it is used")]
        assert process_time() - begin < 1

    def test_looking_for_such_keys_takes_no_time_itself(self, file: Path) -> None:
        begin = process_time()
        for text in ('\\"' * 100_000, "a" * 100_000, "'" * 100_000, '"a.' * 50_000, "a b." * 50_000, "." * 100_000):
            file.write_text(text)
            assert len(problems_of(file)) == 1
        assert process_time() - begin < 2
