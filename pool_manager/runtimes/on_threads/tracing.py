"""The `trace` extension: a caller's own function, told of each step in httpcore's words."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias, cast

from pool_manager.core.messages import Request
from pool_manager.core.origins import Ticket
from pool_manager.runtimes.on_threads.exchanges import Exchange

Trace: TypeAlias = Callable[[str, dict[str, object]], object]


class Tracer:
    """
    Tells one request's story to its caller.

    A connection is opened by the pool and not by the request, so that its `connect_tcp` events mean the wait
    for a new connection, the TLS handshake included.
    """

    def __init__(self, trace: Trace, request: Request) -> None:
        self._trace, self._request = trace, request
        self._dialing = False

    @classmethod
    def of(cls, request: Request) -> Tracer | None:
        """Give the tracer of *request*, if it asks for one."""
        if not request.extensions:
            return None
        trace = request.extensions.get("trace")
        return None if trace is None else cls(cast(Trace, trace), request)

    def waiting(self) -> None:
        """No connection was free. Told once, however often that is."""
        if self._dialing:
            return
        self._dialing = True
        request = self._request
        self._trace("connection.connect_tcp.started", {"host": request.host, "port": request.port})

    def connected(self, ticket: Ticket) -> None:
        """A connection was given."""
        if self._dialing and ticket.connection is not None:
            self._trace(
                "connection.connect_tcp.complete", _about(ticket, return_value=ticket.connection.carrier)
            )

    def sent(self, exchange: Exchange) -> None:
        """The head of the request was written."""
        prefix = _prefix(exchange)
        self._trace(f"{prefix}.send_request_headers.started", _about(exchange.ticket, request=self._request))
        self._trace(f"{prefix}.send_request_headers.complete", _about(exchange.ticket, return_value=None))

    def answered(self, exchange: Exchange) -> None:
        """The head of the answer has come."""
        prefix = _prefix(exchange)
        head: tuple[object, ...] = (exchange.status, exchange.headers)
        if not exchange.stream:
            head = (exchange.carrier.http_version, exchange.status, exchange.reason, exchange.headers)
        self._trace(
            f"{prefix}.receive_response_headers.started", _about(exchange.ticket, request=self._request)
        )
        self._trace(f"{prefix}.receive_response_headers.complete", _about(exchange.ticket, return_value=head))


def _prefix(exchange: Exchange) -> str:
    return "http2" if exchange.stream else "http11"


def _about(ticket: Ticket | None, **info: object) -> dict[str, object]:
    """Give what is told of a moment, and by which connection, as the record of the answer will call it."""
    connection = None if ticket is None else ticket.connection
    return info if connection is None else {**info, "connection_id": connection.number}
