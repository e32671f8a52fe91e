from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from modeldeck.config.consents import MOST, Consents

CODE = "0" * 63 + "a"
OTHER = "0" * 63 + "b"
MODEL = "org/name@abc"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "consents.json"


def test_a_consent_is_for_one_model_and_one_code_and_holds_in_the_next_run(path: Path) -> None:
    consents = Consents(path)
    assert not consents.allows(MODEL, CODE)
    assert not path.parent.exists()
    consents.put(MODEL, CODE)
    for each in (consents, Consents(path)):
        assert each.allows(MODEL, CODE)
        assert not each.allows(MODEL, OTHER)
        assert not each.allows("org/other@abc", CODE)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_one_for_new_code_ends_that_for_the_old(path: Path) -> None:
    consents = Consents(path)
    consents.put(MODEL, CODE)
    consents.put(MODEL, OTHER)
    assert (consents.allows(MODEL, CODE), consents.allows(MODEL, OTHER)) == (False, True)


def test_one_that_is_withdrawn_is_so_in_every_instance(path: Path) -> None:
    one, other = Consents(path), Consents(path)
    one.put(MODEL, CODE)
    assert other.allows(MODEL, CODE)
    other.withdraw(MODEL)
    assert not one.allows(MODEL, CODE)
    assert json.loads(path.read_text()) == {}


def test_two_instances_keep_what_the_other_wrote(path: Path) -> None:
    one, other = Consents(path), Consents(path)
    one.put("a", CODE)
    other.put("b", OTHER)
    assert Consents(path).allows("a", CODE)
    assert Consents(path).allows("b", OTHER)


def test_no_digest_is_never_allowed_nor_kept(path: Path) -> None:
    consents = Consents(path)
    for digest in ("", "abc", CODE.upper(), CODE + "\n"):
        with pytest.raises(ValueError, match="regex"):
            consents.put(MODEL, digest)
        assert not consents.allows(MODEL, digest)
    assert not path.exists()


def test_only_so_many_are_kept_and_the_newest_stay(path: Path) -> None:
    path.parent.mkdir()
    path.write_text(json.dumps({f"org/{number}": CODE for number in range(MOST)}))
    consents = Consents(path)
    consents.put("org/0", CODE)
    consents.put("org/new", CODE)
    assert [consents.allows(each, CODE) for each in ("org/0", "org/1", "org/2", "org/new")] == [True, False, True, True]
    assert len(json.loads(path.read_text())) == MOST


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[1]",
        b"\xff\xfe",
        b'{"org/a": true}',
        b'{"org/a": ""}',
        json.dumps({"org/a": CODE, "org/b": "*"}).encode(),
        b"[" * 100_000,
        json.dumps({"org/a": CODE}).encode() + b" " * 8 * 2**20,
    ],
    ids=["empty", "cut", "no table", "no text", "no string", "no digest", "one that is none", "deep", "long"],
)
def test_a_broken_file_allows_nothing(path: Path, content: bytes) -> None:
    path.parent.mkdir()
    path.write_bytes(content)
    consents = Consents(path)
    assert not consents.allows("org/a", CODE)
    assert not consents.allows("org/a", "")
    consents.put("org/c", CODE)
    assert json.loads(path.read_text()) == {"org/c": CODE}


def test_what_cannot_be_written_down_holds_until_the_end_of_the_program(path: Path) -> None:
    path.parent.write_text("a file in the way")
    consents = Consents(path)
    with pytest.raises(OSError, match=r"."):
        consents.put(MODEL, CODE)
    assert consents.allows(MODEL, CODE)
    assert not Consents(path).allows(MODEL, CODE)
    path.parent.unlink()
    consents.put("org/other", OTHER)
    assert consents.allows(MODEL, CODE)
    assert json.loads(path.read_text()) == {"org/other": OTHER}


def test_a_consent_that_cannot_be_taken_from_the_file_is_withdrawn_even_so(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("No space left on device")

    consents = Consents(path)
    consents.put(MODEL, CODE)
    monkeypatch.setattr("modeldeck.config.consents.write_atomically", full)
    with pytest.raises(OSError, match="No space left"):
        consents.withdraw(MODEL)
    assert not consents.allows(MODEL, CODE)


def test_an_id_that_is_no_text_is_kept_out_of_the_file(path: Path) -> None:
    consents = Consents(path)
    with pytest.raises(UnicodeEncodeError):
        consents.put("/models/\udcff", CODE)
    assert consents.allows("/models/\udcff", CODE)
    assert not path.exists()
    consents.put(MODEL, CODE)
    assert json.loads(path.read_text()) == {MODEL: CODE}
