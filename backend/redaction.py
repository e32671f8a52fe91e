"""Takes credentials out of what is said to people, logged or kept."""

from __future__ import annotations

import re

_SECRETS = (
    (re.compile(r"(?<![A-Za-z0-9])(?:hf|api_org)_[A-Za-z0-9]{16,}"), "hf_[removed]"),
    (re.compile(r"(?<![A-Za-z0-9])hf_(?:oauth|jwt)_[\w.-]{16,}"), "hf_[removed]"),
    (re.compile(r"(?i)\b(bearer|authorization:(?: basic)?)\s+[A-Za-z0-9._~+/=-]{8,}"), r"\1 [removed]"),
    (re.compile(r"(?<=://)[^\s/@:]+:[^\s/@]+(?=@)"), "[removed]"),
)


def redact(text: str) -> str:
    """Take Hugging Face tokens, ``Authorization`` headers and the passwords of URLs out of a text.

    For whole texts only: half a token is none. What a model says is never given to it.
    """
    for pattern, replacement in _SECRETS:
        text = pattern.sub(replacement, text)
    return text
