"""Names that people give to what they keep: profiles and presets."""

from __future__ import annotations

from unicodedata import normalize

from modeldeck.config.declaration import InvalidValue

LONGEST_NAME = 40
"""Characters."""


def clean_kept_name(text: str) -> str:
    """A name as it is kept: one line, single spaces, nothing invisible, and one form for each letter.

    Raises ``InvalidValue`` where nothing is left, or too much.
    """
    visible = "".join(char for char in " ".join(text.split()) if char.isprintable())
    name = " ".join(normalize("NFC", visible).split())
    if not 1 <= len(name) <= LONGEST_NAME:
        raise InvalidValue(f"must be 1 to {LONGEST_NAME} characters, not {len(name)}")
    return name


def is_kept_name(name: str) -> bool:
    """Whether a name is as it would be kept."""
    try:
        return clean_kept_name(name) == name
    except InvalidValue:
        return False
