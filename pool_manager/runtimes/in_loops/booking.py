"""
A scheduler at which other threads may look.

Loops need no lock for their moves, and pay for none. But statistics are asked for by other threads, which may
come in the middle of a move: so each is marked where it begins and where it ends, and who looks in between
looks again.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar

from pool_manager.core.scheduler import Scheduler

T = TypeVar("T")

# Looks after which what is seen is taken as it is. Who has struck a move of its own thread, as a signal's
# handler does, would look for ever.
_PATIENCE: Final = 1_000


class Book(Scheduler):
    """
    A scheduler that says how many moves were begun, and how many are done.

    Attributes:
        begun: Moves; one within another counts by itself.

        done: Those that are over.
    """

    begun = done = 0


MOVES: Final = (
    *("ask", "leave", "dialed", "dial_failed", "allow", "suspend", "resume"),
    *("drain", "refused", "lost", "resolved", "reached", "tick", "reset", "close"),
)


def _marked(move: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(move)
    def marked(book: Book, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401 - of any move
        book.begun += 1
        try:
            return move(book, *args, **kwargs)
        finally:
            book.done += 1

    return marked


for _name in MOVES:
    setattr(Book, _name, _marked(getattr(Scheduler, _name)))


class _Counted(Protocol):
    begun: int
    done: int


def settled(book: _Counted, look: Callable[[], T]) -> T:
    """Give what *look* sees between two moves."""
    for _ in range(_PATIENCE):
        done = book.done
        if book.begun == done:
            seen = look()
            if book.begun == done:
                return seen
        time.sleep(0)  # lets who makes the move go on
    return look()
