"""
What may be sent again without asking (rule 11): only what nobody can have acted upon.

    a  nothing was written                                    any method       at once    10 times
    b  the server says that it did nothing with it            any method       0, 1, 2 s   3 times
    c  a connection that was used before closed without       safe to repeat   at once       once
       a byte of the answer
    d  all else: a fresh connection, a byte of an answer, a timeout, TLS        never

Safe to repeat are the methods of RFC 9110, 9.2.2, and whatever has an Idempotency-Key. (c) holds for HTTP/2
as well: a connection that dies takes streams along of which the server may or may not have heard.
A body that was begun and cannot be begun again is never resent.
"""

from __future__ import annotations

import random
from typing import Final

import attrs

from pool_manager.core.messages import FailureKind, Request

IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", "PUT", "DELETE"})

IDEMPOTENCY_KEY: Final = "idempotency-key"

MAX_UNWRITTEN: Final = 10
MAX_UNPROCESSED: Final = 3
MAX_STALE: Final = 1

_IDEMPOTENCY_KEY: Final = IDEMPOTENCY_KEY.encode()
_DELAYS: Final = (0.0, 1.0, 2.0)
_JITTER: Final = 0.1
_CLOSED: Final[frozenset[FailureKind]] = frozenset({"ReadError", "WriteError", "RemoteProtocolError"})


@attrs.frozen
class Attempt:
    """
    How one attempt failed.

    Attributes:
        kind: The error.

        written: Something may have reached the server.

        unprocessed: The server says that it did nothing.

        reused: The connection had carried a request before.

        begun: A byte of the answer came.

        repeatable: The body is as it was, or can be had again.

        reason: The error's message, for the log.
    """

    kind: FailureKind
    written: bool
    unprocessed: bool
    reused: bool
    begun: bool
    repeatable: bool
    reason: str = ""


@attrs.frozen(kw_only=True)
class Resent:
    """
    What is told of a replay: see `Request.on_replay`.

    Attributes:
        attempt: Which one is to follow; the first replay is the second attempt.

        delay: Seconds until then.

        kind: The error before.

        reason: Its message, where it is known. It may hold what nobody is to read.

        ground: Why it can do no harm.
    """

    attempt: int
    delay: float
    kind: FailureKind
    reason: str
    ground: str


@attrs.define
class Replays:
    """The attempts of one request so far."""

    unwritten: int = 0
    unprocessed: int = 0
    stale: int = 0

    @property
    def attempts(self) -> int:
        """How often the request was sent, or tried to, the current time included."""
        return 1 + self.unwritten + self.unprocessed + self.stale

    def delay(self, request: Request, attempt: Attempt, rng: random.Random) -> float | None:
        """Give the seconds after which the request may be sent again, or None if not. Counts, and tells."""
        found = self._ground(request, attempt, rng)
        if found is None:
            return None
        delay, ground = found
        if request.on_replay is not None:
            request.on_replay(
                request,
                Resent(
                    attempt=self.attempts,
                    delay=delay,
                    kind=attempt.kind,
                    reason=attempt.reason,
                    ground=ground,
                ),
            )
        return delay

    def _ground(self, request: Request, attempt: Attempt, rng: random.Random) -> tuple[float, str] | None:
        """Give the delay, and why another attempt can do no harm; None if it could."""
        if not attempt.repeatable or attempt.kind not in _CLOSED:
            return None
        if not attempt.written:
            self.unwritten += 1
            return (0.0, "nothing was written") if self.unwritten <= MAX_UNWRITTEN else None
        if attempt.unprocessed:
            self.unprocessed += 1
            if self.unprocessed > MAX_UNPROCESSED:
                return None
            delay = _DELAYS[self.unprocessed - 1] * (1 + _JITTER * rng.random())
            return delay, "the server did nothing with it"
        if attempt.reused and not attempt.begun and is_idempotent(request):
            self.stale += 1
            return (0.0, "it is safe to repeat") if self.stale <= MAX_STALE else None
        return None


def is_idempotent(request: Request) -> bool:
    """Tell whether sending it twice is as good as once."""
    return request.method in IDEMPOTENT or any(
        name.lower() == _IDEMPOTENCY_KEY for name, _ in request.headers
    )
