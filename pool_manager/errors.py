"""
What can go wrong, as types.

* PoolError
  x PoolTimeout     waited the whole time and no connection came free
  x PoolOverloaded  too many are waiting already; shed load
  x PoolClosed      the pool or its manager is closed
  x LeaseClosed     this lease was given back; the caller has a bug
  x PollingTimeout  a poll had no end in its time
* ConfigError       a setting cannot be used (a ValueError)

What a request raises is *also* the error of the library in use: a caller of
httpx catches `httpx.PoolTimeout`, a caller of httpx2 `httpx2.PoolTimeout`, and
both may catch `pool_manager.PoolTimeout`. So retry code works unchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pool_manager.stats import PoolStats

__all__ = [
    "ConfigError",
    "LeaseClosed",
    "PollingTimeout",
    "PoolClosed",
    "PoolError",
    "PoolOverloaded",
    "PoolTimeout",
]


class PoolError(Exception):
    """Base of the errors this package raises on purpose while it serves requests."""


class PoolTimeout(PoolError):
    """
    No connection came free in time. Says what the pool looked like and who held it.

    Attributes:
        stats: How the pool stood then, as its message says, and more. A copy in another process has none.
    """

    stats: PoolStats | None = None


class PoolOverloaded(PoolError):
    """`Limits.max_pending` requests are waiting already; waiting would only make it longer."""


class PoolClosed(PoolError):
    """The pool, or the manager that owns it, was closed before the request was answered."""


class LeaseClosed(PoolError, RuntimeError):
    """A lease was used after it was given back. Not worth a retry: the caller has a bug."""


class PollingTimeout(PoolError, TimeoutError):
    """
    A poll came to no terminal state in its time, or in its number of rounds.

    Attributes:
        last_result: What the last round gave, a placeholder perhaps. It is not part of the message: who reads
            a log need not see it.
    """

    last_result: object

    def __init__(self, message: str, last_result: object = None) -> None:
        super().__init__(message)
        self.last_result = last_result


class ConfigError(ValueError):
    """A setting cannot be used. Names the field, what it was and what it may be."""


for _error in (PoolError, PoolTimeout, PoolOverloaded, PoolClosed, LeaseClosed, PollingTimeout, ConfigError):
    _error.__module__ = "pool_manager"  # what a user can import is what a traceback says
