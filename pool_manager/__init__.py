"""One connection pool for every httpx and httpx2 client of a process."""

from pool_manager.config import Lane, Limits, PoolConfig, Proxy
from pool_manager.errors import ConfigError, LeaseClosed, PoolClosed, PoolError, PoolOverloaded, PoolTimeout
from pool_manager.leases import Lease
from pool_manager.manager import PoolManager, default_manager
from pool_manager.stats import ManagerStats, PoolStats, RequestRecord

lease = default_manager().lease
transport = default_manager().transport
client = default_manager().client
pooled = default_manager().pooled
attach = default_manager().attach
detach = default_manager().detach
install = default_manager().install
stats = default_manager().stats

__all__ = [
    "ConfigError",
    "Lane",
    "Lease",
    "LeaseClosed",
    "Limits",
    "ManagerStats",
    "PoolClosed",
    "PoolConfig",
    "PoolError",
    "PoolManager",
    "PoolOverloaded",
    "PoolStats",
    "PoolTimeout",
    "Proxy",
    "RequestRecord",
    "attach",
    "client",
    "default_manager",
    "detach",
    "install",
    "lease",
    "pooled",
    "stats",
    "transport",
]
