"""Which models make room for another one: no more than must, the least recently used first. Arithmetic only."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from modeldeck.backend.estimate.credit import added
from modeldeck.backend.estimate.figures import Verdict

Judge = Callable[[Mapping[str, int]], Verdict]
"""Whether the load fits with this credit, in bytes by device."""
_GOOD = frozenset({Verdict.FITS, Verdict.TIGHT})


class Holder(Struct, frozen=True, kw_only=True):
    """A model that is held, as far as it matters to others."""

    model_id: str
    held: dict[str, int]
    """Bytes by device (``cuda:0``, ``ram``)."""
    last_used: float = 0.0
    """Seconds, of any clock."""
    pinned: bool = False
    generating: bool = False


class Room(Struct, frozen=True, kw_only=True):
    """What would be unloaded for a load."""

    unload: tuple[Holder, ...] = ()
    """In the order in which they go."""
    keeps: tuple[Holder, ...] = ()
    """The others."""
    verdict: Verdict = Verdict.UNKNOWN
    """With that room."""
    one_too_many: bool = False
    """Whether more models would be held then than may be: none of the others may go."""

    @property
    def credit(self) -> dict[str, int]:
        """What comes back, by device."""
        return added(holder.held for holder in self.unload)

    @property
    def ends_reply(self) -> bool:
        """Whether a model that is replying would go, which only the user may say."""
        return any(holder.generating for holder in self.unload)

    @property
    def unload_ids(self) -> tuple[str, ...]:
        """For ``PipelineManager.load``."""
        return tuple(holder.model_id for holder in self.unload)


def make_room(model_id: str, holders: Sequence[Holder], judge: Judge, most: int) -> Room:
    """The models that go for a load of ``model_id``, of which ``most`` may be held at a time.

    A model that is held already goes whatever happens, since it is loaded anew. Pinned ones stay. One that is replying
    goes only where nothing else helps. Where it is not known what the load needs, or where it does not fit even so,
    everything goes that may.
    """
    must = [holder for holder in holders if holder.model_id == model_id]
    free = [holder for holder in holders if holder not in must and not holder.pinned]
    idle = sorted((one for one in free if not one.generating), key=lambda one: one.last_used)
    first = _least(must, idle, judge, most - 1 - (len(holders) - len(must) - len(idle)))
    busy = sorted((one for one in free if one.generating), key=lambda one: one.last_used)
    if first is not None:
        too_many = len(holders) - len(first) - (most - 1)
        return _room([*first, *busy[: max(0, too_many)]], holders, judge, most)
    if busy and judge(added(one.held for one in [*must, *idle, *busy])) in _GOOD:
        return _room([*must, *idle, *busy], holders, judge, most)
    return _room([*must, *idle], holders, judge, most)


def _least(must: Sequence[Holder], idle: Sequence[Holder], judge: Judge, keep: int) -> list[Holder] | None:
    """The fewest that go so that it fits, and at most ``keep`` of the idle ones stay; None where it does not."""
    for count in range(max(0, len(idle) - max(0, keep)), len(idle) + 1):
        going = list(idle[:count])
        if judge(added(one.held for one in [*must, *going])) in _GOOD:
            for one in tuple(going):  # a small one that went before a large one may not have been needed
                without = [other for other in going if other is not one]
                stays = len(idle) - len(without)
                if stays <= max(0, keep) and judge(added(other.held for other in [*must, *without])) in _GOOD:
                    going = without
            return [*must, *going]
    return None


def _room(unload: Sequence[Holder], holders: Sequence[Holder], judge: Judge, most: int) -> Room:
    verdict = judge(added(one.held for one in unload))
    keeps = tuple(one for one in holders if one not in unload)
    return Room(unload=tuple(unload), keeps=keeps, verdict=verdict, one_too_many=len(keeps) >= most)
