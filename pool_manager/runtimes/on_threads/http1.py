"""A connection that speaks HTTP/1.1: the thread that has it writes, and reads, itself."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from typing import Final

from pool_manager.core.forwarding import SETTLING_TIME, is_forwarded
from pool_manager.core.http1 import End, Event, Head, Http1Connection, Switched
from pool_manager.core.leftovers import MAX_DRAINED, is_worth_reading
from pool_manager.core.messages import Request, TransportFailure
from pool_manager.core.origins import Connection
from pool_manager.core.scheduler import Scheduler
from pool_manager.runtimes.on_threads.carriers import Carrier, Owner, broken, closed
from pool_manager.runtimes.on_threads.exchanges import Exchange
from pool_manager.runtimes.on_threads.uploading import is_needless, wait_to_send
from pool_manager.runtimes.on_threads.wires import READABLE, WRITABLE, Wire

# Bytes of an early answer that are kept while the request is still being sent.
HIGH_WATER: Final = 1024 * 1024

# Rule 16: an answer that nobody wants is read to its end if that is near, so that the connection lives on.
# There is no task to do it in. Where the length is known, who takes the connection next reads what is left,
# and finds it complete or takes another. Else a server may go on for ever, and shall know at once that it
# need not: whoever closes the answer looks for the end, and is held up by it for no longer than this.
DRAIN_TIME: Final = 0.005

# Parts of a request up to this many bytes are written as one: two system calls cost more than a copy.
JOINED: Final = 64 * 1024


class Http1Carrier(Carrier):
    """
    One HTTP/1.1 connection.

    It is used by one thread at a time. `close` may come from any: it cuts the socket of a thread that is
    there, which closes it itself when it finds out, so that no number of a file is used after its end.

    An answer may be closed by another thread than reads it, at any instant. So who reads says so first
    (`Exchange.is_read`) and looks then whether the answer is still to be read (`_current`); who closes does
    both in the other order: one of the two sees what the other has done.

    Attributes:
        is_written: A thread writes, or is about to, what is no longer HTTP.
    """

    http_version = b"HTTP/1.1"
    is_written = False

    def __init__(self, owner: Owner, book: Scheduler, connection: Connection, wire: Wire) -> None:
        super().__init__(owner, book, connection, wire)
        self._http = Http1Connection()
        self._current: Exchange | None = None
        self._unsent: bytes | memoryview = b""
        self._is_mute = False  # nothing can be sent any more, but an answer may be there
        self._switched = False
        self._is_awaited = False  # somebody waits for more, or has done so in vain
        self._reader: Exchange | None = None  # for which a thread is in the middle of a call on the socket
        self._answered = 0.0  # when a proxy last did
        self._has_left_over = False  # of an answer that nobody wanted; who comes next reads it

    # What exchanges do

    def is_fresh(self) -> bool:
        """Tell whether the server has kept silent: what comes unasked is given to nobody (rule 12)."""
        silent = False
        try:
            silent = self._is_silent()
        except OSError:
            pass
        finally:
            if not silent:  # an interrupt may have lost what was read: `quit` closes it
                self.is_lost = True
        if not silent:
            self.lose()
            self.close()
        return silent

    def _is_silent(self) -> bool:
        if self._answered and (left := self._answered + SETTLING_TIME - time.monotonic()) > 0:
            self.wire.wait(READABLE, left)
        if self._has_left_over:
            self._read_left_over()
            if self._has_left_over:
                return False
        received = self.wire.receive_unasked()
        # TLS may have had something to say to itself.
        return received is None or not (self.wire.decode(received) or self.wire.ended)

    def quit(self, exchange: Exchange) -> None:
        """Close a connection that is lost, unless another uses it."""
        if self.is_lost:
            if self._current is exchange is not self._reader:
                self._current = None
            if not self._is_used:
                self.lose()
                self.part()

    def begin(self, exchange: Exchange) -> None:
        """Write the head, and a body that is short together with it."""
        exchange.start(self)
        self._current = exchange  # only now: who was not started does not clear it
        request = exchange.request
        try:
            data = self._head(request)
        except TransportFailure:
            exchange.unstart()
            self._current = None
            raise
        body = request.body
        if isinstance(body, bytes) and len(body) <= JOINED:
            if body:
                data = b"".join((data, *self._framed(body)))
            data += self._end_of_body()
            exchange.written = True
        self._write(exchange, data)
        while self._unsent and not is_needless(exchange):
            wait_to_send(exchange)

    def send(self, exchange: Exchange, data: memoryview) -> int:
        """Write a part of the body, once the socket has taken the one before."""
        if self._unsent:
            self._flush(exchange, self._unsent)
        if self._unsent:
            return 0
        buffers = self._framed(data)
        self._write(exchange, buffers[0] if len(buffers) == 1 else b"".join(buffers))
        return len(data)

    def wait_to_send(self, exchange: Exchange, seconds: float | None) -> bool:
        """Wait until the socket takes more, or an answer is there."""
        events = WRITABLE if exchange.buffered > HIGH_WATER else WRITABLE | READABLE
        happened = self.wire.wait(events, seconds)
        if happened & READABLE:
            self.look(exchange)
        if happened & WRITABLE:
            self._flush(exchange, self._unsent)
        return bool(happened)

    def look(self, exchange: Exchange) -> None:
        """Read what is there of the answer."""
        if self._current is exchange and exchange.buffered <= HIGH_WATER:
            try:
                received = self.wire.receive_now()
            except OSError as error:
                self._give_up(exchange, self._failure(exchange, error))
                return
            if received is not None:
                self._feed(exchange, received)

    def has_all_of(self, exchange: Exchange) -> bool:
        """Tell whether all bytes that the head announced are written."""
        return self._current is exchange and self._http.has_whole_body and not self._unsent

    def end_request(self, exchange: Exchange) -> None:
        """End the body."""
        end = self._end_of_body()
        if end:
            self._write(exchange, end)
        while self._unsent and not is_needless(exchange):
            wait_to_send(exchange)
        if not (self._unsent or self._is_mute):
            exchange.written = True
            if exchange.ended:
                self._finish(exchange)

    def pull(self, exchange: Exchange, seconds: float | None) -> bool:
        """Wait for the next bytes of the answer."""
        exchange.is_read = True
        try:
            if self._current is not exchange:
                return True
            self._reader, self._is_awaited = exchange, True
            received = self.wire.receive(seconds)
            if received is None:
                return False
            self._feed(exchange, received)
            if self._current is exchange:
                self._is_awaited = False
        except OSError as error:
            self._give_up(exchange, self._failure(exchange, error))
        finally:
            exchange.is_read = False
            if self._reader is exchange:  # else the answer has ended, and the next one is being read
                self._reader = None
                self.close_if_unused()
        return True

    def consumed(self, exchange: Exchange, size: int) -> None:
        """Nothing to do: no more is read than somebody asks for."""

    def abandon(self, exchange: Exchange, *, in_passing: bool) -> None:
        """Have the answer read to its end if that is near (rule 16); else have the connection closed."""
        reusable = False
        if self._current is exchange:
            self._current = None
            if not exchange.is_read:  # else another thread finds out, and closes the connection
                reusable = self._leave_over(exchange, 0.0 if in_passing else DRAIN_TIME)
        self.owner.leave(exchange, reusable=reusable, keep_alive=self._http.keep_alive_timeout)
        self.close_if_unused()

    def suspect(self) -> None:
        """Nothing to find out: the request will leave, and the connection close with it."""

    def close(self) -> None:
        """Close the socket, or have the thread that uses it do so."""
        self.is_lost = True
        # In this order, and who uses it in the other: one of the two threads sees what the other has done.
        if self._is_used:
            self.wire.cut()
        else:
            self.part(b"")

    @property
    def _is_used(self) -> bool:
        """A thread is, or may be, in the middle of a call on the socket."""
        return self._current is not None or self._reader is not None or self.is_written

    def close_if_unused(self) -> None:
        """Close the socket of a connection that is lost; else whoever uses it comes by here."""
        if self.is_lost and not self._is_used:
            self.part()

    def disown(self) -> None:
        """Let the socket go."""
        self.is_lost, self._current, self._reader = True, None, None
        self.park()

    # Writing

    def _head(self, request: Request) -> bytes:
        if self.is_lost:
            raise TransportFailure("ReadError", "the connection was closed before the request was written")
        self._is_awaited = False
        return self._http.start(request)

    def _framed(self, data: bytes | memoryview) -> tuple[bytes | memoryview, ...]:
        try:
            return self._http.send_body(data)
        except TransportFailure:
            self._is_mute = True  # what was announced will not come
            raise

    def _end_of_body(self) -> bytes:
        try:
            return self._http.end_of_body()
        except TransportFailure:
            self._is_mute = True
            raise

    def _write(self, exchange: Exchange, data: bytes | memoryview) -> None:
        if not self._is_mute:
            data = self.wire.encode(data)
            self._flush(exchange, b"".join((self._unsent, data)) if self._unsent else data)

    def _reply(self) -> None:
        """Send what TLS has to say. If that fails, it is heard of behind what was read already."""
        try:
            data = b"".join((self._unsent, self.wire.encode(b"")))
            self._unsent = memoryview(data)[self.wire.send_now(data) :]
        except OSError:
            self._unsent, self._is_mute = b"", True

    def _flush(self, exchange: Exchange, data: bytes | memoryview) -> None:
        self._unsent = data
        try:
            sent = self.wire.send_now(data)
            self._unsent = memoryview(data)[sent:] if sent < len(data) else b""
        except OSError as error:
            self._unsent, self._is_mute = b"", True
            self._hear_last_words(exchange, error)

    def _hear_last_words(self, exchange: Exchange, error: OSError) -> None:
        """Nothing more can be sent. The server may have said why before it closed."""
        failure = self._failure(exchange, error)
        try:
            while self._current is exchange and (received := self.wire.receive_now()) is not None:
                self._feed(exchange, received, failure)
        except OSError:
            pass
        if not exchange.status:
            self._give_up(exchange, failure)

    def _failure(self, exchange: Exchange, error: OSError) -> TransportFailure:
        """Say how the connection broke: while the request was being written, or later."""
        if self.is_lost:
            return closed()
        return broken(error, "ReadError" if exchange.written or exchange.begun else "WriteError")

    # Reading

    def _feed(self, exchange: Exchange, received: bytes, eof: TransportFailure | None = None) -> None:
        """Take what came; if it is the end, and means that the answer is missing, *eof* says so better."""
        wire = self.wire
        try:
            data = wire.decode(received)
            if (
                wire.has_reply and not self._is_mute
            ):  # first: with the end of the answer the connection may be another thread's
                self._reply()
            if data:
                exchange.begun = True
                self._take(exchange, self._http.receive(data))
            if wire.ended and self._current is exchange:
                self._take(exchange, self._http.receive_eof())
                if self._switched:
                    exchange.end()
                self._give_up(exchange, TransportFailure("RemoteProtocolError", "Server disconnected"))
        except OSError as error:
            self._give_up(exchange, self._failure(exchange, error))
        except TransportFailure as failure:
            told = failure if exchange.begun or eof is None else eof
            self._give_up(exchange, closed() if self.is_lost else told)

    def _take(self, exchange: Exchange, events: Sequence[Event]) -> None:
        for event in events:
            if type(event) is bytes:
                exchange.take_part(event)
            elif type(event) is Head:
                self.http_version = event.http_version
                exchange.take_head(event.status, event.reason, event.headers)
            elif type(event) is End:
                exchange.end()
                if exchange.written:
                    self._finish(exchange)
            elif type(event) is Switched:
                self._switched = True
                if event.data:
                    exchange.take_part(event.data)
            elif type(event) is TransportFailure:
                raise event

    def _is_worth_reading(self, exchange: Exchange) -> bool:
        return (
            not (self.is_lost or self._switched or self._is_awaited or self._unsent)
            and bool(exchange.status and exchange.written)
            and is_worth_reading(self._http)
        )

    def _leave_over(self, exchange: Exchange, seconds: float) -> bool:
        """Leave the rest of an answer to who comes next, or look for its end; tell whether that is near."""
        if not self._is_worth_reading(exchange):
            return False
        self._has_left_over = True
        if self._http.body_left is None:
            with contextlib.suppress(OSError):
                self._drain(seconds)
            if self._has_left_over:
                return False
        if is_forwarded(exchange.request):
            self._answered = time.monotonic()
        return True

    def _drain(self, seconds: float) -> None:
        until, room = time.monotonic() + seconds, MAX_DRAINED
        while True:
            room -= self._read_left_over(room)
            if room <= 0 or self.wire.ended or not self._has_left_over:
                return
            if not self.wire.wait(READABLE, until - time.monotonic()):
                return

    def _read_left_over(self, room: int = MAX_DRAINED) -> int:
        """Read what is there of an answer that nobody wants, about *room* bytes at most; give its size."""
        http, wire, size = self._http, self.wire, 0
        while self._has_left_over and not wire.ended and size < room:
            received = wire.receive_now()
            if received is None:
                break
            size += len(received)
            try:
                http.receive(wire.decode(received))
            except TransportFailure:
                return room
            self._has_left_over = not http.is_idle or wire.ended
        return size

    # The end

    def _finish(self, exchange: Exchange) -> None:
        """The exchange is complete on both sides."""
        http = self._http
        reusable = http.is_idle and not (self.wire.ended or self._is_mute)
        self._current = None
        if is_forwarded(exchange.request):
            self._answered = time.monotonic()
        self.owner.leave(exchange, reusable=reusable, keep_alive=http.keep_alive_timeout)
        if self.is_lost and self._current is None:  # else another thread has it by now, and will find out
            self.part()

    def _give_up(self, exchange: Exchange, failure: TransportFailure) -> None:
        """The connection cannot go on."""
        exchange.fail(failure)
        self._current = None
        self.lose()
        self.owner.leave(exchange, reusable=False)
        self.part()
