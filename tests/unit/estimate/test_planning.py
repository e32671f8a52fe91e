"""What goes for a load is what must go, and never what may not."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modeldeck.backend.estimate.figures import Verdict
from modeldeck.backend.estimate.planning import Holder, Judge, make_room

GB = 10**9


def holder(name: str, gigabytes: int, used: float = 0, **fields: bool) -> Holder:
    return Holder(model_id=name, held={"cuda:0": gigabytes * GB}, last_used=used, **fields)


def needs(gigabytes: int, free: int = 0, short: Verdict = Verdict.DOES_NOT_FIT) -> Judge:
    def judge(credit: Mapping[str, int]) -> Verdict:
        return Verdict.FITS if free * GB + credit.get("cuda:0", 0) >= gigabytes * GB else short

    return judge


def unloaded(*holders: Holder, need: int, free: int = 0, most: int = 9, short: Verdict = Verdict.DOES_NOT_FIT) -> str:
    return " ".join(make_room("new", holders, needs(need, free, short), most).unload_ids)


def test_where_it_fits_nothing_goes() -> None:
    assert unloaded(holder("a", 10), holder("b", 10), need=5, free=5) == ""


def test_the_least_recently_used_goes_first() -> None:
    assert unloaded(holder("a", 10, used=2), holder("b", 10, used=1), need=5) == "b"


def test_a_small_one_stays_where_a_large_one_is_enough() -> None:
    small, large = holder("small", 2, used=1), holder("large", 20, used=2)
    assert unloaded(small, large, need=15) == "large"
    assert unloaded(small, large, need=22) == "small large"


def test_a_pinned_one_never_goes_and_one_that_replies_only_where_nothing_else_helps() -> None:
    pinned, replying, idle = holder("p", 30, pinned=True), holder("r", 10, generating=True), holder("i", 10, used=9)
    assert unloaded(pinned, replying, idle, need=10) == "i"
    room = make_room("new", [pinned, replying, idle], needs(20), 9)
    assert room.unload_ids == ("i", "r")
    assert room.ends_reply
    assert room.verdict is Verdict.FITS
    assert unloaded(pinned, replying, idle, need=50) == "i"  # ending the reply would be in vain


@pytest.mark.parametrize("short", [Verdict.DOES_NOT_FIT, Verdict.OFFLOADS, Verdict.UNKNOWN])
def test_what_does_not_fit_even_so_gets_all_the_room_there_is(short: Verdict) -> None:
    assert unloaded(holder("a", 10, used=2), holder("b", 10, used=1), need=50, short=short) == "b a"


def test_the_same_model_goes_whatever_happens() -> None:
    held = (holder("new", 10, pinned=True), holder("b", 10))
    assert make_room("new", held, needs(5, free=50), 9).unload_ids == ("new",)


def test_no_more_are_held_than_may_be() -> None:
    three = (holder("a", 1, used=3), holder("b", 1, used=1), holder("c", 1, used=2))
    assert unloaded(*three, need=0, most=4) == ""
    assert unloaded(*three, need=0, most=3) == "b"
    assert unloaded(*three, need=0, most=1) == "b c a"
    assert unloaded(*three, holder("p", 1, pinned=True), need=0, most=1) == "b c a"


@given(
    st.lists(st.tuples(st.integers(0, 20), st.booleans(), st.booleans()), max_size=6),
    st.integers(0, 60),
    st.integers(0, 20),
    st.integers(1, 9),
)
def test_no_one_goes_that_could_stay(held: list[tuple[int, bool, bool]], need: int, free: int, most: int) -> None:
    holders = [
        holder(str(number), size, number, pinned=pinned, generating=generating)
        for number, (size, pinned, generating) in enumerate(held)
    ]
    judge = needs(need, free)
    room = make_room("new", holders, judge, most)
    assert sorted([*room.unload, *room.keeps], key=lambda one: one.model_id) == holders
    assert not any(one.pinned for one in room.unload)
    if room.verdict is Verdict.FITS and not room.ends_reply:
        for one in room.unload:
            less = {"cuda:0": sum(other.held["cuda:0"] for other in room.unload if other is not one)}
            assert judge(less) is not Verdict.FITS or len(room.keeps) + 1 >= most
    if not room.ends_reply and room.verdict is not Verdict.FITS:
        assert all(one.pinned or one.generating for one in room.keeps)


def test_where_none_may_go_and_the_limit_is_reached_it_is_one_too_many() -> None:
    pinned, replying, idle = holder("pinned", 1, pinned=True), holder("replying", 1, generating=True), holder("idle", 1)
    assert make_room("new", [pinned], needs(1), 1).one_too_many
    assert not make_room("new", [pinned, replying], needs(1, free=9), 3).unload
    room = make_room("new", [pinned, replying], needs(1, free=9), 2)
    assert (room.unload_ids, room.ends_reply, room.one_too_many) == (("replying",), True, False)
    assert not make_room("new", [pinned, idle], needs(1), 2).one_too_many
    assert not make_room("pinned", [pinned, replying], needs(1), 2).one_too_many  # it is loaded anew
