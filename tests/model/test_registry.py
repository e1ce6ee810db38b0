"""The registry against a model: who holds which pool, over threads and loops that come and go."""

from __future__ import annotations

import asyncio
from collections import Counter

import attrs
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
)

from pool_manager.config import Limits, PoolConfig
from pool_manager.errors import LeaseClosed
from pool_manager.exchanges import Exchange
from pool_manager.pools import Pool, Share, Tenant
from pool_manager.registry import Registry

SHARES = [Share(PoolConfig(http2=http2), Limits()) for http2 in (True, False)]
LOOPS = 3


@attrs.define(eq=False)
class Held:
    """A pool as the model sees it: where it is, and how often it is held."""

    place: object
    share: Share
    holders: Counter[object] = attrs.field(factory=Counter)


class RegistryMachine(RuleBasedStateMachine):
    """
    Leases are taken, used on threads and loops, closed, lost; loops are closed.

    The model knows a pool by (place, share) and counts its holders: one for each
    lease that joined it, one for each request that is out.
    """

    tenants = Bundle("tenants")
    exchanges = Bundle("exchanges")

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry("model", ())
        self.loops: dict[int, asyncio.AbstractEventLoop] = {}
        self.pools: dict[tuple[object, Share], Held] = {}
        self.open: set[Tenant] = set()
        self.taken = self.leaked = 0
        self.requests = self.failed = 0
        self.out: dict[Exchange, Held] = {}

    def place(self, number: int) -> asyncio.AbstractEventLoop | None:
        """Give the loop of that number, made if it is not there; 0 is threads."""
        if number == 0:
            return None
        if number not in self.loops:
            self.loops[number] = asyncio.new_event_loop()
        return self.loops[number]

    def settle(self) -> None:
        """Let every live loop do what it was asked to."""
        for loop in self.loops.values():
            loop.run_until_complete(asyncio.sleep(0))

    def hold(self, place: object, share: Share, holder: object) -> Held:
        """Count a holder in the model."""
        held = self.pools.setdefault((place, share), Held(place, share))
        held.holders[holder] = 1
        return held

    def drop(self, held: Held, holder: object) -> None:
        """Take a holder away in the model; the last one takes the pool along."""
        held.holders.pop(holder, None)
        if not held.holders and self.pools.get((held.place, held.share)) is held:
            del self.pools[held.place, held.share]

    @rule(target=tenants, reopens=st.booleans())
    def take(self, reopens: bool) -> Tenant:
        """Take a lease."""
        tenant = Tenant("lease", None, "here", reopens)
        self.registry.take(tenant, SHARES[0])
        self.taken += 1
        self.open.add(tenant)
        return tenant

    @rule(tenant=tenants, share=st.sampled_from(SHARES), number=st.integers(0, LOOPS))
    def join(self, tenant: Tenant, share: Share, number: int) -> None:
        """Hold a pool before the first request."""
        if tenant in self.open:
            place = self.place(number)
            self.registry.join(tenant, share, place)
            self.hold(place, share, tenant)

    @rule(target=exchanges, tenant=tenants, share=st.sampled_from(SHARES), number=st.integers(0, LOOPS))
    def begin(self, tenant: Tenant, share: Share, number: int) -> object:
        """Let a request in; on a closed lease that reopens, it is a new lease; on another, refused."""
        place = self.place(number)
        try:
            exchange = self.registry.exchange(tenant)
            self.registry.begin(exchange, share, place)
        except LeaseClosed:
            assert tenant not in self.open
            assert not tenant.reopens
            return multiple()
        assert tenant in self.open or tenant.reopens
        if tenant not in self.open:
            self.open.add(tenant)
            self.taken += 1
        self.requests += 1
        self.hold(place, share, tenant)
        self.out[exchange] = self.hold(place, share, exchange)
        return exchange

    @rule(exchange=exchanges, failed=st.booleans())
    def end(self, exchange: Exchange, failed: bool) -> None:
        """Let a request out, perhaps for the second time."""
        exchange.end(failed=failed)
        held = self.out.pop(exchange, None)
        if held is not None:
            self.failed += failed
            self.drop(held, exchange)
        self.settle()

    @rule(tenant=tenants)
    def give_back(self, tenant: Tenant) -> None:
        """Close a lease, perhaps for the second time."""
        self.registry.shut(self.registry.give_back(tenant))
        self.forget(tenant)

    @rule(tenant=consumes(tenants))
    def lose(self, tenant: Tenant) -> None:
        """A finaliser finds a lease."""
        if tenant in self.open:
            self.leaked += 1
        self.registry.lose(tenant)
        self.forget(tenant)

    def forget(self, tenant: Tenant) -> None:
        """Take a lease out of the model."""
        self.open.discard(tenant)
        for held in list(self.pools.values()):
            self.drop(held, tenant)
        self.settle()

    @precondition(lambda self: self.loops)
    @rule(data=st.data())
    def close_a_loop(self, data: st.DataObject) -> None:
        """A loop is closed without a word; its pools are gone at the next look."""
        number = data.draw(st.sampled_from(sorted(self.loops)))
        loop = self.loops.pop(number)
        loop.close()
        self.pools = {key: held for key, held in self.pools.items() if held.place is not loop}

    @rule()
    def reset(self) -> None:
        """A reset changes nothing about who holds what."""
        self.registry.reset()

    @invariant()
    def the_same_pools(self) -> None:
        """There is a pool exactly where somebody holds one, and it counts its holders right."""
        stats = self.registry.stats()
        homes = [*self.registry.holdings.homes.items(), (None, self.registry.holdings.threads)]
        there: dict[tuple[object, Share], Pool] = {
            (place, share): pool for place, home in homes for share, pool in home.pools.items()
        }
        assert set(there) == set(self.pools)
        for key, pool in there.items():
            held = self.pools[key]
            tenants = {holder for holder in held.holders if isinstance(holder, Tenant)}
            assert set(pool.tenants) == tenants
            assert pool.in_flight == len(held.holders) - len(tenants)
            assert all(pool in tenant.pools for tenant in tenants)
        assert not any(home.closing for _, home in homes)
        assert stats.leases_taken == self.taken
        assert stats.leases_taken - stats.leases_returned == len(self.open)
        assert stats.leases_leaked == self.leaked
        assert sum(runtime.requests for runtime in stats.runtimes) == self.requests
        assert sum(runtime.failed for runtime in stats.runtimes) == self.failed

    @invariant()
    def nothing_of_a_closed_lease(self) -> None:
        """A lease that was given back holds nothing; one that is open is in each pool it names."""
        for tenant in self.open:
            assert all(tenant in pool.tenants for pool in tenant.pools)
            assert tenant.recent is None or (tenant.recent in tenant.pools and not tenant.recent.closed)

    def teardown(self) -> None:
        """When all is given back and closed, nothing is left."""
        for exchange in list(self.out):
            exchange.end()
        for tenant in list(self.open):
            self.registry.shut(self.registry.give_back(tenant))
        self.settle()
        assert self.registry.stats().pools == ()
        assert self.registry.holdings.in_flight == 0
        for loop in self.loops.values():
            loop.close()


TestRegistry = RegistryMachine.TestCase
