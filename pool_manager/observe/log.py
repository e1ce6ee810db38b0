"""
What the log says of requests that are sent again: which, why, when, and how often it was; and of leaks.

    retrying GET https://api.example.com/v1/models in 0.51 s (2 of 3): HTTP 503
    replaying POST https://api.example.com/v1/chat at once (attempt 2): ReadError (nothing was written)

A retry is what a client asked for (`Retries`); a replay is what the pool does unasked, where it can do no
harm. Nothing here is secret: see `core.redacting`.
"""

from __future__ import annotations

import logging

from pool_manager.core.messages import Request
from pool_manager.core.redacting import redacted, secrets_of
from pool_manager.core.replay import Resent

_retries = logging.getLogger("pool_manager.retries")
_leaks = logging.getLogger("pool_manager.leaks")
_replays = logging.getLogger("pool_manager.replays")


def retry(request: str, delay: float, attempt: int, attempts: float, cause: str) -> None:
    """Tell that a request is about to be sent again."""
    _retries.info("retrying %s %s (%d of %g): %s", request, _in(delay), attempt, attempts, cause)


def no_retry(request: str, cause: str) -> None:
    """Tell that it would have been, had the budget not been spent."""
    _retries.info("not retrying %s, since too many retries were made: %s", request, cause)


def replay(request: Request, resent: Resent) -> None:
    """Tell that the pool is about to send a request again by itself."""
    if not _replays.isEnabledFor(logging.INFO):
        return
    cause = redacted(resent.reason, secrets_of(request.headers, request.target)) if resent.reason else ""
    _replays.info(
        "replaying %s %s (attempt %d): %s%s (%s)",
        request,
        _in(resent.delay),
        resent.attempt,
        resent.kind,
        f": {cause}" if cause else "",
        resent.ground,
    )


def overdue(thing: object, seconds: float) -> None:
    """Tell of a lease or a response that is held for too long."""
    _leaks.warning("%s, has been held for more than %g s (Limits.leak_threshold)", thing, seconds)


def returned_late(thing: object) -> None:
    """Tell that it was no leak: it was given back after all."""
    _leaks.warning("%s, was held for long, and was given back after all", thing)


def _in(delay: float) -> str:
    return f"in {delay:.3g} s" if delay else "at once"
