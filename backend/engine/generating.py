"""One reply: settings to ``generate``, tokens to the wire, figures at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from math import inf
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

import torch
from msgspec import UNSET
from transformers import GenerationConfig

from modeldeck.backend.chat_messages import ChatMessage, FinishReason, GenerationStats, ReplyMode, TokenChoice
from modeldeck.backend.engine.chat import Prompts
from modeldeck.backend.engine.generation_config import (
    abilities_of_loaded,
    cache_group_size,
    is_plain,
    make_config,
    take_own_defaults,
    wanted,
)
from modeldeck.backend.engine.graph_decoding import GraphDecoder
from modeldeck.backend.engine.images import Images, Prompt
from modeldeck.backend.engine.inference import without_gradients
from modeldeck.backend.engine.layer_watch import LayerWatch
from modeldeck.backend.engine.looking import look_at_once, look_into
from modeldeck.backend.engine.metering import CacheWatch, cache_bytes, peak_bytes
from modeldeck.backend.engine.model_classes import is_multimodal
from modeldeck.backend.engine.prefix_cache import PrefixCache, reads_forward
from modeldeck.backend.engine.reasoning import pieces_of
from modeldeck.backend.engine.streaming import Emit, ReplyEnded, ReplyStreamer
from modeldeck.backend.engine.whole_reply import WholeReply
from modeldeck.backend.engine.wire import Arrival
from modeldeck.backend.errors import GenerationError
from modeldeck.backend.protocol import Generate
from modeldeck.config.generation import GenerationSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_configuration: Any = GenerationConfig  # its __init__ is not typed


class Replier:
    """Holds a loaded model and generates with it, one reply at a time."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        context_length: int | None,
        log: Callable[[str], None],
        images: Images | None = None,
    ) -> None:
        """``images`` reads those of a conversation; without it none are taken."""
        self.prompts = Prompts(tokenizer, log, begins_text=is_multimodal(model.config))
        self._model = model
        self._tokenizer = tokenizer
        self._context_length = context_length
        self._log = log
        self._images = images if images is not None else Images(Path(), multimodal=False, trusted=False)
        self._ends = _end_tokens(model)
        self._own = take_own_defaults(model)
        self._abilities = abilities_of_loaded(model)
        self._cache = CacheWatch(model)
        self._layers = LayerWatch(model)
        self._kept = PrefixCache(model.config)
        self._graph = GraphDecoder.of(model, context_length)
        self._goes_on = self._abilities.rewinds and reads_forward(model.config) and not is_multimodal(model.config)

    def reply(
        self, request: Generate, arrival: Arrival, emit: Emit, on_prefill: Callable[[int, int], None]
    ) -> GenerationStats:
        """Generate until it ends by itself, at its limit, at a stop string or because ``arrival.stop`` is set.

        ``on_prefill`` is told how many tokens of how many are read. Raises GenerationError when the prompt is refused
        or does not fit, and whatever torch raises.
        """
        settings = self._possible(wanted(request.settings, self._own))
        prompt = self._prompt(request, settings)
        ids = prompt.ids
        config = self._config(settings, len(ids))
        stops = settings.stop if settings.stop is not UNSET else ()
        whole = WholeReply(emit) if (config.num_beams or 1) > 1 else None
        pieces = pieces_of(self._tokenizer, ids, request.mode)
        streamer = ReplyStreamer(pieces, stops, arrival.stop, emit if whole is None else whole.add)
        _seed(settings)
        plain = is_plain(config) and not prompt.others  # where the pixels belong to is said in the whole prompt only
        if not plain:
            self._kept.drop()
        cache, reused = self._kept.take(ids)
        started = monotonic()
        try:
            with self._watched(arrival, len(ids) - reused, on_prefill, plain=plain):
                output = self._generate(prompt, config, streamer if whole is None else None, cache)
            if whole is not None:
                whole.feed(streamer, ids, output)
        except ReplyEnded:
            if not streamer.found_stop:
                streamer.end()
        finally:
            used = self._cache.take() or cache  # the model tells of it only where it got through all its layers
        if plain:
            self._kept.keep(used, [*ids, *streamer.tokens], cut_short=self._layers.cut_short)
        now = monotonic()
        time_up = config.max_time is not None and now - started >= config.max_time
        return GenerationStats(
            prompt_tokens=len(ids),
            new_tokens=streamer.new_tokens,
            first_token_seconds=(streamer.first_at or now) - arrival.seconds,
            seconds=(streamer.last_at or now) - arrival.seconds,
            finish_reason=self._reason(streamer, arrival.stop, config, time_up=time_up),
            peaks=peak_bytes(self._model),
            cache_bytes=cache_bytes(used) if plain else 0,
            context_full=len(ids) + streamer.new_tokens >= (self._context_length or inf),
            time_up=time_up,
            reused_tokens=reused,
            token_ids=tuple(streamer.tokens),
        )

    @contextmanager
    def _watched(
        self, arrival: Arrival, tokens: int, on_prefill: Callable[[int, int], None], *, plain: bool
    ) -> Iterator[None]:
        """A stop is heard while so many tokens are read, and those of a plain reply may take the graph."""
        with (
            self._layers.during(arrival.stop, tokens, lambda done: on_prefill(done, tokens)),
            nullcontext() if self._graph is None else self._graph.replying(plain=plain),
        ):
            yield

    def look_into(self, asked: Generate, token_ids: Sequence[int], arrival: Arrival) -> tuple[TokenChoice, ...]:
        """How likely each token of a reply was, and what else; nothing where ``arrival.stop`` is set meanwhile.

        Raises GenerationError, and whatever torch raises.
        """
        prompt = self._prompt(asked, wanted(asked.settings, self._own))
        if prompt.others:
            raise GenerationError("A reply to images cannot be looked into yet.")
        if not prompt.ids or not token_ids:
            return ()
        self._fit(1, len(prompt.ids))
        try:
            with self._layers.during(arrival.stop, len(prompt.ids), lambda _done: None):
                if not self._goes_on:
                    return look_at_once(self._model, self._tokenizer, prompt.ids, token_ids)
                cache, read = self._kept.take(prompt.ids)
                choices, used = look_into(self._model, self._tokenizer, prompt.ids, token_ids, cache, read)
        except ReplyEnded:
            return ()
        finally:
            self._cache.take()
        self._kept.keep(used, [*prompt.ids, *token_ids])
        return choices

    @property
    def takes_images(self) -> bool:
        """Whether turns may have images."""
        return self._images.taken

    def forget(self) -> None:
        """Give the memory of the last conversation's cache back; the next reply reads it anew."""
        self._kept.drop()
        if self._graph is not None:
            self._graph.drop()

    def make_room(self) -> None:
        """The device ran out of memory: do without what only makes replies faster."""
        self._kept.drop()
        if self._graph is not None:
            self._graph.drop(for_good=True)

    def use_spare_time(self, interrupted: Callable[[], bool]) -> bool:
        """Nobody waits for anything: make the next replies faster, where that can be done.

        Whether there is more to do soon, though nothing is asked in between.
        """
        if self._graph is None:
            return False
        if sentence := self._graph.prepare(interrupted):
            self._log(sentence)
        return self._graph.waits_for_compiler

    def warm_up(self) -> None:
        """Generate one token after one: that touches every weight, and the template is compiled for it.

        A whole prompt would take twice as long and leave nothing behind that the user's own does not need anew.
        """
        try:
            ids = self.prompts.ids([ChatMessage("user", "Hello")])
        except GenerationError:  # a template that wants another conversation; the user's own will be told
            ids = []
        config = _configuration(max_new_tokens=1, do_sample=False, num_beams=1, pad_token_id=self._padding())
        self._generate(Prompt(ids[-1:] or [next(iter(self._ends), 0)], {}), config, None)
        self._cache.take()

    def _prompt(self, asked: Generate, settings: GenerationSettings) -> Prompt:
        system = settings.system_prompt if settings.system_prompt is not UNSET else ""
        if any(message.images for message in asked.messages):
            if asked.mode is not ReplyMode.CHAT:
                raise GenerationError("With images a reply can be made anew, but not continued, nor made of raw text.")
            turns = self.prompts.written(asked.messages, system)
            return self._images.prompt(turns, asked.messages, self.prompts.options(asked.thinking), self._log)
        ids = self.prompts.ids(asked.messages, system, mode=asked.mode, thinking=asked.thinking)
        return Prompt(ids, {})

    def _generate(
        self, prompt: Prompt, config: GenerationConfig, streamer: ReplyStreamer | None, cache: object = None
    ) -> Any:
        embedding: Any = self._model.get_input_embeddings()
        device = embedding.weight.device
        input_ids = torch.tensor([prompt.ids], device=device)
        others = {name: _on_device(value, device, self._model.dtype) for name, value in prompt.others.items()}
        generate: Any = self._model.generate  # typed for every kind of model at once
        with without_gradients(self._model):
            return generate(
                input_ids=input_ids,  # by the name that its own code knows, where a model brings a generate of its own
                attention_mask=torch.ones_like(input_ids),
                generation_config=config,
                streamer=streamer,
                **others,
                **({"past_key_values": cache} if cache is not None else {}),
            )

    def _config(self, settings: GenerationSettings, prompt_tokens: int) -> GenerationConfig:
        """What ``generate`` is called with. Raises GenerationError where there is no room for a reply."""
        assert settings.max_new_tokens is not UNSET  # ``wanted`` sees to that
        limit = self._fit(settings.max_new_tokens, prompt_tokens)
        return make_config(settings, limit, self._padding(), cache_group_size(self._model))

    def _possible(self, settings: GenerationSettings) -> GenerationSettings:
        """The settings without what this model cannot do, which the log is told."""
        possible, sentences = self._abilities.leave_out(settings)
        for sentence in sentences:
            self._log(f"{sentence}.")
        return possible

    def _fit(self, max_new_tokens: int, prompt_tokens: int) -> int:
        """As many new tokens as the context has room for. Raises GenerationError when there is none."""
        if prompt_tokens == 0:
            raise GenerationError("There is nothing to reply to: the prompt is empty.")
        if self._context_length is None or prompt_tokens + max_new_tokens <= self._context_length:
            return max_new_tokens
        room = self._context_length - prompt_tokens
        if room < 1:
            raise GenerationError(
                f"The conversation is {prompt_tokens:,} tokens long and this model's context is "
                f"{self._context_length:,}; shorten it, or begin a new chat (key n in the app)."
            )
        self._log(
            f"The reply is limited to {room:,} tokens instead of {max_new_tokens:,}: the prompt takes "
            f"{prompt_tokens:,} of the model's {self._context_length:,}."
        )
        return room

    def _padding(self) -> int | None:
        """Any token will do, since nothing is padded; without one generate warns at every reply."""
        config: Any = self._model.generation_config
        return config.pad_token_id if config.pad_token_id is not None else next(iter(self._ends), None)

    def _reason(
        self, streamer: ReplyStreamer, stop: threading.Event, config: GenerationConfig, *, time_up: bool
    ) -> FinishReason:
        if streamer.found_stop or streamer.last_token in self._ends:
            return FinishReason.STOP
        if stop.is_set():
            return FinishReason.CANCELLED
        cut = time_up or streamer.new_tokens >= (config.max_new_tokens or 0)
        return FinishReason.LENGTH if cut else FinishReason.STOP


def _on_device(value: Any, device: torch.device, dtype: torch.dtype) -> Any:
    """Pixels in the dtype of the model; whole numbers as they are."""
    if not isinstance(value, torch.Tensor):
        return value
    return value.to(device, dtype if value.is_floating_point() else value.dtype)


def _end_tokens(model: PreTrainedModel) -> tuple[int, ...]:
    """The tokens that end a reply, by the model's generation config."""
    config: Any = model.generation_config
    ends = config.eos_token_id
    if ends is None:
        return ()
    return tuple(ends) if isinstance(ends, (list, tuple)) else (int(ends),)


def _seed(settings: GenerationSettings) -> None:
    """The seed that was set, or a new one: torch begins every process with the same."""
    if settings.seed is not UNSET:
        torch.manual_seed(settings.seed)
    else:
        torch.seed()
