"""Other threads look at a loop's scheduler between two moves, and not in the middle of one."""

from __future__ import annotations

import inspect

import pytest

from pool_manager.config import Limits, PoolConfig
from pool_manager.core.lanes import Lanes
from pool_manager.core.origins import OriginKey
from pool_manager.core.scheduler import Scheduler
from pool_manager.errors import PoolClosed
from pool_manager.runtimes.in_loops import booking
from pool_manager.runtimes.in_loops.booking import MOVES, Book, settled

LOOKS = {"picture", "close_up", "dial_begun", "connections", "take_effects"}
KEY = OriginKey("https", "a", 443, None, "default")


class Moves:
    """Counts moves, as a `Book` does."""

    begun = done = 0


def test_every_move_is_marked() -> None:
    """What changes a scheduler is a move; what does not, is none."""
    public = {name for name, _ in inspect.getmembers(Scheduler, callable) if not name.startswith("_")}
    assert set(MOVES) == public - LOOKS


def test_a_move_is_over_however_it_ends() -> None:
    """Also one within another, and one that raises."""
    book = Book(PoolConfig(), Limits(), Lanes(()))
    ticket = book.ask(KEY, 0)
    assert (book.begun, book.done) == (1, 1)
    book.leave(ticket, 0)
    book.close(0)
    with pytest.raises(PoolClosed):
        book.ask(KEY, 0)
    assert book.begun == book.done == 4


def test_who_comes_in_the_middle_looks_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for the move to end, and does not believe what it saw while another began."""
    book, seen = Moves(), []
    book.begun = 1  # in the middle

    def go_on(_: float) -> None:
        book.done = book.begun

    def look() -> str:
        seen.append((book.begun, book.done))
        if len(seen) == 1:
            book.begun += 1  # a move begins just then
            return "torn"
        return "whole"

    monkeypatch.setattr(booking.time, "sleep", go_on)
    assert settled(book, look) == "whole"
    assert seen == [(1, 1), (2, 2)]


def test_who_struck_the_move_itself_sees_it_as_it_is() -> None:
    """It would wait for ever: the move goes on when it is done."""
    book = Moves()
    book.begun = 1
    assert settled(book, lambda: "as it is") == "as it is"
