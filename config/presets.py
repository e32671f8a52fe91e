"""Presets that every modeldeck has: settings of generation under a name."""

from __future__ import annotations

from modeldeck.config.generation import GenerationSettings

BUILT_IN_PRESETS: dict[str, GenerationSettings] = {
    "precise": GenerationSettings(do_sample=True, temperature=0.2, top_p=0.8, top_k=20),
    "balanced": GenerationSettings(do_sample=True, temperature=0.7, top_p=0.9, top_k=50),
    "creative": GenerationSettings(do_sample=True, temperature=1.1, top_p=1.0, top_k=0, min_p=0.05),
    "deterministic": GenerationSettings(do_sample=False),
}
"""None of them says how long a reply may be, or anything that belongs to a task."""
