"""
How often to ask again, and how long to wait: for polls, and for requests that failed.

As in `config`, a value that cannot work raises `ConfigError` when the object is made.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any, Final, TypeAlias

import attrs

from pool_manager import checks

__all__ = ["PollingConfig", "Retries"]

_Attribute: TypeAlias = "attrs.Attribute[Any]"

# Errors by the names that httpx and httpx2 share, and what each stands for: itself, or those below it.
ERRORS: Final[dict[str, frozenset[str]]] = {
    name: frozenset({name})
    for name in (
        *("ConnectTimeout", "ReadTimeout", "WriteTimeout", "PoolTimeout"),
        *("ConnectError", "ReadError", "WriteError", "CloseError"),
        *("LocalProtocolError", "RemoteProtocolError", "ProxyError", "UnsupportedProtocol"),
    )
}
ERRORS["TimeoutException"] = frozenset({"ConnectTimeout", "ReadTimeout", "WriteTimeout", "PoolTimeout"})
ERRORS["NetworkError"] = frozenset({"ConnectError", "ReadError", "WriteError", "CloseError"})
ERRORS["ProtocolError"] = frozenset({"LocalProtocolError", "RemoteProtocolError"})
ERRORS["TransportError"] = frozenset().union(*ERRORS.values())

_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})
_STATUSES: Final = frozenset({408, 429, 502, 503, 504})
# Not those of the pool itself: coming again makes a queue longer.
_ERRORS: Final = frozenset(
    {
        *("ConnectError", "ReadError", "WriteError", "RemoteProtocolError"),
        *("ConnectTimeout", "ReadTimeout", "WriteTimeout"),
    }
)
_FAILURES: Final = range(400, 600)


def _positive(_: object, attribute: _Attribute, value: object) -> None:
    """Accept a time of more than nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise checks.refuse(attribute.name, value, "seconds, more than 0 (math.inf for no limit)")


def _finite(_: object, attribute: _Attribute, value: object) -> None:
    """Accept a time that ends: it is slept."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
        raise checks.refuse(attribute.name, value, "seconds, 0 or more, and not math.inf")


def _share(_: object, attribute: _Attribute, value: object) -> None:
    """Accept a share; `math.inf` means that there is no budget to keep to."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise checks.refuse(attribute.name, value, "a share of requests, 0 or more (math.inf for no limit)")


def _is_collection(value: object) -> bool:
    return isinstance(value, Iterable) and not isinstance(value, str | bytes)


def _to_methods(value: Iterable[object]) -> frozenset[str]:
    if not _is_collection(value) or not all(isinstance(name, str) and name for name in value):
        raise checks.refuse("methods", value, "HTTP methods, as strings")
    return frozenset(str(name).upper() for name in value)


def _to_statuses(value: Iterable[int]) -> frozenset[int]:
    if not _is_collection(value) or not all(type(status) is int and status in _FAILURES for status in value):
        raise checks.refuse("statuses", value, "numbers from 400 to 599")
    return frozenset(value)


def _to_errors(value: Iterable[object]) -> frozenset[str]:
    if not _is_collection(value) or not all(isinstance(name, str) and name in ERRORS for name in value):
        raise checks.refuse("errors", value, f"names of httpx's errors: {', '.join(sorted(ERRORS))}")
    return frozenset(below for name in value for below in ERRORS[str(name)])


@attrs.frozen(kw_only=True)
class PollingConfig:
    """
    How long to poll, and how often to ask.

    Attributes:
        timeout: Seconds for all rounds; no hold is longer than what is left of them, but the last answer may
            be five seconds late.

        interval: Seconds to wait after a round that ended before its time, give or take a half: they are
            jittered, so that those who lost their server together do not come back together.

        max_attempts: Rounds, at most.

        max_hold: The longest time in seconds that the server holds a request; 0 if it answers at once.
    """

    timeout: float = attrs.field(default=120.0, validator=_positive)
    interval: float = attrs.field(default=1.0, validator=[_positive, _finite])
    max_attempts: float = attrs.field(default=math.inf, validator=checks.Count(1))
    max_hold: float = attrs.field(default=30.0, validator=_finite)


@attrs.frozen(kw_only=True)
class Retries:
    """
    Which requests are sent again after they failed, and when.

    Off unless given to `client` or `lease`: SDKs retry by themselves. What cannot have reached a server
    (`ConnectError`, `ConnectTimeout`) is sent again whatever its method, if `errors` has it; all else by its
    method, or since it has an Idempotency-Key. A body that cannot be had twice is never sent twice.

    Attributes:
        attempts: How often a request is sent, the first time included.

        methods: Those that are sent again; by default the ones of RFC 9110, 9.2.2.

        statuses: Answers to try again after.

        errors: Errors to try again after, by their names in httpx and httpx2. `TimeoutException`,
            `NetworkError` ... mean all below them.

        initial: Seconds to wait after the first attempt, at most; twice as many after each further one.
            Between half of it and all of it is waited, by chance.

        maximum: Seconds to wait at most, unless the server says more.

        max_retry_after: The longest Retry-After, in seconds, that is waited for. A server that asks for more
            is not asked again: its answer is the caller's.

        timeout: Seconds after the first attempt began in which another may still begin.

        budget: Retries to one origin, as a share of the requests of the last ten seconds, beyond ten that
            are always free: a server that is down is not asked ever more.
    """

    attempts: float = attrs.field(default=3, validator=checks.Count(1))
    methods: frozenset[str] = attrs.field(default=_METHODS, converter=_to_methods)
    statuses: frozenset[int] = attrs.field(default=_STATUSES, converter=_to_statuses)
    errors: frozenset[str] = attrs.field(default=_ERRORS, converter=_to_errors)
    initial: float = attrs.field(default=0.5, validator=_finite)
    maximum: float = attrs.field(default=8.0, validator=_finite)
    max_retry_after: float = attrs.field(default=60.0, validator=_finite)
    timeout: float = attrs.field(default=120.0, validator=checks.seconds)
    budget: float = attrs.field(default=0.2, validator=_share)


@attrs.frozen(kw_only=True)
class Reconnects(Retries):
    """
    What ``retries=3`` asks for, as httpx's own transports take it.

    A connection is tried for again, whatever is asked, where there was none: at once, then after 0.5, 1,
    2 ... seconds. No jitter, no budget, no limit of time: all of it as there.
    """

    @classmethod
    def of(cls, retries: int) -> Reconnects:
        """Ask for so many attempts after the first."""
        return cls(
            attempts=retries + 1,
            statuses=frozenset(),
            errors=frozenset({"ConnectError", "ConnectTimeout"}),
            budget=math.inf,
            timeout=math.inf,
        )
