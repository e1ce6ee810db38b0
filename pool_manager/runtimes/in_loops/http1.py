"""A connection that speaks HTTP/1.1: one exchange after another."""

from __future__ import annotations

import functools
import select
import socket
from collections.abc import Callable, Sequence
from typing import Final

from pool_manager.core.forwarding import SETTLING_TIME, is_forwarded
from pool_manager.core.http1 import End, Event, Head, Http1Connection, Switched
from pool_manager.core.leftovers import DRAIN_TIME, MAX_DRAINED, is_worth_reading
from pool_manager.core.messages import TransportFailure
from pool_manager.core.origins import Connection
from pool_manager.runtimes.in_loops.carriers import Carrier, Owner
from pool_manager.runtimes.in_loops.exchanges import Exchange
from pool_manager.runtimes.in_loops.port import Handle, Transport

# Bytes of an answer that are kept for a caller who does not read; below the second, more are taken.
HIGH_WATER: Final = 1024 * 1024
LOW_WATER: Final = 256 * 1024

# Parts of a request up to this many bytes are written as one: two system calls cost more than a copy.
JOINED: Final = 64 * 1024

# What is written of a body at once. Each call costs, so it is as much as a kernel takes for a socket; over
# TLS it is less, since all of it is encrypted, and kept, while nobody else has a turn.
PLAIN_SLICE: Final = 4 * 1024 * 1024
TLS_SLICE: Final = 1024 * 1024


class Http1Carrier(Carrier):
    """One HTTP/1.1 connection."""

    http_version = b"HTTP/1.1"

    def __init__(self, owner: Owner, connection: Connection, transport: Transport) -> None:
        super().__init__(owner, connection, transport)
        self._http = Http1Connection()
        self._current: Exchange | None = None
        self._is_paused = False
        self._draining: Handle | None = None
        self._answered = 0.0  # when the last answer of a proxy ended
        self._room = 0  # bytes that may still be drained
        self._switched = False
        self._unsent = b""
        self._has_heard = _ear(transport.get_extra_info("socket"))
        self._slice = TLS_SLICE if transport.get_extra_info("sslcontext") else PLAIN_SLICE

    # What exchanges do

    def begin(self, exchange: Exchange) -> None:
        """Write the head, and a body that is short together with it."""
        if self.is_lost:
            raise _unwritten()
        body = exchange.request.body
        if isinstance(body, bytes) and len(body) <= JOINED:
            self._write_whole(exchange, body)
            return
        if self.connection.requests > 1 and self._has_heard():
            # It goes part by part, which cannot wait for the loop to read: it begins elsewhere.
            self.give_up(_unwritten())
            raise _unwritten()
        self.transport.write(self._start(exchange))

    def _start(self, exchange: Exchange) -> bytes:
        head = self._http.start(exchange.request)
        self._current = exchange
        return head

    def _write_whole(self, exchange: Exchange, body: bytes) -> None:
        """Write all of a request: at once if it is the only one and nothing is there to be read."""
        data = self._start(exchange)
        try:
            if body:
                data = b"".join((data, *self._http.send_body(body)))
            data += self._http.end_of_body()
        except TransportFailure:
            self._break()
            raise
        exchange.written = True
        is_alone, is_new = self.is_alone, self.connection.requests == 1
        if is_alone and (is_new or not (self._answered or self._has_heard())):
            self.transport.write(data)
            return
        self._unsent = data
        if is_alone or self._answered:
            wait = max(0.0, self._answered + SETTLING_TIME - self.owner.loop.time())
            self.owner.loop.call_later(wait, self._flush_when_read)
        else:
            self.owner.outbox.put(self)

    def _flush_when_read(self) -> None:
        """Write when nothing is there to be read: a busy loop may come to this before it reads the end."""
        if not self.is_lost and self._has_heard():
            self.owner.loop.call_later(SETTLING_TIME, self._flush_when_read)
        else:
            self.flush()

    def flush(self) -> None:
        """Write what was put into the outbox, unless it is too late for that."""
        data, self._unsent = self._unsent, b""
        if data and not self.is_lost:
            self.transport.write(data)

    def send(self, exchange: Exchange, data: memoryview) -> int:  # noqa: ARG002 - there is but one
        """Write a part of the body; the transport keeps what the socket does not take."""
        part = data[: self._slice]
        try:
            buffers = self._http.send_body(part)
        except TransportFailure:
            self._break()
            raise
        if len(part) <= JOINED:
            self.transport.write(b"".join(buffers))
        else:
            for buffer in buffers:
                self.transport.write(buffer)
        return len(part)

    def has_all_of(self, exchange: Exchange) -> bool:
        """Tell whether all bytes that the head announced are written."""
        return self._current is exchange and self._http.has_whole_body

    def end_request(self, exchange: Exchange) -> None:
        """End the body."""
        try:
            end = self._http.end_of_body()
        except TransportFailure:
            self._break()
            raise
        if end:
            self.transport.write(end)
        exchange.written = True
        if exchange.ended:
            self._finish(exchange)

    def consumed(self, exchange: Exchange, size: int) -> None:  # noqa: ARG002 - HTTP/2 counts
        """Take more from the socket, once the caller has caught up."""
        if self._is_paused and exchange.buffered < LOW_WATER:
            self._resume()

    def abandon(self, exchange: Exchange) -> None:
        """Read the answer to its end if that is near (rule 16); else have the connection closed."""
        if self._draining is not None:
            return
        if exchange is not self._current:
            self.leave(exchange, reusable=False)
            return
        if (
            exchange.is_over
            or self._switched
            or not (exchange.status and exchange.written and is_worth_reading(self._http))
        ):
            self._break()
            return
        self._room = MAX_DRAINED
        self._draining = self.owner.loop.call_later(DRAIN_TIME, self._break)
        if self._is_paused:
            self._resume()

    def suspect(self) -> None:
        """Nothing to find out: the request will leave, and the connection close with it."""

    def fail_all(self, failure: TransportFailure) -> None:
        """Fail the exchange that is not over."""
        self._stop_draining()
        exchange, self._current = self._current, None
        if exchange is None:
            return
        if self._unsent:
            exchange.started = False
        if failure.kind == "ReadError" and not exchange.written and not exchange.begun:
            cause = failure.__cause__
            failure = TransportFailure("WriteError", str(failure))
            failure.__cause__ = cause
        exchange.fail(failure)
        self.leave(exchange, reusable=False)

    def _break(self) -> None:
        """Have the connection closed: what is on the way cannot be told from what is next."""
        self._stop_draining()
        exchange, self._current = self._current, None
        if exchange is not None:
            self.leave(exchange, reusable=False)

    def _stop_draining(self) -> None:
        if self._draining is not None:
            self._draining.cancel()
            self._draining = None

    def _finish(self, exchange: Exchange) -> None:
        """The exchange is complete on both sides."""
        if self._draining is not None:
            self._stop_draining()
        self._current = None
        if is_forwarded(exchange.request):
            self._answered = self.owner.loop.time()
        if self._is_paused:
            self._resume()
        self.leave(exchange, reusable=self._http.is_idle, keep_alive=self._http.keep_alive_timeout)

    # What the transport calls

    def data_received(self, data: bytes) -> None:
        """Take a part of the answer."""
        exchange = self._current
        if exchange is None or self._unsent:
            # Rule 12: what comes unasked is given to nobody, be it a 408 or an attack.
            self.give_up(TransportFailure("RemoteProtocolError", "the server spoke unasked"))
            return
        exchange.begun = True
        try:
            events = self._http.receive(data)
        except TransportFailure as failure:
            self.give_up(failure)
            return
        if not events:
            exchange.postpone()
        self._take(exchange, events)
        if exchange.buffered > HIGH_WATER:
            self._pause(exchange)

    def _take(self, exchange: Exchange, events: Sequence[Event]) -> None:
        for event in events:
            if type(event) is bytes:
                if self._draining is None:
                    exchange.take_part(event)
                elif not self._drain(len(event)):
                    return  # it was given up, and what is left of this read with it
            elif type(event) is Head:
                self.http_version = event.http_version
                exchange.take_head(event.status, event.reason, event.headers)
            elif type(event) is End:
                exchange.end()
                if exchange.written:
                    self._finish(exchange)
            else:
                self._take_other(exchange, event)

    def _take_other(self, exchange: Exchange, event: Event) -> None:
        if type(event) is Switched:
            self._switched = True
            if event.data:
                exchange.take_part(event.data)
        elif type(event) is TransportFailure:
            self.give_up(event)
        else:
            exchange.postpone()

    def _drain(self, size: int) -> bool:
        """Pass over a part of an answer that nobody wants; False if that was too much."""
        self._room -= size
        if self._room < 0:
            self._break()
        return self._room >= 0

    def _pause(self, exchange: Exchange) -> None:
        """Take no more from the socket while the caller has so much to read."""
        if self._current is exchange and not self._is_paused:
            self._is_paused = True
            self.transport.pause_reading()

    def _resume(self) -> None:
        self._is_paused = False
        self.transport.resume_reading()

    def eof_received(self) -> None:
        """The server will send no more."""
        exchange = self._current
        if exchange is None:
            self.give_up(TransportFailure("RemoteProtocolError", "Server disconnected"))
            return
        try:
            self._take(exchange, self._http.receive_eof())
        except TransportFailure as failure:
            self.give_up(failure)
            return
        if self._switched:
            exchange.end()
        self.give_up(TransportFailure("RemoteProtocolError", "Server disconnected"))

    def resume_writing(self) -> None:
        """The socket takes more."""
        super().resume_writing()
        if self._current is not None and not self._current.written:
            self._current.wake()


def _unwritten() -> TransportFailure:
    """Say that nothing was written, since the connection is of no use."""
    return TransportFailure("ReadError", "the connection was closed before the request was written")


def _ear(sock: socket.socket) -> Callable[[], object]:
    """Give what tells whether there is something to be read of *sock*, or the end."""
    if not hasattr(select, "poll"):
        return lambda: select.select([sock], [], [], 0)[0]
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return functools.partial(poll.poll, 0)
