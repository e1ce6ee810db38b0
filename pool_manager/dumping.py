"""
All that is known of a manager, for people: pools, connections, who holds them and who waits.

It may be asked for by a signal's handler, which runs inside whatever its thread does just then: nothing here
waits for what that thread holds, and what was struck in the middle is seen as it is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress

from pool_manager.looking import developed
from pool_manager.pools import Pool
from pool_manager.registry import Registry


def lines(registry: Registry) -> Iterator[str]:
    """Give all that is known, line by line. No secrets: of requests no more than method and URL."""
    holdings = registry.holdings
    stats = developed(registry.name, registry.guard.look(holdings.look))
    yield (
        f"manager {registry.name!r}: leases: {stats.leases_taken} taken, {stats.leases_returned} returned,"
        f" {stats.leases_leaked} leaked; responses: {stats.responses_leaked} leaked"
    )
    for pool in registry.guard.look(holdings.all_pools):
        told = next((one for one in stats.pools if one.number == pool.number), None)
        yield f"  {pool.number}: {told or pool.runtime.name}"
        yield from (f"    {lease}" for lease in registry.guard.look(pool.tenants.copy))
        yield from (f"    {line}" for line in _of_engine(pool))


def _of_engine(pool: Pool) -> Iterator[str]:
    if pool.engine is not None:
        yield from pool.engine.close_up()


def write(text: str) -> None:
    """Write to the standard error stream, also where somebody was struck in the middle of writing to it."""
    with suppress(OSError, ValueError):
        sys.stderr.flush()
    with suppress(OSError, ValueError, AttributeError):
        os.write(sys.stderr.fileno(), text.encode(errors="replace"))
