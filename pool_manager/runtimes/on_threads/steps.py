"""Steps: how the threads on one connection change what it knows, one at a time."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections import deque
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from pool_manager.core.messages import TransportFailure
from pool_manager.core.origins import Connection
from pool_manager.core.scheduler import Scheduler
from pool_manager.guarding import Guard, struck
from pool_manager.runtimes.on_threads.carriers import Carrier, Owner
from pool_manager.runtimes.on_threads.jobs import work_off
from pool_manager.runtimes.on_threads.wires import Wire

P = ParamSpec("P")
T = TypeVar("T")


class Stepwise(Carrier):
    """
    A connection of many threads.

    Attributes:
        guard: Of what steps change.

        reports: What is to be told to the engine after the step.
    """

    def __init__(self, owner: Owner, book: Scheduler, connection: Connection, wire: Wire) -> None:
        super().__init__(owner, book, connection, wire)
        self.guard = Guard()
        self.reports: deque[Callable[[], object]] = deque()

    @abstractmethod
    def give_up_interrupted(self) -> None:
        """Know that this thread was interrupted in a step; called in that step."""

    def forget_lock(self) -> None:
        """Take a new lock in a forked child: a thread of the parent may hold the old one for ever."""
        self.guard = Guard()

    def step(self, step: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Make a step under the lock, and do what follows from it."""
        if self.guard.is_held_here():
            raise struck()
        try:
            with self.guard.lock:
                try:
                    return step(*args, **kwargs)
                except TransportFailure:
                    raise
                except BaseException:
                    self.give_up_interrupted()
                    raise
        finally:
            if self.reports:
                work_off(self.reports)

    def tell(self, move: Callable[..., object], *args: object) -> None:
        """Have the scheduler make a move about this connection, after the step."""
        self.reports.append(
            functools.partial(self.owner.tell, self.book, move, self.connection, self.owner.now(), *args)
        )
