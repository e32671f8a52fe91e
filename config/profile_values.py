"""What a profile may say: some of the fields of ``LoadOptions``, checked one by one as they come from TOML.

TOML has no word for None; it is the default wherever a field may be it, so such a field is left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, reduce
from operator import or_
from types import NoneType
from typing import Any, get_args

import msgspec
from msgspec import UNSET, structs

from modeldeck.config.declaration import InvalidValue, Setting, convert, settings_of
from modeldeck.config.remembered import LoadOptions
from modeldeck.config.wording import did_you_mean

Values = dict[str, Any]
"""Some of the fields of ``LoadOptions``, as the struct holds them."""


@cache
def options() -> dict[str, Setting]:
    """Every field by its name; not at import, where describing them would hold up the first frame."""
    fields = [(field.name, _without_none(field.type), UNSET) for field in structs.fields(LoadOptions)]
    return {setting.name: setting for setting in settings_of(msgspec.defstruct("ProfileOptions", fields))}


def checked_option(name: str, value: object) -> Any:
    """One value as the struct holds it; raises ``InvalidValue``, for an unknown name too."""
    if name not in options():
        raise InvalidValue(f"is not a load option{did_you_mean(name, options())}")
    return convert(options()[name], value)


def checked_options(values: Mapping[str, Any]) -> Values:
    """All of them but those that are None. Raises ``InvalidValue`` with the name of the field."""
    valid: Values = {}
    for name, value in values.items():
        if value is None:
            continue
        try:
            valid[name] = checked_option(name, value)
        except InvalidValue as problem:
            raise InvalidValue(f"{name} {problem}") from None
    return valid


def is_bad(name: str, value: object) -> bool:
    """Whether a save has to keep this value because it could not be read."""
    try:
        checked_option(name, value)
    except InvalidValue:
        return True
    return False


def _without_none(annotation: Any) -> Any:
    parts = get_args(annotation)
    return reduce(or_, (part for part in parts if part is not NoneType)) if NoneType in parts else annotation
