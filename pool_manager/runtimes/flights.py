"""One question at a time: who asks what is being asked already waits for the same answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any, Generic, TypeVar

import attrs

T = TypeVar("T")


@attrs.define(eq=False)
class _Flight:
    answer: asyncio.Future[Any]
    waiting: int = 0


class Flights(Generic[T]):
    """
    What is being asked just now, by key. Nothing is kept once it is answered.

    A caller that is cancelled leaves the others waiting; with the last one the
    question itself is cancelled.
    """

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight] = {}

    async def join(self, key: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """Give the answer to *key*; *ask* is called if nobody is asking yet."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(asyncio.ensure_future(ask()))
        flight.waiting += 1
        try:
            # Unlike awaiting it, this does not cancel it with the caller.
            await asyncio.wait([flight.answer])
        finally:
            flight.waiting -= 1
            if not flight.waiting:
                del self._flights[key]
                _let_go(flight.answer)
        answer: T = flight.answer.result()
        return answer


def _let_go(answer: asyncio.Future[Any]) -> None:
    if not answer.cancel() and not answer.cancelled():
        answer.exception()  # looked at: asyncio reports errors that nobody saw
