"""
Requests of threads on connections of our own.

A request asks the scheduler for a connection, is written and its answer read in the thread that asked;
whatever strikes, it leaves by the same step, which does not wait. What the scheduler decides is carried out
by whoever made it decide, after the lock was released: threads that wait are woken, dials run in threads of
their own, connections are closed.
"""

from __future__ import annotations

import functools
import math
import os
import random
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Final, TypeVar, TypeVarTuple, cast

from pool_manager.config import Limits, PoolConfig
from pool_manager.core.closeups import CloseUp
from pool_manager.core.effects import Close, Dial, Effect, Tell, Wake
from pool_manager.core.forwarding import forwarded, forwards
from pool_manager.core.keys import key_of
from pool_manager.core.lanes import Lanes
from pool_manager.core.messages import Request, SyncResponse, TransportFailure
from pool_manager.core.origins import Connection, OriginKey
from pool_manager.core.replay import Replays
from pool_manager.core.scheduler import Scheduler
from pool_manager.core.snapshots import Picture
from pool_manager.errors import PoolError
from pool_manager.events import Audience
from pool_manager.guarding import Guard, struck
from pool_manager.runtimes.answering import clock, delay_of, extensions_of, is_upgraded, record_of
from pool_manager.runtimes.on_threads.carriers import Carrier
from pool_manager.runtimes.on_threads.dialing import Dialer
from pool_manager.runtimes.on_threads.exchanges import Exchange
from pool_manager.runtimes.on_threads.http1 import Http1Carrier
from pool_manager.runtimes.on_threads.http2 import Http2Carrier
from pool_manager.runtimes.on_threads.jobs import work_off
from pool_manager.runtimes.on_threads.opening import Opening
from pool_manager.runtimes.on_threads.queueing import Queueing
from pool_manager.runtimes.on_threads.timekeeping import Timekeeper
from pool_manager.runtimes.on_threads.tracing import Tracer
from pool_manager.runtimes.on_threads.upgraded import UpgradedStream
from pool_manager.runtimes.on_threads.uploading import upload
from pool_manager.runtimes.on_threads.waiting import Waiter
from pool_manager.runtimes.on_threads.wires import Wire
from pool_manager.runtimes.tls import ContextCache
from pool_manager.stats import EngineStats

Ts = TypeVarTuple("Ts")
T = TypeVar("T")


class ThreadsEngine:
    """The engine of the threads' pool."""

    def __init__(
        self, config: PoolConfig, limits: Limits, lanes: Lanes, contexts: ContextCache, *, audience: Audience
    ) -> None:
        self._config = config
        self._new_book = functools.partial(Scheduler, config, limits, lanes, audience=audience)
        self._audience = audience
        self._dialer = Dialer(config, contexts)
        self._random = random.Random()  # noqa: S311 - jitter, no secret
        self._begin_anew()

    def _begin_anew(self) -> None:
        self._pid = os.getpid()
        self._guard = Guard()  # of the book
        self._late: deque[Callable[[], object]] = deque()  # moves of finalisers that interrupted another
        self._book = self._new_book()
        self._opening = Opening(self, self._dialer, self._carrier_on)
        self._carriers: dict[Carrier, None] = {}  # whose sockets are open
        self._queue = Queueing(self)
        self._timekeeper = Timekeeper(self._ring, self.now)  # who does it where nobody waits

    now = staticmethod(clock)

    def stats(self) -> EngineStats:
        """How things stand now."""
        now = self.now()
        if self._guard.is_held_here():  # as in `close_up`
            return self._book.picture(now).developed()
        return cast(Picture, self.decide(None, Scheduler.picture, now)).developed()

    def close_up(self) -> Iterator[str]:
        """Tell who holds which connection, and who waits, line by line; also to a signal's handler."""
        now = self.now()
        if self._guard.is_held_here():  # it has struck a move of this thread, and sees things as they are
            return self._book.close_up(now).lines()
        return cast(CloseUp, self.decide(None, Scheduler.close_up, now)).lines()

    # Requests

    def open(self, request: Request) -> SyncResponse:
        """
        Send *request* and wait for the head of its answer; again where that cannot do harm (rule 11).

        Raises:
            TransportFailure: It has none.

            PoolError: The pool is closed or overloaded.
        """
        key = key_of(request)
        if self._config.proxy is not None:
            request = forwarded(request, self._config.proxy)
        replays, number = Replays(), None
        tracer = Tracer.of(request)
        while True:
            exchange = Exchange(request)
            try:
                return self._send(exchange, key, number, tracer, replays)
            except BaseException as error:
                self._give_back(exchange)
                delay = delay_of(error, exchange, replays, self._random)
                if delay is None:
                    raise
            if exchange.ticket is not None:
                number = exchange.ticket.number
            if delay:
                time.sleep(delay)

    def _send(
        self, exchange: Exchange, key: OriginKey, number: int | None, tracer: Tracer | None, replays: Replays
    ) -> SyncResponse:
        """Send a request once, and wait for the head of its answer."""
        carrier = self._find_connection(exchange, key, number, tracer)
        carrier.begin(exchange)
        if tracer is not None:
            tracer.sent(exchange)
        if not exchange.written:
            upload(exchange)
        if not exchange.status:
            exchange.wait_for_head()
        if tracer is not None:
            tracer.answered(exchange)
        extensions = extensions_of(exchange)
        if is_upgraded(exchange):
            extensions["network_stream"] = UpgradedStream(exchange)
        return SyncResponse(
            status=exchange.status,
            headers=exchange.headers,
            extensions=extensions,
            record=record_of(exchange, queued_for=exchange.queued_for, attempts=replays.attempts),
            body=exchange,
        )

    def _find_connection(
        self, exchange: Exchange, key: OriginKey, number: int | None, tracer: Tracer | None
    ) -> Carrier:
        """Have a connection that is fresh, or an error. One that died while it was idle is no attempt."""
        if self._pid != os.getpid():  # a child that was forked behind Python's back
            self.disown()
            self._begin_anew()
        now = asked = self.now()
        while True:
            self.decide(None, _ask, exchange, key, now, number)
            ticket = exchange.ticket
            assert ticket is not None
            ticket.asked, number = asked, ticket.number
            if exchange.waiter is None or self._queue.wait(exchange, tracer):
                connection = ticket.connection
                assert connection is not None
                carrier: Carrier = connection.carrier
                if connection.requests == 1 or carrier.is_fresh():
                    return carrier
                self._give_back(exchange)
            now = self.now()

    def _give_back(self, exchange: Exchange) -> None:
        """Leave, from whichever state: the one way out for errors, timeouts and interrupts."""
        if exchange.waiter is not None:
            self._queue.leave(exchange.waiter)
        if exchange.started:
            exchange.close()
        elif exchange.ticket is not None and exchange.book is not None:
            connection = exchange.ticket.connection
            self.tell(exchange.book, _leave_unused, exchange.ticket, self.now())
            if connection is not None:
                cast(Carrier, connection.carrier).quit(exchange)

    def leave(self, exchange: Exchange, *, reusable: bool = True, keep_alive: float | None = None) -> None:
        """Give the ticket of *exchange* back. Never waits; safe to repeat."""
        book = exchange.book
        if not exchange.left and book is not None:
            self.tell(book, _leave, exchange, self.now(), reusable, keep_alive)
            exchange.left = True
            if book is not self._book and exchange.started:  # it is in nobody's book any more
                exchange.carrier.close()

    # What the scheduler decides

    def tell(
        self,
        book: Scheduler,
        move: Callable[[Scheduler, *Ts], object],
        *args: *Ts,
    ) -> None:
        """
        Make a move, and do what follows. Never waits for anything but the moves of other threads.

        A finaliser may have interrupted a move that this very thread is making: then it is made after that.
        """
        if self._guard.is_held_here():
            self._late.append(functools.partial(self.tell, book, move, *args))
        else:
            self.decide(book, move, *args)

    def parted(self, carrier: Carrier) -> None:
        """Know that the socket of *carrier* is closed."""
        self._carriers.pop(carrier, None)

    def later(self, job: Callable[[], object]) -> None:
        """Have *job* done by whoever makes the next move."""
        self._late.append(job)

    def decide(
        self,
        book: Scheduler | None,
        move: Callable[[Scheduler, *Ts], T],
        *args: *Ts,
    ) -> T | None:
        """
        Make a move under the lock, on *book* or the one that is in use then; carry out what follows from it.

        None if *book* was given up: nobody asks it any more.

        Where a move is broken off in its middle, by an interrupt, nobody knows how things stand: all that
        this scheduler knows of is closed, and another one begins.
        """
        if self._guard.is_held_here():
            raise struck()
        effects: list[Effect] = []
        try:
            with self._guard.lock:
                if book is None:
                    book = self._book
                elif book is not self._book:
                    return None
                try:
                    return move(book, *args)
                except (PoolError, TransportFailure):
                    raise
                except BaseException:
                    effects = self._start_over(book)
                    raise
                finally:  # without a call: in a call an interrupt may strike
                    if book.effects:
                        effects += book.effects
                        del book.effects[:]
        finally:
            if effects or self._late:
                # All of it may be done twice, and is, if an interrupt strikes.
                try:
                    self._follow_up(book, effects)
                except BaseException:
                    self._follow_up(book, effects)
                    raise
            if book is not None and book.deadlines.next < self._timekeeper.looks:
                self._timekeeper.hurry()

    def _follow_up(self, book: Scheduler | None, effects: list[Effect]) -> None:
        """Do what was decided, and what finalisers have left to be done. Safe to repeat."""
        if book is not None:
            self._carry_out(book, effects)
        work_off(self._late)

    def _ring(self) -> float:
        """Do what is due; tell when the next is, infinity if nothing is left."""
        now = self.now()
        if now >= self._book.deadlines.next:
            self.tell(self._book, Scheduler.tick, now)
        deadlines = self._book.deadlines
        return deadlines.next if len(deadlines) else math.inf

    def _start_over(self, book: Scheduler) -> list[Effect]:
        """Give up a scheduler; who waits will ask the next one, and what is out on its connections fails."""
        if book is not self._book:
            return []
        self._book = self._new_book()
        book.effects.clear()
        self._queue.wake_all()
        # Not those of its book: it may have been about to close one.
        return [Close(carrier.connection) for carrier in [*self._carriers] if carrier.book is book]

    def _carry_out(self, book: Scheduler, effects: list[Effect]) -> None:
        """Do what was decided. Safe to repeat, also where it was broken off."""
        for effect in effects:
            self._do(book, effect)

    def _do(self, book: Scheduler, effect: Effect) -> None:
        match effect:
            case Wake(ticket):
                if ticket.waiter is not None:
                    cast(Waiter, ticket.waiter).wake()
            case Dial(connection):
                self._opening.begin(book, connection)
            case Close(connection):
                self._opening.give_up(connection)
                if connection.carrier is not None:
                    cast(Carrier, connection.carrier).close()
            case Tell() if not effect.told:
                effect.told = True
                self._audience.tell(effect.what, effect.event)
            case Tell():
                pass

    def _carrier_on(self, wire: Wire, book: Scheduler, connection: Connection) -> Carrier:
        """Choose by ALPN, or by prior knowledge."""
        config = self._config
        only_http2 = not config.http1 and not forwards(config.proxy, connection.origin.key.scheme)
        is_http2 = wire.alpn == "h2" or only_http2
        carrier = (Http2Carrier if is_http2 else Http1Carrier)(self, book, connection, wire)
        self._carriers[carrier] = None
        return carrier

    # Closing

    def reset(self) -> None:
        """Take no new request on the connections there are."""
        self.tell(self._book, Scheduler.reset, self.now())

    def close(self) -> None:
        """Close every connection; requests still out fail. Safe to repeat."""
        self.tell(self._book, Scheduler.close, self.now())
        self._timekeeper.stop()

    def abandon(self) -> None:
        """As `close`: threads need no loop for it."""
        self.close()

    def disown(self) -> None:
        """Park every socket of the parent's on /dev/null: nothing is sent, nothing stays open."""
        carriers = [*self._carriers]
        self._begin_anew()  # new locks: a thread of the parent may hold the old ones for ever
        self._book.close(self.now())
        for carrier in carriers:
            carrier.disown()


def _ask(book: Scheduler, exchange: Exchange, key: OriginKey, now: float, number: int | None) -> None:
    """Ask for a connection; what is due is done first."""
    if now >= book.deadlines.next:
        book.tick(now)
    exchange.book = book
    ticket = exchange.ticket = book.ask(key, now, number, exchange.request)
    if ticket.connection is None:
        ticket.waiter = exchange.waiter = Waiter()


def _leave(
    book: Scheduler,
    exchange: Exchange,
    now: float,
    reusable: bool,  # noqa: FBT001 - moves take what they need by position
    keep_alive: float | None,
) -> None:
    """Give the ticket back, if there is one yet."""
    if exchange.ticket is not None:
        book.leave(exchange.ticket, now, reusable=reusable, keep_alive=keep_alive, status=exchange.status)


_leave_unused: Final = functools.partial(Scheduler.leave, used=False)
