"""What carries requests: an open connection, of either version of HTTP."""

from __future__ import annotations

import ssl
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any, Protocol

from pool_manager.core.messages import TransportFailure
from pool_manager.core.origins import Connection, Phase
from pool_manager.core.scheduler import Scheduler
from pool_manager.runtimes.in_loops.port import Listener, Loop, Transport

if TYPE_CHECKING:
    from pool_manager.runtimes.in_loops.exchanges import Exchange
    from pool_manager.runtimes.in_loops.http1 import Http1Carrier
    from pool_manager.runtimes.in_loops.sleeping import Sleeper, Timers


class Owner(Protocol):
    """What a carrier needs of its engine."""

    loop: Loop
    scheduler: Scheduler
    timers: Timers
    outbox: Outbox

    def now(self) -> float:
        """Tell the scheduler's time."""
        ...

    def carry_out(self) -> None:
        """Do what the scheduler has decided."""
        ...


class Outbox:
    """
    Requests that go out together, at the beginning of the loop's next turn: those that are not the only one.

    To wake a server costs more than to write; one that is awake takes what else is written at little cost.
    """

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._carriers: list[Http1Carrier] = []

    def put(self, carrier: Http1Carrier) -> None:
        """Have `flush` of *carrier* called."""
        if not self._carriers:
            self._loop.call_soon(self._flush)
        self._carriers.append(carrier)

    def _flush(self) -> None:
        carriers, self._carriers = self._carriers, []
        for carrier in carriers:
            carrier.flush()


class Carrier(Listener, ABC):
    """
    One open connection.

    Attributes:
        connection: Its entry in the scheduler's book.

        info: What a caller may know of it: ``response.extensions["network_stream"]``.

        is_lost: Nothing can be sent any more.

        is_full: The socket takes no more for now.

        writer: Who waits to write what is no longer HTTP.
    """

    http_version: bytes

    def __init__(self, owner: Owner, connection: Connection, transport: Transport) -> None:
        self.owner, self.connection, self.transport = owner, connection, transport
        self.info = NetworkInfo(transport)
        self.is_lost = self.is_full = False
        self.writer: Sleeper | None = None

    @property
    def is_usable(self) -> bool:
        """A request may be begun."""
        return not self.is_lost

    @property
    def is_alone(self) -> bool:
        """There is but one request, and no other that it could go out with."""
        return self.connection.origin.lane.in_flight == 1

    @abstractmethod
    def begin(self, exchange: Exchange) -> None:
        """
        Write the head of a request, and the body if it is there.

        Raises:
            TransportFailure: Nothing was written; the connection is as it was.
        """

    @abstractmethod
    def send(self, exchange: Exchange, data: memoryview) -> int:
        """Write what is taken of a part of the body; give how much that is."""

    def has_all_of(self, exchange: Exchange) -> bool:  # noqa: ARG002 - for those that can tell
        """Tell whether the server has the whole request, so that its early answer cut nothing short."""
        return False

    @abstractmethod
    def end_request(self, exchange: Exchange) -> None:
        """End the body."""

    @abstractmethod
    def consumed(self, exchange: Exchange, size: int) -> None:
        """Know that the caller took *size* bytes of the body, of an answer that has not ended."""

    @abstractmethod
    def abandon(self, exchange: Exchange) -> None:
        """Give up *exchange*, or its answer, and give its ticket back."""

    @abstractmethod
    def suspect(self) -> None:
        """Know that a request has waited in vain."""

    @abstractmethod
    def fail_all(self, failure: TransportFailure) -> None:
        """Fail the exchanges that are not over."""

    def say_goodbye(self) -> None:
        """Write what is to be written before the connection closes, if anything."""

    def close(self) -> None:
        """Close the connection: politely, and without waiting for the peer to be polite."""
        if self.is_lost:
            return
        self.say_goodbye()
        self.is_lost = True
        self.fail_all(TransportFailure("ReadError", "the connection was closed"))
        self._wake_writer()
        self.transport.close()
        self.owner.loop.call_soon(self.transport.abort)

    def give_up(self, failure: TransportFailure) -> None:
        """Have the connection closed, since it cannot go on."""
        if self.is_lost:
            return
        self.is_lost = True
        if self.connection.phase is not Phase.DIALING:  # else whoever dials finds out
            self.owner.scheduler.lost(self.connection, self.owner.now())
        self.fail_all(failure)
        self.resume_writing()
        self.transport.abort()
        self.owner.carry_out()

    def leave(self, exchange: Exchange, *, reusable: bool = True, keep_alive: float | None = None) -> None:
        """Give the ticket of *exchange* back, once."""
        if not exchange.left:
            exchange.left = True
            owner = self.owner
            owner.scheduler.leave(
                exchange.ticket, owner.now(),
                reusable=reusable, keep_alive=keep_alive, status=exchange.status,
            )  # fmt: skip
            owner.carry_out()

    # What the transport calls

    def pause_writing(self) -> None:
        """The socket takes no more for now."""
        self.is_full = True

    def resume_writing(self) -> None:
        """The socket takes more."""
        self.is_full = False
        self._wake_writer()

    def _wake_writer(self) -> None:
        if self.writer is not None:
            self.writer.wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """The socket is gone."""
        if exc is None:
            self.give_up(TransportFailure("RemoteProtocolError", "Server disconnected"))
        else:
            failure = TransportFailure("ReadError", str(exc) or repr(exc))
            failure.__cause__ = exc
            self.give_up(failure)


class NetworkInfo:
    """A connection as a caller sees it who may not touch it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - as httpcore
        """Give what httpcore gives: "ssl_object", "client_addr", "server_addr", "socket", "is_readable"."""
        name = {"client_addr": "sockname", "server_addr": "peername"}.get(info, info)
        return self._transport.get_extra_info(name)


class Greeter(Listener):
    """Sees a connection open, and puts the carrier in its own place that speaks what was agreed upon."""

    def __init__(self, owner: Owner, connection: Connection, *, prior_knowledge: bool) -> None:
        self._owner, self._connection, self._prior_knowledge = owner, connection, prior_knowledge
        self.carrier: Carrier | None = None

    def connection_made(self, transport: Transport) -> None:
        """Choose by ALPN, or by prior knowledge."""
        from pool_manager.runtimes.in_loops.http1 import Http1Carrier  # noqa: PLC0415 - they import us
        from pool_manager.runtimes.in_loops.http2 import Http2Carrier  # noqa: PLC0415 - as above

        tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object")
        agreed = None if tls is None else tls.selected_alpn_protocol()
        kind = Http2Carrier if self._prior_knowledge or agreed == "h2" else Http1Carrier
        self.carrier = kind(self._owner, self._connection, transport)
        transport.set_protocol(self.carrier)
