"""What one task waits for, once: trio has no futures."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import trio
from trio.lowlevel import Abort, RaiseCancelT, Task


class TrioFuture:
    """Waits until it is resolved, or the task is cancelled. Awaiting it is a checkpoint in any case."""

    __slots__ = ("_done", "_task")

    def __init__(self) -> None:
        self._done = False
        self._task: Task | None = None

    def done(self) -> bool:
        """Whether there is nothing to wait for."""
        return self._done

    def set_result(self, _: None, /) -> None:
        """Wake who waits."""
        self._done = True
        task, self._task = self._task, None
        if task is not None:
            trio.lowlevel.reschedule(task)

    def __await__(self) -> Generator[Any, Any, Any]:
        """Wait."""
        return self._wait().__await__()

    async def _wait(self) -> None:
        if self._done:
            await trio.lowlevel.checkpoint()
        else:
            self._task = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(self._leave)

    def _leave(self, _: RaiseCancelT) -> Abort:
        self._task = None
        return Abort.SUCCEEDED
