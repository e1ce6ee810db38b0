"""One connection pool for every httpx and httpx2 client of a process."""

from pool_manager.config import Lane, Limits, PoolConfig, Proxy
from pool_manager.default import default_manager
from pool_manager.errors import (
    ConfigError,
    LeaseClosed,
    PollingTimeout,
    PoolClosed,
    PoolError,
    PoolOverloaded,
    PoolTimeout,
)
from pool_manager.events import ConnectionEvent, Listener, RequestEvent, RetryEvent
from pool_manager.histograms import Histogram
from pool_manager.leases import Lease
from pool_manager.manager import PoolManager
from pool_manager.policies import PollingConfig, Retries
from pool_manager.polling import async_wait_for_status, wait_for_status
from pool_manager.records import RequestRecord
from pool_manager.stats import ManagerStats, OriginStats, PoolStats, RuntimeStats

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
    "ConnectionEvent",
    "Histogram",
    "Lane",
    "Lease",
    "LeaseClosed",
    "Limits",
    "Listener",
    "ManagerStats",
    "OriginStats",
    "PollingConfig",
    "PollingTimeout",
    "PoolClosed",
    "PoolConfig",
    "PoolError",
    "PoolManager",
    "PoolOverloaded",
    "PoolStats",
    "PoolTimeout",
    "Proxy",
    "RequestEvent",
    "RequestRecord",
    "Retries",
    "RetryEvent",
    "RuntimeStats",
    "async_wait_for_status",
    "attach",
    "client",
    "default_manager",
    "detach",
    "install",
    "lease",
    "pooled",
    "stats",
    "transport",
    "wait_for_status",
]
