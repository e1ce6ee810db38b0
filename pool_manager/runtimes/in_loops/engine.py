"""
Requests of one event loop on connections of our own.

A request asks the scheduler for a connection, is written, and its answer read; whatever strikes at whichever
await, it leaves by the same step, which is not an await. What the scheduler decides is carried out at once:
tasks that wait are woken, dials run in tasks of the engine's own, connections are closed.
"""

from __future__ import annotations

import contextlib
import contextvars
import math
import random
from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterator, Sequence
from typing import Any, ClassVar, Final, cast

from pool_manager.config import Limits, PoolConfig
from pool_manager.core.effects import Dial, Effect, Tell, Wake
from pool_manager.core.endpoints import AddressInfo
from pool_manager.core.forwarding import forwarded, forwards
from pool_manager.core.keys import key_of
from pool_manager.core.lanes import Lanes
from pool_manager.core.messages import AsyncResponse, Request, TransportFailure
from pool_manager.core.origins import Connection, OriginKey, Phase, Ticket
from pool_manager.core.replay import Replays
from pool_manager.core.scheduler import Scheduler
from pool_manager.core.waits import too_late, wait_of
from pool_manager.events import Audience
from pool_manager.runtimes.addresses import Address, Guide
from pool_manager.runtimes.answering import delay_of, extensions_of, is_upgraded, record_of
from pool_manager.runtimes.in_loops.booking import Book, settled
from pool_manager.runtimes.in_loops.carriers import Carrier, Greeter, Outbox
from pool_manager.runtimes.in_loops.exchanges import Exchange
from pool_manager.runtimes.in_loops.parking import park
from pool_manager.runtimes.in_loops.port import Dials, Handle, Loop, Task, Transport
from pool_manager.runtimes.in_loops.sleeping import Sleeper, Timers, pause
from pool_manager.runtimes.in_loops.tracing import Tracer
from pool_manager.runtimes.in_loops.upgraded import UpgradedStream
from pool_manager.runtimes.in_loops.uploading import upload
from pool_manager.stats import EngineStats

# Rule 13: what falls due together is done together, and the loop is not woken for each. Queues are looked at
# every 25 ms (rule 9).
_SHORTEST_NAP: Final = 0.01


class LoopEngine(ABC):
    """
    The engine of a pool whose requests are tasks of one thread.

    Attributes:
        exchange_type: What becomes of requests.

        timers_type: What knows when they expire.
    """

    exchange_type: ClassVar[type[Exchange]] = Exchange
    timers_type: ClassVar[type[Timers]] = Timers

    def __init__(
        self,
        loop: Loop,
        dials: Dials,
        config: PoolConfig,
        limits: Limits,
        lanes: Lanes,
        *,
        audience: Audience,
    ) -> None:
        self.loop = loop
        self.timers = self.timers_type(self.loop)
        self.outbox = Outbox(self.loop)
        self._book = Book(config, limits, lanes, audience=audience)
        self.scheduler: Scheduler = self._book
        self._audience = audience
        self._config = config
        self._dialer = dials
        self._dials: dict[Connection, Task] = {}
        self._alarm: Handle | None = None
        self._alarm_at = math.inf
        self._carrying_out = False
        self._random = random.Random()  # noqa: S311 - jitter, no secret

    @abstractmethod
    def now(self) -> float:
        """Tell the scheduler's time: while the loop stands still it does, too."""

    def now_anywhere(self) -> float:
        """Tell the scheduler's time in any thread."""
        return self.now()

    @abstractmethod
    def sever(self, transport: Transport) -> None:
        """Close a socket at once, also where the loop is over. Never raises."""

    def stats(self) -> EngineStats:
        """How things stand now, told to any thread."""
        book, now = self._book, self.now_anywhere()
        return settled(book, lambda: book.picture(now)).developed()

    def close_up(self) -> Iterator[str]:
        """Tell who holds which connection, and who waits, line by line; to any thread."""
        book, now = self._book, self.now_anywhere()
        return settled(book, lambda: book.close_up(now)).lines()

    # Requests

    async def open(self, request: Request) -> AsyncResponse:
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
        while True:
            exchange = self.exchange_type(self.timers, request, self._ask(key, number, request))
            try:
                return await self._send(exchange, replays)
            except BaseException as error:
                self._give_back(exchange)
                delay = delay_of(error, exchange, replays, self._random)
                if delay is None:
                    raise
            number = exchange.ticket.number
            if delay:
                await pause(self.loop, delay)

    def _ask(self, key: OriginKey, number: int | None, request: Request) -> Ticket:
        try:
            return self.scheduler.ask(key, self.now(), number, request)
        finally:
            if self.scheduler.effects:  # also where it was turned away
                self.carry_out()

    async def _send(self, exchange: Exchange, replays: Replays) -> AsyncResponse:
        """Send a request once, and wait for the head of its answer."""
        request = exchange.request
        tracer = Tracer.of(request) if "trace" in request.extensions else None
        if exchange.ticket.connection is None:
            await self._wait_for_connection(exchange, tracer)
        if not exchange.started:
            self._begin(exchange)
        if tracer is not None:
            await tracer.sent(exchange)
        if not exchange.written:
            await upload(exchange)
        while not exchange.status:
            if exchange.failure is not None:
                raise exchange.failure
            await exchange.sleep(request.timeouts.get("read"))
            if exchange.overslept:
                raise exchange.too_slow(request.timeouts.get("read"))
        if tracer is not None:
            await tracer.answered(exchange)
        return self._answer(exchange, replays.attempts)

    async def _wait_for_connection(self, exchange: Exchange, tracer: Tracer | None) -> None:
        """
        Wait for a connection: in the queue by the pool timeout, else by that to connect.

        One that is eager may have been begun when this returns, and its answer be there: its task was woken
        once for both.
        """
        request, ticket = exchange.request, exchange.ticket
        ticket.waiter = exchange
        exchange.is_eager = tracer is None
        if self.scheduler.deadlines.next < self._alarm_at:
            self._set_alarm()  # the queue is looked at while it stands
        if tracer is not None:
            await tracer.waiting(request)
        now = ticket.asked
        while ticket.connection is None:
            if ticket.error is not None:
                raise ticket.error
            wait = wait_of(ticket, self.scheduler.dial_begun(ticket), request.timeouts, now)
            if wait.is_over:
                self._leave_queue(ticket, dialing=wait.dialing)
                raise too_late(request, wait)
            await exchange.sleep(wait.seconds)
            if exchange.overslept and exchange.started:
                raise exchange.too_slow(request.timeouts.get("read"))
            now = self.now()
        if exchange.failure is not None and not exchange.started:
            raise exchange.failure
        if tracer is not None:
            await tracer.connected(ticket)

    def _leave_queue(self, ticket: Ticket, *, dialing: bool) -> None:
        self.scheduler.leave(ticket, self.now(), dial_too_slow=dialing)
        self.carry_out()

    def _begin(self, exchange: Exchange) -> None:
        connection: Any = exchange.ticket.connection  # it has one, which has a `Carrier`
        carrier = exchange.carrier = connection.carrier
        carrier.begin(exchange)
        exchange.started = True

    def _give_back(self, exchange: Exchange) -> None:
        """Leave, from whichever state: the one way out for errors and cancellation."""
        if exchange.started:
            exchange.abandon()
        else:
            exchange.ticket.waiter = None
            exchange.wake()
            self.scheduler.leave(exchange.ticket, self.now(), used=False)
        self.carry_out()

    def _answer(self, exchange: Exchange, attempts: int) -> AsyncResponse:
        extensions = extensions_of(exchange)
        if is_upgraded(exchange):
            extensions["network_stream"] = UpgradedStream(exchange, Sleeper(self.timers))
        return AsyncResponse(
            status=exchange.status,
            headers=exchange.headers,
            extensions=extensions,
            record=record_of(exchange, queued_for=exchange.queued_for, attempts=attempts),
            body=exchange,
        )

    # What the scheduler decides

    def carry_out(self) -> None:
        """Do what the scheduler has decided, and set the alarm for what it will decide next."""
        scheduler = self.scheduler
        if scheduler.effects and not self._carrying_out:  # else who does sees to it: no stack of a thousand
            self._carrying_out = True
            try:
                while scheduler.effects:
                    for effect in scheduler.take_effects():
                        self._do(effect)
            finally:
                self._carrying_out = False
        if scheduler.deadlines.next < self._alarm_at:
            self._set_alarm()

    def _do(self, effect: Effect) -> None:
        if isinstance(effect, Wake):
            ticket = effect.ticket
            waiter, ticket.waiter = ticket.waiter, None  # who waits has the ticket: no circle is to be left
            if waiter is not None:
                self._tell(cast(Exchange, waiter))
        elif isinstance(effect, Dial):
            # In a context of its own: what the caller's holds is not the pool's to keep.
            dial = self._dial(effect.connection)
            self._dials[effect.connection] = self.loop.create_task(dial, context=contextvars.Context())
        elif isinstance(effect, Tell):
            self._audience.tell(effect.what, effect.event)
        else:
            self._close(effect.connection)

    def _close(self, connection: Connection) -> None:
        task = self._dials.pop(connection, None)
        if task is not None:
            task.cancel()
        elif connection.carrier is not None:
            cast(Carrier, connection.carrier).close()

    def _tell(self, exchange: Exchange) -> None:
        """Tell who waits that its wait for a connection is over; an eager one need not be woken for it."""
        exchange.queued_for = self.now() - exchange.ticket.asked
        if exchange.is_eager and exchange.ticket.connection is not None:
            try:
                self._begin(exchange)
            except Exception as error:  # noqa: BLE001 - it is the request's own, and raised where that is awaited
                exchange.fail(error)
            else:
                if exchange.written:
                    exchange.restart(exchange.request.timeouts.get("read"))
                    return
        exchange.wake()

    async def _dial(self, connection: Connection) -> None:
        """Open *connection*; whether somebody still wants it is for the scheduler to say (rule 4)."""
        scheme, host, port, server_name, _ = connection.origin.key
        address = Address(scheme, host, port, server_name)
        failure = TransportFailure("ConnectError", f"the dial of {host}:{port} was cancelled")
        carrier = None
        try:
            greeter = await self._dialer.dial(
                address, lambda: self._greet(connection), self._guide(connection)
            )
            carrier = greeter.carrier
            failure = TransportFailure("ConnectError", f"{host}:{port} closed the connection at once")
        except TransportFailure as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - whatever it is, who waits must hear of it
            failure = TransportFailure("ConnectError", f"cannot connect to {host}:{port}: {error!r}")
            failure.__cause__ = error
        finally:
            self._dials.pop(connection, None)
            self._dial_ended(connection, carrier, failure)

    def _guide(self, connection: Connection) -> Guide:
        def resolved(name: Hashable, found: Sequence[AddressInfo]) -> Sequence[AddressInfo]:
            return self.scheduler.resolved(connection, name, found, self.now())

        def reached(name: Hashable, tried: Sequence[AddressInfo], address: Hashable) -> None:
            self.scheduler.reached(connection, name, tried, address, self.now())
            self.carry_out()

        return Guide(resolved, reached)

    def _greet(self, connection: Connection) -> Greeter:
        config, scheme = self._config, connection.origin.key.scheme
        only_http2 = not config.http1 and not forwards(config.proxy, scheme)
        return Greeter(self, connection, prior_knowledge=only_http2)

    def _dial_ended(self, connection: Connection, carrier: Carrier | None, failure: TransportFailure) -> None:
        if connection.phase is not Phase.DIALING:
            if carrier is not None:
                carrier.close()
        elif carrier is not None and carrier.is_usable:
            connection.carrier = carrier
            self.scheduler.dialed(connection, self.now(), multiplexed=carrier.http_version == b"HTTP/2")
        else:
            if carrier is not None:
                carrier.close()
            self.scheduler.dial_failed(connection, self.now(), failure)
        self.carry_out()

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        self._alarm_at = self.scheduler.deadlines.next
        if self._alarm_at != math.inf:
            delay = max(self._alarm_at - self.now(), _SHORTEST_NAP)
            self._alarm = self.loop.call_later(delay, self._ring)

    def _ring(self) -> None:
        self._alarm, self._alarm_at = None, math.inf
        self.scheduler.tick(self.now())
        self.carry_out()
        if self._alarm is None:
            self._set_alarm()

    # Closing

    def reset(self) -> None:
        """Take no new request on the connections there are."""
        self.scheduler.reset(self.now())
        self.carry_out()

    def abandon(self) -> None:
        """Let every socket go at once, loop or no loop; requests still out fail."""
        connections = self.scheduler.connections()
        dials = [*self._dials.values()]
        self.scheduler.close(self.now())
        if not self.loop.is_closed():
            self.carry_out()
            self.timers.stop()
            if self._alarm is not None:
                self._alarm.cancel()
                self._alarm = None
        for task in dials:
            if self.loop.is_closed():
                with contextlib.suppress(Exception):
                    cast(Any, task.get_coro()).close()  # its `finally` lets go of the socket
        for connection in connections:
            if connection.carrier is not None:
                self.sever(cast(Carrier, connection.carrier).transport)
        self._dials.clear()

    def disown(self) -> None:
        """Park every socket of the parent's on /dev/null: nothing is sent, nothing stays open."""
        for connection in self.scheduler.connections():
            if connection.carrier is not None:
                park(cast(Carrier, connection.carrier).transport)

    async def aclose(self) -> None:
        """Close every connection, and let the loop see to it before this returns."""
        self.abandon()
        await pause(self.loop, 0)
