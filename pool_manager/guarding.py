"""What one lock guards, where its very holder may be struck by somebody else who wants it."""

from __future__ import annotations

from _thread import allocate_lock, get_ident
from collections.abc import Callable
from typing import ParamSpec, TypeVar, final

from pool_manager.errors import PoolError

P = ParamSpec("P")
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
    """

    __slots__ = ("_holder", "_lock")

    def __init__(self) -> None:
        self._lock = allocate_lock()
        self._holder = 0

    @property
    def is_held_here(self) -> bool:
        """Whether the calling code has struck a move of its own thread."""
        return self._holder == get_ident()

    def look(self, look: Callable[[], T]) -> T:
        """Make a move that changes nothing; also in the middle of another one of this thread."""
        return look() if self.is_held_here else self.move(look)

    def move(self, move: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """
        Make *move* under the lock. It lasts microseconds: no I/O, no wait, nobody else's code.

        Raises:
            PoolError: This thread is in the middle of a move, which the caller has struck.
        """
        here = get_ident()  # before the lock is taken: between the two next lines nothing can strike
        if self._holder == here:
            raise struck()
        with self._lock:
            self._holder = here
            try:
                return move(*args, **kwargs)
            finally:
                self._holder = 0
