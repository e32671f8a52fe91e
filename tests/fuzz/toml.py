"""Text that is nearly TOML."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import strategies as st

from tests.fuzz.broken import garbled

_VALUES = (
    "true", "false", "0", "1", "-1", "0.5", "1e3", "1e999", "nan", "-inf", "0x7fffffffffffffff", "9" * 30, "9" * 5000,
    "1979-05-27", "1979-05-27T07:32:00Z", "07:32:00", '""', '"auto"', '"cuda:0"', '"4bit"', '"~nobody/x"', '"$HOME"',
    '"\\u0000"', '"\\u202e"', '"\\uD800"', "'''\n\n'''", '"""a\nb"""', "[]", '["a", "b"]', "[1, 'a', [true]]", "{}",
    '{a = "b"}', "{a.b.c = 1}", "[" * 50 + "]" * 50, "[" * 3000, "{a = " * 3000, "['']", '["~/models", ""]',
    '{"engine.cancel" = "ctrl+x"}', '"precise"', '"' + "x" * 5000 + '"', "=", "", '"unclosed',
)  # fmt: skip
TOML_INSERTED = (
    b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\0", b"\r", b"\n", b'"', b"'''", b"\\", b"[", b"]", b"[[", b"{", b"}",
    b"=", b".", b"a." * 300, b"[" * 3000, b"#", b"9" * 5000, b"nan", b"\n[keys]\n", b"\nkeys = 1\n", b"\n[[models]]\n",
)  # fmt: skip
_values = st.sampled_from(_VALUES) | st.integers().map(str) | st.floats().map(repr) | st.text(max_size=20).map(repr)


@st.composite
def toml_documents(draw: st.DrawFn, keys: Sequence[str], tables: Sequence[str]) -> bytes:
    """Lines of these keys with any values, under headers of these tables."""
    lines = draw(
        st.lists(
            st.builds("{} = {}".format, st.sampled_from(keys), _values)
            | st.builds("{}.{} = {}".format, st.sampled_from(tables), st.sampled_from(keys), _values)
            | st.builds("[{}]".format, st.sampled_from(tables))
            | st.builds("[[{}]]".format, st.sampled_from(tables)),
            max_size=8,
        )
    )
    text = "\n".join(lines).encode(errors="replace")
    return draw(garbled(text, TOML_INSERTED)) if draw(st.booleans()) else text
