"""A connection that speaks HTTP/2: many exchanges at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from pool_manager.core.http2 import Http2Connection
from pool_manager.core.http2_events import (
    Allowed,
    Drain,
    Event,
    Pong,
    SlotFreed,
    StreamData,
    StreamEnd,
    StreamFailed,
    StreamHead,
)
from pool_manager.core.liveness import PING_PATIENCE, Liveness, Sign
from pool_manager.core.messages import TransportFailure
from pool_manager.core.origins import Connection
from pool_manager.runtimes.in_loops.carriers import Carrier, Owner
from pool_manager.runtimes.in_loops.exchanges import Exchange
from pool_manager.runtimes.in_loops.port import Handle, Transport

# A body up to this many bytes goes along with the head of its request.
SHORT_BODY: Final = 64 * 1024

# What is written of bodies at once: all of it is framed, encrypted and kept while nobody else has a turn.
SLICE: Final = 256 * 1024


class Http2Carrier(Carrier):
    """One HTTP/2 connection."""

    http_version = b"HTTP/2"

    def __init__(self, owner: Owner, connection: Connection, transport: Transport) -> None:
        super().__init__(owner, connection, transport)
        self._http = Http2Connection(first_streams=connection.streams)
        self._exchanges: dict[int, Exchange] = {}
        self._resetting: dict[int, Exchange] = {}  # gone, but their places are not free yet
        self._uploading: dict[Exchange, None] = {}  # who was served longest ago first
        self._flushing = False
        self._unwritten = 0  # bytes of bodies since the last flush
        self._liveness = Liveness()
        self._next_look: Handle | None = None
        self._http.initiate()
        self._flush()

    @property
    def is_usable(self) -> bool:
        """A stream may be started."""
        return not self.is_lost and self._http.is_usable

    # What exchanges do

    def begin(self, exchange: Exchange) -> None:
        """Start a stream; a short body that the windows allow goes with it, any other follows."""
        if not self.is_usable:
            self.owner.scheduler.drain(self.connection, self.owner.now())
            raise TransportFailure("ReadError", "the connection was closed before the request was written")
        if self._http.open_streams + len(self._resetting) >= self._http.allowed:
            # Handed out before the server allowed fewer: from our ACK on it may insist (RFC 9113, 5.1.2).
            raise TransportFailure("ReadError", "the server allows fewer streams by now")
        body = exchange.request.body
        is_empty = isinstance(body, bytes) and not body
        exchange.stream = stream = self._http.start(exchange.request, end=is_empty)
        self._exchanges[stream] = exchange
        if is_empty:
            exchange.written = True
        elif isinstance(body, bytes) and self._takes_along(stream, body):
            exchange.written = True
            self._unwritten += self._http.send_body(stream, body, end=True)
        else:
            self._uploading[exchange] = None
        if exchange.written and self.is_alone:
            self._flush()
        else:
            self._flush_soon()
        if self._next_look is None:
            self._watch()

    def _takes_along(self, stream: int, body: bytes) -> bool:
        """Tell whether a body is short, and nothing speaks against writing it at once."""
        return len(body) <= SHORT_BODY and not self.is_full and self._http.fits(stream, body)

    def send(self, exchange: Exchange, data: memoryview) -> int:
        """Write as much as both windows allow."""
        if exchange.is_over:
            return len(data)
        taken = self._http.send_body(exchange.stream, data[:SLICE])
        if taken:  # others go first next time
            del self._uploading[exchange]
            self._uploading[exchange] = None
        self._unwritten += taken
        self._flush_soon()
        return taken

    def end_request(self, exchange: Exchange) -> None:
        """End the body."""
        self._uploading.pop(exchange, None)
        exchange.written = True
        if not exchange.is_over:
            self._http.send_body(exchange.stream, b"", end=True)
            self._flush_soon()

    def consumed(self, exchange: Exchange, size: int) -> None:
        """Open the window of the stream by what the caller took."""
        self._http.credit(exchange.stream, size)
        self._flush_soon()

    def abandon(self, exchange: Exchange) -> None:
        """Reset the stream; its place may be free a little later (rule 15)."""
        self._uploading.pop(exchange, None)
        if self._exchanges.pop(exchange.stream, None) is None:
            self.leave(exchange)
            return
        is_free = self._http.reset(exchange.stream)
        if self._liveness.is_suspected:
            if is_free:  # else the reset has brought a PING along
                self._http.ping()
            self._liveness.ask(self.owner.now(), self._http.frames_received, suspicious=True)
            self._await_answer()
        self._flush_soon()
        self._leave_by_reset(exchange, is_free=is_free)

    def _leave_by_reset(self, exchange: Exchange, *, is_free: bool) -> None:
        """Give its place back, or when the server knows that it is free (rule 15)."""
        if is_free:
            self.leave(exchange)
        else:
            self._resetting[exchange.stream] = exchange

    def suspect(self) -> None:
        """Ask whether anybody is there (rule 14): one request waited in vain, and others may."""
        if not self.is_lost:
            self._liveness.suspect()

    def fail_all(self, failure: TransportFailure) -> None:
        """Fail the exchanges that are not over, each with an error of its own."""
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
        exchanges = [*self._exchanges.values(), *self._resetting.values()]
        self._exchanges.clear()
        self._resetting.clear()
        self._uploading.clear()
        for exchange in exchanges:
            own = TransportFailure(failure.kind, str(failure))
            own.__cause__ = failure.__cause__
            exchange.fail(own)
            self.leave(exchange)

    def say_goodbye(self) -> None:
        """Write a GOAWAY."""
        self._http.close()
        self._flush()

    # Writing: once for each turn of the loop, or when there is much, or when there is nothing to wait for

    def _flush_soon(self) -> None:
        if self._unwritten >= SLICE:  # whoever has more to send looks at `is_full`
            self._flush()
        elif not self._flushing and self._http.has_data_to_send:
            self._flushing = True
            self.owner.loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing, self._unwritten = False, 0
        if not self.is_lost and (buffers := self._http.data_to_send()):
            self.transport.write(buffers[0] if len(buffers) == 1 else b"".join(buffers))

    # What the transport calls

    def data_received(self, data: bytes) -> None:
        """Take what came, of whichever streams."""
        self._take_all(self._http.receive(data))
        if self._liveness.has_heard(self._http.frames_received):
            self._take_answer()
        if self._http.failure is not None and not self.is_lost:
            self._flush()
            self.give_up(self._http.failure)

    def eof_received(self) -> None:
        """The server will send no more."""
        self._take_all(self._http.receive_eof())
        self.give_up(TransportFailure("RemoteProtocolError", "Server disconnected"))

    def resume_writing(self) -> None:
        """The socket takes more."""
        super().resume_writing()
        self._wake_uploads()

    def _wake_uploads(self) -> None:
        for exchange in self._uploading:
            exchange.wake()

    def _take_all(self, events: Sequence[Event]) -> None:
        for event in events:
            if type(event) is StreamData:
                self._take_part(event)
            elif type(event) is StreamHead:
                self._take_head(event)
            elif type(event) is StreamEnd:
                self._end(event)
            else:
                self._take_other(event)
        self._flush_soon()

    def _take_other(self, event: Event) -> None:
        if isinstance(event, Allowed | Drain | Pong):
            self._take_of_connection(event)
        elif isinstance(event, SlotFreed):
            gone = self._resetting.pop(event.stream, None)
            if gone is not None:
                self.leave(gone)
        elif not event.stream:
            self._wake_uploads()
        elif (exchange := self._exchanges.get(event.stream)) is not None:
            if isinstance(event, StreamFailed):
                self._fail(exchange, event)
            else:
                exchange.wake()

    def _take_of_connection(self, event: Allowed | Drain | Pong) -> None:
        match event:
            case Allowed(streams):
                self.owner.scheduler.allow(self.connection, self.owner.now(), streams)
                self.owner.carry_out()
            case Drain(code, debug):
                self._drain(code, debug)
            case Pong():
                self._take_answer()

    def _take_part(self, event: StreamData) -> None:
        exchange = self._exchanges.get(event.stream)
        if exchange is None:
            return
        size = len(event.data)
        if size:
            exchange.take_part(event.data)
        if event.size > size:  # padding is read by nobody
            self._http.credit(event.stream, event.size - size)

    def _take_head(self, event: StreamHead) -> None:
        exchange = self._exchanges.get(event.stream)
        if exchange is not None:
            exchange.begun = True
            exchange.take_head(event.status, b"", event.headers)

    def _end(self, event: StreamEnd) -> None:
        exchange = self._exchanges.pop(event.stream, None)
        if exchange is None:
            return
        exchange.end()
        if exchange in self._uploading:  # RFC 9113, 8.1: the answer does not depend on the rest
            del self._uploading[exchange]
            self._leave_by_reset(exchange, is_free=self._http.reset(exchange.stream))
        else:
            self.leave(exchange)

    def _fail(self, exchange: Exchange, event: StreamFailed) -> None:
        del self._exchanges[exchange.stream]
        self._uploading.pop(exchange, None)
        if event.refused:
            self.owner.scheduler.refused(self.connection, self.owner.now())
        exchange.fail(event.failure, unprocessed=event.unprocessed)
        self.leave(exchange)

    def _drain(self, code: int, debug: bytes) -> None:
        self._liveness.take_goaway(code, debug)
        self.owner.scheduler.drain(self.connection, self.owner.now())
        self.owner.carry_out()

    # Rule 14: is anybody there?

    def _watch(self) -> None:
        if not self.is_lost:
            self._liveness.watch(self.owner.now(), self._http.frames_received)
            self._look_later()

    def _look(self) -> None:
        owner, frames = self.owner, self._http.frames_received
        match self._liveness.look(owner.now(), frames, streams=bool(self._exchanges)):
            case Sign.NOTHING:
                pass
            case Sign.SILENT:
                self._http.ping()
                self._await_answer()
                self._flush_soon()
            case Sign.ALIVE:
                owner.scheduler.resume(self.connection, owner.now())
            case Sign.DOUBTFUL:
                owner.scheduler.drain(self.connection, owner.now())
            case Sign.DEAD:
                self.give_up(TransportFailure("ReadError", f"no answer to a PING for {PING_PATIENCE} s"))
        owner.carry_out()
        self._look_later()

    def _await_answer(self) -> None:
        self.owner.scheduler.suspend(self.connection)
        self._look_later()

    def _take_answer(self) -> None:
        owner = self.owner
        now, streams = owner.now(), bool(self._exchanges)
        self._liveness.take_answer(now, self._http.frames_received, streams=streams)
        owner.scheduler.resume(self.connection, now)
        owner.carry_out()
        self._look_later()

    def _look_later(self) -> None:
        if self._next_look is not None:
            self._next_look.cancel()
            self._next_look = None
        if self._liveness.is_watching and not self.is_lost:
            seconds = self._liveness.due - self.owner.now()
            self._next_look = self.owner.loop.call_later(seconds, self._look)
