"""Threads: the one runtime where calls happen where they are made."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

from pool_manager.stats import Runtime as RuntimeName


class Threads:
    """The one runtime of all threads."""

    name: RuntimeName = "threads"

    def is_over(self) -> bool:
        """Threads are never over."""
        return False

    def is_here(self) -> bool:
        """Any thread will do."""
        return True

    def call_soon(self, function: Callable[[], object]) -> None:
        """Call *function* now."""
        function()

    def call_later(self, delay: float, function: Callable[[], object]) -> None:
        """
        Call *function* from a daemon thread: it must not hold up the end of the process.

        At that end no thread begins any more: then it is called now.
        """
        if sys.is_finalizing():
            function()
            return
        timer = threading.Timer(delay, function)
        timer.daemon = True
        timer.start()
