"""A thread that sees to what falls due while nobody is there to do it (rule 13)."""

from __future__ import annotations

import contextlib
import math
import sys
import threading
import weakref
from _thread import allocate_lock
from collections.abc import Callable
from typing import Final

from pool_manager.runtimes.on_threads.waiting import Waiter

# Seconds that it sleeps at least: what falls due together is done together, and a queue, which is looked at
# every 25 ms (rule 9), has those that wait there to do it.
SHORTEST_NAP: Final = 0.25


class Timekeeper:
    """
    The one such thread of an engine, there only while something will fall due.

    Args:
        ring: A method that does what is due, and gives when the next is; infinity if nothing is left. Its
            object is referred to weakly.

        now: Tells the time.

    Attributes:
        looks: When it looks next; infinity while there is no thread.
    """

    def __init__(self, ring: Callable[[], float], now: Callable[[], float]) -> None:
        self._ring, self._now = weakref.WeakMethod(ring), now
        self._turn = allocate_lock()  # taken by the thread
        self._waiter = Waiter()
        self.looks = math.inf

    def hurry(self) -> None:
        """Have it look sooner than it would, since something falls due before. Never waits."""
        if sys.is_finalizing():  # no thread begins any more, and Python 3.11 would wait for it
            return
        if not self._turn.locked():
            with contextlib.suppress(RuntimeError):  # there are too many
                threading.Thread(target=self._keep, name="pool_manager: keeps time", daemon=True).start()
        elif self.looks - self._now() > SHORTEST_NAP:
            self._waiter.wake()

    def stop(self) -> None:
        """Have it look whether it is needed any more."""
        self._waiter.wake()

    def _keep(self) -> None:
        while self._turn.acquire(blocking=False):
            try:
                while self._nap():
                    pass
            finally:
                self.looks = math.inf
                self._turn.release()
            if self._ask() == math.inf:  # else something was set just as it left
                return

    def _nap(self) -> bool:
        """Do what is due, and sleep until more is; False if there is nothing more."""
        due = self._ask()
        if due == math.inf:
            return False
        now = self._now()
        self.looks = max(due, now + SHORTEST_NAP)
        self._waiter.sleep(self.looks - now)
        return True

    def _ask(self) -> float:
        ring = self._ring()
        return math.inf if ring is None else ring()
