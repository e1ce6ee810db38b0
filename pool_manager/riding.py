"""
What the requests of a poll have in common, wherever they are made: a lane, and that nobody below asks again.

An SDK hands no extensions through to its transport, so what a poll wants is said in a context variable: it
is seen by every request that is made in the same task or thread, whoever makes it, and by no other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from contextvars import ContextVar
from typing import Final

import attrs

POLLING: Final = "polling"  # the lane of polls, unless they are told another


@attrs.frozen
class Ride:
    """
    How requests of a poll travel.

    Attributes:
        lane: The lane they take; None leaves it to their client.
    """

    lane: str | None


_RIDE: ContextVar[Ride | None] = ContextVar("pool_manager_ride", default=None)

current = _RIDE.get  # what holds for requests made here and now; None where nobody polls


@contextlib.contextmanager
def riding(lane: str | None) -> Generator[None]:
    """Have the requests made within take *lane*, and not be retried."""
    token = _RIDE.set(Ride(lane))
    try:
        yield
    finally:
        _RIDE.reset(token)
