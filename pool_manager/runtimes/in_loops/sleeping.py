"""Waiting for something to happen, for so long at most, with one timer of the loop for everybody."""

from __future__ import annotations

import functools
import math
from typing import Final

from pool_manager.core.deadlines import Deadlines
from pool_manager.runtimes.in_loops.port import Future, Handle, Loop

# A timer that is later than this was held up: something kept the loop busy.
TOLERANCE: Final = 0.1

# After such a standstill who waited for a server gets the time back, and up to this many seconds more:
# answers that came meanwhile, the steps of a handshake too, are yet to be read.
SECOND_CHANCE: Final = 1.0


class Timers:
    """
    The deadlines of one engine.

    Time in which the loop stood still does not count: the server is not to blame for it.

    Attributes:
        stood_still: Seconds for which the loop did not run, as far as it was noticed.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._deadlines: Deadlines[Sleeper] = Deadlines()
        self._handle: Handle | None = None
        self._armed = math.inf
        self.stood_still = 0.0

    def now(self) -> float:
        """Tell the time by which deadlines are counted."""
        return self._loop.time() - self.stood_still

    def set(self, sleeper: Sleeper, seconds: float) -> None:
        """Have *sleeper* expire in *seconds*."""
        now = self.now()
        sleeper.until = now + seconds
        if sleeper.until < sleeper.looked_at:
            self._look_at(sleeper, now, seconds)

    def _look_at(self, sleeper: Sleeper, now: float, seconds: float) -> None:
        deadlines = self._deadlines
        deadlines.set(sleeper, now, seconds if seconds > 0 else 0.0)
        sleeper.looked_at = now + seconds
        if deadlines.next < self._armed:
            self._arm()

    def discard(self, sleeper: Sleeper) -> None:
        """Forget *sleeper*, which will sleep no more."""
        if sleeper.looked_at != math.inf:
            sleeper.looked_at = math.inf
            self._deadlines.discard(sleeper)

    def stop(self) -> None:
        """Let nobody expire any more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle, self._armed = None, math.inf

    def lateness(self, late: float) -> float:
        """Give for how long the loop stood still, where a timer is *late*."""
        return late

    def _arm(self) -> None:
        self.stop()
        self._armed = self._deadlines.next
        if self._armed != math.inf:
            self._handle = self._loop.call_at(self._armed + self.stood_still, self._fire)

    def _fire(self) -> None:
        now = self._loop.time() - self.stood_still
        late = self.lateness(now - self._armed)
        self._handle, self._armed = None, math.inf
        if late > TOLERANCE:
            self.stood_still += late + min(late, SECOND_CHANCE)
        else:
            for sleeper in self._deadlines.take_due(now):
                sleeper.looked_at = math.inf
                if now >= sleeper.until:
                    sleeper.expire()
                elif sleeper.until != math.inf:
                    self._look_at(sleeper, now, sleeper.until - now)
        self._arm()


class Sleeper:
    """
    One task that waits for one thing at a time.

    Most that sleep are woken long before their time is over, and sleep again. So a deadline is not taken out
    when somebody wakes: when it is reached, it is looked up until when he sleeps by now.

    Attributes:
        until: When its time is over; `math.inf` while it does not sleep, or for ever.

        looked_at: When `Timers` will look at it, at the latest; `math.inf` if it will not.
    """

    __slots__ = ("_future", "_loop", "_seconds", "_timers", "_woken", "looked_at", "until")

    def __init__(self, loop: Loop, timers: Timers) -> None:
        self._loop, self._timers = loop, timers
        self._future: Future | None = None
        self._seconds: float | None = None
        self._woken = False
        self.until = self.looked_at = math.inf

    async def sleep(self, seconds: float | None) -> bool:
        """Sleep until `wake`, and give True, or for *seconds*, and give False."""
        future = self._future = self._loop.create_future()
        self._woken = False
        self.restart(seconds)
        try:
            await future
        finally:
            self._future = None
            self.until = math.inf
        return self._woken

    def restart(self, seconds: float | None) -> None:
        """Sleep for *seconds* from now on."""
        future = self._future
        if future is None:
            return
        if future.done():  # time was over, and the task was just not told yet
            self._woken = True
        elif seconds is None or seconds == math.inf:
            self._seconds, self.until = None, math.inf
        else:
            self._seconds = seconds
            self._timers.set(self, seconds)

    def wake(self) -> None:
        """Something has happened; also if time is over, and the task was just not told yet."""
        future = self._future
        if future is not None:
            self._woken = True
            if not future.done():
                future.set_result(None)

    def expire(self) -> None:
        """The time is over."""
        future = self._future
        if future is not None and not future.done():
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
