"""The engine of a trio run's pool."""

from __future__ import annotations

import time
from typing import Final

import trio

from pool_manager.config import Limits, PoolConfig
from pool_manager.core.lanes import Lanes
from pool_manager.events import Audience
from pool_manager.runtimes.answering import clock
from pool_manager.runtimes.in_loops.engine import LoopEngine
from pool_manager.runtimes.in_loops.exchanges import Exchange
from pool_manager.runtimes.in_loops.port import Loop, Transport
from pool_manager.runtimes.in_loops.sleeping import Timers
from pool_manager.runtimes.on_trio.dialing import TrioDialer
from pool_manager.runtimes.on_trio.loop import TrioLoop
from pool_manager.runtimes.tls import ContextCache

# Seconds by which two clocks must drift apart before the machine is said to have been suspended.
_SUSPENDED: Final = 1.0


class TrioExchange(Exchange):
    """One whose answer is read by trio's rules."""

    __slots__ = ()

    async def read(self, seconds: float | None) -> bytes | None:
        """Read as any exchange; a checkpoint also where the part is there."""
        if self.is_over or self.buffered:
            await trio.lowlevel.checkpoint()
        return await super().read(seconds)


class TrioTimers(Timers):
    """Deadlines of a clock that a test may set: to be jumped over is not to stand still."""

    def __init__(self, loop: Loop) -> None:
        super().__init__(loop)
        self._looked = (loop.time(), time.monotonic())

    def lateness(self, late: float) -> float:
        """Give for how long the run stood still: no longer than the clock on the wall went on."""
        then, now = self._looked, (self.loop.time(), time.monotonic())
        self._looked = now
        jumped = (now[0] - then[0]) - (now[1] - then[1])
        return late - max(0.0, jumped)


class TrioEngine(LoopEngine):
    """Requests of one trio run on connections of our own. To be made in the run."""

    exchange_type = TrioExchange
    timers_type = TrioTimers

    def __init__(
        self, config: PoolConfig, limits: Limits, lanes: Lanes, contexts: ContextCache, *, audience: Audience
    ) -> None:
        loop = TrioLoop()
        self._trio = loop
        super().__init__(loop, TrioDialer(loop, config, contexts), config, limits, lanes, audience=audience)
        self._suspended = clock() - time.monotonic()

    def now(self) -> float:
        """
        Tell the scheduler's time: that of the run's clock, which tests may set.

        What trio's own clock does not count is the time in which the machine was suspended (rule 13).
        """
        suspended = clock() - time.monotonic()
        if suspended - self._suspended > _SUSPENDED:
            self._suspended = suspended
        return self.loop.time() + self._suspended - self.timers.stood_still

    def now_anywhere(self) -> float:
        """Tell the scheduler's time in any thread, and learn nothing from it."""
        return self._trio.clock.current_time() + self._suspended - self.timers.stood_still

    def sever(self, transport: Transport) -> None:
        """Close a socket at once."""
        transport.abort()
