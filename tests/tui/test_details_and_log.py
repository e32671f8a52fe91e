from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from textual.app import App, ComposeResult
from textual.widget import Widget

from modeldeck.backend.models import ModelFormat, ModelInfo, ModelSource, ModelStatus
from modeldeck.tui.app import ModeldeckApp
from modeldeck.tui.log_buffer import EngineLogBuffer
from modeldeck.tui.widgets.details_view import DetailsView
from modeldeck.tui.widgets.log_view import LogView
from tests.helpers import screen_text, wait_until
from tests.tui.deck import WIDE, FakeCatalog, opened, services, until_status

GGUF = ModelInfo(
    id="starter",
    name="SmolLM2 [/x] \x1b[31m135M",
    path="/models/smol.gguf",
    source=ModelSource.STARTER,
    format=ModelFormat.GGUF,
    architecture="llama",
    parameters=134_515_008,
    dtype="float32",
    quantization="Q4_1",
    context_length=8192,
    size_bytes=94_000_000,
    has_chat_template=True,
)
BROKEN = ModelInfo(
    id="/models/broken",
    name="broken",
    path="/models/broken",
    source=ModelSource.FOLDER,
    problems=("config.json is not JSON [/].", "There are no weights."),
)


class Copies:
    """One prepared copy on the disk, until it is removed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.error: OSError | None = None

    def find(self, gguf: Path) -> Path | None:
        return self.folder if self.folder.exists() else None

    def remove(self, gguf: Path) -> None:
        if self.error is not None:
            raise self.error
        for file in self.folder.iterdir():
            file.unlink()
        self.folder.rmdir()


class CountedCopies(Copies):
    """Counts how often somebody looks."""

    looks = 0

    def find(self, gguf: Path) -> Path | None:
        self.looks += 1
        return super().find(gguf)


class Host(App[object]):
    """Shows one widget."""

    def __init__(self, shown: Widget) -> None:
        super().__init__()
        self.shown = shown

    def compose(self) -> ComposeResult:
        yield self.shown


class TestDetails:
    async def test_every_fact_has_a_label_and_a_unit(self) -> None:
        view = DetailsView()
        app = Host(view)
        async with app.run_test(size=(80, 24)) as pilot:
            assert "No model is highlighted" in screen_text(app)
            view.model = GGUF
            await wait_until(pilot, lambda: "Remote code" in screen_text(app))
            text = screen_text(app)
            for fact in (
                "SmolLM2 [/x] ␛[31m135M",
                "135M",
                "94.0 MB",
                "8,192 tokens",
                "Q4_1",
                "llama",
                "gguf",
                "/models/smol.gguf",
            ):
                assert fact in text

    async def test_problems_are_told_in_words(self) -> None:
        view = DetailsView()
        app = Host(view)
        async with app.run_test(size=(80, 24)) as pilot:
            view.model = BROKEN
            await wait_until(pilot, lambda: "✗ config.json is not JSON [/]." in screen_text(app))
            assert "✗ There are no weights." in screen_text(app)
            assert "no weights found" in screen_text(app)
            view.model = GGUF
            await wait_until(pilot, lambda: "✗" not in screen_text(app))

    async def test_the_prepared_copy_is_shown_and_cleared(self, tmp_path: Path) -> None:
        folder = tmp_path / "copy"
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"x" * 2_500_000)
        copies = Copies(folder)
        view = DetailsView(copies)
        app = Host(view)
        async with app.run_test(size=(80, 40)) as pilot:
            view.model = GGUF
            view.focus()
            await wait_until(pilot, lambda: "Prepared copy: 2.5 MB" in screen_text(app))
            copies.error = PermissionError(13, "Permission denied")
            await pilot.press("x")
            await wait_until(pilot, lambda: "could not be cleared: Permission denied" in screen_text(app))
            copies.error = None
            await pilot.press("x")
            await wait_until(pilot, lambda: "was cleared" in screen_text(app))
            assert not folder.exists()
            assert view.check_action("clear_copy", ()) is False
            view.refresh_copy()
            await wait_until(pilot, lambda: "Prepared copy: none" in screen_text(app))

    async def test_a_copy_that_is_found_when_the_pane_is_going_does_no_harm(self, tmp_path: Path) -> None:
        view = DetailsView(Copies(tmp_path / "none"))
        app = Host(view)
        async with app.run_test(size=(80, 40)) as pilot:
            view.model = GGUF
            await wait_until(pilot, lambda: "Prepared copy: none" in screen_text(app))
            await view.query(".details--copy").remove()
            view.refresh_copy()
            await app.workers.wait_for_complete()
            assert app.is_running

    async def test_no_copy_is_promised_where_the_settings_keep_none(self, tmp_path: Path) -> None:
        view = DetailsView(Copies(tmp_path / "none"), keeps_copies=False)
        app = Host(view)
        async with app.run_test(size=(80, 40)) as pilot:
            view.model = GGUF
            await wait_until(pilot, lambda: "gguf_copies_gb is 0" in screen_text(app))
            assert "makes one" not in screen_text(app)

    async def test_a_copy_that_is_written_after_the_load_shows_up_and_progress_looks_for_none(
        self, tmp_path: Path
    ) -> None:
        folder, gate = tmp_path / "copy", tmp_path / "gate"
        progress = "\n".join(f"progress reading_weights {done} 50" for done in range(50))
        script = f"ready\nwait load\n{progress}\nfinished\ngate {gate}\ncopy /models/smol.gguf\nhang"
        copies = CountedCopies(folder)
        built = replace(services(script, catalog=FakeCatalog([GGUF])), gguf_copies=copies)  # type: ignore[arg-type]  # what the details use of it
        app = ModeldeckApp(built)
        async with app.run_test(size=WIDE) as pilot:
            await opened(pilot, rows=1)
            app.main_screen.go("details")
            await wait_until(pilot, lambda: "Prepared copy: none" in screen_text(app))
            before = copies.looks
            app.main_screen.loads.choose(GGUF)
            await until_status(pilot, ModelStatus.LOADED)
            folder.mkdir()
            (folder / "model.safetensors").write_bytes(b"x" * 2_500_000)
            gate.touch()
            await wait_until(pilot, lambda: "Prepared copy: 2.5 MB" in screen_text(app))
            assert copies.looks - before <= 3  # LOADING, LOADED, written


class TestLog:
    async def test_lines_come_live_and_harmless(self) -> None:
        log = EngineLogBuffer()
        log.append("before")
        app = Host(LogView(log))
        async with app.run_test(size=(80, 24)) as pilot:
            await wait_until(pilot, lambda: "before" in screen_text(app))
            log.append("\x1b]52;c;eA==\x07 [@click=app.quit]x[/]")
            await wait_until(pilot, lambda: "␛]52;c;eA==␇ [@click=app.quit]x[/]" in screen_text(app))

    async def test_an_empty_log_says_so_until_the_first_line(self) -> None:
        log = EngineLogBuffer()
        app = Host(LogView(log))
        async with app.run_test(size=(80, 24)) as pilot:
            await wait_until(pilot, lambda: "said nothing yet" in screen_text(app))
            log.append("first")
            await wait_until(pilot, lambda: "first" in screen_text(app))
            assert "said nothing yet" not in screen_text(app)

    async def test_a_long_line_is_wrapped_and_wrapped_anew_with_the_window(self) -> None:
        log = EngineLogBuffer()
        log.append("the first words " + "and more words " * 10 + "the very end")
        app = Host(LogView(log))
        async with app.run_test(size=(80, 24)) as pilot:
            await wait_until(pilot, lambda: "the very end" in screen_text(app))
            rows = len(app.shown.lines)  # type: ignore[attr-defined]  # a LogView
            await pilot.resize_terminal(40, 24)
            await wait_until(pilot, lambda: len(app.shown.lines) > rows)  # type: ignore[attr-defined]  # as above
            await wait_until(pilot, lambda: "very" in screen_text(app) and "the first words" in screen_text(app))

    async def test_follows_a_flood_only_from_the_bottom(self) -> None:
        log = EngineLogBuffer()
        view = LogView(log)
        app = Host(view)
        async with app.run_test(size=(80, 24)) as pilot:
            for number in range(5000):
                log.append(f"line {number}")
            await wait_until(pilot, lambda: "line 4999" in screen_text(app))
            assert len(view.lines) <= 2000
            view.focus()
            await pilot.press("g")
            await wait_until(pilot, lambda: view.scroll_y == 0)
            log.append("newest")
            await wait_until(pilot, lambda: view.lines[-1] == "newest")
            assert "newest" not in screen_text(app)
            await pilot.press("G")
            await wait_until(pilot, lambda: "newest" in screen_text(app))
