"""Waiting for something to happen, for so long at most, with one timer of the loop for everybody."""

from __future__ import annotations

import functools
import math
from typing import Final

from pool_manager.runtimes.in_loops.port import Future, Handle, Loop

# A timer that is later than this was held up: something kept the loop busy.
TOLERANCE: Final = 0.1

# After such a standstill who waited for a server gets the time back, and up to this many seconds more:
# answers that came meanwhile, the steps of a handshake too, are yet to be read.
SECOND_CHANCE: Final = 1.0

# Seconds between two looks at all that sleep, at least: each costs a step for everybody.
REST: Final = 0.01


class Timers:
    """
    The deadlines of one engine.

    Most that sleep are woken long before their time is over. So to fall asleep and to wake is no more than to
    be noted and struck out; when the one timer rings, it looks at all that sleep by then.

    Time in which the loop stood still does not count: the server is not to blame for it.

    Attributes:
        loop: Whose timer it is.

        asleep: Who sleeps for so long at most, and until when.

        stood_still: Seconds for which the loop did not run, as far as it was noticed.
    """

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.asleep: dict[Sleeper, float] = {}
        self.stood_still = 0.0
        self._handle: Handle | None = None
        self._armed = math.inf

    def set(self, sleeper: Sleeper, seconds: float | None) -> None:
        """Have *sleeper* expire in *seconds*, and not when it was to before; never, if that is None."""
        if seconds is None or seconds == math.inf:
            self.asleep.pop(sleeper, None)
            return
        until = self.asleep[sleeper] = self.loop.time() - self.stood_still + seconds
        if until < self._armed:
            self._arm(until)

    def stop(self) -> None:
        """Let nobody expire any more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle, self._armed = None, math.inf

    def lateness(self, late: float) -> float:
        """Give for how long the loop stood still, where a timer is *late*."""
        return late

    def _arm(self, when: float, rest: float = 0.0) -> None:
        """Ring when it is *when*, and not within the next *rest* seconds."""
        self.stop()
        if when != math.inf:
            self._armed = max(when, self.loop.time() - self.stood_still + rest)
            self._handle = self.loop.call_at(self._armed + self.stood_still, self._ring)

    def _ring(self) -> None:
        now = self.loop.time() - self.stood_still
        late = self.lateness(now - self._armed)
        self._handle, self._armed = None, math.inf
        if late > TOLERANCE:
            self.stood_still += late + min(late, SECOND_CHANCE)
        else:
            for sleeper in [sleeper for sleeper, until in self.asleep.items() if until <= now]:
                del self.asleep[sleeper]
                sleeper.expire()
        self._arm(min(self.asleep.values(), default=math.inf), REST)


class Sleeper:
    """
    One task that waits for one thing at a time.

    Attributes:
        overslept: Its time was over before anything happened.
    """

    __slots__ = ("_future", "_seconds", "_timers", "overslept")

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self.overslept = False
        self._future: Future | None = None
        self._seconds: float | None = None

    def sleep(self, seconds: float | None) -> Future:
        """Give what to await, at once: it ends with `wake` or in *seconds*; then `overslept` tells."""
        self.overslept = False
        future = self._future = self._timers.loop.create_future()
        self._seconds = seconds
        self._timers.set(self, seconds)
        return future

    def restart(self, seconds: float | None) -> None:
        """Sleep for *seconds* from now on."""
        future = self._future
        if future is None:
            return
        if future.done():  # time was over, and the task was just not told yet
            self.overslept = False
        else:
            self._seconds = seconds
            self._timers.set(self, seconds)

    def wake(self) -> None:
        """
        Something has happened; also if time is over, and the task was just not told yet.

        Whoever was cancelled in its sleep is struck out by this.
        """
        future = self._future
        if future is not None:
            self._future, self.overslept = None, False
            self._timers.asleep.pop(self, None)
            if not future.done():
                future.set_result(None)

    def expire(self) -> None:
        """The time is over."""
        future = self._future
        if future is not None and not future.done():
            self.overslept = True
            future.set_result(None)

    def postpone(self) -> None:
        """There was a sign of life: count the time from here."""
        self.restart(self._seconds)


async def pause(loop: Loop, seconds: float) -> None:
    """Let others have their turns for so many *seconds*."""
    future = loop.create_future()
    handle = loop.call_later(seconds, functools.partial(_resolve, future))
    try:
        await future
    finally:
        handle.cancel()


def _resolve(future: Future) -> None:
    if not future.done():
        future.set_result(None)
