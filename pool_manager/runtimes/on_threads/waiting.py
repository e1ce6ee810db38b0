"""A thread that sleeps until somebody wakes it."""

from __future__ import annotations

import threading
from _thread import allocate_lock
from typing import final


@final
class Waiter:
    """
    Where one thread sleeps: on a plain lock, the cheapest there is.

    To be woken is remembered: whoever sleeps next does not. So a thread says first that it waits, then looks
    whether it has to, then sleeps; and looks again when it wakes, which it may do for nothing.
    """

    __slots__ = ("_lock",)

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._lock.acquire()

    def sleep(self, seconds: float | None) -> bool:
        """Sleep until woken, and give True, or for *seconds*, and give False."""
        if seconds is None or seconds > threading.TIMEOUT_MAX:
            return self._lock.acquire()
        return self._lock.acquire(timeout=max(0.0, seconds))

    def wake(self) -> None:
        """Wake the thread, or have it not fall asleep. From any thread; never waits."""
        try:  # noqa: SIM105 - `contextlib.suppress` costs more than the rest
            self._lock.release()
        except RuntimeError:  # it was awake
            pass
