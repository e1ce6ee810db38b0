"""
Who holds which pool: the moves that a registry makes under its lock, one at a time.

A move is a few steps: no I/O, no wait, nobody else's code. What follows from it, a socket that is closed or
somebody who is told, is done by the registry after it.
"""

from __future__ import annotations

import math
import weakref
from collections import deque
from collections.abc import Callable
from typing import Final

import attrs

from pool_manager.core.leaks import Overdue
from pool_manager.errors import LeaseClosed, PoolClosed
from pool_manager.exchanges import Exchange
from pool_manager.pools import Holding, Home, Past, Pool, Share, Tenant
from pool_manager.runtimes import loops
from pool_manager.runtimes.on_threads.runtime import Threads
from pool_manager.stats import EngineStats, Runtime


@attrs.define
class LeaseCounts:
    """What is counted of leases and answers: see `ManagerStats`."""

    leases_taken: int = 0
    leases_returned: int = 0
    leases_leaked: int = 0
    responses_leaked: int = 0
    overdue: int = 0


@attrs.frozen
class Seen:
    """
    What a look at everything saw in one move.

    Attributes:
        pools: Those that serve, each as it is held.

        ending: Those that are being closed.

        past: What pools have counted that are gone.

        counts: Of leases and answers.
    """

    pools: list[Holding]
    ending: list[Holding]
    past: list[Past]
    counts: LeaseCounts


class Holdings:
    """
    Tables of pools, and who holds them.

    Args:
        name: The manager's name, for errors.

        now: Tells the time by which things are held.

    Attributes:
        homes: Pools by their loop. A loop is a key by itself and weakly, never by its `id`.

        threads: The pools of threads.

        lingering: Pools that nobody holds, and that wait for their timers to be armed.

        drained: Who is to be told when no request is out any more.

        counts: Of leases and answers.

        overdue: Leases and answers that may be held for so long.

        returned_late: Those that were found to be overdue, and given back since.
    """

    def __init__(self, name: str, now: Callable[[], float]) -> None:
        self._name, self._now = name, now
        self.homes: weakref.WeakKeyDictionary[object, Home] = weakref.WeakKeyDictionary()
        self.threads = Home(Threads())
        self.lingering: deque[Pool] = deque()
        self.drained: list[Callable[[], object]] = []
        self.counts: Final = LeaseCounts()
        self.overdue: Overdue[Tenant | Exchange] = Overdue()
        self.returned_late: deque[Tenant | Exchange] = deque()
        self._ending: dict[Pool, None] = {}
        self._past: dict[Runtime, Past] = {}
        self._closed = False

    def start_anew(self) -> list[Home]:
        """Forget the homes of the parent, in a forked child; give them. The leases are the child's, too."""
        homes = self._all_homes()
        self.homes, self.threads = weakref.WeakKeyDictionary(), Home(Threads())
        self.lingering.clear()
        self.drained.clear()
        self.overdue = Overdue()
        self.returned_late.clear()
        self._past.clear()
        return homes

    # Leases

    def take(self, tenant: Tenant, share: Share) -> None:
        """Count a new lease; raises `PoolClosed`."""
        if self._closed:
            raise self._refusal()
        self.counts.leases_taken += 1
        self.hold(tenant, share)

    def join(self, tenant: Tenant, share: Share, loop: object | None) -> Pool:
        """Have *tenant* hold the pool of *share* on *loop* (None: threads); raises `PoolClosed`."""
        if self._closed:
            raise self._refusal()
        home = self.threads if loop is None else self.homes.get(loop)
        if home is None:
            home = self.homes[loop] = Home(loops.runtime_of(loop))
        pool = home.pools.get(share)
        if pool is None:
            pool = home.pools[share] = Pool(share, home)
        if tenant not in pool.tenants:
            pool.tenants[tenant] = None
            tenant.pools.add(pool)
        return pool

    def give_back(self, tenant: Tenant, *, leaked: bool) -> list[Pool]:
        """Take *tenant* out of every pool; give those that nobody holds now."""
        if tenant.closed:
            return []
        tenant.closed, tenant.returning, tenant.recent = True, False, None
        self.counts.leases_returned += 1
        self.counts.leases_leaked += leaked
        self._release(tenant)
        left, tenant.pools = tenant.pools, set()
        for pool in left:
            del pool.tenants[tenant]
        return [pool for pool in left if self._withdraw_if_unheld(pool)]

    # Requests

    def let_in_again(self, exchange: Exchange, share: Share, loop: object | None) -> bool:
        """Let a request in where the one of its tenant before it went; False if it is for `let_in`."""
        pool = exchange.tenant.recent
        if pool is None or pool.share is not share or pool.loop is not loop or pool.closed or self._closed:
            return False
        _let_in(exchange, pool)
        return True

    def let_in(
        self, exchange: Exchange, share: Share, loop: object | None, open_pool: Callable[[Pool], object]
    ) -> bool:
        """
        Let a request in; tell whether *open_pool* was called, since it is the first one there.

        Raises:
            LeaseClosed: The lease was given back, and is not one that reopens.

            PoolClosed: Everything is closed.
        """
        tenant = exchange.tenant
        if tenant.closed:
            self._reopen(tenant, share)
        pool = self.join(tenant, share, loop)
        first = pool.engine is None
        if first:
            open_pool(pool)
        elif loop is None or pool.home.watch is not None:
            tenant.recent, pool.loop = pool, loop
        _let_in(exchange, pool)
        return first

    def _reopen(self, tenant: Tenant, share: Share) -> None:
        if not tenant.reopens:
            raise LeaseClosed(f"{tenant}, was given back")
        self.counts.leases_taken += 1
        tenant.closed = False
        self.hold(tenant, share)

    def end(self, exchange: Exchange) -> bool:
        """Let a request out; tell whether its pool is to be closed."""
        pool = exchange.pool
        if exchange.is_out:
            exchange.is_out = False
            pool.in_flight -= 1  # without a call between the two: in a call an interrupt may strike
        if pool.looks_for_leaks:
            self._release(exchange)
        return not pool.tenants and self._withdraw_if_unheld(pool)

    def fail(self, exchange: Exchange, *, lost: bool) -> bool:
        """Let a request out that has failed, as `end` does; *lost* says that nobody has closed its answer."""
        if exchange.is_out:
            exchange.pool.tally.failed += 1
            self.counts.responses_leaked += lost
        return self.end(exchange)

    # Leaks

    def hold(self, thing: Tenant | Exchange, share: Share) -> None:
        """Know that *thing* is held from now on, and for how long it may be."""
        if share.limits.leak_threshold != math.inf:
            self.overdue.hold(thing, self._now(), share.limits.leak_threshold)

    def is_overdue(self) -> bool:
        """Tell whether it is time to look again. Cheap, and no move."""
        return self._now() >= self.overdue.next

    def find_overdue(self) -> list[tuple[Tenant | Exchange, float]]:
        """Give what has been held for too long, each once, and for how many seconds it may be."""
        found = self.overdue.find(self._now())
        self.counts.overdue += len(found)
        return found

    def _release(self, thing: Tenant | Exchange) -> None:
        if self.overdue.release(thing):
            self.returned_late.append(thing)

    # Closing

    def refuse_from_now(self, drained: Callable[[], object]) -> bool:
        """Refuse what comes; tell whether requests are out, of whose end *drained* is to know."""
        self._closed = True
        self.drained.append(drained)
        return self.in_flight > 0

    def to_be_told(self) -> list[Callable[[], object]]:
        """Give who is to be told now that no request is out any more; nobody while one is. Safe to repeat."""
        return [] if self.in_flight else [*self.drained]

    def withdraw_all(self) -> list[Pool]:
        """Refuse what comes, and have every pool closed."""
        self._closed = True
        self.drained.clear()
        pools = self.all_pools()
        for pool in pools:
            self._withdraw(pool)
        return pools

    def lingered(self, pool: Pool, when: int) -> bool:
        """Know that a timer is over; tell whether *pool* is to be closed."""
        pool.lingers = False
        # Held again since, and left again: it lingers anew.
        again = None if pool.times_unheld != when else 0.0
        return self._withdraw_if_unheld(pool, linger=again)

    def vacate_what_is_over(self) -> list[Pool]:
        """Let go of loops that are closed; give their pools, which are to be closed."""
        over = [loop for loop, home in self.homes.items() if home.runtime.is_over()]
        return [pool for loop in over for pool in self.vacate(loop)]

    def vacate(self, loop: object) -> list[Pool]:
        """Take the home of *loop* out of the table; give its pools, which are to be closed."""
        home = self.homes.pop(loop, None)
        if home is None:
            return []
        for pool in [*home.pools.values()]:
            self._withdraw(pool)
        return home.all()

    def forget(self, pool: Pool, engine: EngineStats) -> loops.Watch | None:
        """
        Know that *pool* is closed, and what its engine has counted.

        Give what watches over its loop for nothing from now on.
        """
        if pool in self._ending:
            del self._ending[pool]
            runtime = pool.runtime.name
            self._past.setdefault(runtime, Past(runtime)).take_in(pool, engine)
        home = pool.home
        home.closing.discard(pool)
        watch = home.watch
        if watch is None or home.all():
            return None
        home.watch = None  # do not keep the loop alive for it
        return watch

    def _withdraw(self, pool: Pool) -> None:
        if not pool.closed:
            self._ending[pool] = None
        pool.withdraw()

    def _withdraw_if_unheld(self, pool: Pool, linger: float | None = None) -> bool:
        if pool.is_held or pool.closed:
            return False
        linger = pool.share.limits.linger if linger is None else linger
        if not linger:
            self._withdraw(pool)
            return True
        pool.times_unheld += 1
        if not pool.lingers:
            pool.lingers = True
            self.lingering.append(pool)
        return False

    def _refusal(self) -> PoolClosed:
        return PoolClosed(f"manager {self._name!r} is closed")

    # Looking

    def look(self) -> Seen:
        """See how everything stands."""
        return Seen(
            pools=[pool.seen() for pool in self.all_pools()],
            ending=[pool.seen() for pool in self._ending],
            past=[past.copy() for past in self._past.values()],
            counts=attrs.evolve(self.counts),
        )

    @property
    def in_flight(self) -> int:
        """How many requests are out."""
        return sum(pool.in_flight for home in self._all_homes() for pool in home.all())

    def all_pools(self) -> list[Pool]:
        """Give every pool that serves."""
        return [pool for home in self._all_homes() for pool in home.pools.values()]

    def _all_homes(self) -> list[Home]:
        return [*self.homes.values(), self.threads]


def _let_in(exchange: Exchange, pool: Pool) -> None:
    exchange.pool = pool
    exchange.is_out = True
    pool.in_flight += 1  # as in `Holdings.end`
    pool.tally.requests += 1
