"""
What is held for longer than it should be: found when somebody looks, and told once.

A lease that is held for hours may be meant, so nothing is a leak before somebody says for how long it may be
held. What was found and is given back after all is told of as well: whoever has read the one is to read the
other.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from typing import Generic, TypeVar

from pool_manager.core.deadlines import Deadlines

T = TypeVar("T", bound=Hashable)


class Overdue(Generic[T]):
    """
    Things that are held, of those for which somebody has said for how long they may be.

    Attributes:
        allowed: For how many seconds each of them may be held.
    """

    def __init__(self) -> None:
        self._deadlines: Deadlines[T] = Deadlines()
        self.allowed: dict[T, float] = {}
        self._found: set[T] = set()

    @property
    def next(self) -> float:
        """When to look again; `math.inf` if there is nothing to look at."""
        return self._deadlines.next

    def hold(self, thing: T, now: float, seconds: float) -> None:
        """Have *thing* found when it is held for more than so many *seconds* from now; `math.inf`: never."""
        if seconds != math.inf:
            self.allowed[thing] = seconds
            self._deadlines.set(thing, now, seconds)

    def find(self, now: float) -> list[tuple[T, float]]:
        """Give what has been held for too long, each once, and for how many seconds it may be held."""
        found = [*self._deadlines.take_due(now)]
        self._found.update(found)
        return [(thing, self.allowed[thing]) for thing in found]

    def release(self, thing: T) -> bool:
        """Look for *thing* no more; tell whether it was found before."""
        if self.allowed.pop(thing, None) is None:
            return False
        self._deadlines.discard(thing)
        was_found = thing in self._found
        self._found.discard(thing)
        return was_found
