"""Models that take images, talked to in text: loaded whole, and the same replies as the library's own ``generate``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from modeldeck.backend.as_code import python_code
from modeldeck.backend.catalog.catalog import read_model
from modeldeck.backend.catalog.config_part import known_config
from modeldeck.backend.catalog.modality import loaded_by, why_it_cannot_chat
from modeldeck.backend.chat_messages import ChatMessage
from modeldeck.backend.estimate.estimating import count_parts
from modeldeck.backend.models import LoadRequest, ModelInfo, ModelSource, Quantization
from modeldeck.backend.protocol import Generate, LoadFinished
from modeldeck.config.generation import GenerationSettings
from tests.real.engine import running_engine
from tests.real.models import CHATML, FAMILIES, LLAVA, make_image_text, make_omni
from tests.real.repliers import Talk, never
from tests.real.test_as_code import assert_same, loaded_by_engine, run

pytestmark = [pytest.mark.usefixtures("libraries"), pytest.mark.filterwarnings("ignore")]
Make = Callable[..., tuple[Path, ModelInfo]]
GREEDY = GenerationSettings(do_sample=False, max_new_tokens=12)
TYPE_IDS = {"gemma3": "token_type_ids", "paligemma": "token_type_ids", "qwen2_5_vl": "mm_token_type_ids"}
"""What the processors of these families give ``generate`` beside the tokens: 0 for text."""


@pytest.fixture
def make(libraries: None, tmp_path: Path) -> Make:
    """A small model and its row in the catalog."""

    def made(family: str, chat_template: str | None = CHATML) -> tuple[Path, ModelInfo]:
        folder = make_image_text(family, tmp_path / family, chat_template)
        return folder, read_model(folder, ModelSource.FOLDER)

    return made


def load(folder: Path, **options: Any) -> tuple[Any, Any]:
    """What the engine holds of it, and what it tells of it."""
    from modeldeck.backend.engine.loading import load_model
    from modeldeck.backend.engine.progress import Progress

    request = LoadRequest(model_id="x", path=str(folder), device="cpu", **options)
    loaded = load_model(request, Progress(lambda report: None, 1), lambda line: None)
    return loaded, loaded.describe(0.0)


def said_by_library(folder: Path, ids: Any, **options: Any) -> str:
    """The reply of the whole model to these tokens, by the library alone."""
    import torch
    from transformers import AutoModelForMultimodalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModelForMultimodalLM.from_pretrained(folder)
    inputs = torch.tensor([ids])
    given = {name: torch.zeros_like(inputs) for name in options.values()}
    output = model.generate(
        input_ids=inputs, attention_mask=torch.ones_like(inputs), do_sample=False, max_new_tokens=12, **given
    )
    return str(tokenizer.decode(output[0, len(ids) :], skip_special_tokens=True))


def whole(text: str) -> str:
    """Without the beginning of a character at its end, which the engine holds back."""
    return text.rstrip("\ufffd")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_that_takes_images_is_loaded_whole_and_replies_to_text_as_by_the_library(
    family: str, make: Make
) -> None:
    folder, info = make(family)
    assert (info.problems, info.modality) == ((), "image-text")
    loaded, told = load(folder)
    assert type(loaded.model).__name__ == info.architecture_class
    assert told.context_length == info.context_length == 4096
    talk = Talk(loaded.replier)
    extra = {"kind": TYPE_IDS[family]} if family in TYPE_IDS else {}
    for text in ("Hello there", "And <|im_end|> more?"):
        said, stats = talk.say(text, GREEDY)
        ids = loaded.replier.prompts.ids(talk.turns[:-1])
        assert whole(said) == whole(said_by_library(folder, ids, **extra))
        assert (stats.prompt_tokens, bool(stats.new_tokens)) == (len(ids), True)
    request = LoadRequest(model_id="x", path=str(folder), device="cpu")
    parts = count_parts(info, request, stats.prompt_tokens + stats.new_tokens)
    assert parts is not None
    assert parts.weight_total == pytest.approx(told.weight_bytes, rel=0.01)
    if family != "mllama":  # whose cross-attention keeps something of images alone
        assert stats.cache_bytes == pytest.approx(parts.cache_total, rel=0.02)
    choices = loaded.replier.look_into(Generate(1, tuple(talk.turns[:-1]), GREEDY), stats.token_ids, never())
    assert len(choices) == stats.new_tokens
    assert all(choice.probability >= share for choice in choices for _, share in choice.others)  # greedy
    talk.turns.append(ChatMessage("user", "Why?"))
    assert talk.reply()[1].token_ids == talk.afresh()[1].token_ids  # paligemma reads its prompt in both directions


def test_a_template_of_a_processor_alone_is_found_and_its_prompts_are_the_processors(
    make: Make, tmp_path: Path, environment: dict[str, str]
) -> None:
    from tokenizers.processors import TemplateProcessing
    from transformers import AutoTokenizer, ProcessorMixin

    class OnlyText(ProcessorMixin):
        """A processor as every one is with text."""

        def __init__(self, tokenizer: Any, chat_template: str | None = None) -> None:
            begin: Any = super().__init__  # not typed
            begin(tokenizer, chat_template=chat_template)

    folder, _ = make("llava", None)
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    begin = tokenizer.bos_token
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(f"{begin} $A", special_tokens=[(begin, 0)])
    tokenizer.save_pretrained(folder)
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": LLAVA}))
    assert read_model(folder, ModelSource.FOLDER).has_chat_template
    with running_engine(tmp_path, environment) as engine:
        result = engine.load(folder, device="cpu")
        assert isinstance(result, LoadFinished), result
        assert result.model.has_chat_template
        reply = engine.reply("Hello there", do_sample=False, max_new_tokens=12)
    turns = [{"role": "user", "content": [{"type": "text", "text": "Hello there"}]}]
    processor: Any = OnlyText(tokenizer, LLAVA)
    ids = processor.apply_chat_template(turns, tokenize=True, add_generation_prompt=True)
    assert reply.stats is not None, reply.failure
    assert (reply.stats.prompt_tokens, ids[0]) == (len(ids), tokenizer.bos_token_id)
    assert whole(reply.text) == whole(said_by_library(folder, ids))


def test_in_4_bits_both_parts_are_quantized_and_take_what_the_estimate_says(
    make: Make, tmp_path: Path, environment: dict[str, str]
) -> None:
    folder, info = make("qwen2_5_vl")
    with running_engine(tmp_path, environment) as engine:
        result = engine.load(folder, device="cpu", quantization=Quantization.NF4)
        assert isinstance(result, LoadFinished), result
        assert engine.reply("Hello", do_sample=False, max_new_tokens=4).stats is not None
    request = LoadRequest(model_id="x", path=str(folder), device="cpu", quantization=Quantization.NF4)
    parts = count_parts(info, request, 100)
    assert parts is not None
    assert parts.weight_total == pytest.approx(result.model.weight_bytes, rel=0.01)


def test_of_a_model_that_speaks_its_replies_the_part_that_writes_them_is_loaded(tmp_path: Path) -> None:
    folder = make_omni(tmp_path / "omni")
    info = read_model(folder, ModelSource.FOLDER)
    assert (info.problems, info.modality) == ((), "any")
    loaded, told = load(folder)
    assert type(loaded.model).__name__ == "Qwen2_5OmniThinkerForConditionalGeneration"
    request = LoadRequest(model_id="x", path=str(folder), device="cpu")
    parts = count_parts(info, request, 100)
    assert parts is not None
    assert parts.weight_total == pytest.approx(told.weight_bytes, rel=0.01)
    assert Talk(loaded.replier).say("Hello", GREEDY)[1].new_tokens > 0
    assert_same(run(python_code(info, request)), loaded.model)


def test_the_copied_script_loads_it_whole_too(make: Make) -> None:
    folder, info = make("idefics3")
    request = LoadRequest(model_id="x", path=str(folder), device="cpu")
    code = python_code(info, request)
    assert "AutoModelForMultimodalLM" in code
    assert_same(run(code), loaded_by_engine(request))
    own = replace(info, needs_remote_code=True)
    assert "AutoModelForCausalLM" in python_code(own, LoadRequest(model_id="x", path="/x", trust_remote_code=True))


def test_a_checkpoint_of_the_language_part_alone_is_loaded_as_one() -> None:
    from transformers import Qwen3_5Config

    from modeldeck.backend.engine.model_classes import auto_class

    def named(config: Any, *, trusted: bool = False, is_gguf: bool = False) -> str:
        return str(auto_class(config, trusted=trusted, is_gguf=is_gguf).__name__)

    config: Any = Qwen3_5Config()
    assert named(config) == "AutoModelForMultimodalLM"
    assert named(config, is_gguf=True) == "AutoModelForCausalLM"
    config.architectures = ["Qwen3_5ForCausalLM"]
    assert named(config) == "AutoModelForCausalLM"
    config.architectures = ["Qwen3_5ForConditionalGeneration"]
    config.auto_map = {"AutoConfig": "a.B", "AutoModelForImageTextToText": "c.D"}
    assert named(config) == "AutoModelForMultimodalLM"
    assert named(config, trusted=True) == "AutoModelForImageTextToText"


def test_the_catalog_names_the_class_that_the_engine_takes() -> None:
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    from modeldeck.backend.engine.model_classes import auto_class, replying_part

    wrong, names = [], list(CONFIG_MAPPING.keys())
    for name in names:
        kind = CONFIG_MAPPING[name]
        config = kind.__new__(kind)  # with nothing in it: the types alone decide
        thinker = (kind.sub_configs_defaults or {}).get("thinker_config")
        if thinker is not None:
            config.__dict__["thinker_config"] = thinker.config_class.__new__(thinker.config_class)
            assert replying_part(config) is not config
            continue  # the copied script names the class of that part
        if loaded_by(name, None) != auto_class(config, trusted=False, is_gguf=False).__name__:
            wrong.append(name)
    assert wrong == []
    assert known_config("qwen3_5").language_class == "Qwen3_5ForCausalLM"
    refused = [name for name in names if why_it_cannot_chat({"model_type": name}, None)]
    assert {"blip", "idefics", "pi0", "kosmos-2", "florence2", "pix2struct", "diffusion_gemma"} <= set(refused)
    assert not {"llava", "qwen2_vl", "gemma3n", "mllama", "smolvlm", "qwen2_5_omni", "voxtral"} & set(refused)
