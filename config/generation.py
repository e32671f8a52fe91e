"""Every sampling setting, declared once: the file, the form, the command line and the errors read it from here.

Ranges and meanings follow ``transformers.GenerationConfig`` (5.23), which itself checks almost nothing before
``generate()`` runs. ``Meta.extra`` says what no type can: the unit of a number, what holds where nobody sets it
(``unset``), and which settings few people need (``rare``).
"""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, structs

MAX_SEED = 2**63 - 1
"""The largest seed: what ``torch.manual_seed`` takes without a warning, and what TOML can hold."""
CacheName = Literal["dynamic", "static", "offloaded", "offloaded_static", "quantized"]


class GenerationSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """How the next reply is sampled; the common settings first.

    A field left ``UNSET`` says nothing, so that the layer below decides (see ``generation_layers``); where no layer
    says anything, the default of transformers holds.
    """

    max_new_tokens: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=1_000_000,
                title="Max new tokens",
                description="The reply ends after this many tokens",
                extra={"unit": "tokens"},
            ),
        ]
        | UnsetType
    ) = UNSET
    do_sample: (
        Annotated[bool, Meta(title="Sampling", description="Off always picks the likeliest token (greedy)")] | UnsetType
    ) = UNSET
    temperature: (
        Annotated[float, Meta(ge=0, le=2, title="Temperature", description="Higher is more varied; 0 is greedy")]
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
            Meta(
                ge=0,
                le=1_000_000,
                title="Top k",
                description="Sample from the k likeliest tokens; 0 is off",
                extra={"unit": "tokens"},
            ),
        ]
        | UnsetType
    ) = UNSET
    min_p: (
        Annotated[
            float,
            Meta(
                ge=0,
                le=1,
                title="Min p",
                description="Drop tokens below p times the likeliest; 0 is off",
                extra={"unset": "0"},
            ),
        ]
        | UnsetType
    ) = UNSET
    repetition_penalty: (
        Annotated[
            float,
            Meta(
                gt=0,
                le=10,
                title="Repetition penalty",
                description="Above 1 discourages repeats; 1 is off",
                extra={"unset": "1"},
            ),
        ]
        | UnsetType
    ) = UNSET
    seed: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=MAX_SEED,
                title="Seed",
                description="The same seed gives the same reply; empty is random",
                extra={"unset": "random"},
            ),
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
                extra={"lines": True, "unset": "none"},
            ),
        ]
        | UnsetType
    ) = UNSET
    stop: (
        Annotated[
            tuple[Annotated[str, Meta(min_length=1, max_length=1000)], ...],
            Meta(
                max_length=64,
                title="Stop strings",
                description="The reply ends where one of these appears",
                extra={"unset": "none"},
            ),
        ]
        | UnsetType
    ) = UNSET
    min_new_tokens: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=1_000_000,
                title="Min new tokens",
                description="The reply does not end before this many tokens",
                extra={"unit": "tokens", "unset": "0", "rare": True},
            ),
        ]
        | UnsetType
    ) = UNSET
    max_time: (
        Annotated[
            float,
            Meta(
                gt=0,
                le=86_400,
                title="Max time",
                description="The reply ends after this time",
                extra={"unit": "seconds", "unset": "no limit", "rare": True},
            ),
        ]
        | UnsetType
    ) = UNSET
    top_h: (
        Annotated[
            float,
            Meta(
                gt=0,
                le=1,
                title="Top h",
                description="Keep tokens up to h times the entropy of all; lower is more focused",
                extra={"unset": "off", "rare": True},
            ),
        ]
        | UnsetType
    ) = UNSET
    typical_p: (
        Annotated[
            float,
            Meta(
                gt=0,
                le=1,
                title="Typical p",
                description="Sample from the most typical tokens that sum to p; 1 is off",
                extra={"unset": "1", "rare": True},
            ),
        ]
        | UnsetType
    ) = UNSET
    epsilon_cutoff: (
        Annotated[
            float,
            Meta(
                ge=0,
                lt=1,
                title="Epsilon cutoff",
                description="Drop tokens less likely than this; try 0.0003 to 0.0009, 0 is off",
                extra={"unset": "0", "rare": True},
            ),
        ]
        | UnsetType
    ) = UNSET
    eta_cutoff: (
        Annotated[
            float,
            Meta(
                ge=0,
                lt=1,
                title="Eta cutoff",
                description="The same, relaxed where much is likely; try 0.0003 to 0.002, 0 is off",
                extra={"unset": "0", "rare": True},
            ),
        ]
        | UnsetType
    ) = UNSET
    no_repeat_ngram_size: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=1000,
                title="No-repeat n-gram",
                description="No run of so many tokens occurs twice, prompt included; 0 is off",
                extra={"unit": "tokens", "unset": "0", "rare": True},
            ),
        ]
        | UnsetType
    ) = UNSET
    num_beams: (
        Annotated[
            int,
            Meta(
                ge=1,
                le=64,
                title="Beams",
                description="Search along so many paths; above 1 the reply comes at its end",
                extra={"unset": "1", "rare": True},
            ),
        ]
        | UnsetType
    ) = UNSET
    guidance_scale: (
        Annotated[
            float,
            Meta(
                ge=1,
                le=30,
                title="Guidance scale",
                description="Hold closer to the prompt, for twice the work; 1 is off",
                extra={"unset": "1", "rare": True},
            ),
        ]
        | UnsetType
    ) = UNSET
    prompt_lookup_num_tokens: (
        Annotated[
            int,
            Meta(
                ge=0,
                le=100,
                title="Prompt lookup",
                description="Guess so many tokens from the prompt, which speeds up quotes; 0 is off",
                extra={"unit": "tokens", "unset": "0", "rare": True},
            ),
        ]
        | UnsetType
    ) = UNSET
    cache_implementation: (
        Annotated[
            CacheName,
            Meta(
                title="Cache",
                description="How the conversation is kept: as it grows, all at once, in RAM, in 4 bits",
                extra={"unset": "dynamic", "rare": True},
            ),
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
