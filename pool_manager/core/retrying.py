"""
When a request that failed is sent again because its client asked for it, after how long, and when not.

That is apart from `core.replay`: what nobody can have acted upon is sent again unasked, and counted there.
Here an answer or an error has been had, and the caller says (`Retries`) that another attempt is worth it.

After an exponential back-off with jitter, or what Retry-After asks for (RFC 9110, 10.2.3), and as long as
retries are a small share of all requests to the origin (the retry budget of Finagle and tower): else those
who ask a server that is down would ask it ever more.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import OrderedDict, deque
from collections.abc import Hashable
from email.utils import parsedate_to_datetime
from random import Random
from typing import Final

import attrs

from pool_manager.policies import Retries

WINDOW: Final = 10.0  # seconds that the budget looks back; Finagle's
FREE: Final = 10  # retries in that time which cost nothing: who asks little may still ask again
_SLOT: Final = 1.0

_MOST_ORIGINS: Final = 1000  # budgets kept; a crawler meets more, and each for a moment

# Nothing was sent (rule 11a): these are safe to repeat whatever was asked.
_UNSENT: Final = frozenset({"ConnectError", "ConnectTimeout"})

_SPREAD: Final = 1.1  # of what Retry-After asks: not all are to come back in the same moment
_MOST_DOUBLINGS: Final = 60

_SECONDS: Final = re.compile(r"[0-9]+(\.[0-9]+)?", re.ASCII)


@attrs.frozen(kw_only=True)
class Outcome:
    """
    What came of an attempt.

    Attributes:
        status: That of the answer; None if there was none.

        error: The name that httpx gives the error; None if there was none.

        retry_after: Seconds that the server asks to wait; None if it does not say.
    """

    status: int | None = None
    error: str | None = None
    retry_after: float | None = None


class Budget:
    """How many requests and retries there were lately, at one origin."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._slots: deque[tuple[float, list[int]]] = deque()  # since when, [requests, retries]
        self._requests = self._retries = 0

    def note(self, now: float) -> None:
        """Count a request."""
        self._slot(now)[0] += 1
        self._requests += 1

    def take(self, now: float) -> bool:
        """Count a retry if there may be one."""
        slot = self._slot(now)
        if self._retries >= FREE + self._share * self._requests:
            return False
        slot[1] += 1
        self._retries += 1
        return True

    def _slot(self, now: float) -> list[int]:
        while self._slots and self._slots[0][0] <= now - WINDOW:
            _, (requests, retries) = self._slots.popleft()
            self._requests -= requests
            self._retries -= retries
        if not self._slots or self._slots[-1][0] <= now - _SLOT:
            self._slots.append((now, [0, 0]))
        return self._slots[-1][1]


class Budgets:
    """The budgets of all origins: one that is down neither uses up another's, nor lives on it."""

    def __init__(self, share: float) -> None:
        self._share = share
        self._of: OrderedDict[Hashable, Budget] = OrderedDict()

    def of(self, origin: Hashable) -> Budget:
        """Give the budget of *origin*."""
        budget = self._of.pop(origin, None) or Budget(self._share)
        self._of[origin] = budget
        if len(self._of) > _MOST_ORIGINS:
            self._of.popitem(last=False)
        return budget


@attrs.define(kw_only=True)
class Attempts:
    """
    The attempts of one request.

    Attributes:
        policy: What its client asked for.

        safe: It may be sent twice: by its method, or since it has an Idempotency-Key.

        repeatable: Its body can be had again.

        begun: When the first attempt began.

        sent: How often it was sent.

        denied: Another attempt was due, and the budget was spent.
    """

    policy: Retries
    safe: bool
    repeatable: bool
    begun: float
    sent: int = 1
    denied: bool = False

    def delay(self, outcome: Outcome, now: float, budget: Budget, rng: Random) -> float | None:
        """Give the seconds after which to send it again, or None if that is not to be. Counts."""
        if not self._is_worth_it(outcome):
            return None
        pause = self._pause(outcome.retry_after, rng)
        if pause is None or now + pause - self.begun > self.policy.timeout:
            return None
        if not budget.take(now):
            self.denied = True
            return None
        self.sent += 1
        return pause

    def _is_worth_it(self, outcome: Outcome) -> bool:
        policy = self.policy
        if self.sent >= policy.attempts or not self.repeatable:
            return False
        if outcome.error is not None:
            return outcome.error in policy.errors and (self.safe or outcome.error in _UNSENT)
        return outcome.status in policy.statuses and self.safe

    def _pause(self, asked: float | None, rng: Random) -> float | None:
        policy = self.policy
        most = min(policy.maximum, policy.initial * 2.0 ** min(self.sent - 1, _MOST_DOUBLINGS))
        pause = most * rng.uniform(0.5, 1)
        if asked is None:
            return pause
        if asked > policy.max_retry_after:
            return None
        return max(pause, min(asked * rng.uniform(1, _SPREAD), policy.max_retry_after))


class Reconnecting(Attempts):
    """Those of a request whose client asked for `Reconnects`: nothing of it was sent before."""

    def _is_worth_it(self, outcome: Outcome) -> bool:
        return self.sent < self.policy.attempts and outcome.error in _UNSENT

    def _pause(self, asked: float | None, rng: Random) -> float:  # noqa: ARG002 - there is no answer, and no chance
        if self.sent == 1:
            return 0.0
        return self.policy.initial * 2.0 ** min(self.sent - 2, _MOST_DOUBLINGS)


def retry_after(value: str | None, date: str | None, wall: float) -> float | None:
    """
    Read Retry-After (RFC 9110, 10.2.3): seconds or a date. What cannot be read is as if it were not there.

    Args:
        value: The header.

        date: The answer's Date: a date is counted from there, whatever our clock says.

        wall: Our clock, where there is no Date.
    """
    value = (value or "").strip()
    if _SECONDS.fullmatch(value):
        return float(value)
    until = _timestamp(value)
    if until is None:
        return None
    now = _timestamp(date or "")
    return max(0.0, until - (wall if now is None else now))


def _timestamp(date: str) -> float | None:
    try:
        read = parsedate_to_datetime(date)
        # RFC 9110, 5.6.7: a date is in GMT, also where it does not say so.
        return (read if read.tzinfo else read.replace(tzinfo=dt.UTC)).timestamp()
    except (TypeError, ValueError, OverflowError, IndexError):
        return None
