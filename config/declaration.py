"""What a settings struct declares about each of its fields: one description for file, form, command line and errors.

The structs carry everything in their annotations (``msgspec.Meta``): label, help and limits. A limit that no number
says (a pattern) is put into words in ``Meta(extra={"limits": ...})``; text of several lines says
``Meta(extra={"lines": True})``. ``unit``, ``unset`` and ``rare`` of ``Setting`` come from there too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from msgspec import NODEFAULT, UNSET, Meta, Struct, UnsetType, structs

from modeldeck.config.lines import escaped, unescaped
from modeldeck.config.wording import number_range, shown_value, size_range

Kind = Literal["int", "float", "bool", "str", "text", "list", "choice", "mapping"]

_KINDS: dict[object, Kind] = {
    bool: "bool",
    int: "int",
    float: "float",
    str: "str",
    Literal: "choice",
    tuple: "list",
    dict: "mapping",
}
_NOUNS: dict[Kind, str] = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "text": "text",
    "list": "a list of strings",
    "choice": "text",
    "mapping": "a table of strings",
}
_TYPES: dict[Kind, tuple[type, ...]] = {
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str": (str,),
    "text": (str,),
    "list": (list, tuple),
    "choice": (str,),
    "mapping": (dict,),
}
_SWITCHES = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}
_META_PARTS = tuple(part for part in dir(Meta) if not part.startswith("_"))
_DEEPEST_KEY = 8
"""Tables within tables that are still read as one dotted key."""
_UNSTORABLE = "[\0\ud800-\udfff]"
"""NUL ends a path or a C string early, and a lone surrogate cannot be written as UTF-8."""


class InvalidValue(ValueError):
    """The value is not allowed; the message follows the setting's name: ``must be 0 to 2, not 3``."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting, as its struct declares it."""

    name: str
    label: str
    help: str
    kind: Kind
    limits: str
    """What is allowed, in words that follow "must be" (``0 to 2``); empty where only the kind limits it."""
    default: object
    """``UNSET`` for a generation setting: the layer below decides."""
    optional: bool = False
    """Whether ``UNSET`` is a value of this setting."""
    annotation: object = str
    """The annotated type that msgspec checks a value against."""
    choices: tuple[str, ...] = ()
    """Of a choice, in the order in which they are declared."""
    pattern: str = ""
    """A regular expression for the whole text; ``limits`` says it in words."""
    item: Setting | None = None
    """Of a list or a mapping: what each of its values must be."""
    unit: str = ""
    """Of a number: ``tokens``, ``seconds``; empty where it has none."""
    unset: str = ""
    """What holds where nobody sets it, in words; empty where there always is a value."""
    rare: bool = False
    """Whether few people need it."""

    @property
    def range(self) -> str:
        """The limits with their unit (``1 to 1000000 tokens``)."""
        return f"{self.limits} {self.unit}" if self.unit and self.limits else self.limits


@cache
def settings_of(struct: type[Struct]) -> tuple[Setting, ...]:
    """Describe every field of a settings struct, in the order in which they are declared."""
    return tuple(_describe(field) for field in structs.fields(struct))


def setting_of(struct: type[Struct], name: str) -> Setting:
    """Describe one field; raises KeyError for a name that the struct does not declare."""
    return {setting.name: setting for setting in settings_of(struct)}[name]


def convert(setting: Setting, value: object) -> Any:
    """Check a value as it comes from TOML and return it as the struct holds it (1 becomes 1.0 for a float).

    Raises ``InvalidValue`` with the words that follow the setting's name.
    """
    if value is UNSET and setting.optional:
        return UNSET
    if setting.kind == "mapping":
        value = _joined(value)
    try:
        converted = msgspec.convert(value, setting.annotation)
    except (msgspec.ValidationError, UnicodeEncodeError):  # the latter for a choice that is no text in UTF-8
        raise InvalidValue(_complaint(setting, value)) from None
    for text in _texts(converted):
        if re.search(_UNSTORABLE, text):
            raise InvalidValue(f"must be Unicode text without NUL, not {shown_value(text)}")
    return converted


def parse(setting: Setting, text: str) -> Any:
    """Read what a person typed into a field or on a command line.

    Nothing typed is ``UNSET`` where a setting may be unset. A list has one entry a line, escaped as in TOML (see
    ``lines``). Raises ``InvalidValue``.
    """
    if setting.optional and not text.strip():
        return UNSET
    typed = text.strip()
    match setting.kind:
        case "int" | "float":
            return convert(setting, _number(setting, typed))
        case "bool":
            return convert(setting, _SWITCHES.get(typed.lower(), typed))
        case "list":
            return convert(setting, tuple(unescaped(line) for line in text.split("\n") if line.strip()))
        case "mapping":
            raise InvalidValue("can only be set in the file")
        case "text":
            return convert(setting, text)
        case _:
            return convert(setting, typed)


def show(setting: Setting, value: object) -> str:
    """Write a value as ``parse`` reads it; what a form's field shows. ``UNSET`` is empty."""
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return repr(value).removesuffix(".0")
        case tuple():
            return "\n".join(escaped(entry) for entry in value)
        case dict():
            return "\n".join(f"{key} = {entry}" for key, entry in value.items())
        case UnsetType():
            return ""
        case _:
            return str(value)


def _describe(field: structs.FieldInfo) -> Setting:
    """One field of a struct as a Setting."""
    optional = UnsetType in get_args(field.type)
    annotation = next(part for part in get_args(field.type) if part is not UnsetType) if optional else field.type
    default = field.default if field.default is not NODEFAULT else field.default_factory()
    return _setting(field.name, annotation, default=default, optional=optional)


def _setting(name: str, annotation: object, *, default: object = UNSET, optional: bool = False) -> Setting:
    """A Setting from an annotated type; several ``Meta`` (an alias has its own) count as one."""
    base, *metas = get_args(annotation) if get_origin(annotation) is Annotated else (annotation,)
    facts: dict[str, Any] = {}
    for meta in metas:
        facts.update({part: said for part in _META_PARTS if (said := getattr(meta, part)) is not None})
    extra = facts.get("extra", {})
    kind = _KINDS[get_origin(base) or base]
    inner = [part for part in get_args(base) if part is not Ellipsis]
    return Setting(
        name=name,
        label=facts.get("title", name),
        help=facts.get("description", ""),
        kind="text" if extra.get("lines") else kind,
        limits=extra.get("limits") or _limits(kind, facts, inner),
        default=default,
        optional=optional,
        annotation=annotation,
        pattern=facts.get("pattern", ""),
        choices=tuple(inner) if kind == "choice" else (),
        item=_setting(name, inner[-1]) if kind in {"list", "mapping"} else None,
        unit=extra.get("unit", ""),
        unset=extra.get("unset", ""),
        rare=extra.get("rare", False),
    )


def _limits(kind: Kind, facts: dict[str, Any], inner: list[Any]) -> str:
    """The limits in words."""
    match kind:
        case "bool":
            return "true or false"
        case "choice":
            return f"one of {', '.join(inner)}"
        case "str":
            return size_range("character", "characters", facts.get("min_length"), facts.get("max_length"))
        case "list" | "mapping":
            return size_range("entry", "entries", facts.get("min_length"), facts.get("max_length"))
        case _:
            return number_range(*(facts.get(limit) for limit in ("ge", "gt", "le", "lt")))


def _complaint(setting: Setting, value: Any) -> str:
    """Say what is wrong with a value that msgspec refused."""
    right_type = isinstance(value, _TYPES[setting.kind]) and (setting.kind == "bool" or not isinstance(value, bool))
    says_it_all = setting.kind == "choice" or setting.pattern
    if says_it_all or (right_type and setting.kind in {"int", "float"}):
        return f"must be {setting.limits}, not {shown_value(value)}"
    if not right_type:
        numbers = setting.kind == "mapping" and setting.item is not None and setting.item.kind != "str"
        return f"must be {'a table' if numbers else _NOUNS[setting.kind]}, not {shown_value(value)}"
    if setting.item is not None:
        entries = value.items() if isinstance(value, dict) else enumerate(value, start=1)
        for place, entry in entries:
            try:
                convert(setting.item, entry)
            except InvalidValue as problem:
                return f"entry {place if isinstance(place, int) else shown_value(place)} {problem}"
    return f"must be {setting.limits}, not {len(value)}"


def _texts(value: object) -> tuple[str, ...]:
    """Every string in a converted value."""
    match value:
        case str():
            return (value,)
        case tuple():
            return tuple(entry for entry in value if isinstance(entry, str))
        case dict():
            return tuple(text for text in (*value, *value.values()) if isinstance(text, str))
        case _:
            return ()


def _joined(value: object, depth: int = _DEEPEST_KEY) -> object:
    """Join nested tables with dots: ``engine.cancel = "x"`` is the key ``engine.cancel``, with or without quotes."""
    if not isinstance(value, dict) or not depth:
        return value
    flat: dict[str, object] = {}
    for key, entry in value.items():
        inner = _joined(entry, depth - 1)
        joined = {f"{key}.{rest}": each for rest, each in inner.items()} if isinstance(inner, dict) else {key: inner}
        flat.update(joined)
    return flat


def _number(setting: Setting, typed: str) -> object:
    """The number that was typed, or the text itself where it is none."""
    try:
        return int(typed) if setting.kind == "int" else float(typed)
    except ValueError:
        return typed
