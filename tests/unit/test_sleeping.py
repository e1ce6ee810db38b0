"""Tasks that sleep, and the one timer for those whose time is over, by a loop whose clock the test sets."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any

import pytest

from pool_manager.runtimes.in_loops.port import Task
from pool_manager.runtimes.in_loops.sleeping import REST, SECOND_CHANCE, Sleeper, Timers


class Alarm:
    """A timer that was armed."""

    def __init__(self, when: float, function: Callable[[], object]) -> None:
        self.when, self.function = when, function

    def cancel(self) -> None:
        """Have nothing called."""
        self.when = math.inf


class Future:
    """What nobody awaits."""

    def __init__(self) -> None:
        self._done = False

    def done(self) -> bool:
        """Whether it was resolved."""
        return self._done

    def set_result(self, _: None, /) -> None:
        """Resolve it, once."""
        assert not self._done
        self._done = True

    def __await__(self) -> Any:
        raise NotImplementedError


class Clock:
    """A loop of which there is no more than its time and its timers."""

    def __init__(self) -> None:
        self.now = 0.0
        self.alarms: list[Alarm] = []

    @property
    def armed(self) -> list[float]:
        """When it rings."""
        return [alarm.when for alarm in self.alarms if alarm.when != math.inf]

    def pass_to(self, now: float) -> None:
        """Have it be *now*, and call what is due by then."""
        while self.armed and min(self.armed) <= now:
            alarm = min(self.alarms, key=lambda alarm: alarm.when)
            self.now = alarm.when
            alarm.cancel()
            alarm.function()
        self.now = now

    def stand_still(self, seconds: float) -> None:
        """Let so much time pass in which nothing is called."""
        self.now += seconds
        due = [alarm for alarm in self.alarms if alarm.when <= self.now]
        for alarm in due:
            alarm.cancel()
            alarm.function()

    def time(self) -> float:
        """Tell the time."""
        return self.now

    def call_at(self, when: float, function: Callable[[], object], /) -> Alarm:
        """Have *function* called."""
        self.alarms.append(Alarm(when, function))
        return self.alarms[-1]

    def create_future(self) -> Future:
        """Give something to wait for."""
        return Future()

    def is_closed(self) -> bool:
        """It never is."""
        return False

    def call_soon(self, function: Callable[[], object], /) -> None:
        """Nobody asks for it."""

    def call_later(self, delay: float, function: Callable[[], object], /) -> Alarm:
        """Nobody asks for it."""
        return self.call_at(self.now + delay, function)

    def create_task(self, coroutine: Coroutine[Any, Any, None], /, *, context: Context) -> Task:
        """Nobody asks for it."""
        raise NotImplementedError


@pytest.fixture
def clock() -> Clock:
    """Give a loop."""
    return Clock()


@pytest.fixture
def timers(clock: Clock) -> Timers:
    """Give the deadlines of an engine."""
    return Timers(clock)


def test_who_is_woken_has_not_overslept(clock: Clock, timers: Timers) -> None:
    """Whatever the time."""
    sleeper = Sleeper(timers)
    future = sleeper.sleep(5)
    clock.pass_to(4)
    assert not future.done()
    sleeper.wake()
    assert future.done()
    assert not sleeper.overslept
    assert not timers.asleep


def test_who_is_not_woken_has(clock: Clock, timers: Timers) -> None:
    """Each when his own time is over; who sleeps for ever never has."""
    early, late, ever = (Sleeper(timers) for _ in range(3))
    futures = late.sleep(7), early.sleep(5), ever.sleep(None)
    clock.pass_to(5)
    assert [False, True, False] == [future.done() for future in futures]
    assert early.overslept
    clock.pass_to(100)
    assert [True, True, False] == [future.done() for future in futures]
    assert late.overslept
    assert not ever.overslept


def test_who_is_woken_before_he_knows_that_his_time_is_over(clock: Clock, timers: Timers) -> None:
    """His task has yet to be told, and finds what it waited for."""
    sleeper = Sleeper(timers)
    future = sleeper.sleep(5)
    clock.pass_to(5)
    assert future.done()
    sleeper.wake()
    assert not sleeper.overslept


def test_a_sign_of_life_begins_the_time_anew(clock: Clock, timers: Timers) -> None:
    """Also once it is over, if the task was not told yet: it looks, and sleeps again."""
    sleeper = Sleeper(timers)
    future = sleeper.sleep(5)
    clock.pass_to(3)
    sleeper.postpone()
    clock.pass_to(7)
    assert not future.done()
    clock.pass_to(8)
    assert future.done()
    sleeper.postpone()
    assert not sleeper.overslept


def test_a_time_that_ends_earlier_counts_at_once(clock: Clock, timers: Timers) -> None:
    """And one that is for ever ends no more."""
    sleeper = Sleeper(timers)
    future = sleeper.sleep(50)
    sleeper.restart(None)
    clock.pass_to(60)
    assert not future.done()
    sleeper.restart(1)
    clock.pass_to(61)
    assert future.done()
    assert sleeper.overslept


def test_naps_without_end_set_one_timer(clock: Clock, timers: Timers) -> None:
    """A request costs no timer of the loop's; there is one for all, which is set anew when it rings."""
    sleeper = Sleeper(timers)
    for turn in range(1000):
        future = sleeper.sleep(5)
        clock.pass_to(turn / 100)
        sleeper.wake()
        assert future.done()
    assert len(clock.alarms) <= 3
    clock.pass_to(100)
    assert clock.armed == []


def test_many_who_oversleep_are_looked_at_together(clock: Clock, timers: Timers) -> None:
    """Each look costs a step for all that sleep, so there are not more than so many."""
    sleepers = [Sleeper(timers) for _ in range(1000)]
    futures = [sleeper.sleep(1 + number * REST / 100) for number, sleeper in enumerate(sleepers)]
    clock.pass_to(1 + 11 * REST)
    assert all(future.done() for future in futures)
    assert len(clock.alarms) <= 12


def test_time_in_which_the_loop_stood_still_does_not_count(clock: Clock, timers: Timers) -> None:
    """The answer may be there, unread."""
    sleeper = Sleeper(timers)
    future = sleeper.sleep(5)
    clock.stand_still(60)
    assert not future.done()
    assert timers.stood_still == pytest.approx(55 + SECOND_CHANCE)
    clock.pass_to(61)
    assert future.done()


def test_who_is_cancelled_is_struck_out_when_woken() -> None:
    """A task that was cancelled hears of nothing; who ends its request wakes it all the same."""

    async def main() -> None:
        timers = Timers(asyncio.get_running_loop())
        sleeper = Sleeper(timers)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await sleeper.sleep(60)
        assert sleeper in timers.asleep
        sleeper.wake()
        assert not timers.asleep
        timers.stop()

    asyncio.run(main())
