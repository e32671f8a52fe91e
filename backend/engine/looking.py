"""How likely the model found each token of a reply, and what it would have said instead."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from modeldeck.backend.chat_messages import TokenChoice
from modeldeck.backend.engine.decoding import Decoder
from modeldeck.backend.engine.inference import without_gradients

if TYPE_CHECKING:
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

OTHERS = 5
_READ_AT_ONCE = 512
_LOOKED_AT_ONCE = 64
"""Tokens whose scores are held at a time: of a large vocabulary they are hundreds of megabytes."""


def look_into(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    prompt: Sequence[int],
    reply: Sequence[int],
    cache: Any,
    read: int,
) -> tuple[tuple[TokenChoice, ...], Any]:
    """The choices of a reply to a prompt, of which ``cache`` has ``read`` tokens, and the cache of all but the last.

    Probabilities are those of the model, before temperature and the like. ``cache`` may be None: the model makes one.
    """
    parts: Any = model
    ids = _on_device(model, [*prompt, *reply])
    last, end = len(prompt) - 1, len(prompt) + len(reply) - 1
    decoder, choices = Decoder(tokenizer, skip_special_tokens=False), list[TokenChoice]()
    with without_gradients(model):  # as a reply, for each goes on with the other's cache
        while read < end:
            step = _READ_AT_ONCE if read < last else _LOOKED_AT_ONCE
            until = min(last if read < last else end, read + step)
            wanted = until - max(read, last)
            inputs = parts.prepare_inputs_for_generation(
                ids[:, :until],
                next_sequence_length=until - read if read else None,
                past_key_values=cache,
                attention_mask=torch.ones_like(ids[:, :until]),
                is_first_iteration=read == 0,
                use_cache=True,
            )
            output = parts(**inputs, **_keeping(model, max(1, wanted)), return_dict=True)
            cache = output.past_key_values
            if wanted > 0:
                tokens = reply[until - wanted - last : until - last]
                choices += _choices(tokenizer, decoder, output.logits[0, -wanted:], tokens)
            read = until
    return tuple(choices), cache


def look_at_once(
    model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, prompt: Sequence[int], reply: Sequence[int]
) -> tuple[TokenChoice, ...]:
    """The same for a model that does not go on from a cache, or counts positions of its own: all in one pass."""
    parts: Any = model
    ids = _on_device(model, [*prompt, *reply[:-1]])
    with without_gradients(model):
        output = parts(
            input_ids=ids,
            attention_mask=torch.ones_like(ids),
            use_cache=False,
            return_dict=True,
            **_keeping(model, len(reply)),
        )
    decoder = Decoder(tokenizer, skip_special_tokens=False)
    return tuple(_choices(tokenizer, decoder, output.logits[0, -len(reply) :], reply))


def _on_device(model: PreTrainedModel, tokens: list[int]) -> torch.Tensor:
    embedding: Any = model.get_input_embeddings()
    return torch.tensor([tokens], device=embedding.weight.device)


def _keeping(model: PreTrainedModel, tokens: int) -> dict[str, int]:
    """Scores after the last tokens alone, where the model can."""
    parts: Any = model
    return {"logits_to_keep": tokens} if parts._supports_logits_to_keep() else {}


def _choices(
    tokenizer: PreTrainedTokenizerBase, decoder: Decoder, scores: torch.Tensor, tokens: Sequence[int]
) -> list[TokenChoice]:
    probabilities = scores.float().softmax(dim=-1)
    best = probabilities.topk(min(OTHERS + 1, probabilities.shape[-1]), dim=-1)
    made = []
    for at, token in enumerate(tokens):
        instead = zip(best.indices[at].tolist(), best.values[at].tolist(), strict=True)
        others = [(str(tokenizer.decode([other])), share) for other, share in instead if other != token][:OTHERS]
        made.append(TokenChoice(decoder.step(token), float(probabilities[at, token]), tuple(others)))
    return made
