"""Chat templates of others: token ids, or one sentence why there are none. One that never ends has its child ended."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldeck.backend.chat_messages import ChatMessage
from modeldeck.backend.errors import GenerationError
from tests.fuzz.broken import words
from tests.fuzz.profiles import LONGEST_SECONDS, fuzzed
from tests.real.conftest import libraries  # noqa: F401  # a fixture
from tests.real.models import CHATML, IDEFICS, LLAVA, NO_SYSTEM, make_tokenizer

pytestmark = [
    pytest.mark.usefixtures("libraries"),
    pytest.mark.filterwarnings("ignore"),
    pytest.mark.real_model,
    pytest.mark.timeout(LONGEST_SECONDS),
]
_NAMES = (
    "messages", "messages[0]", "messages[0]['content']", "m", "m.role", "bos_token", "enable_thinking", "tools",
    "loop", "self", "cycler", "namespace()", "lipsum", "range", "raise_exception", "strftime_now", "undefined_name",
)  # fmt: skip
_ATTRIBUTES = (
    "__class__", "__mro__", "__subclasses__()", "__globals__", "__init__", "role", "content", "items()", "upper()",
    "format(1)", "join(messages)", "append(1)", "pop()", "index", "strip(1)", "split()", "0", "nope.nope", "mro()",
)  # fmt: skip
_FILTERS = (
    "length", "first", "last", "trim", "upper", "int", "list", "join", "tojson", "safe", "sort", "reverse", "nope",
    "selectattr('type', 'equalto', 'image')", "map(attribute='content')", "attr('__class__')", "batch(0)", "slice(0)",
    "round(400)", "format(1, 2)", "replace(1)", "tojson(indent=-1)", "dictsort", "groupby('x')", "sum", "random",
    "default('x')", "truncate(-1)", "wordwrap(0)", "indent(99)", "filesizeformat", "xmlattr", "center(999)", "min",
)  # fmt: skip
_atoms = (
    st.sampled_from([*_NAMES, "1", "0", "-1", "1.5", "1e308", "'x'", "[]", "{}", "none", "true", "10 ** 20", "''"])
    | words.map(repr)
    | st.integers().map(str)
)
_expressions = st.recursive(
    _atoms,
    lambda inner: (
        st.builds("{}.{}".format, inner, st.sampled_from(_ATTRIBUTES))
        | st.builds("({})|{}".format, inner, st.sampled_from(_FILTERS))
        | st.builds(
            "({}) {} ({})".format, inner, st.sampled_from(["+", "-", "/", "//", "%", "~", "==", "in", "<"]), inner
        )
        | st.builds("({})[{}]".format, inner, inner)
        | st.builds("({})({})".format, inner, inner)
        | st.builds(
            "({}) is {}".format, inner, st.sampled_from(["defined", "string", "mapping", "divisibleby 0", "nope"])
        )
        | st.builds("({} if {})".format, inner, inner)
    ),
    max_leaves=5,
)
_statements = st.recursive(
    st.builds("{{{{ {} }}}}".format, _expressions)
    | st.builds("{{% set {} = {} %}}".format, st.sampled_from(["m", "ns.x", "messages", "a, b"]), _expressions)
    | st.sampled_from([CHATML, LLAVA, IDEFICS, NO_SYSTEM, "text", "{% break %}", "{% continue %}", "{#", "{% raw %}{{"])
    | st.sampled_from(
        ["{% generation %}x{% endgeneration %}", "{% include 'x' %}", "{% extends m %}", "{% import 'os' as o %}"]
    ),
    lambda inner: (
        st.builds("{{% for m in {} %}}{}{{% endfor %}}".format, _expressions, inner)
        | st.builds("{{% for m in range({}) %}}{}{{% endfor %}}".format, st.integers(-2, 20), inner)
        | st.builds("{{% if {} %}}{}{{% else %}}{}{{% endif %}}".format, _expressions, inner, inner)
        | st.builds("{{% macro f() %}}{}{{{{ f() }}}}{{% endmacro %}}{{{{ f() }}}}".format, inner)
        | st.builds("{{% filter {} %}}{}{{% endfilter %}}".format, st.sampled_from(_FILTERS), inner)
        | st.builds("{}{}".format, inner, inner)
    ),
    max_leaves=4,
)
_roles = st.sampled_from(["user", "assistant", "system", "tool", ""])
_said = words.map(lambda text: text.encode(errors="replace").decode())  # the pipe lets nothing else through
_conversations = st.lists(st.builds(ChatMessage, _roles, _said), max_size=3)


@pytest.fixture(scope="module")
def tokenizer(libraries: None) -> Any:  # noqa: F811  # it is the fixture
    return make_tokenizer(CHATML)


@given(
    template=_statements | st.text(max_size=40),
    messages=_conversations,
    system=_said,
    thinking=st.none() | st.booleans(),
)
@fuzzed
def test_a_template_gives_token_ids_or_one_sentence(
    template: str, messages: list[ChatMessage], system: str, thinking: bool | None, tokenizer: Any
) -> None:
    from modeldeck.backend.engine.chat import Prompts

    said: list[str] = []
    tokenizer.chat_template = template
    prompts = Prompts(tokenizer, said.append, begins_text=True)
    told = ""
    try:
        ids = prompts.ids(messages, system, thinking=thinking)
    except GenerationError as error:
        told = str(error)
    else:
        assert all(isinstance(each, int) for each in ids)
    assert "\n" not in told
    assert len(said) == len(set(said))
