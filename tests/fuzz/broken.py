"""Documents that are nearly right: valid ones with parts lost, doubled, replaced by something else, cut or garbled."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from hypothesis import strategies as st

HUGE = (2**31, 2**32 - 1, 2**53, 2**62, 2**63 - 1, 2**63, 2**64 - 1, 2**64, 10**30, 10**400)
WORDS = (
    "", " ", "\0", "\n", "\u202e", "\x1b[2J", "\ud800", "[/]", "{{ 7*7 }}", "../..", "/etc/passwd", "~", "auto", "NaN",
    "true", "1e999", "-1", "0x10", "a" * 300, "ä" * 99, "__class__", "org/name", "org/name--module.Class", "🤗",
)  # fmt: skip
"""Text that some reader may take for something else."""

_whole = st.sampled_from([0, 1, -1, *HUGE, *(-number for number in HUGE)]) | st.integers()
numbers = _whole | st.floats()
words = st.sampled_from(WORDS) | st.text(max_size=20)
scalars = st.none() | st.booleans() | numbers | words
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(words, inner, max_size=4),
    max_leaves=10,
)
"""Any value of JSON, and NaN, infinities and lone surrogates, which Python's own parser takes too."""


@st.composite
def mutated(draw: st.DrawFn, document: Mapping[str, Any] | Sequence[Any]) -> Any:
    """The document with one to four of its parts lost, doubled, moved, renamed or replaced."""
    broken: Any = json.loads(json.dumps(document))
    for _ in range(draw(st.integers(1, 4))):
        places = _places(broken)
        parent, key = draw(st.sampled_from([*places, (None, None)]))
        if parent is None:
            broken = draw(st.just(broken) | st.just([broken]) | st.just({"a": broken}) | values)
            continue
        match draw(st.sampled_from(["drop", "replace", "scalar", "double", "wrap", "move"])):
            case "drop":
                del parent[key]
            case "replace":
                parent[key] = draw(values)
            case "scalar":
                parent[key] = draw(scalars)
            case "double" if isinstance(parent, list):
                parent.extend([parent[key]] * draw(st.integers(1, 50)))
            case "double":
                parent[draw(words)] = parent[key]
            case "wrap":
                parent[key] = draw(st.sampled_from([[parent[key]], {"a": parent[key]}, [[[[parent[key]]]]]]))
            case _:
                other, place = draw(st.sampled_from(places))
                parent[key] = json.loads(json.dumps(other[place]))
    return broken


@st.composite
def renumbered(draw: st.DrawFn, document: Mapping[str, Any] | Sequence[Any]) -> Any:
    """The document with other numbers, each of its kind, and nothing else changed."""
    broken: Any = json.loads(json.dumps(document))
    counts = [(parent, key) for parent, key in _places(broken) if type(parent[key]) in (int, float)]
    for parent, key in draw(st.lists(st.sampled_from(counts), min_size=1, max_size=4)) if counts else ():
        parent[key] = draw(_whole if type(parent[key]) is int else st.floats())
    return broken


def _places(document: Any) -> list[tuple[Any, Any]]:
    """Every part of a document, as what holds it and its key there."""
    found: list[tuple[Any, Any]] = []
    left = [document]
    while left:
        part = left.pop()
        inner = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
        for key, value in inner:
            found.append((part, key))
            left.append(value)
    return found


_INSERTED = (
    b"\xff", b"\xc3", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\0", b"\n", b"\r", b'"', b"\\", b"\\ud800", b"{", b"}", b"]",
    b"[" * 3000, b'{"a":' * 3000, b",", b"NaN", b"-Infinity", b"1e999", b"9" * 400, b"9" * 5000, b"//", b"#",
)  # fmt: skip


@st.composite
def garbled(draw: st.DrawFn, data: bytes, inserted: Sequence[bytes] = _INSERTED) -> bytes:
    """The bytes cut off, with some doubled, taken out, turned over, or others put in; often as they are."""
    for _ in range(draw(st.integers(0, 3))):
        begin = draw(st.integers(0, len(data)))
        end = min(len(data), begin + draw(st.integers(0, 40)))
        match draw(st.sampled_from(["cut", "insert", "remove", "double", "flip"])):
            case "cut":
                data = data[:begin]
            case "insert":
                data = data[:begin] + draw(st.sampled_from(inserted) | st.binary(max_size=8)) + data[begin:]
            case "remove":
                data = data[:begin] + data[end:]
            case "double":
                data = data[:end] + data[begin:]
            case _:
                data = data[:begin] + bytes(byte ^ 0xFF for byte in data[begin:end]) + data[end:]
    return data


def broken_json(*documents: Mapping[str, Any] | Sequence[Any]) -> st.SearchStrategy[bytes]:
    """Text that was one of these documents, or never one."""
    any_of_them = st.sampled_from(documents)
    text = any_of_them.flatmap(mutated).map(_encoded)
    return text | any_of_them.flatmap(renumbered).map(_encoded) | text.flatmap(garbled) | st.binary(max_size=200)


def _encoded(document: Any) -> bytes:
    return json.dumps(document).encode()
