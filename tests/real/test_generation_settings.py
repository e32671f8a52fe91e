"""Every generation setting reaches ``generate`` in a real engine and does there what its help says."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from shutil import copytree
from time import monotonic
from typing import Any

import pytest

from modeldeck.backend.catalog.shape import model_shape
from modeldeck.backend.chat_messages import ChatMessage, FinishReason
from modeldeck.backend.generation_limits import CACHES, abilities_of
from modeldeck.backend.protocol import Generate, LoadFinished, TokensGenerated
from modeldeck.config.generation import GenerationSettings
from tests.real.engine import Engine, Reply
from tests.real.models import CHATML, make_tokenizer

QUESTION = "What is the capital of France?"
_OWN = {"do_sample": True, "temperature": 0.01, "top_k": 1, "min_p": 0.5, "stop_strings": ["e"], "num_beams": 1}


class Direct:
    """What an engine replies with, in this process: a token takes a tenth of the time."""

    def __init__(self, folder: Path) -> None:
        from transformers import AutoModelForCausalLM, AutoTokenizer

        from modeldeck.backend.engine.generating import Replier

        self.logs: list[str] = []
        model = AutoModelForCausalLM.from_pretrained(folder)
        self._replier = Replier(model, AutoTokenizer.from_pretrained(folder), 16_384, self.logs.append)

    def reply(self, text: str, stop_after: float | None = None, **settings: Any) -> Reply:
        """The whole reply; ``stop_after`` stops it after so many seconds."""
        from modeldeck.backend.engine.wire import Arrival

        reply = Reply()
        request = Generate(1, (ChatMessage("user", text),), GenerationSettings(**settings))
        arrival = Arrival(request, monotonic())
        if stop_after is not None:
            threading.Timer(stop_after, arrival.stop.set).start()

        def emit(text: str, count: int, reasoning: bool) -> None:
            reply.pieces.append(TokensGenerated(1, text, count))

        reply.stats = self._replier.reply(request, arrival, emit, lambda *_: None)
        reply.text = "".join(piece.text for piece in reply.pieces)
        return reply


@pytest.fixture(scope="module")
def engine(llama: Path) -> Iterator[Direct]:
    """On one thread: a model this small gains nothing from more, and a busy machine loses much."""
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield Direct(llama)
    torch.set_num_threads(threads)


def said(reply: Reply) -> str:
    """The text of a reply that did not fail."""
    assert not reply.failure
    assert reply.stats is not None
    return reply.text


def ask(engine: Direct, **settings: Any) -> str:
    return said(engine.reply(QUESTION, **{"max_new_tokens": 16, "seed": 3, **settings}))


def sampled(engine: Direct, **settings: Any) -> str:
    """A reply out of the whole vocabulary, but for what is set."""
    return ask(engine, **{"do_sample": True, "temperature": 1.5, "top_k": 0, "top_p": 1.0, **settings})


@pytest.mark.parametrize(
    "narrow",
    [
        {"top_k": 1},
        {"top_p": 1e-9},
        {"min_p": 1.0},
        {"top_h": 1e-9},
        {"epsilon_cutoff": 0.9},
        {"temperature": 0.0},
    ],
    ids=lambda narrow: next(iter(narrow)),
)
def test_the_narrowest_sampling_is_greedy(engine: Direct, narrow: dict[str, float]) -> None:
    greedy = ask(engine, do_sample=False)
    assert sampled(engine) != greedy
    assert sampled(engine, **narrow) == greedy


def test_the_values_that_mean_off_change_nothing(engine: Direct) -> None:
    off = {"min_p": 0.0, "typical_p": 1.0, "epsilon_cutoff": 0.0, "eta_cutoff": 0.0, "repetition_penalty": 1.0}
    more = {"no_repeat_ngram_size": 0, "num_beams": 1, "guidance_scale": 1.0, "prompt_lookup_num_tokens": 0}
    assert sampled(engine, **off, **more, min_new_tokens=0, cache_implementation="dynamic") == sampled(engine)


def test_typical_p_eta_and_temperature_change_what_is_sampled(engine: Direct) -> None:
    assert sampled(engine, typical_p=0.2) != sampled(engine)
    assert sampled(engine, temperature=0.2) != sampled(engine)
    assert sampled(engine, eta_cutoff=0.9) != sampled(engine)


def test_repeats_are_punished_and_forbidden(engine: Direct) -> None:
    words = "one two one two one two one two"
    plain = said(engine.reply(words, max_new_tokens=60, do_sample=False))
    assert said(engine.reply(words, max_new_tokens=60, do_sample=False, repetition_penalty=5.0)) != plain
    assert said(engine.reply(words, max_new_tokens=60, do_sample=False, no_repeat_ngram_size=2)) != plain


def test_a_reply_is_as_long_as_it_has_to_be(engine: Direct) -> None:
    reply = engine.reply(QUESTION, max_new_tokens=4000, min_new_tokens=100, do_sample=True, top_k=0, seed=2)
    assert reply.stats is not None
    assert reply.stats.new_tokens >= 100
    both = engine.reply(QUESTION, max_new_tokens=5, min_new_tokens=50, do_sample=False).stats
    assert both is not None
    assert both.new_tokens == 5


def test_max_time_cuts_and_says_so(engine: Direct) -> None:
    reply = engine.reply(QUESTION, max_new_tokens=10_000, min_new_tokens=10_000, max_time=0.2, do_sample=False)
    assert reply.stats is not None
    assert 0 < reply.stats.new_tokens < 10_000
    assert (reply.stats.finish_reason, reply.stats.time_up) == (FinishReason.LENGTH, True)


def test_a_beam_search_says_its_reply_whole_at_its_end(engine: Direct) -> None:
    reply = engine.reply(QUESTION, max_new_tokens=24, do_sample=False, num_beams=4)
    assert said(reply)
    assert len(reply.pieces) == 1
    assert reply.stats is not None
    assert reply.pieces[0].new_tokens == reply.stats.new_tokens > 0
    assert reply.stats.tokens_per_second == 0
    assert reply.stats.first_token_seconds > 0
    stop = reply.text[5:8]
    cut = engine.reply(QUESTION, max_new_tokens=24, do_sample=False, num_beams=4, stop=(stop,))
    assert cut.text == reply.text[: reply.text.index(stop)]
    assert said(engine.reply(QUESTION, max_new_tokens=24, do_sample=True, num_beams=3, seed=1))


def test_a_beam_search_can_be_stopped(engine: Direct) -> None:
    long = {"max_new_tokens": 8000, "min_new_tokens": 8000, "do_sample": False, "num_beams": 8}
    stats = engine.reply(QUESTION, stop_after=0.2, **long).stats
    assert stats is not None
    assert stats.finish_reason is FinishReason.CANCELLED


def test_guidance_changes_the_reply_and_still_streams(engine: Direct) -> None:
    plain = ask(engine, do_sample=False)
    reply = engine.reply(QUESTION, max_new_tokens=24, do_sample=False, guidance_scale=5.0)
    assert said(reply) != plain
    assert reply.pieces[0].new_tokens < 24
    assert reply.stats is not None
    assert reply.stats.cache_bytes == 0, "the cache of the second pass tells nothing of the model"


def test_prompt_lookup_says_the_same_and_streams(engine: Direct) -> None:
    words = "one two three four " * 30
    plain = engine.reply(words, max_new_tokens=60, do_sample=False)
    guessed = engine.reply(words, max_new_tokens=60, do_sample=False, prompt_lookup_num_tokens=10)
    assert said(guessed) == said(plain)
    assert guessed.stats is not None
    assert plain.stats is not None
    assert guessed.stats.new_tokens == plain.stats.new_tokens


@pytest.mark.parametrize("cache", [cache for cache in CACHES if not cache.startswith("offloaded")])
def test_a_cache_that_is_offered_on_a_cpu_works_there(engine: Direct, cache: str) -> None:
    plain = ask(engine, do_sample=False, max_new_tokens=200)
    kept = ask(engine, do_sample=False, max_new_tokens=200, cache_implementation=cache)
    if cache == "quantized":
        assert kept[:5] == plain[:5]  # the first tokens are kept whole; four bits then make another reply
    else:
        assert kept == plain


@pytest.mark.parametrize(
    ("settings", "word"),
    [
        ({"cache_implementation": "offloaded"}, "needs the model on a GPU"),
        ({"cache_implementation": "quantized", "num_beams": 2}, "Cache quantized does not go together with Beams"),
        ({"guidance_scale": 2.0, "num_beams": 2}, "Guidance scale does not go together with Beams"),
        ({"prompt_lookup_num_tokens": 5, "num_beams": 2}, "Prompt lookup does not go together with Beams"),
        ({"prompt_lookup_num_tokens": 5, "cache_implementation": "static"}, "together with the static Cache"),
        ({"prompt_lookup_num_tokens": 5, "guidance_scale": 2.0}, "together with Guidance scale"),
    ],
)
def test_what_cannot_be_done_is_left_out_and_told(engine: Direct, settings: dict[str, Any], word: str) -> None:
    reply = engine.reply(QUESTION, **{"max_new_tokens": 8, "do_sample": False, **settings})
    assert said(reply)
    assert any(word in line and "left out" in line for line in engine.logs)


def test_the_models_own_file_holds_where_nothing_is_set_and_no_further(
    llama: Path, tmp_path: Path, engine: Direct
) -> None:
    folder = copytree(llama, tmp_path / "own")
    file = folder / "generation_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | _OWN))
    other = Direct(folder)
    greedy = ask(engine, do_sample=False)
    assert said(other.reply(QUESTION, max_new_tokens=16)) == greedy.partition("e")[0]
    assert sampled(other, min_p=0.0, stop=()) == sampled(engine)


def test_all_of_it_goes_over_the_wire(llama: Path, start_engine: Callable[..., Engine], engine: Direct) -> None:
    child = start_engine()
    assert isinstance(child.load(llama), LoadFinished)
    beams = {"max_new_tokens": 12, "do_sample": False, "num_beams": 3, "no_repeat_ngram_size": 2}
    there, here = child.reply(QUESTION, **beams), engine.reply(QUESTION, **beams)
    child.hang_up()
    assert said(there) == said(here)
    assert len(there.pieces) == 1


def test_a_state_space_model_is_asked_only_for_what_it_can_do(libraries: None, tmp_path: Path) -> None:
    import torch
    from transformers import MambaConfig, MambaForCausalLM

    tokenizer = make_tokenizer(CHATML)
    torch.manual_seed(0)
    config = MambaConfig(vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, state_size=8)
    MambaForCausalLM(config).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    mamba = Direct(tmp_path)
    plain = said(mamba.reply(QUESTION, max_new_tokens=12, do_sample=False))
    cannot: dict[str, Any] = {"prompt_lookup_num_tokens": 5, "guidance_scale": 3.0, "cache_implementation": "static"}
    assert said(mamba.reply(QUESTION, max_new_tokens=12, do_sample=False, **cannot)) == plain
    assert len([line for line in mamba.logs if "keeps a running state" in line]) == 3
    assert said(mamba.reply(QUESTION, max_new_tokens=12, do_sample=False, num_beams=2))


def test_the_models_that_cannot_rewind_are_known_by_their_files(libraries: None) -> None:
    """By transformers' own word (``_is_stateful``); the engine leaves out what the two others cannot do."""
    import importlib
    import inspect

    import transformers
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING, model_type_to_module_name
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    missed, seen = set(), 0
    for kind, name in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.items():
        module = model_type_to_module_name(kind)
        source = Path(inspect.getfile(transformers)).parent / "models" / module / f"modeling_{module}.py"
        if not source.exists() or "_is_stateful = True" not in source.read_text():
            continue
        modeling = importlib.import_module(f"transformers.models.{module}.modeling_{module}")
        if not getattr(getattr(modeling, name, None), "_is_stateful", False):
            continue
        seen += 1
        shape = model_shape(CONFIG_MAPPING[kind]().to_dict())
        if abilities_of(shape, "cpu").rewinds:
            missed.add(kind)
    assert seen > 15
    assert missed == {"rwkv", "xlstm"}
