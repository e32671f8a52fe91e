"""Whether the code that comes with a model may run: what is asked about, and what was answered."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from msgspec import structs

from modeldeck.backend.models import LoadRequest, ModelInfo
from modeldeck.backend.text import clean_name

if TYPE_CHECKING:
    from modeldeck.backend.remote_code import OwnCode
    from modeldeck.tui.services import Services

_NAMED = 4
"""Files of one place that are named; the others are counted."""


@dataclass(frozen=True, slots=True)
class SeenCode:
    """The code of a model as it lies there now."""

    code: OwnCode | None = None
    """None where its files name none; an engine may have found out otherwise."""
    allowed: bool = False
    """Whether this very code was allowed before."""

    @property
    def digest(self) -> str:
        """Of the code; empty where there is nothing that could be allowed for good."""
        return self.code.digest if self.code is not None else ""

    @property
    def problem(self) -> str:
        """Why nothing can be allowed; empty where it can."""
        return self.code.problem if self.code is not None else ""

    def lines(self) -> list[str]:
        """Which files would run, and where they come from."""
        places: dict[str, list[str]] = {}
        for file in self.code.files if self.code is not None else ():
            places.setdefault(file.origin, []).append(file.name)
        return [f"{_named(names)} of {place}" for place, names in places.items()]


class CodeConsent:
    """Looks at the code and remembers the answers. ``look`` and ``answer`` touch the disk."""

    def __init__(self, services: Services) -> None:
        self._consents = services.consents
        self._hub_cache = services.paths.hub_cache
        self._log = services.log

    def look(self, model: ModelInfo) -> SeenCode:
        """What would run, and whether it may. Blocking."""
        from modeldeck.backend.remote_code import own_code  # no first frame needs it

        code = own_code(model, self._hub_cache)
        return SeenCode(code, code is not None and self._consents.allows(model.id, code.digest))

    async def applied(self, model: ModelInfo, request: LoadRequest, digest: str) -> LoadRequest | None:
        """The request as it may be carried out; None where the code is not what was allowed in the dialog.

        ``digest`` is what the dialog looked at; empty where there was none, and older answers count.
        """
        if not (model.needs_remote_code or request.trust_remote_code):
            return request
        seen = await asyncio.to_thread(self.look, model)
        if seen.code is None:
            return request  # its files name none: it was the engine that found out, and the user who answered
        if not digest:
            return structs.replace(request, trust_remote_code=seen.allowed)
        return request if not request.trust_remote_code or seen.digest == digest else None

    async def answer(self, model: ModelInfo, digest: str, *, allowed: bool) -> None:
        """Remember what was said of this code."""
        try:
            if allowed:
                await asyncio.to_thread(self._consents.put, model.id, digest)
            else:
                await asyncio.to_thread(self._consents.withdraw, model.id)
        except (OSError, UnicodeEncodeError) as error:
            self._log.append(f"What may run of {clean_name(model.name)} is not remembered: {clean_name(str(error))}")


def _named(names: list[str]) -> str:
    shown = [clean_name(name, 60) for name in names[:_NAMED]]
    more = [f"{len(names) - _NAMED} more"] if len(names) > _NAMED else []
    return ", ".join([*shown, *more])
