"""Models of a few layers in this process, each with the replier that an engine has, and turns of a conversation."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from time import monotonic
from typing import Any

from modeldeck.backend.chat_messages import ChatMessage, GenerationStats, ReplyMode
from modeldeck.backend.protocol import Generate
from modeldeck.config.generation import GenerationSettings
from tests.real.models import CHATML, make_tokenizer

GREEDY = GenerationSettings(do_sample=False, max_new_tokens=16)
SIZES: dict[str, Any] = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 4096,
}


def make_network(model_type: str, vocabulary: int, **options: Any) -> Any:
    """A network with random weights of some size, so that tokens differ."""
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    torch.manual_seed(5)
    make_config: Any = CONFIG_MAPPING[model_type]
    config = make_config(
        **{**SIZES, **options}, vocab_size=vocabulary, bos_token_id=0, eos_token_id=None, pad_token_id=0
    )
    make: Any = AutoModelForCausalLM.from_config
    network = make(config).eval()
    for parameter in network.parameters():
        if parameter.dim() > 1:
            parameter.data.normal_(0, 0.3)
    return network


def never() -> Any:
    """A request that nobody stops; its contents do not matter."""
    from modeldeck.backend.engine.wire import Arrival

    return Arrival(Generate(1, (), GREEDY), monotonic())


@dataclass
class Talk:
    """A replier and what was said so far."""

    replier: Any
    turns: list[ChatMessage] = field(default_factory=list)

    @classmethod
    def with_model(cls, model_type: str = "llama", template: str = CHATML, **options: Any) -> Talk:
        """With a fresh model of this type."""
        from modeldeck.backend.engine.generating import Replier

        tokenizer = make_tokenizer(template)
        network = make_network(model_type, len(tokenizer), **options)
        return cls(Replier(network, tokenizer, 4096, lambda _text: None))

    def say(self, text: str, settings: GenerationSettings = GREEDY, **asked: Any) -> tuple[str, GenerationStats]:
        """The next turn, which is kept."""
        self.turns.append(ChatMessage("user", text))
        said, stats = self.reply(settings, **asked)
        self.turns.append(ChatMessage("assistant", said))
        return said, stats

    def reply(
        self,
        settings: GenerationSettings = GREEDY,
        *,
        mode: ReplyMode = ReplyMode.CHAT,
        stop: threading.Event | None = None,
        prefilled: list[tuple[int, int]] | None = None,
    ) -> tuple[str, GenerationStats]:
        """A reply to what was said."""
        from modeldeck.backend.engine.wire import Arrival

        request = Generate(1, tuple(self.turns), settings, mode)
        pieces: list[str] = []
        stats = self.replier.reply(
            request,
            Arrival(request, monotonic(), stop or threading.Event()),
            lambda text, count, reasoning: pieces.append(text),
            lambda done, total: prefilled.append((done, total)) if prefilled is not None else None,
        )
        return "".join(pieces), stats

    def afresh(self, settings: GenerationSettings = GREEDY, **asked: Any) -> tuple[str, GenerationStats]:
        """The same reply without anything that was kept."""
        self.replier.forget()
        return self.reply(settings, **asked)
