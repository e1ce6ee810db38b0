"""trio: what a pool needs of its run. Imported only where trio runs."""

from __future__ import annotations

import weakref
from collections.abc import Callable

import trio

from pool_manager.stats import Runtime as RuntimeName


class TrioRun:
    """One call of `trio.run`."""

    name: RuntimeName = "trio"

    def __init__(self, token: trio.lowlevel.TrioToken) -> None:
        self._token = weakref.ref(token)

    def is_over(self) -> bool:
        """Trio finishes every watch, so that only a collected token tells."""
        return self._token() is None

    def is_here(self) -> bool:
        """Whether the run is the one in this thread."""
        try:
            return trio.lowlevel.current_trio_token() is self._token()
        except RuntimeError:
            return False

    def call_soon(self, function: Callable[[], object]) -> None:
        """Have the run call *function*; `trio.RunFinishedError` is a RuntimeError."""
        token = self._token()
        if token is None:
            raise RuntimeError("the trio run is gone")
        token.run_sync_soon(function)

    def call_later(self, delay: float, function: Callable[[], object]) -> None:
        """Sleep in a system task, which ends with the run."""

        async def wait() -> None:
            await trio.sleep(delay)
            function()

        self.call_soon(lambda: trio.lowlevel.spawn_system_task(wait))
