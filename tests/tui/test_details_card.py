"""What the details tell beside the plain facts: the network, the estimate, the model card."""

from __future__ import annotations

import asyncio
from statistics import median
from time import perf_counter

from textual.widgets import Static

from modeldeck.backend.estimate.figures import DeviceNeed, Estimate, Verdict
from modeldeck.backend.model_shape import ModelShape
from modeldeck.backend.models import ModelFormat, ModelInfo
from modeldeck.tui.details_text import groups
from modeldeck.tui.widgets.card_view import CardView
from modeldeck.tui.widgets.details_view import DetailsView
from tests.helpers import screen_text, wait_until
from tests.tui.deck import FakeCatalog, deck, model, opened
from tests.tui.test_details_and_log import Host

TALL = (100, 60)
FULL = model(
    "org/Big",
    architecture="qwen3_moe",
    architecture_class="Qwen3MoeForCausalLM",
    active_parameters=1_300_000_000,
    modality="image-text",
    licence="apache-2.0",
    tags=("chat", "code"),
    revision="abc123",
    refs=("main",),
    base_model="org/Base",
    file_count=12,
    disk_bytes=17_000_000_000,
    last_used=1_750_000_000.0,
    shape=ModelShape(
        layers=48,
        hidden_size=2048,
        attention_heads=32,
        kv_heads=4,
        head_dim=128,
        vocabulary=151_936,
        tied_embeddings=True,
        layer_types={"full_attention": 12, "sliding_attention": 36},
        sliding_window=4096,
        experts=128,
        active_experts=8,
        kv_lora_rank=512,
    ),
)
ESTIMATE = Estimate(
    verdict=Verdict.TIGHT,
    context_tokens=8192,
    devices=(
        DeviceNeed(
            device="cuda:0",
            weights_bytes=15_300_000_000,
            cache_bytes=1_100_000_000,
            working_bytes=500_000_000,
            engine_bytes=1_000_000_000,
            free_bytes=10_000_000_000,
            credit_bytes=14_200_000_000,
            total_bytes=80_000_000_000,
        ),
    ),
    measured_bytes=17_900_000_000,
    grounds=("Weights: 15.3 GB in bfloat16.", "vllm (pid 4312, ann) holds 17.9 GB of cuda:0."),
)


def test_everything_that_is_known_has_its_place_and_what_is_not_known_has_none() -> None:
    said = {group.title: dict(group.rows) for group in groups(FULL)}
    assert list(said) == ["Identity", "Weights", "Network", "Files"]
    assert said["Identity"]["Revision"] == "abc123 · main"
    assert said["Identity"]["Base model"] == "org/Base"
    assert said["Identity"]["Licence"] == "apache-2.0"
    assert said["Identity"]["Tags"] == "chat, code"
    assert said["Identity"]["Last used"].startswith("2025-06-15")
    assert said["Weights"]["Parameters"] == "8.2B (8,200,000,000), 1.3B of them active"
    assert said["Network"] == {
        "Architecture": "qwen3_moe (Qwen3MoeForCausalLM)",
        "Takes": "image and text",
        "Context length": "8,192 tokens",
        "Layers": "48 · 12 full attention, 36 sliding attention",
        "Hidden size": "2,048",
        "Attention heads": "32, 4 for keys and values",
        "Head dimension": "128",
        "Latent ranks": "512 for keys and values",
        "Sliding window": "4,096 tokens",
        "Experts": "128 in a layer, 8 for each token",
        "Vocabulary": "151,936 tokens, embeddings tied",
    }
    assert said["Files"]["Files"] == "12 files, 17.0 GB on disk"
    bare = {group.title: dict(group.rows) for group in groups(model("bare", shape=None))}
    assert "Licence" not in bare["Identity"]
    assert set(bare["Network"]) == {"Architecture", "Context length"}
    pickled = {group.title: dict(group.rows) for group in groups(model("p", format=ModelFormat.PICKLE))}
    assert pickled["Weights"]["Format"] == "pickle: it could run code while it loads"


async def test_the_estimate_shows_what_is_needed_against_what_is_free_and_on_what_grounds() -> None:
    asked: list[ModelInfo] = []

    def estimate(wanted: ModelInfo) -> Estimate:
        asked.append(wanted)
        return ESTIMATE

    view = DetailsView(estimate=estimate)
    app = Host(view)
    async with app.run_test(size=TALL) as pilot:
        view.model = FULL
        await wait_until(pilot, lambda: "Verdict" in screen_text(app))
        text = " ".join(screen_text(app).split())
        for words in (
            "tight, for a conversation of 8,192 tokens",
            "cuda:0 needs 17.9 GB = weights 15.3 GB + cache 1.1 GB + working 500 MB + engine 1.0 GB",
            "free 10.0 GB + 14.2 GB from unloading of 80.0 GB, 6.3 GB would be left",
            "vllm (pid 4312, ann) holds 17.9 GB of cuda:0.",
        ):
            assert words in text
        before = len(asked)
        view.refresh_estimate()
        assert len(asked) == before + 1


def card(view: DetailsView) -> CardView:
    return view.query_one(CardView)


class Cards:
    """Cards by the model's name, and which of them were read."""

    def __init__(self, **texts: str) -> None:
        self.texts = texts
        self.read: list[str] = []

    def __call__(self, wanted: ModelInfo) -> str | None:
        self.read.append(wanted.name)
        return self.texts.get(wanted.name)


HOSTILE = """# Hello [x]

<script>alert(1)</script> and <b>bold</b>

![a cat](http://evil.example/cat.png) [click](http://evil.example/) &#x1b;]52;c;eA==&#x7;

| a | b |
|---|---|
| 1 | 2 |
"""


async def test_the_card_is_drawn_as_text_that_opens_nothing() -> None:
    view = DetailsView(read_card=Cards(one=HOSTILE))
    app = Host(view)
    async with app.run_test(size=TALL) as pilot:
        view.model = model("one")
        await wait_until(pilot, lambda: "Hello [x]" in screen_text(app))
        text = screen_text(app)
        assert "Model card" in text
        assert "# Hello" not in text
        assert "<script>alert(1)</script> and <b>bold</b>" in text
        assert "a cat click (http://evil.example/)" in text
        assert "cat.png" not in text
        assert "| a | b |" not in text  # a table is one
        strips = app.screen._compositor.render_strips()
        segments = [segment for strip in strips for segment in strip]
        assert not any(segment.style is not None and segment.style.link for segment in segments)
        assert not [char for segment in segments for char in segment.text if ord(char) < 32]


async def test_only_the_card_of_a_model_that_stays_is_read_and_a_model_without_one_shows_none() -> None:
    cards = Cards(last="the card of the last one")
    view = DetailsView(read_card=cards)
    app = Host(view)
    async with app.run_test(size=TALL) as pilot:
        for number in range(20):
            view.model = model(f"passing-{number}")
        view.model = model("last")
        await wait_until(pilot, lambda: "the card of the last one" in screen_text(app))
        assert cards.read[-1] == "last"
        assert len(cards.read) <= 2
        view.model = model("bare")
        await wait_until(pilot, lambda: cards.read[-1] == "bare")
        await wait_until(pilot, lambda: "Model card" not in screen_text(app))


async def test_nothing_is_read_or_estimated_while_the_pane_is_hidden() -> None:
    cards, asked = Cards(one="words"), list[str]()

    def estimate(wanted: ModelInfo) -> Estimate:
        asked.append(wanted.name)
        return ESTIMATE

    view = DetailsView(read_card=cards, estimate=estimate)
    app = Host(view)
    async with app.run_test(size=TALL) as pilot:
        view.display = False
        view.look()
        view.model = model("one")
        await pilot.pause(0.3)  # longer than a card waits
        assert cards.read == asked == []
        view.display = True
        view.look()
        await wait_until(pilot, lambda: "words" in screen_text(app))
        assert set(asked) == {"one"}


def large_card(size: int) -> str:
    part = "## Part {0}\n\nSome *prose* with `code` and [a link](http://x.example/{0}) for this part.\n\n" + (
        "```python\ndef f{0}(x: int) -> str:\n    return str(x)  # a comment\n```\n\n- one\n- two\n\n"
    )
    text = ""
    number = 0
    while len(text) < size:
        text += part.format(number)
        number += 1
    return text + "the very end"


async def test_a_card_of_256_kb_holds_up_nothing_and_is_drawn_only_as_far_as_it_is_read() -> None:
    view = DetailsView(read_card=Cards(one=large_card(256 * 1024)))
    app = Host(view)
    async with app.run_test(size=TALL) as pilot:
        late: list[float] = []
        ticking = asyncio.create_task(_ticks(late))
        view.model = model("one")
        await wait_until(pilot, lambda: card(view).size.height > 200)
        ticking.cancel()
        assert card(view).size.height < 1000
        assert median(late) < 0.02  # benchmarks know better; this one only sees a card drawn in one go


async def test_a_long_card_is_drawn_to_its_end_for_who_reads_on() -> None:
    view = DetailsView(read_card=Cards(one=large_card(24 * 1024)))
    app = Host(view)
    async with app.run_test(size=TALL) as pilot:
        view.model = model("one")
        view.focus()
        await wait_until(pilot, lambda: "Part 0" in screen_text(app))
        deadline = perf_counter() + 30
        while "the very end" not in screen_text(app):
            assert perf_counter() < deadline, screen_text(app)
            await pilot.press("G")


async def _ticks(late: list[float]) -> None:
    while True:
        due = perf_counter() + 0.005
        await asyncio.sleep(0.005)
        late.append(perf_counter() - due)


async def test_another_width_draws_the_card_anew() -> None:
    view = DetailsView(read_card=Cards(one="some words " * 60))
    app = Host(view)
    async with app.run_test(size=TALL) as pilot:
        view.model = model("one")
        await wait_until(pilot, lambda: "some words" in screen_text(app))
        rows = card(view).size.height
        await pilot.resize_terminal(50, 60)
        await wait_until(pilot, lambda: card(view).size.height > rows)
        assert view.query_one(".details--name", Static).display


async def test_who_comes_back_to_the_details_of_a_model_finds_the_place_again() -> None:
    app = deck(catalog=FakeCatalog([FULL]))
    async with app.run_test(size=(80, 16)) as pilot:
        await opened(pilot, rows=1)
        app.main_screen.go("details")
        details = app.main_screen.query_one(DetailsView)
        await wait_until(pilot, lambda: details.max_scroll_y > 5)
        await pilot.press("G")
        await wait_until(pilot, lambda: details.scroll_y > 5)
        place = details.scroll_y
        app.main_screen.go("chat")
        await pilot.pause()
        app.main_screen.go("details")
        await pilot.pause()
        assert details.scroll_y == place
