"""What a server says on one HTTP/2 connection, noted for those whom it concerns. All of it in steps."""

from __future__ import annotations

import functools
import time
from abc import abstractmethod

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
from pool_manager.core.scheduler import Scheduler
from pool_manager.runtimes.on_threads.carriers import Owner
from pool_manager.runtimes.on_threads.exchanges import Exchange
from pool_manager.runtimes.on_threads.leading import Readers
from pool_manager.runtimes.on_threads.steps import Stepwise
from pool_manager.runtimes.on_threads.wires import Wire


class Hearing(Stepwise):
    """
    A connection that hears HTTP/2.

    Attributes:
        http: Its state.

        exchanges: Those that are under way, by the numbers of their streams.

        resetting: Streams that are gone, but their places are not free yet (rule 15 of the pool).

        placeless: Who waits for such a place.

        uploading: Those whose requests are not complete.

        readers: Who reads for all, and who sleeps.

        life: Whether anybody is there.
    """

    def __init__(self, owner: Owner, book: Scheduler, connection: Connection, wire: Wire) -> None:
        super().__init__(owner, book, connection, wire)
        self.http = Http2Connection(first_streams=connection.streams)
        self.exchanges: dict[int, Exchange] = {}
        self.resetting: set[int] = set()
        self.placeless: dict[Exchange, None] = {}
        self.uploading: set[Exchange] = set()
        self.readers = Readers()
        self.life = Liveness()

    @abstractmethod
    def give_up(self, failure: TransportFailure) -> None:
        """Know that the connection cannot go on."""

    def take(self, event: Event) -> None:
        """Note what an event means."""
        if isinstance(event, StreamData | StreamHead | StreamEnd | StreamFailed):
            exchange = self.exchanges.get(event.stream)
            if exchange is not None:
                self._take_of_answer(exchange, event)
        elif isinstance(event, Allowed | Drain | Pong):
            self._take_of_connection(event)
        elif isinstance(event, SlotFreed):
            self.resetting.discard(event.stream)
            for placeless in self.placeless:
                self.note(placeless)
        else:
            self._take_of_request(event.stream)

    def _take_of_answer(
        self, exchange: Exchange, event: StreamData | StreamHead | StreamEnd | StreamFailed
    ) -> None:
        match event:
            case StreamData():
                self._take_part(exchange, event)
            case StreamHead(_, status, headers):
                exchange.begun = True
                exchange.take_head(status, b"", headers)
                self.note(exchange)
            case StreamEnd():
                self._end(exchange)
            case StreamFailed():
                self._fail(exchange, event)

    def _take_of_connection(self, event: Allowed | Drain | Pong) -> None:
        match event:
            case Allowed(streams):
                self.tell(Scheduler.allow, streams)
            case Drain(code, debug):
                self.life.take_goaway(code, debug)
                self.tell(Scheduler.drain)
            case Pong():
                pass  # a frame like any other: see `hear_life`

    def _take_of_request(self, stream: int) -> None:
        """One request may go on, or all of them."""
        exchange = self.exchanges.get(stream)
        for told in (exchange,) if exchange is not None else self.uploading if not stream else ():
            self.note(told)

    def _take_part(self, exchange: Exchange, event: StreamData) -> None:
        if event.data:
            exchange.take_part(event.data)
            self.note(exchange)
        if event.size > len(event.data):  # padding is read by nobody
            self.http.credit(event.stream, event.size - len(event.data))

    def _end(self, exchange: Exchange) -> None:
        exchange.end()
        del self.exchanges[exchange.stream]
        if exchange in self.uploading:  # RFC 9113, 8.1: the answer does not depend on the rest
            self.uploading.discard(exchange)
            self.http.reset(exchange.stream)
        self.note(exchange)
        self.reports.append(functools.partial(self.owner.leave, exchange))

    def _fail(self, exchange: Exchange, event: StreamFailed) -> None:
        del self.exchanges[exchange.stream]
        self.uploading.discard(exchange)
        if event.refused:
            self.tell(Scheduler.refused)
        exchange.fail(event.failure, unprocessed=event.unprocessed)
        self.note(exchange)
        self.reports.append(functools.partial(self.owner.leave, exchange))

    def note(self, exchange: Exchange) -> None:
        """There is news for *exchange*."""
        exchange.news = True
        self.readers.wake(exchange)

    def fail_all(self, failure: TransportFailure) -> None:
        """
        Fail the exchanges that are not over, each with an error of its own.

        Safe to repeat, also where it was broken off. Who sleeps and is not noted any more looks for itself.
        """
        for exchange in (*self.exchanges.values(), *self.placeless):
            self.fail(exchange, failure)
            self.note(exchange)
        for exchange in self.exchanges.values():
            self.reports.append(functools.partial(self.owner.leave, exchange))
        self.exchanges.clear()
        self.resetting.clear()
        self.uploading.clear()
        self.readers.wake_all()

    def fail(self, exchange: Exchange, failure: TransportFailure) -> None:
        """Fail *exchange*, unless it is over, with an error of its own."""
        own = TransportFailure(failure.kind, str(failure))
        own.__cause__ = failure.__cause__
        exchange.fail(own)

    def check_life(self) -> None:
        """
        Nothing has come for a while: ask whether anybody is there, or know that nobody is.

        Nobody is kept off the connection meanwhile, as it is done in loops: here it may be that nobody reads
        from it then. Who comes next asks for itself: see `is_fresh`.
        """
        frames = self.http.frames_received
        match self.life.look(time.monotonic(), frames, streams=bool(self.exchanges)):
            case Sign.SILENT:
                self.http.ping()
            case Sign.DOUBTFUL:
                self.tell(Scheduler.drain)
            case Sign.DEAD:
                self.give_up(TransportFailure("ReadError", f"no answer to a PING for {PING_PATIENCE} s"))
            case Sign.NOTHING | Sign.ALIVE:
                pass

    def hear_life(self) -> None:
        """Something has come, and may be an answer to a question."""
        frames = self.http.frames_received
        if self.life.has_heard(frames):
            self.life.take_answer(time.monotonic(), frames, streams=bool(self.exchanges))
