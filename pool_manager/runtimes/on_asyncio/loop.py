"""asyncio and uvloop: what a pool needs of its event loop."""

from __future__ import annotations

import asyncio
import weakref
from collections.abc import Callable

from pool_manager.stats import Runtime as RuntimeName


class AsyncioLoop:
    """An asyncio or uvloop event loop."""

    name: RuntimeName = "asyncio"

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = weakref.ref(loop)

    def get(self) -> asyncio.AbstractEventLoop:
        """Give the loop; RuntimeError if it is gone."""
        loop = self._loop()
        if loop is None:
            raise RuntimeError("the event loop is gone")
        return loop

    def is_over(self) -> bool:
        """Whether the loop was closed, or collected."""
        loop = self._loop()
        return loop is None or loop.is_closed()

    def is_here(self) -> bool:
        """Whether the loop runs in this thread right now."""
        return asyncio._get_running_loop() is self._loop()  # noqa: SLF001 - get_running_loop raises where there is none

    def call_soon(self, function: Callable[[], object]) -> None:
        """Have the loop call *function*; RuntimeError if it was closed."""
        self.get().call_soon_threadsafe(function)

    def call_later(self, delay: float, function: Callable[[], object]) -> None:
        """Arm a timer of the loop's."""
        loop = self._loop()
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(loop.call_later, delay, function)
