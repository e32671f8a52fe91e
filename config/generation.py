"""Every sampling setting, declared once: the file, the form, the command line and the errors read it from here.

Ranges and meanings follow ``transformers.GenerationConfig`` (5.23), which itself checks almost nothing before
``generate()`` runs.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType, structs

MAX_SEED = 2**63 - 1
"""The largest seed: what ``torch.manual_seed`` takes without a warning, and what TOML can hold."""


class GenerationSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How the next reply is sampled.

    A field left ``UNSET`` says nothing, so that the layer below decides (see ``merge``); where no layer says
    anything, the model's own ``generation_config.json`` does.
    """

    max_new_tokens: (
        Annotated[
            int,
            Meta(ge=1, le=1_000_000, title="Max new tokens", description="The reply ends after this many tokens"),
        ]
        | UnsetType
    ) = UNSET
    do_sample: (
        Annotated[bool, Meta(title="Sampling", description="Off always picks the likeliest token (greedy)")] | UnsetType
    ) = UNSET
    temperature: (
        Annotated[
            float,
            Meta(ge=0, le=2, title="Temperature", description="Higher is more varied; 0 is greedy"),
        ]
        | UnsetType
    ) = UNSET
    top_p: (
        Annotated[
            float,
            Meta(gt=0, le=1, title="Top p", description="Sample from the likeliest tokens that sum to p; 1 is off"),
        ]
        | UnsetType
    ) = UNSET
    top_k: (
        Annotated[
            int,
            Meta(ge=0, le=1_000_000, title="Top k", description="Sample from the k likeliest tokens; 0 is off"),
        ]
        | UnsetType
    ) = UNSET
    min_p: (
        Annotated[
            float,
            Meta(ge=0, le=1, title="Min p", description="Drop tokens below p times the likeliest; 0 is off"),
        ]
        | UnsetType
    ) = UNSET
    repetition_penalty: (
        Annotated[
            float,
            Meta(gt=0, le=10, title="Repetition penalty", description="Above 1 discourages repeats; 1 is off"),
        ]
        | UnsetType
    ) = UNSET
    seed: (
        Annotated[
            int,
            Meta(ge=0, le=MAX_SEED, title="Seed", description="The same seed gives the same reply; empty is random"),
        ]
        | UnsetType
    ) = UNSET
    system_prompt: (
        Annotated[
            str,
            Meta(
                max_length=100_000,
                title="System prompt",
                description="Said to the model before the conversation",
                extra={"lines": True},
            ),
        ]
        | UnsetType
    ) = UNSET
    stop: (
        Annotated[
            tuple[Annotated[str, Meta(min_length=1, max_length=1000)], ...],
            Meta(max_length=64, title="Stop strings", description="The reply ends where one of these appears"),
        ]
        | UnsetType
    ) = UNSET


BUILT_IN = GenerationSettings(max_new_tokens=512, do_sample=True, temperature=0.7, top_p=0.9, top_k=50)
"""What holds where the user has said nothing."""


def merge(*layers: GenerationSettings) -> GenerationSettings:
    """Lay settings over each other, the weakest first; a field that a later layer sets wins."""
    merged: dict[str, object] = {}
    for layer in layers:
        merged.update({name: value for name, value in structs.asdict(layer).items() if value is not UNSET})
    return GenerationSettings(**merged)  # type: ignore[arg-type]  # every value came out of the same struct
