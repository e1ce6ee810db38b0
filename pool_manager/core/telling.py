"""What listeners are to be told: made where there are any, and told by the runtime like any effect."""

from __future__ import annotations

from pool_manager.core.effects import Effect, Tell
from pool_manager.core.origins import Connection, Ticket
from pool_manager.events import Audience, ConnectionEvent, RequestEvent, What
from pool_manager.stats import CloseCause


class Teller:
    """
    Notes what is to be told.

    Args:
        audience: To whom; ask first whether there is anybody.

        effects: Where it is noted.
    """

    def __init__(self, audience: Audience, effects: list[Effect]) -> None:
        self.audience, self._effects = audience, effects

    def connection(
        self, what: What, connection: Connection, seconds: float, cause: CloseCause | None = None
    ) -> None:
        """Tell of a connection."""
        scheme, host, port, _, lane = connection.origin.key
        event = ConnectionEvent(
            scheme=scheme,
            host=host,
            port=port,
            lane=lane,
            connection_id=connection.number,
            http_version="HTTP/2" if connection.multiplexed else "HTTP/1.1",
            seconds=seconds,
            cause=cause,
        )
        self._effects.append(Tell(what, event))

    def request(self, what: What, ticket: Ticket, now: float, status: int = 0) -> None:
        """Tell of a request."""
        scheme, host, port, _, lane = ticket.origin.key
        request, connection = ticket.request, ticket.connection
        event = RequestEvent(
            scheme=scheme,
            host=host,
            port=port,
            lane=lane,
            lease="" if request is None else request.lease,
            method="" if request is None else request.method,
            connection_id=None if connection is None else connection.number,
            seconds=now - ticket.asked,
            status=status,
        )
        self._effects.append(Tell(what, event))
