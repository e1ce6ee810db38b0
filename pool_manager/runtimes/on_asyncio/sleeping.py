"""Waiting for something to happen, for so long at most, with one timer of the loop for everybody."""

from __future__ import annotations

import asyncio
import math
from typing import Final

from pool_manager.core.deadlines import Deadlines

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

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._deadlines: Deadlines[Sleeper] = Deadlines()
        self._handle: asyncio.TimerHandle | None = None
        self._armed = math.inf
        self.stood_still = 0.0

    def set(self, sleeper: Sleeper, seconds: float) -> None:
        """Have *sleeper* expire in *seconds*."""
        deadlines = self._deadlines
        deadlines.set(sleeper, self._loop.time() - self.stood_still, max(seconds, 0.0))
        if deadlines.next < self._armed:
            self._arm()

    def discard(self, sleeper: Sleeper) -> None:
        """Let *sleeper* sleep on."""
        self._deadlines.discard(sleeper)

    def stop(self) -> None:
        """Let nobody expire any more."""
        if self._handle is not None:
            self._handle.cancel()
            self._handle, self._armed = None, math.inf

    def _arm(self) -> None:
        self.stop()
        self._armed = self._deadlines.next
        if self._armed != math.inf:
            self._handle = self._loop.call_at(self._armed + self.stood_still, self._fire)

    def _fire(self) -> None:
        now = self._loop.time() - self.stood_still
        late = now - self._armed
        self._handle, self._armed = None, math.inf
        if late > TOLERANCE:
            self.stood_still += late + min(late, SECOND_CHANCE)
        else:
            for sleeper in self._deadlines.take_due(now):
                sleeper.expire()
        self._arm()


class Sleeper:
    """One task that waits for one thing at a time."""

    __slots__ = ("_future", "_loop", "_seconds", "_timers", "_woken")

    def __init__(self, loop: asyncio.AbstractEventLoop, timers: Timers) -> None:
        self._loop, self._timers = loop, timers
        self._future: asyncio.Future[None] | None = None
        self._seconds: float | None = None
        self._woken = False

    async def sleep(self, seconds: float | None) -> bool:
        """Sleep until `wake`, and give True, or for *seconds*, and give False."""
        future = self._future = self._loop.create_future()
        self._woken = False
        if seconds is not None and seconds != math.inf:
            self._seconds = seconds
            self._timers.set(self, seconds)
        try:
            await future
        finally:
            self._future = None
            if self._seconds is not None:
                self._seconds = None
                self._timers.discard(self)
        return self._woken

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
        if self._seconds is not None:
            self._timers.set(self, self._seconds)
