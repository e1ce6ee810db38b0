"""Many deadlines, one timer."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_manager.core.deadlines import Deadlines

LENGTHS = [0.0, 1e-9, 0.01, 0.75, 1.0, 4.0, 5.0, 59.0, 60.0, 60.1, 1e6, 1e15]


def taken(deadlines: Deadlines[str], now: float) -> list[str]:
    """Take all that is due."""
    return [*deadlines.take_due(now)]


@pytest.mark.parametrize("seconds", LENGTHS)
def test_due_in_time_and_hardly_later(seconds: float) -> None:
    """An item is due when its time has passed, a 64th of it later at most; and never before."""
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("a", 0, seconds)
    assert len(deadlines) == 1
    assert seconds <= deadlines.next <= seconds * (1 + 1 / 64)
    if seconds:
        assert not taken(deadlines, math.nextafter(seconds, 0))
    assert taken(deadlines, deadlines.next) == ["a"]
    assert not taken(deadlines, math.inf)
    assert deadlines.next == math.inf
    assert len(deadlines) == 0


@pytest.mark.parametrize("seconds", [0.5, 1.0, 5.0, 60.0, 127.0])
def test_a_round_length_is_kept_to_the_letter(seconds: float) -> None:
    """What people write into limits is not rounded: seconds below 128."""
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("a", 0, seconds)
    assert deadlines.next == seconds


def test_each_item_once() -> None:
    """The deadline set last holds, be it earlier or later."""
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("a", 0, 10)
    deadlines.set("b", 0, 10)
    deadlines.set("a", 0, 20)
    deadlines.set("b", 0, 5)
    assert len(deadlines) == 2
    assert deadlines.next == 5
    assert taken(deadlines, 19) == ["b"]
    assert deadlines.next == 20
    assert taken(deadlines, 20) == ["a"]


def test_what_is_discarded_is_not_due() -> None:
    """To discard what is not there is no error; what is forgotten may leave `next` too early until then."""
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("a", 0, 10)
    deadlines.set("b", 0, 20)
    deadlines.discard("a")
    deadlines.discard("a")
    deadlines.discard("c")
    assert len(deadlines) == 1
    assert deadlines.next <= 20
    assert not taken(deadlines, 10)
    assert deadlines.next == 20


def test_what_is_discarded_while_others_are_taken() -> None:
    """Who handles one item may discard another that is due, and set new deadlines, due ones too."""
    deadlines: Deadlines[str] = Deadlines()
    for item in "abcd":
        deadlines.set(item, 0, 10)
    deadlines.set("e", 0, 12)
    seen = []
    for item in deadlines.take_due(20):
        seen.append(item)
        if item == "a":
            deadlines.discard("b")
            deadlines.set("c", 20, 10)
            deadlines.set("f", 20, 12)
            deadlines.set("a", 20, 1)
    assert sorted(seen) == ["a", "d", "e"]
    assert len(deadlines) == 3
    assert deadlines.next == 21
    assert sorted(taken(deadlines, 32)) == ["a", "c", "f"]


def test_what_is_due_at_once_again_and_again() -> None:
    """It comes once each time: the clock stands still, and so does the loop."""
    deadlines: Deadlines[str] = Deadlines()
    deadlines.set("a", 0, 0)
    for _ in deadlines.take_due(0):
        deadlines.set("a", 0, 0)
    assert deadlines.next == 0
    assert taken(deadlines, 0) == ["a"]


def test_lengths_that_nobody_uses_are_forgotten() -> None:
    """A queue for each length that was ever used would be one for each connection."""
    deadlines: Deadlines[str] = Deadlines()
    for number in range(1_000):
        deadlines.set("a", number, 1 + number / 7)
        taken(deadlines, number)
    assert len(deadlines._queues) <= 2  # noqa: SLF001 - the state under test


def test_alike_lengths_share_a_queue() -> None:
    """There are at most 64 queues between a length and its double."""
    deadlines: Deadlines[int] = Deadlines()
    for number in range(10_000):
        deadlines.set(number, 0, 1 + number / 10_000)
    assert len(deadlines._queues) <= 65  # noqa: SLF001 - the state under test


STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("set"), st.integers(0, 5), st.sampled_from(LENGTHS)),
        st.tuples(st.just("discard"), st.integers(0, 5), st.just(0.0)),
        st.tuples(st.just("take"), st.just(0), st.sampled_from([0.0, 0.02, 1.0, 61.0])),
    )
)


@given(STEPS)
def test_against_a_dictionary(steps: list[tuple[str, int, float]]) -> None:
    """Whatever is set, discarded and taken: nothing is early, late, lost or there twice."""
    deadlines: Deadlines[int] = Deadlines()
    expected: dict[int, float] = {}
    now = 0.0
    for what, item, seconds in steps:
        if what == "set":
            deadlines.set(item, now, seconds)
            expected[item] = now + seconds
        elif what == "discard":
            deadlines.discard(item)
            expected.pop(item, None)
        else:
            now += seconds
            for found in deadlines.take_due(now):
                assert expected.pop(found) <= now
            assert all(due * (1 + 1 / 64) > now for due in expected.values())
        assert len(deadlines) == len(expected)
        assert deadlines.next <= min((due * (1 + 1 / 32) for due in expected.values()), default=math.inf)
    assert sorted(deadlines.take_due(math.inf)) == sorted(expected)
