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

MAX_UNWRITTEN: Final = 10
MAX_UNPROCESSED: Final = 3
MAX_STALE: Final = 1

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
    """

    kind: FailureKind
    written: bool
    unprocessed: bool
    reused: bool
    begun: bool
    repeatable: bool


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
        """Give the seconds after which the request may be sent again, or None if it may not. Counts."""
        if not attempt.repeatable or attempt.kind not in _CLOSED:
            return None
        if not attempt.written:
            self.unwritten += 1
            return 0.0 if self.unwritten <= MAX_UNWRITTEN else None
        if attempt.unprocessed:
            self.unprocessed += 1
            if self.unprocessed > MAX_UNPROCESSED:
                return None
            return _DELAYS[self.unprocessed - 1] * (1 + _JITTER * rng.random())
        if attempt.reused and not attempt.begun and is_idempotent(request):
            self.stale += 1
            return 0.0 if self.stale <= MAX_STALE else None
        return None


def is_idempotent(request: Request) -> bool:
    """Tell whether sending it twice is as good as once."""
    return request.method in IDEMPOTENT or any(
        name.lower() == b"idempotency-key" for name, _ in request.headers
    )
