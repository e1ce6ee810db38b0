"""
Which pool serves whom: a table for each event loop, one for threads; leases counted.

Rule 1: a pool is held by *tenants* (leases) and by *exchanges* (requests whose
answer is not closed yet). A pool that nobody holds is closed, after
`Limits.linger`; the next tenant gets a new one.
Rule 2: loops are keys by themselves and weakly, never by `id`, which Python
gives away again. What a pool holds refers back to its loop, so a loop's end is
watched for (`runtimes.loops.Watch`) and, where a loop was closed without a
word, found at the next call (`sweep`).
Rule 3: the one lock guards the tables and the counts, and is held for
microseconds: never across I/O, a TLS context or a callback. A finaliser, or a
signal's handler, may run inside any call, one that holds the lock included: what
it gives back is then given back by whoever comes next.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import logging
import os
import weakref
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, TypeVar

import anyio.lowlevel
import attrs

from pool_manager import log
from pool_manager.config import Lane
from pool_manager.core.lanes import Lanes
from pool_manager.core.messages import AsyncBody, Body, Request
from pool_manager.core.replay import Resent
from pool_manager.errors import LeaseClosed, PoolClosed
from pool_manager.guarding import Guard
from pool_manager.pools import Home, Pool, Share, StandIn, Tenant
from pool_manager.runtimes import loops
from pool_manager.runtimes.on_threads.runtime import Threads
from pool_manager.runtimes.tls import ContextCache
from pool_manager.stats import ManagerStats

T = TypeVar("T")

_log = logging.getLogger(__name__)


@attrs.define(eq=False)
class Exchange:
    """One request, from being let in to its answer being closed."""

    pool: Pool
    tenant: Tenant
    _registry: Registry
    _guard: Guard  # of the process that let it in
    _ended: bool = False

    def end(self, *, failed: bool = False) -> None:
        """Hold the pool no longer. Safe to repeat."""
        if not self._ended:
            self._ended = True
            if self._guard is self._registry.guard:  # a forked child counts only its own
                self._registry.end(self.pool, failed=failed)

    def replayed(self, request: Request, resent: Resent) -> None:
        """Count and tell that the engine sends it again by itself."""
        self._guard.move(self.pool.count_replay)
        log.replay(request, resent)

    def abandon(self, body: Body | AsyncBody) -> None:
        """
        End it as one whose answer was collected unclosed. For finalisers.

        Never at once: the finaliser may have interrupted the very engine that has
        to let go of the answer.
        """

        def let_go() -> None:
            body.abandon()
            self.end(failed=True)

        if self.pool.runtime.name != "threads":
            try:
                self.pool.runtime.call_soon(let_go)
            except RuntimeError:  # its loop is over
                pass
            else:
                return
        self._registry.defer(let_go)


class Registry:
    """
    The pools of one manager, over all runtimes.

    Args:
        name: The manager's name, for logs.

        lanes: The manager's lanes.

    Attributes:
        guard: Rule 3; a forked child has another.

        stand_in: What makes the engines instead, in somebody's tests.

        found_by: What finds its like in another process, if there is one already: the default manager's.
    """

    def __init__(self, name: str, lanes: Sequence[Lane]) -> None:
        self.name: Final = name
        self.lanes: Final = Lanes(lanes)
        self._contexts = ContextCache()
        self.guard = Guard()
        self._homes: weakref.WeakKeyDictionary[object, Home] = weakref.WeakKeyDictionary()
        self._threads = Home(Threads())
        self._deferred: deque[Callable[[], object]] = deque()
        self._drained: list[Callable[[], object]] = []
        self._lingering: deque[Pool] = deque()
        self._closed = False
        self.stand_in: StandIn | None = None
        self.found_by: Callable[[], Registry] | None = None
        self._in_flight = self._taken = self._returned = self._leaked = 0
        _REGISTRIES.add(self)

    def __reduce__(self) -> tuple[object, ...]:
        """Travel as its configuration: another process has pools of its own."""
        return (self.found_by, ()) if self.found_by else (Registry, (self.name, self.lanes.all))

    # Leases

    def take(self) -> None:
        """
        Count a new lease.

        Raises:
            PoolClosed: The manager is closed.
        """
        self.sweep()
        self.guard.move(self._take)

    def join(self, tenant: Tenant, share: Share, loop: object | None) -> None:
        """Have *tenant* hold the pool of *share* on *loop* (None: threads) before its first request."""
        self.guard.move(self._join, tenant, share, loop)

    def give_back(self, tenant: Tenant, *, leaked: bool = False) -> list[Pool]:
        """
        Take *tenant* out of every pool. Safe to repeat, from any thread.

        Returns:
            The pools that nobody holds now, to be passed to `shut` or `ashut`.
        """
        if self.guard.is_held_here:
            tenant.returning = True
            self.defer(lambda: self.shut(self.give_back(tenant, leaked=leaked)))
            return []
        unheld = self.guard.move(self._give_back, tenant, leaked=leaked)
        self._start_lingering()
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

    def begin(self, tenant: Tenant, share: Share, loop: object | None, *, is_retry: bool = False) -> Exchange:
        """
        Let a request in; *is_retry* says that it was in before.

        Raises:
            LeaseClosed: The lease was given back, and is not one that reopens.

            PoolClosed: The manager is closed.
        """
        if self._deferred:
            self.sweep()
        pool, first = self.guard.move(self._begin, tenant, share, loop, is_retry=is_retry)
        if first:
            self.sweep()  # it may be the first one on its loop, and other loops be over
            _log.info("%s: %s pool opened", self.name, pool.runtime.name)
        if loop is not None and pool.home.watch is None:
            pool.home.watch = loops.Watch(lambda: self._loop_ended(loop))
        return Exchange(pool, tenant, self, self.guard)

    def end(self, pool: Pool, *, failed: bool) -> None:
        """Let a request out."""
        if self.guard.is_held_here:
            self.defer(functools.partial(self.end, pool, failed=failed))
            return
        withdrawn, drained = self.guard.move(self._end, pool, failed=failed)
        if self._deferred:  # by whoever struck this very move, maybe
            self.sweep()
        if self._lingering:
            self._start_lingering()
        if withdrawn:
            self.shut([pool])
        for notify in drained:
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
        if self.guard.is_held_here:
            self.defer(self.close)
        else:
            self.shut(self.guard.move(self._withdraw_all))

    async def aclose(self, grace: float) -> None:
        """Refuse every further request, give those that are out *grace* seconds, then close."""
        drained = loops.Signal()
        try:
            if self.guard.move(self._refuse_from_now, drained.set):
                await drained.wait(grace)
        finally:
            await self.ashut(self.guard.move(self._withdraw_all))

    def reset(self) -> None:
        """Have no connection that is there used again, and certificates read anew."""
        self._contexts.clear()
        self.retire()

    def retire(self) -> None:
        """Close connections that are idle, and the others once they are."""
        for pool in self.guard.move(self._all_pools):
            if pool.engine is not None:
                with contextlib.suppress(RuntimeError):  # its loop is over: the sweep will find it
                    pool.runtime.call_soon(pool.engine.reset)

    def stats(self) -> ManagerStats:
        """How things stand now."""
        self.sweep()
        pools, taken, returned, leaked = self.guard.move(self._counted)
        return ManagerStats(
            name=self.name,
            pools=tuple(pool.stats() for pool in pools),
            leases_taken=taken,
            leases_returned=returned,
            leases_leaked=leaked,
        )

    def sweep(self) -> None:
        """Do what finalisers left undone, and let go of loops that were closed without a word."""
        for job in _taken_from(self._deferred):
            job()
        for pool in self.guard.move(self._vacate_what_is_over):
            self._finish(pool)

    def disown(self) -> None:
        """Start empty in a forked child. The parent's sockets are let go without a byte."""
        homes = self._all_homes()
        self.guard = Guard()  # another thread of the parent may have held the old one
        self._homes, self._threads = weakref.WeakKeyDictionary(), Home(Threads())
        self._contexts.clear()
        self._deferred.clear()
        self._drained.clear()
        self._lingering.clear()
        self._in_flight = 0
        for pool in [pool for home in homes for pool in home.all()]:
            pool.withdraw()
            if pool.engine is not None:
                pool.engine.disown()
        # Kept for ever: what their finalisers would do is the parent's business.
        _INHERITED.extend(homes)

    async def _loop_ended(self, loop: object) -> None:
        """The loop is ending, and can do I/O for the last time."""
        await self.ashut(self.guard.move(self._vacate, loop))

    def _finish(self, pool: Pool) -> None:
        pool.close_connections()
        if pool.engine is not None:
            _log.info("%s: %s pool closed after %d requests", self.name, pool.runtime.name, pool.requests)
        if self.guard.is_held_here:
            self.defer(functools.partial(self._forget, pool))
        else:
            self._forget(pool)

    def _forget(self, pool: Pool) -> None:
        watch = self.guard.move(_watch_no_longer, pool)
        if watch is not None:
            watch.stop()

    def _start_lingering(self) -> None:
        """Arm the timers of pools that nobody holds, one each. Outside of the lock: threads are started."""
        for pool in _taken_from(self._lingering):
            over = functools.partial(self._linger_over, pool, pool.times_unheld)
            with contextlib.suppress(RuntimeError):  # its run is ending, and the pool with it
                pool.runtime.call_later(pool.share.limits.linger, over)

    def _linger_over(self, pool: Pool, when: int) -> None:
        withdrawn = self.guard.move(self._lingered, pool, when)
        self._start_lingering()
        if withdrawn:
            self.shut([pool])

    # What follows are moves, and parts of moves: made under the lock.

    def _take(self) -> None:
        self._refuse_if_closed()
        self._taken += 1

    def _give_back(self, tenant: Tenant, *, leaked: bool) -> list[Pool]:
        if tenant.closed:
            return []
        tenant.closed, tenant.returning = True, False
        self._returned += 1
        self._leaked += leaked
        left, tenant.pools = tenant.pools, set()
        for pool in left:
            del pool.tenants[tenant]
        return [pool for pool in left if self._withdraw_if_unheld(pool)]

    def _begin(
        self, tenant: Tenant, share: Share, loop: object | None, *, is_retry: bool
    ) -> tuple[Pool, bool]:
        if tenant.closed:
            if not tenant.reopens:
                raise LeaseClosed(f"lease {tenant.name!r}, taken at {tenant.taken_at}, was given back")
            self._taken += 1
            tenant.closed = False
        pool = self._join(tenant, share, loop)
        pool.ensure_engine(self.lanes, self._contexts, self.stand_in)
        pool.in_flight += 1
        pool.requests += 1
        pool.retried += is_retry
        self._in_flight += 1
        return pool, pool.requests == 1

    def _end(self, pool: Pool, *, failed: bool) -> tuple[bool, list[Callable[[], object]]]:
        pool.in_flight -= 1
        pool.failed += failed
        self._in_flight -= 1
        drained = self._drained if not self._in_flight else []
        return not pool.is_held and self._withdraw_if_unheld(pool), drained

    def _refuse_from_now(self, drained: Callable[[], object]) -> bool:
        """Tell whether requests are out, of whose end *drained* is to know."""
        self._closed = True
        self._drained.append(drained)
        return self._in_flight > 0

    def _withdraw_all(self) -> list[Pool]:
        self._closed = True
        self._drained.clear()
        pools = self._all_pools()
        for pool in pools:
            pool.withdraw()
        return pools

    def _counted(self) -> tuple[list[Pool], int, int, int]:
        return self._all_pools(), self._taken, self._returned, self._leaked

    def _lingered(self, pool: Pool, when: int) -> bool:
        pool.lingers = False
        # Held again since, and left again: it lingers anew.
        again = None if pool.times_unheld != when else 0.0
        return self._withdraw_if_unheld(pool, linger=again)

    def _all_homes(self) -> list[Home]:
        return [*self._homes.values(), self._threads]

    def _all_pools(self) -> list[Pool]:
        return [pool for home in self._all_homes() for pool in home.pools.values()]

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise PoolClosed(f"manager {self.name!r} is closed")

    def _join(self, tenant: Tenant, share: Share, loop: object | None) -> Pool:
        self._refuse_if_closed()
        home = self._threads if loop is None else self._homes.get(loop)
        if home is None:
            home = self._homes[loop] = Home(loops.runtime_of(loop))
        pool = home.pools.get(share)
        if pool is None:
            pool = home.pools[share] = Pool(share, home)
        if tenant not in pool.tenants:
            pool.tenants[tenant] = None
            tenant.pools.add(pool)
        return pool

    def _withdraw_if_unheld(self, pool: Pool, linger: float | None = None) -> bool:
        if pool.is_held or pool.closed:
            return False
        linger = pool.share.limits.linger if linger is None else linger
        if not linger:
            pool.withdraw()
            return True
        pool.times_unheld += 1
        if not pool.lingers:
            pool.lingers = True
            self._lingering.append(pool)
        return False

    def _vacate_what_is_over(self) -> list[Pool]:
        over = [loop for loop, home in self._homes.items() if home.runtime.is_over()]
        return [pool for loop in over for pool in self._vacate(loop)]

    def _vacate(self, loop: object) -> list[Pool]:
        """Take the home of *loop* out of the table; its pools are to be closed."""
        home = self._homes.pop(loop, None)
        if home is None:
            return []
        for pool in [*home.pools.values()]:
            pool.withdraw()
        return home.all()


def _watch_no_longer(pool: Pool) -> loops.Watch | None:
    """A move: *pool* is closed. Give what watches over its loop for nothing from now on."""
    home = pool.home
    home.closing.discard(pool)
    watch = home.watch
    if watch is None or home.all():
        return None
    home.watch = None  # do not keep the loop alive for it
    return watch


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
