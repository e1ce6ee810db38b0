"""What no public word tells: the engine of a manager's threads, and what it has in its book."""

from __future__ import annotations

from pool_manager import PoolManager
from pool_manager.runtimes.on_threads.carriers import Carrier
from pool_manager.runtimes.on_threads.engine import ThreadsEngine


def threads_engine(manager: PoolManager) -> ThreadsEngine:
    """Give the engine of the one pool that threads use."""
    (pool,) = manager._registry.holdings.threads.pools.values()  # noqa: SLF001 - see above
    assert isinstance(pool.engine, ThreadsEngine)
    return pool.engine


def only_carrier(manager: PoolManager) -> Carrier:
    """Give what carries the requests of threads on the one connection there is."""
    (carrier,) = threads_engine(manager)._carriers  # noqa: SLF001 - see above
    return carrier


def assert_quiet(manager: PoolManager, where: object = None) -> None:
    """Nothing is counted as under way in threads, by the registry and by the scheduler."""
    (pool,) = manager.stats().pools
    assert (pool.in_flight, pool.waiting) == (0, 0), where
    connections = threads_engine(manager)._book.connections()  # noqa: SLF001 - see above
    assert {0} >= {connection.in_use for connection in connections}, where
