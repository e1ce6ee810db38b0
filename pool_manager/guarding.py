"""What one lock guards, where its very holder may be struck by somebody else who wants it."""

from __future__ import annotations

from _thread import RLock
from collections.abc import Callable
from typing import TypeVar, TypeVarTuple, final

from pool_manager.errors import PoolError

Args = TypeVarTuple("Args")
T = TypeVar("T")


def struck() -> PoolError:
    """Say to whom has struck that it cannot have what it asks for just now."""
    return PoolError("asked by a finaliser, or a signal's handler, that interrupted the pool")


@final
class Guard:
    """
    A lock under which moves are made, one at a time.

    A finaliser, or the handler of a signal, runs inside whatever its thread does just then: also inside a
    move. It must not wait for the lock, since who is to release it is below it on the stack; and it must not
    do without, since it sees things half done. It puts off what it wants (`is_held_here`), or is refused.

    Attributes:
        lock: The lock, for who makes moves in a way of its own; asks `is_held_here` first.

        is_held_here: Tells whether the calling code has struck a move of its own thread.
    """

    __slots__ = ("is_held_here", "lock")

    def __init__(self) -> None:
        self.lock = RLock()  # never taken twice: it is one for what it knows of its holder
        self.is_held_here: Callable[[], bool] = self.lock._is_owned  # type: ignore[attr-defined]  # noqa: SLF001

    def look(self, look: Callable[[], T]) -> T:
        """Make a move that changes nothing; also in the middle of another one of this thread."""
        return look() if self.is_held_here() else self.move(look)

    def move(self, move: Callable[[*Args], T], *args: *Args) -> T:
        """
        Make *move* under the lock. It lasts microseconds: no I/O, no wait, nobody else's code.

        Raises:
            PoolError: This thread is in the middle of a move, which the caller has struck.
        """
        if self.is_held_here():
            raise struck()
        with self.lock:
            return move(*args)
