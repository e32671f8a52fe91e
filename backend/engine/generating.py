"""One reply: settings to ``generate``, tokens to the wire, figures at the end."""

from __future__ import annotations

import threading
from collections.abc import Callable
from math import inf
from time import monotonic
from typing import TYPE_CHECKING, Any

import torch
from msgspec import UNSET
from transformers import GenerationConfig
from transformers.modeling_layers import GradientCheckpointingLayer

from modeldeck.backend.engine.chat import Prompts
from modeldeck.backend.engine.metering import CacheWatch, peak_bytes
from modeldeck.backend.engine.streaming import ReplyEnded, ReplyStreamer
from modeldeck.backend.engine.wire import Arrival
from modeldeck.backend.errors import GenerationError
from modeldeck.backend.models import ChatMessage, FinishReason, GenerationStats
from modeldeck.backend.protocol import Generate
from modeldeck.config.generation import BUILT_IN, GenerationSettings

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_PASSED_ON = ("repetition_penalty",)
_configuration: Any = GenerationConfig  # its __init__ is not typed
_SAMPLING = ("temperature", "top_p", "top_k", "min_p")


class Replier:
    """Holds a loaded model and generates with it, one reply at a time."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        context_length: int | None,
        log: Callable[[str], None],
    ) -> None:
        self.prompts = Prompts(tokenizer, log)
        self._model = model
        self._tokenizer = tokenizer
        self._context_length = context_length
        self._log = log
        self._stop = threading.Event()
        self._ends = _end_tokens(model)
        self._cache = CacheWatch(model)
        _watch_layers(model, lambda: self._stop.is_set())

    def reply(self, request: Generate, arrival: Arrival, emit: Callable[[int, str, int], None]) -> GenerationStats:
        """Generate until it ends by itself, at its limit, at a stop string or because ``arrival.stop`` is set.

        Raises GenerationError when the prompt is refused or does not fit, and whatever torch raises.
        """
        settings = request.settings
        system = settings.system_prompt if settings.system_prompt is not UNSET else ""
        ids = self.prompts.ids(request.messages, system)
        config = self._config(settings, len(ids))
        stops = settings.stop if settings.stop is not UNSET else ()
        streamer = ReplyStreamer(
            self._tokenizer, stops, arrival.stop, lambda text, count: emit(request.request_id, text, count)
        )
        _seed(settings)
        self._stop = arrival.stop
        try:
            self._generate(ids, config, streamer)
        except ReplyEnded:
            pass
        finally:
            self._stop = threading.Event()
            cache_bytes = self._cache.take()  # after a failure too: nobody needs it any more
        now = monotonic()
        return GenerationStats(
            prompt_tokens=len(ids),
            new_tokens=streamer.new_tokens,
            first_token_seconds=(streamer.first_at or now) - arrival.seconds,
            seconds=(streamer.last_at or now) - arrival.seconds,
            finish_reason=self._reason(streamer, arrival.stop, config),
            peaks=peak_bytes(self._model),
            cache_bytes=cache_bytes,
            context_full=len(ids) + streamer.new_tokens >= (self._context_length or inf),
        )

    def warm_up(self) -> None:
        """Generate one token after one: that touches every weight, and the template is compiled for it.

        A whole prompt would take twice as long and leave nothing behind that the user's own does not need anew.
        """
        try:
            ids = self.prompts.ids([ChatMessage("user", "Hello")])
        except GenerationError:  # a template that wants another conversation; the user's own will be told
            ids = []
        config = _configuration(max_new_tokens=1, do_sample=False, num_beams=1, pad_token_id=self._padding())
        self._generate(ids[-1:] or [next(iter(self._ends), 0)], config, None)
        self._cache.take()

    def _generate(self, ids: list[int], config: GenerationConfig, streamer: ReplyStreamer | None) -> None:
        embedding: Any = self._model.get_input_embeddings()
        input_ids = torch.tensor([ids], device=embedding.weight.device)
        generate: Any = self._model.generate  # typed for every kind of model at once
        generate(input_ids, attention_mask=torch.ones_like(input_ids), generation_config=config, streamer=streamer)

    def _config(self, settings: GenerationSettings, prompt_tokens: int) -> GenerationConfig:
        """The user's settings as transformers takes them; what is unset is left to the model's own file."""
        passed: dict[str, Any] = {name: getattr(settings, name) for name in _PASSED_ON}
        if settings.do_sample is False or settings.temperature == 0:
            passed["do_sample"] = False
        else:
            passed["do_sample"] = settings.do_sample
            passed |= {name: getattr(settings, name) for name in _SAMPLING}
        passed = {name: value for name, value in passed.items() if value is not UNSET}
        limit = settings.max_new_tokens if settings.max_new_tokens is not UNSET else BUILT_IN.max_new_tokens
        assert limit is not UNSET
        config: GenerationConfig = _configuration(
            max_new_tokens=self._fit(limit, prompt_tokens), num_beams=1, pad_token_id=self._padding(), **passed
        )
        return config

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

    def _reason(self, streamer: ReplyStreamer, stop: threading.Event, config: GenerationConfig) -> FinishReason:
        if streamer.found_stop or streamer.last_token in self._ends:
            return FinishReason.STOP
        if stop.is_set():
            return FinishReason.CANCELLED
        return FinishReason.LENGTH if streamer.new_tokens >= (config.max_new_tokens or 0) else FinishReason.STOP


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


def _watch_layers(model: PreTrainedModel, asked: Callable[[], bool]) -> None:
    """Look for a stop before each layer, so that a long prompt can be stopped too.

    No stopping criterion and no streamer is asked during prefill, which takes seconds for a long conversation.
    """

    def before(module: torch.nn.Module, inputs: Any) -> None:
        if asked():
            raise ReplyEnded

    for layer in _decoder_layers(model):
        layer.register_forward_pre_hook(before)


def _decoder_layers(model: torch.nn.Module) -> list[torch.nn.Module]:
    layers: list[torch.nn.Module] = [
        module for module in model.modules() if isinstance(module, GradientCheckpointingLayer)
    ]
    if layers:
        return layers
    lists = [list(module) for module in model.modules() if isinstance(module, torch.nn.ModuleList)]
    return max(lists, key=len, default=[])
