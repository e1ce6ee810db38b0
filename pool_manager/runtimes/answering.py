"""What is the same wherever requests are carried: an answer's record, and what may be sent again."""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable
from typing import Final, Protocol

from pool_manager.core.messages import Request, TransportFailure
from pool_manager.core.origins import Ticket
from pool_manager.core.replay import Attempt, Replays
from pool_manager.records import RequestRecord

_SWITCHING: Final = 101

# Rule 13: counts the time in which a machine was suspended, where there is such a clock; connections do not
# survive that.
clock: Final[Callable[[], float]] = (
    functools.partial(time.clock_gettime, time.CLOCK_BOOTTIME)
    if hasattr(time, "CLOCK_BOOTTIME")
    else time.monotonic
)


class Carries(Protocol):
    """What a connection tells of itself."""

    @property
    def http_version(self) -> bytes:
        """As on the wire."""
        ...

    @property
    def info(self) -> object:
        """What a caller may know of the socket."""
        ...


class Carried(Protocol):
    """One attempt at a request, as far as it has come. See the `Exchange` of each runtime."""

    @property
    def request(self) -> Request:
        """What is asked."""
        ...

    @property
    def ticket(self) -> Ticket | None:
        """Its claim to a connection."""
        ...

    @property
    def carrier(self) -> Carries:
        """Its connection, once it has one."""
        ...

    @property
    def started(self) -> bool:
        """Something may have been written."""
        ...

    @property
    def stream(self) -> int:
        """The number of its HTTP/2 stream; 0 over HTTP/1.1."""
        ...

    @property
    def status(self) -> int:
        """That of the final answer."""
        ...

    @property
    def reason(self) -> bytes:
        """The reason phrase."""
        ...

    @property
    def begun(self) -> bool:
        """A byte of the answer has come."""
        ...

    @property
    def unprocessed(self) -> bool:
        """The server says that it did nothing with it."""
        ...


def is_upgraded(exchange: Carried) -> bool:
    """Tell whether what follows the head is no longer HTTP."""
    return exchange.status == _SWITCHING or (exchange.request.method == "CONNECT" and not exchange.stream)


def extensions_of(exchange: Carried) -> dict[str, object]:
    """Give what httpx knows by the name of extensions."""
    carrier = exchange.carrier
    extensions: dict[str, object] = {"http_version": carrier.http_version, "network_stream": carrier.info}
    if exchange.stream:
        extensions["stream_id"] = exchange.stream
    else:
        extensions["reason_phrase"] = exchange.reason
    return extensions


def record_of(exchange: Carried, *, queued_for: float, attempts: int) -> RequestRecord:
    """Say how an answer came about."""
    ticket, request = exchange.ticket, exchange.request
    assert ticket is not None
    connection = ticket.connection
    assert connection is not None
    first = connection.requests == 1
    return RequestRecord(  # by position: that is twice as fast as by name
        connection.number,
        exchange.carrier.http_version.decode(),
        not first,
        ticket.idle_for,
        queued_for,
        connection.opened - connection.begun if first else 0.0,
        attempts,
        request.lane,
        request.lease,
    )


def delay_of(error: BaseException, exchange: Carried, replays: Replays, rng: random.Random) -> float | None:
    """Give the seconds after which the request of a failed attempt is sent again, or None. Counts it."""
    if not isinstance(error, TransportFailure):
        return None
    ticket, started, request = exchange.ticket, exchange.started, exchange.request
    connection = None if ticket is None else ticket.connection
    attempt = Attempt(
        kind=error.kind,
        written=started,
        unprocessed=started and exchange.unprocessed,
        reused=started and connection is not None and connection.requests > 1,
        begun=started and exchange.begun,
        repeatable=not started or isinstance(request.body, bytes),
        reason=str(error),
    )
    return replays.delay(request, attempt, rng)
