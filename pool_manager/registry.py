"""
Which pool serves whom: a table for each event loop, one for threads; leases counted.

Rule 1: a pool is held by *tenants* (leases) and by *exchanges* (requests whose
answer is not closed yet). A pool that nobody holds is closed, after
`Limits.linger`; the next tenant gets a new one.
Rule 2: loops are keys by themselves and weakly, never by `id`, which Python
gives away again. What a pool holds refers back to its loop, so a loop's end is
watched for (`runtimes.loops.Watch`) and, where a loop was closed without a
word, found at the next call (`sweep`).
Rule 3: the one lock guards the tables and the counts (`holding.py`), and is held for
microseconds: never across I/O, a TLS context or a callback. A finaliser, or a
signal's handler, may run inside any call, one that holds the lock included: what
it gives back is then given back by whoever comes next.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import math
import os
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeVar

import anyio.lowlevel

from pool_manager.config import Lane
from pool_manager.core.lanes import Lanes
from pool_manager.errors import PoolError
from pool_manager.events import Audience
from pool_manager.exchanges import Exchange
from pool_manager.guarding import Guard
from pool_manager.holding import Holdings
from pool_manager.looking import developed
from pool_manager.observe import log
from pool_manager.pools import Home, Pool, Share, StandIn, Tenant
from pool_manager.runtimes import loops
from pool_manager.runtimes.tls import ContextCache
from pool_manager.stats import ManagerStats

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Registry:
    """
    The pools of one manager, over all runtimes.

    Args:
        name: The manager's name, for logs.

        lanes: The manager's lanes.

    Attributes:
        guard: Rule 3; a forked child has another.

        holdings: What it guards.

        audience: Who listens to the pools.

        stand_in: What makes the engines instead, in somebody's tests.

        found_by: What finds its like in another process, if there is one already: the default manager's.
    """

    def __init__(self, name: str, lanes: Sequence[Lane]) -> None:
        self.name: Final = name
        self.lanes: Final = Lanes(lanes)
        self._contexts = ContextCache()
        self.guard = Guard()
        self.holdings: Final = Holdings(name, time.monotonic)
        self.audience: Final = Audience()
        self._deferred: deque[Callable[[], object]] = deque()
        self.stand_in: StandIn | None = None
        self.found_by: Callable[[], Registry] | None = None
        _REGISTRIES.add(self)

    def __reduce__(self) -> tuple[object, ...]:
        """Travel as its configuration: another process has pools of its own."""
        return (self.found_by, ()) if self.found_by else (Registry, (self.name, self.lanes.all))

    # Leases

    def take(self, tenant: Tenant, share: Share) -> None:
        """
        Count a new lease, which is to share with *share*.

        Raises:
            PoolClosed: The manager is closed.
        """
        self.sweep()
        self.guard.move(self.holdings.take, tenant, share)

    def join(self, tenant: Tenant, share: Share, loop: object | None) -> None:
        """Have *tenant* hold the pool of *share* on *loop* (None: threads) before its first request."""
        self.guard.move(self.holdings.join, tenant, share, loop)

    def give_back(self, tenant: Tenant, *, leaked: bool = False) -> list[Pool]:
        """
        Take *tenant* out of every pool. Safe to repeat, from any thread.

        Returns:
            The pools that nobody holds now, to be passed to `shut` or `ashut`.
        """
        if self.guard.is_held_here():
            tenant.returning = True
            self.defer(lambda: self.shut(self.give_back(tenant, leaked=leaked)))
            return []
        unheld = self.guard.move(functools.partial(self.holdings.give_back, tenant, leaked=leaked))
        self._start_lingering()
        self._tell_returned()
        return unheld

    def lose(self, tenant: Tenant) -> None:
        """
        Give back the lease that a finaliser found.

        Never at once: the finaliser may have interrupted whoever holds a lock that this
        needs, an engine's included. A loop does it at its next turn, threads at the next call.
        """
        leaked = not tenant.may_be_lost
        self.defer(lambda: self.shut(self.give_back(tenant, leaked=leaked)))
        for pool in [*tenant.pools]:
            if pool.runtime.name != "threads":
                with contextlib.suppress(RuntimeError):  # its loop is over
                    pool.runtime.call_soon(self.sweep)

    def defer(self, job: Callable[[], object]) -> None:
        """Have *job* done by whoever calls next, outside of every lock."""
        self._deferred.append(job)

    # Requests

    def exchange(self, tenant: Tenant) -> Exchange:
        """Make a request of *tenant*'s, which is to be let in."""
        return Exchange(tenant, self, self.guard)

    def begin(self, exchange: Exchange, share: Share, loop: object | None) -> None:
        """
        Let a request in. Whatever is raised, by an interrupt too, `Exchange.end` lets it out again.

        Raises:
            LeaseClosed: The lease was given back, and is not one that reopens.

            PoolClosed: The manager is closed.
        """
        if self._deferred or (self.holdings.overdue.allowed and self.holdings.is_overdue()):
            self.sweep()
        if not self.guard.move(self.holdings.let_in_again, exchange, share, loop):
            self._begin(exchange, share, loop)

    def _begin(self, exchange: Exchange, share: Share, loop: object | None) -> None:
        first = self.guard.move(self.holdings.let_in, exchange, share, loop, self._open)
        pool = exchange.pool
        if first:
            self.sweep()  # it may be the first one on its loop, and other loops be over
            _log.info("%s: %s pool opened", self.name, pool.runtime.name)
        if loop is not None and pool.home.watch is None:
            pool.home.watch = loops.Watch(functools.partial(self._loop_ended, loop))

    def _open(self, pool: Pool) -> None:
        pool.open(self.lanes, self._contexts, self.audience, self.stand_in)

    def end(self, exchange: Exchange, *, failed: bool, lost: bool) -> None:
        """Let a request out; *lost* says that nobody has closed its answer."""
        holdings = self.holdings
        end = functools.partial(holdings.fail, lost=lost) if failed else holdings.end
        try:
            withdrawn = self.guard.move(end, exchange)
        except PoolError:  # struck
            self.defer(functools.partial(self.end, exchange, failed=failed, lost=lost))
            return
        if self._deferred:  # by whoever struck this very move, maybe
            self.sweep()
        if holdings.lingering:
            self._start_lingering()
        if holdings.returned_late:
            self._tell_returned()
        if withdrawn:
            self.shut([exchange.pool])
        if holdings.drained:
            for notify in self.guard.move(holdings.to_be_told):
                notify()

    # Closing

    def shut(self, pools: Iterable[Pool]) -> None:
        """Close withdrawn pools where they live; here if nothing can run there any more."""
        for pool in pools:
            try:
                pool.runtime.call_soon(functools.partial(self._finish, pool))
            except RuntimeError:
                self._finish(pool)

    async def ashut(self, pools: Sequence[Pool]) -> None:
        """Close withdrawn pools; those of the running loop are closed when this returns."""
        here = [pool for pool in pools if pool.runtime.is_here()]
        self.shut(pool for pool in pools if pool not in here)
        for pool in here:
            self._finish(pool)
        # What was closed above cannot be cancelled; the loop needs one turn to let the sockets go.
        await anyio.lowlevel.checkpoint()

    def close(self) -> None:
        """Refuse every further request and close every pool; requests that are out fail."""
        if self.guard.is_held_here():
            self.defer(self.close)
        else:
            self.shut(self.guard.move(self.holdings.withdraw_all))

    async def aclose(self, grace: float) -> None:
        """Refuse every further request, give those that are out *grace* seconds, then close."""
        drained = loops.Signal()
        try:
            if self.guard.move(self.holdings.refuse_from_now, drained.set):
                await drained.wait(grace)
        finally:
            await self.ashut(self.guard.move(self.holdings.withdraw_all))

    def reset(self) -> None:
        """Have no connection that is there used again, and certificates read anew."""
        self._contexts.clear()
        self.retire()

    def retire(self) -> None:
        """Close connections that are idle, and the others once they are."""
        for pool in self.guard.move(self.holdings.all_pools):
            pool.reset()

    def stats(self) -> ManagerStats:
        """How things stand now."""
        self.sweep()
        return developed(self.name, self.guard.move(self.holdings.look))

    def watch(self, exchange: Exchange) -> None:
        """Tell of *exchange* if its answer is held for too long."""
        self.guard.move(self.holdings.hold, exchange, exchange.pool.share)

    def sweep(self) -> None:
        """Do what finalisers left undone, and let go of loops that were closed without a word."""
        for job in _taken_from(self._deferred):
            job()
        for pool in self.guard.move(self.holdings.vacate_what_is_over):
            self._finish(pool)
        if self.holdings.overdue.next != math.inf:
            for thing, seconds in self.guard.move(self.holdings.find_overdue):
                log.overdue(thing, seconds)

    def disown(self) -> None:
        """Start empty in a forked child. The parent's sockets are let go without a byte."""
        self.guard = Guard()  # another thread of the parent may have held the old one
        homes = self.holdings.start_anew()
        self._contexts.clear()
        self._deferred.clear()
        for pool in [pool for home in homes for pool in home.all()]:
            pool.withdraw()
            if pool.engine is not None:
                pool.engine.disown()
        # Kept for ever: what their finalisers would do is the parent's business.
        _INHERITED.extend(homes)

    async def _loop_ended(self, loop: object) -> None:
        """The loop is ending, and can do I/O for the last time."""
        await self.ashut(self.guard.move(self.holdings.vacate, loop))

    def _finish(self, pool: Pool) -> None:
        pool.close_connections()
        if pool.engine is not None:
            requests = pool.tally.requests
            _log.info("%s: %s pool closed after %d requests", self.name, pool.runtime.name, requests)
        self._forget(pool)

    def _forget(self, pool: Pool) -> None:
        try:
            watch = self.guard.move(self.holdings.forget, pool, pool.engine_stats())
        except PoolError:  # struck, by a finaliser
            self.defer(functools.partial(self._forget, pool))
            return
        if watch is not None:
            watch.stop()

    def _tell_returned(self) -> None:
        for thing in _taken_from(self.holdings.returned_late):
            log.returned_late(thing)

    def _start_lingering(self) -> None:
        """Arm the timers of pools that nobody holds, one each. Outside of the lock: threads are started."""
        for pool in _taken_from(self.holdings.lingering):
            over = functools.partial(self._linger_over, pool, pool.times_unheld)
            with contextlib.suppress(RuntimeError):  # its run is ending, and the pool with it
                pool.runtime.call_later(pool.share.limits.linger, over)

    def _linger_over(self, pool: Pool, when: int) -> None:
        withdrawn = self.guard.move(self.holdings.lingered, pool, when)
        self._start_lingering()
        if withdrawn:
            self.shut([pool])


def _taken_from(queue: deque[T]) -> Iterator[T]:
    """Take one after another until there is none; another thread may take some."""
    while True:
        try:
            item = queue.popleft()
        except IndexError:
            return
        yield item


_REGISTRIES: weakref.WeakSet[Registry] = weakref.WeakSet()
_INHERITED: list[Home] = []


def registries() -> list[Registry]:
    """Give those of every manager of the process."""
    return [*_REGISTRIES]


@atexit.register
def _at_exit() -> None:
    """Close what is idle, as servers like it. Daemon threads may go on, and who comes later dials anew."""
    for registry in _REGISTRIES:
        registry.retire()


def _in_child() -> None:
    for registry in _REGISTRIES:
        registry.disown()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
