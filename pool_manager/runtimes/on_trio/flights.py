"""One question at a time, on trio: who asks what is being asked already waits for the same answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

import attrs
import trio

T = TypeVar("T")


@attrs.define(eq=False)
class _Flight(Generic[T]):
    """A question, and who waits for its answer."""

    ask: Callable[[], Awaitable[T]]
    waiting: int = 0
    scope: trio.CancelScope = attrs.field(factory=trio.CancelScope)
    over: trio.Event = attrs.field(factory=trio.Event)
    answers: list[T] = attrs.field(factory=list)  # one, or none
    error: Exception | None = None

    async def run(self) -> None:
        try:
            with self.scope:
                self.answers.append(await self.ask())
        except Exception as error:  # noqa: BLE001 - it is raised where the answer is awaited
            self.error = error
        finally:
            self.over.set()

    def answer(self) -> T:
        if self.error is not None:
            raise self.error
        return self.answers[0]


class Flights(Generic[T]):
    """
    What is being asked just now, by key. Nothing is kept once it is answered.

    A caller that is cancelled leaves the others waiting; with the last one the question itself is cancelled.
    """

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[T]] = {}

    async def join(self, key: Hashable, ask: Callable[[], Awaitable[T]]) -> T:
        """Give the answer to *key*; *ask* is called if nobody is asking yet."""
        flight = self._flights.get(key)
        if flight is None:
            flight = self._flights[key] = _Flight(ask)
            trio.lowlevel.spawn_system_task(flight.run)
        flight.waiting += 1
        try:
            await flight.over.wait()
        finally:
            flight.waiting -= 1
            if not flight.waiting:
                del self._flights[key]
                flight.scope.cancel()
        return flight.answer()
