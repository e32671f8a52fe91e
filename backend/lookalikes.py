"""Names that are made to be taken for other names: letters of several scripts, letters that nobody sees."""

from __future__ import annotations

import re
import unicodedata

_WRITTEN_TOGETHER = frozenset({"Latin", "CJK", "Hiragana", "Katakana", "Hangul", "Bopomofo"})
"""Scripts that honest names mix, as the Unicode standard for identifiers (UTS 39) allows it."""


def odd_letters(name: str) -> str:
    """Why a cleaned name may pass for another: as in ``mixes Latin and Greek letters (ω)``; empty where it cannot."""
    if name.isascii():
        return ""
    scripts: dict[str, list[str]] = {}
    for letter in filter(str.isalpha, name):
        scripts.setdefault(_script(letter), []).append(letter)
    said = []
    if "\ufffd" in name:
        said.append("has characters that cannot be seen")
    if copies := scripts.pop("", []):
        said.append(f"has signs that look like letters ({_some(copies)})")
    if len(scripts) > 1 and not scripts.keys() <= _WRITTEN_TOGETHER:
        fewest = min(scripts, key=lambda script: (len(scripts[script]), script == "Latin"))
        said.append(f"mixes {' and '.join(scripts)} letters ({_some(scripts[fewest])})")
    return ", ".join(said)


def _script(letter: str) -> str:
    """By the Unicode name of the letter; empty for a sign that only copies an ASCII letter."""
    if letter.isascii():
        return "Latin"
    plain = unicodedata.normalize("NFKC", letter)
    if plain.isascii():
        return ""
    script = re.split("[ -]", unicodedata.name(plain[0], "other"))[0]
    return script if script == "CJK" else script.capitalize()


def _some(letters: list[str]) -> str:
    return " ".join(dict.fromkeys(letters[:8]))
