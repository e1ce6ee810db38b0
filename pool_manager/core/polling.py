"""
The rounds of a poll: how long each may take, what its end means, and when the next one begins.

    the hold was over                         the next one begins at once
    an answer, 408 or a lost connection       the next one begins after the interval, jittered
    before that
    no connection could be made               as above, if a server was ever there; else the error is raised
    another status, another error             raised
"""

from __future__ import annotations

import random
from typing import Final

import attrs

from pool_manager.policies import PollingConfig

# The client is more patient than the server by so much: the server's 408 comes first, and the connection
# lives on. What it costs to be wrong is a connection.
BUFFER: Final = 5.0

_JITTER: Final = (0.5, 1.5)

_REQUEST_TIMEOUT: Final = 408  # RFC 9110, 15.5.9

_OVER: Final = frozenset(
    {
        *("ReadTimeout", "WriteTimeout", "PoolTimeout", "TimeoutException"),
        *("ReadError", "WriteError", "CloseError", "NetworkError", "RemoteProtocolError"),
    }
)
_UNREACHABLE: Final = frozenset({"ConnectError", "ConnectTimeout"})


@attrs.frozen
class Failure:
    """
    Why a round brought no result.

    Attributes:
        kind: The name that httpx gives the error; None if there was an answer.

        status: The status of the answer; None if there was none.
    """

    kind: str | None = None
    status: int | None = None

    def __str__(self) -> str:
        return self.kind or f"HTTP {self.status}"


@attrs.frozen
class Round:
    """
    One request of a poll.

    Attributes:
        number: Counts from 1.

        hold: Seconds for which the server may hold it.

        timeout: Seconds for which the client waits for an answer.

        begun: When.
    """

    number: int
    hold: float
    timeout: float
    begun: float


class Rounds:
    """
    All rounds of one poll. There is at least one.

    Args:
        config: How long, and how often.

        now: When the poll begins.

        rng: Where jitter comes from.
    """

    def __init__(self, config: PollingConfig, now: float, rng: random.Random) -> None:
        self._config, self._rng = config, rng
        self._until = now + config.timeout
        self._number = 0
        self._reached = False

    def begin(self, now: float) -> Round:
        """Begin the next round."""
        self._number += 1
        hold = max(0.0, min(self._config.max_hold, self._until - now))
        return Round(self._number, hold, hold + BUFFER, now)

    def answered(self) -> None:
        """Note that a round had a result."""
        self._reached = True

    def is_over_by(self, failure: Failure) -> bool:
        """Tell whether *failure* is the end of a round, and not of the poll."""
        if failure.kind is None:
            over = failure.status == _REQUEST_TIMEOUT
        elif failure.kind in _UNREACHABLE:
            return self._reached
        else:
            over = failure.kind in _OVER
        self._reached = self._reached or over
        return over

    def pause(self, last: Round, now: float) -> float | None:
        """Give the seconds until the next round begins; None if there is no time for one."""
        config = self._config
        if self._number >= config.max_attempts or now >= self._until:
            return None
        # Where the server does not hold, or for a moment only, the interval is all that there is to wait for.
        if now - last.begun >= max(last.hold, config.interval):
            return 0.0
        pause = config.interval * self._rng.uniform(*_JITTER)
        return pause if now + pause < self._until else None

    def verdict(self, now: float) -> str:
        """Say in words why there is no further round."""
        if self._number >= self._config.max_attempts:
            return f"not so after {self._number} rounds"
        left = self._config.timeout - max(0.0, self._until - now)
        return f"not so after {left:.1f} of {self._config.timeout:g} s ({self._number} rounds)"
