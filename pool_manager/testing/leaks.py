"""What a test left behind: leases, open responses, and connections that nobody holds."""

from __future__ import annotations

import contextlib
import gc
import weakref
from collections.abc import Callable, Generator, Iterator
from typing import Any, Final, Self, TypeVar

from pool_manager import losses
from pool_manager.answers import OpenAnswer
from pool_manager.leases import Tenancy
from pool_manager.registry import registries
from pool_manager.stats import ManagerStats, PoolStats

T = TypeVar("T")


class LeakError(AssertionError):
    """Something was left behind; the message names each thing, and where it was taken."""


@contextlib.contextmanager
def no_leaks() -> Generator[None]:
    """
    Fail a block that leaves leases, open responses or connections behind, in any manager.

    What was open before may stay open. A block that raises is left alone: its traceback holds
    on to whatever it had open.

    Raises:
        LeakError: Something was left.
    """
    with Watcher() as watcher:
        yield
        watcher.check()


class Watcher:
    """Knows what was open when it began."""

    def __init__(self) -> None:
        now = _stats()
        # Looking through all that Python holds takes long: only where there is something to find.
        self._leases: Final = weakref.WeakSet(_open_leases() if _leases_out(now) else ())
        self._answers: Final = weakref.WeakSet(_open_answers() if _in_flight(now) else ())
        self._pools: Final = {pool.number for pool in _pools(now)}
        self._lost: Final[list[str]] = []

    def __enter__(self) -> Self:
        losses.listeners.append(self._hear)
        return self

    def __exit__(self, *_: object) -> None:
        losses.listeners.remove(self._hear)

    def _hear(self, message: str) -> None:
        self._lost.append(message)

    def check(self) -> None:
        """
        Look for what is open now and was not then, or was lost meanwhile.

        Raises:
            LeakError: Something was left.
        """
        if left := [*self._left()]:
            raise LeakError("left behind:\n  " + "\n  ".join(left))

    def _left(self) -> Iterator[str]:
        now = _stats()
        if _leases_out(now) or _in_flight(now):
            gc.collect()  # what is lost in a circle says so now, and not in somebody else's test
            now = _stats()
        yield from self._lost
        if _leases_out(now):
            yield from (f"open {lease}" for lease in _open_leases() if lease not in self._leases)
        if _in_flight(now):
            yield from (f"open {answer}" for answer in _open_answers() if answer not in self._answers)
        for pool in _pools(now):
            if pool.number not in self._pools and pool.connections and not pool.leases and not pool.in_flight:
                yield f"open connections: {pool}"


def _stats() -> list[ManagerStats]:
    return [registry.stats() for registry in registries()]


def _pools(managers: list[ManagerStats]) -> Iterator[PoolStats]:
    return (pool for manager in managers for pool in manager.pools)


def _leases_out(managers: list[ManagerStats]) -> int:
    return sum(manager.leases_taken - manager.leases_returned for manager in managers)


def _in_flight(managers: list[ManagerStats]) -> int:
    return sum(pool.in_flight for pool in _pools(managers))


def _open_leases() -> list[Tenancy]:
    return _found(Tenancy, lambda lease: lease.is_out)


def _open_answers() -> list[OpenAnswer]:
    return _found(OpenAnswer, lambda answer: answer.is_open)


def _found(kind: type[T], is_meant: Callable[[T], bool]) -> list[T]:
    # `type(...)`, since `isinstance` runs code of mocks and lazy modules.
    everything: list[Any] = gc.get_objects()
    return [thing for thing in everything if issubclass(type(thing), kind) and is_meant(thing)]
