"""Another hub than Hugging Face's, which ``HF_ENDPOINT`` names: who it is, and whether a token may go there."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from modeldeck.backend.text import clean_name

_DEFAULT = "https://huggingface.co"


def other_hub(environ: Mapping[str, str]) -> str:
    """The host that models and the token go to, as the user should read it; empty for Hugging Face's own hub."""
    endpoint = environ.get("HF_ENDPOINT", "").rstrip("/")
    if endpoint in {"", _DEFAULT}:
        return ""
    _, _, place = endpoint.rpartition("@")  # a password may stand before it
    return clean_name(place.removeprefix("https://"))


def is_in_the_clear(endpoint: str) -> bool:
    """Whether what is sent to this address can be read on its way: no TLS, and not this machine."""
    try:
        address = urlsplit(endpoint)
        if address.scheme.lower() == "https" or address.hostname == "localhost":
            return False
        return not ipaddress.ip_address(address.hostname or "").is_loopback
    except ValueError:  # the name of a host
        return True
