"""Turns and timers on trio: a system task, the pump, calls what falls due, and sleeps until the next."""

from __future__ import annotations

import heapq
import itertools
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import Context
from typing import Any, Final, TypeAlias

import trio
from trio.lowlevel import Abort, RaiseCancelT

from pool_manager.runtimes.on_trio.futures import TrioFuture

_Function: TypeAlias = Callable[[], object]

# Timers that were cancelled are thrown out when they are so many, and the greater part.
_MANY: Final = 64

_log = logging.getLogger(__name__)


class TrioLoop:
    """
    The part of an asyncio loop that the engine needs, in the run in which this is made.

    The pump is there only while there is something to do or to wait for.

    Attributes:
        clock: That of the run: it tells the time in any thread.
    """

    def __init__(self) -> None:
        self.clock = trio.lowlevel.current_clock()
        self._ready: deque[_Function] = deque()
        self._timers: list[tuple[float, int, Timer]] = []
        self._cancelled = 0  # of them
        self._numbers = itertools.count()
        self._is_pumping = self._is_over = False
        self._time = 0.0
        self._scope = trio.CancelScope()  # the pump's sleep
        self._pump_task: trio.lowlevel.Task | None = None  # while it sleeps

    def time(self) -> float:
        """Tell the time of the run's clock; when the run is over it stands still."""
        try:
            self._time = trio.current_time()
        except RuntimeError:
            self._is_over = True
        return self._time

    def is_closed(self) -> bool:
        """Whether nothing will be called any more."""
        return self._is_over

    def call_soon(self, function: _Function) -> None:
        """Have *function* called in the next turn; never, if the run is ending."""
        self._ready.append(function)
        self._wake()

    def call_later(self, delay: float, function: _Function) -> Timer:
        """Have *function* called in *delay* seconds."""
        return self.call_at(self.time() + delay, function)

    def call_at(self, when: float, function: _Function) -> Timer:
        """Have *function* called at *when*."""
        timer = Timer(self, function)
        heapq.heappush(self._timers, (when, next(self._numbers), timer))
        if self._pump_task is None:
            self._wake()
        elif when < self._scope.deadline:
            self._scope.deadline = when
        return timer

    def create_future(self) -> TrioFuture:
        """Give something to wait for."""
        return TrioFuture()

    def create_task(self, coroutine: Coroutine[Any, Any, None], *, context: Context) -> SystemTask:  # noqa: ARG002
        """Run *coroutine* in a system task: those have a context of their own, trio's."""
        task = SystemTask(coroutine)
        if not self.spawn(task.run):
            coroutine.close()
        return task

    def spawn(self, function: Callable[[], Awaitable[None]]) -> bool:
        """Run *function*, which lets no exception out, in a system task; False if the run is ending."""
        try:
            trio.lowlevel.spawn_system_task(function)
        except RuntimeError:  # system tasks are over, or all of the run is
            self._is_over = True
            return False
        return True

    def forget(self) -> None:
        """Know that a timer was cancelled: the pump need not wake for it."""
        self._cancelled += 1
        if self._cancelled > max(_MANY, len(self._timers) // 2):
            self._timers = [entry for entry in self._timers if entry[2].function is not None]
            heapq.heapify(self._timers)
            self._cancelled = 0
        if self._pump_task is not None:
            self._scope.deadline = self._next()
            if not self._timers:
                self._wake()  # to end

    # The pump

    def _wake(self) -> None:
        task, self._pump_task = self._pump_task, None
        if task is not None:
            trio.lowlevel.reschedule(task)
        elif not self._is_pumping:
            self._is_pumping = self.spawn(self._pump)
            if not self._is_pumping:
                self._ready.clear()

    async def _pump(self) -> None:
        try:
            while self._ready or self._next() != math.inf:
                self._turn()
                if self._ready:
                    await trio.lowlevel.checkpoint()
                elif self._next() != math.inf:
                    await self._sleep()
        except trio.Cancelled:  # the run is ending: what was to be closed in the next turn is closed now
            while self._ready:
                self._turn()
            self._is_over = True
            raise
        finally:
            self._is_pumping = False

    async def _sleep(self) -> None:
        with trio.CancelScope(deadline=self._next()) as self._scope:
            self._pump_task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._stir)

    def _stir(self, _: RaiseCancelT) -> Abort:
        self._pump_task = None
        return Abort.SUCCEEDED

    def _turn(self) -> None:
        """Call what is due by now, and not what that brings about."""
        now = self.time()
        while self._next() <= now:
            _, _, timer = heapq.heappop(self._timers)
            self._ready.append(timer.take())
        for _ in range(len(self._ready)):
            function = self._ready.popleft()
            try:
                function()
            except Exception:  # noqa: BLE001 - it is a defect, and no reason to end the run
                _log.exception("%r failed", function)

    def _next(self) -> float:
        """Tell when the next timer is due."""
        timers = self._timers
        while timers and timers[0][2].function is None:
            heapq.heappop(timers)
            self._cancelled -= 1
        return timers[0][0] if timers else math.inf


class Timer:
    """
    A timer that was armed.

    Attributes:
        function: What is called; None when it was called, or is not to be.
    """

    __slots__ = ("_loop", "function")

    def __init__(self, loop: TrioLoop, function: _Function) -> None:
        self._loop = loop
        self.function: _Function | None = function

    def take(self) -> _Function:
        """Give what may still be cancelled before it is called."""
        return self._call

    def cancel(self) -> None:
        """Have nothing called."""
        if self.function is not None:
            self.function = None
            self._loop.forget()

    def _call(self) -> None:
        if self.function is not None:
            self.function()


class SystemTask:
    """A coroutine in a system task of its own."""

    def __init__(self, coroutine: Coroutine[Any, Any, None]) -> None:
        self._coroutine = coroutine
        self._scope = trio.CancelScope()

    async def run(self) -> None:
        """Run it, and log what it raises."""
        try:
            with self._scope:
                await self._coroutine
        except Exception:  # noqa: BLE001 - as above
            _log.exception("a task of the pool failed")

    def cancel(self) -> None:
        """Cancel it, at its next checkpoint."""
        self._scope.cancel()

    def get_coro(self) -> object:
        """Give the coroutine."""
        return self._coroutine
