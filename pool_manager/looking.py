"""What a look at everything saw, made up into a snapshot: outside of every lock."""

from __future__ import annotations

from typing import Any

import attrs

from pool_manager.holding import Seen
from pool_manager.pools import Past, Tally
from pool_manager.stats import ManagerStats, PoolStats, Runtime, RuntimeStats, by_origin, total


def developed(name: str, seen: Seen) -> ManagerStats:
    """Make up the snapshot of the manager called *name*."""
    pools = [holding.pool.stats(holding) for holding in seen.pools]
    ending = [holding.pool.stats(holding) for holding in seen.ending]
    past: dict[Runtime, Past] = {one.runtime: one for one in seen.past}
    names: dict[Runtime, None] = {pool.runtime: None for pool in (*pools, *ending)}
    runtimes = names | dict.fromkeys(past)
    return ManagerStats(
        name=name,
        pools=tuple(pools),
        runtimes=tuple(
            _together(
                past.get(runtime) or Past(runtime),
                [pool for pool in pools if pool.runtime == runtime],
                [pool for pool in ending if pool.runtime == runtime],
            )
            for runtime in runtimes
        ),
        **attrs.asdict(seen.counts),
    )


def _together(past: Past, pools: list[PoolStats], ending: list[PoolStats]) -> RuntimeStats:
    """Add up all pools of one runtime."""
    every = (*pools, *ending)
    origins = by_origin([*past.origins.values(), *(origin for pool in every for origin in pool.origins)])
    rest = total((past.rest, *(pool.rest for pool in every)))
    tally = past.tally.copy()
    for pool in every:
        tally.merge(Tally(pool.requests, pool.failed, pool.retried, pool.replayed, {**pool.retries}))
    told: dict[str, Any] = attrs.asdict(total((*origins, rest)), recurse=False)
    told["requests"] = tally.requests
    return RuntimeStats(
        **told,
        runtime=past.runtime,
        pools=len(pools),
        leases=sum(pool.leases for pool in every),
        in_flight=sum(pool.in_flight for pool in every),
        origins=origins,
        rest=rest,
        failed=tally.failed,
        retries=tally.retries,
    )
