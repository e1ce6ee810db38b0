"""
A connection that speaks HTTP/2: many threads at once, of which one reads for all.

Rule 1: what the connection knows is changed by one *step* at a time, under a lock that is held for
microseconds. What follows from a step (threads to wake, news for the scheduler) is done after it.
Rule 2: one thread at a time *leads*: it waits for the socket, reads, and notes for each thread what has come.
The others sleep. Who leads goes on until its own answer has something new or its time is over; then one
of those who sleep leads.
Rule 3: one thread at a time sends, for all: who finds it at it leaves its frames to it. What the socket does
not take stays, and is sent by whoever leads or has more to send.
Rule 4: an interrupt in the middle of a step, of sending, or of reading (from the call that takes bytes off
the socket to the end of the step that takes them in) leaves nobody able to tell how things stand: the
connection is given up. While a thread sleeps or waits for the socket it does no harm.
Rule 5: whoever comes to wait on a connection that is lost learns so, whatever became of the news for it.
"""

from __future__ import annotations

import functools
import math
import time
from _thread import get_ident
from typing import Final, ParamSpec, TypeVar

from pool_manager.core.liveness import SUSPICION
from pool_manager.core.messages import TransportFailure
from pool_manager.core.origins import Connection, Phase
from pool_manager.core.scheduler import Scheduler
from pool_manager.guarding import struck
from pool_manager.runtimes.on_threads.carriers import Owner, broken, closed
from pool_manager.runtimes.on_threads.exchanges import Exchange
from pool_manager.runtimes.on_threads.leading import Readers, Role
from pool_manager.runtimes.on_threads.sending import Sending
from pool_manager.runtimes.on_threads.wires import READABLE, WRITABLE, Wire, takes_signals

P = ParamSpec("P")
T = TypeVar("T")

# A body up to this many bytes is sent together with its head.
JOINED: Final = 64 * 1024

# Seconds after which who waits for the socket looks around: whether something has to be sent, or asked.
SLICE: Final = 1.0


class Http2Carrier(Sending):
    """One HTTP/2 connection."""

    http_version = b"HTTP/2"

    def __init__(self, owner: Owner, book: Scheduler, connection: Connection, wire: Wire) -> None:
        super().__init__(owner, book, connection, wire)
        self.http.initiate()
        self.flush()

    @property
    def is_usable(self) -> bool:
        """A stream may be started."""
        return not self.is_lost and self.http.is_usable

    # What exchanges do

    def is_fresh(self) -> bool:
        """Read what came while nobody was there to do it: a PING, a GOAWAY, the end."""
        if self.readers.leader is None and not (self.exchanges or self.is_lost):
            self._read_as(object(), 0.0)
            self._await_answer()
            self.flush()
        if self.is_usable and self.connection.phase is Phase.OPEN:
            return True
        self.owner.tell(self.book, Scheduler.drain, self.connection, self.owner.now())
        return False

    def _await_answer(self) -> None:
        """If the server was asked whether it is there, see that it is before anything else is asked."""
        until = time.monotonic() + SUSPICION
        while self.life.is_asked and (left := min(until, self.life.due) - time.monotonic()) > 0:
            self._read_as(object(), left)
        if self.life.is_asked:
            self.owner.tell(self.book, Scheduler.drain, self.connection, self.owner.now())

    def glance(self) -> None:
        """Read what is there, if nobody else does."""
        if self.readers.leader is None and not self.is_lost:
            self._read_as(object(), 0.0)

    def quit(self, exchange: Exchange) -> None:
        """Lead and wait no more, and leave no socket open that nobody uses."""
        if (self.is_lost or self.readers.misses(exchange)) and not self.guard.is_held_here():
            self.step(self._quit, exchange)

    def begin(self, exchange: Exchange) -> None:
        """Start a stream; a body that is short goes along."""
        if get_ident() in (self.sender, self.readers.leader_thread):  # it would wait for itself
            raise struck()
        exchange.start(self)
        try:
            while not self.step(self._start, exchange):
                self._wait_for_place(exchange)
        except TransportFailure:
            exchange.unstart()
            raise
        self.flush()

    def send(self, exchange: Exchange, data: memoryview) -> int:
        """Write as much as both windows allow, once the socket has taken what was written before."""
        if exchange.is_over or self.is_mute:
            return len(data)
        if self.out:
            exchange.news = True  # by the time it waits, the socket may have taken all
            return 0
        taken = self.step(self.http.send_body, exchange.stream, data)
        self.flush()
        if not taken and self.queue:
            self.step(self.wake_next)
        return taken

    def wait_to_send(self, exchange: Exchange, seconds: float | None) -> bool:
        """Wait until a window opens or the socket takes more; something else may have come instead."""
        if not self.out:
            return self.pull(exchange, seconds)
        until, left = math.inf if seconds is None else time.monotonic() + seconds, seconds
        while self.out:
            limit = SLICE if left is None else min(left, SLICE)
            # While another sends, the socket takes more: how much is known when that thread has its answer.
            if self.sleep_until_sent(limit) if self.sender else self._poll(exchange, limit):
                return True
            if seconds is not None and (left := until - time.monotonic()) <= 0:
                return False
        return True

    def _poll(self, exchange: Exchange, seconds: float) -> bool:
        """Wait until the socket takes more, and hear what comes, if nobody else does; False if not."""
        leads = self.step(self._begin_to_poll, exchange)
        try:
            happened = self.wire.wait(WRITABLE | (READABLE if leads else 0), seconds)
            if leads and happened & READABLE:
                self._read(0.0)
        finally:
            self.step(self._end_to_poll, exchange, leads=leads)
        self.flush()
        return bool(happened)

    def look(self, exchange: Exchange) -> None:
        """Read what is there, unless somebody else does."""
        if self.readers.leader is None:
            self._read_as(exchange, 0.0)

    def end_request(self, exchange: Exchange) -> None:
        """End the body."""
        self.step(self._end_request, exchange)
        self.flush()

    def consumed(self, exchange: Exchange, size: int) -> None:
        """Open the window of the stream by what the caller took."""
        self.step(self.http.credit, exchange.stream, size)
        self.flush()

    def pull(self, exchange: Exchange, seconds: float | None) -> bool:
        """Wait until something has come for *exchange*: lead, or sleep while somebody else does."""
        until = 0.0 if seconds is None else time.monotonic() + seconds
        left = seconds
        try:
            while not exchange.news:
                if left is not None and left <= 0:
                    return False
                role = self.step(self._join, exchange)
                if role is Role.LEADS:
                    self._read(left)
                elif role is Role.SLEEPS and exchange.waiter is not None:
                    exchange.waiter.sleep(left)
                if seconds is not None and not exchange.news:
                    left = until - time.monotonic()
        finally:
            # Also if others wait and nobody leads: it may have been this one's turn, which has news.
            if self.readers.concern(exchange):
                self.step(self._resign, exchange)
        exchange.news = False
        return True

    def abandon(self, exchange: Exchange, *, in_passing: bool) -> None:  # noqa: ARG002 - it never waits
        """Reset the stream; its place may be free a little later (rule 15)."""
        if self.guard.is_held_here():  # a finaliser has interrupted a step of this very thread's
            self.owner.later(functools.partial(self.abandon, exchange, in_passing=True))
            return
        self.step(self._let_go, exchange)
        self.owner.leave(exchange)
        self.flush()

    def suspect(self) -> None:
        """Ask whether anybody is there (rule 14): one request waited in vain, and others may."""
        self.life.suspect()

    def close(self) -> None:
        """Say goodbye and close the socket, or have the threads that use it do so."""
        if self.guard.is_held_here():
            self.owner.later(self.close)
            return
        self.step(self._shut)

    def disown(self) -> None:
        """Let the socket go."""
        self.forget_lock()
        self.is_lost = self.is_mute = True
        self.exchanges.clear()
        self.readers, self.sender = Readers(), 0
        self.park()

    # Steps

    def _start(self, exchange: Exchange) -> bool:
        """Start a stream; False if there is no place yet."""
        if not self.is_usable:
            self.tell(Scheduler.drain)
            raise TransportFailure("ReadError", "the connection was closed before the request was written")
        http = self.http
        if http.open_streams + len(self.resetting) >= http.allowed:
            if not self.resetting:
                # Handed out before the server allowed fewer: from our ACK on it may insist (RFC 9113, 5.1.2).
                raise TransportFailure("ReadError", "the server allows fewer streams by now")
            self.placeless[exchange] = None
            return False
        self.placeless.pop(exchange, None)
        if not self.life.is_watching:
            self.life.watch(time.monotonic(), http.frames_received)
        body = exchange.request.body
        is_short = isinstance(body, bytes) and len(body) <= JOINED
        exchange.stream = stream = http.start(exchange.request, end=is_short and not body)
        self.exchanges[stream] = exchange
        if isinstance(body, bytes) and is_short:
            if body:
                exchange.sent = http.send_body(stream, body, end=True)
            exchange.written = exchange.sent == len(body)
        if not exchange.written:
            self.uploading.add(exchange)
        return True

    def _end_request(self, exchange: Exchange) -> None:
        self.uploading.discard(exchange)
        exchange.written = True
        if not (exchange.is_over or self.is_mute):  # what was "sent" since it is mute is not
            self.http.send_body(exchange.stream, b"", end=True)

    def _let_go(self, exchange: Exchange) -> None:
        self.uploading.discard(exchange)
        self.placeless.pop(exchange, None)
        exchange.news = True  # for another thread, if one reads it
        self.readers.wake(exchange)
        self._quit(exchange)
        if self.exchanges.pop(exchange.stream, None) is None:
            return
        is_free = self.http.reset(exchange.stream)
        if not is_free:
            self.resetting.add(exchange.stream)
        if self.life.is_suspected:
            self.life.ask(time.monotonic(), self.http.frames_received, suspicious=True)
            if is_free:
                self.http.ping()  # else the reset has brought one along

    def _join(self, exchange: Exchange) -> Role:
        """Lead if nobody does; else be woken when there is news, or when it is one's turn to lead."""
        if self.is_lost:
            self.fail(exchange, closed())
        if exchange.news or exchange.is_over:
            exchange.news = True
            return Role.NONE
        return self.readers.join(exchange)

    def _resign(self, somebody: object) -> None:
        """Lead no more, and wait no more; somebody else leads."""
        self.readers.resign(somebody)
        self.close_if_unused()

    def _quit(self, somebody: object) -> None:
        """Lead and wait no more, whatever was begun: an interrupt may have struck where that was to end."""
        self.readers.quit(somebody)
        self.close_if_unused()

    def _begin_to_poll(self, exchange: Exchange) -> bool:
        return self.readers.poll(exchange)

    def _end_to_poll(self, exchange: Exchange, *, leads: bool) -> None:
        self.readers.poll_no_more()
        if leads:
            self.readers.resign(exchange)
        self.close_if_unused()

    def _shut(self) -> None:
        if self.is_lost:
            return
        self.is_lost = True
        if self.is_used:
            self.wire.cut()
        else:
            self.http.close()
            self.reports.append(functools.partial(self.part, b"".join(self.http.data_to_send())))
        self.fail_all(closed())

    # Reading: whoever leads

    def _read_as(self, somebody: object, seconds: float) -> None:
        """Lead for once, if nobody does."""
        try:
            if self.step(self.readers.lead, somebody):
                self._read(seconds)
        finally:
            if self.readers.leader is somebody:
                self.step(self._resign, somebody)

    def _read(self, seconds: float | None) -> None:
        """Wait for bytes for so many *seconds*, or less, and take them."""
        if self._wait_to_read(seconds):
            try:
                self._take_in(seconds)
            except BaseException:  # nobody knows whether bytes were taken off the socket
                self.step(self.give_up_interrupted)
                raise
        elif seconds is None or seconds > 0:
            self.step(self.check_life)
        self.flush()

    def _wait_to_read(self, seconds: float | None) -> bool:
        """Wait, where a call that reads must not: tell whether to make that call."""
        if seconds is not None and seconds <= 0:
            return True
        limit = SLICE if seconds is None else min(seconds, SLICE)
        if self.out and not (self.is_mute or self.sender):  # the socket was full
            return bool(self.wire.wait(READABLE | WRITABLE, limit) & READABLE)
        # A short wait; or that of the main thread, which an interrupt may end: not in a call that reads.
        return self._may_read_slowly(seconds) or bool(self.wire.wait(READABLE, limit))

    def _may_read_slowly(self, seconds: float | None) -> bool:
        """Tell whether the kernel waits, in the call that reads."""
        if self.out and not (self.is_mute or self.sender):
            return False
        return (seconds is None or seconds >= SLICE) and not takes_signals()

    def _take_in(self, seconds: float | None) -> None:
        """Read, and take what came."""
        try:
            received = self.wire.receive(SLICE) if self._may_read_slowly(seconds) else self.wire.receive_now()
        except OSError as error:
            self.step(self.give_up, closed() if self.is_lost else broken(error))
            return
        if received is not None:
            self.step(self._feed, received)
        elif seconds is None or seconds > 0:
            self.step(self.check_life)

    def _feed(self, received: bytes) -> None:
        """Take what came, of whichever streams."""
        http = self.http
        try:
            data = self.wire.decode(received)
        except OSError as error:
            self.give_up(broken(error))
            return
        if data:
            for event in http.receive(data):
                self.take(event)
            self.hear_life()
            if http.failure is not None:
                self.say_last_words()
                self.give_up(http.failure)
        if self.wire.ended:
            for event in http.receive_eof():
                self.take(event)
            self.give_up(
                closed() if self.is_lost else TransportFailure("RemoteProtocolError", "Server disconnected")
            )

    # Places that are not free yet

    def _wait_for_place(self, exchange: Exchange) -> None:
        """
        Wait until the server has answered for streams that were reset (rule 15).

        It is who needs a place that waits, not who left it: no thread stays behind to read.

        Raises:
            TransportFailure: It does not answer in time, or the connection is no more.
        """
        seconds = exchange.request.timeouts.get("pool")
        if not self.pull(exchange, SUSPICION if seconds is None else min(seconds, SUSPICION)):
            self.step(self._let_go, exchange)
            if seconds is not None and seconds <= SUSPICION:
                raise TransportFailure("PoolTimeout", f"no connection came free in {seconds} s")
            self.owner.tell(self.book, Scheduler.drain, self.connection, self.owner.now())
            raise TransportFailure(
                "ReadError", "the server does not say that it has heard of streams that end"
            )
        if exchange.failure is not None:
            raise exchange.failure

    # Rule 14 of the pool: is anybody there?
