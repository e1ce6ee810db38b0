"""
Who gets which connection when.

Decisions only: time is an argument, and what is to be done comes back as effects, which the runtime carries
out after each call. It reports what became of them: `dialed`, `dial_failed`, `lost`. The numbers of rules
are those the pool is built from.

    ticket = scheduler.ask(key, now)      # a connection now, or a place in the queue
    scheduler.leave(ticket, now, ...)     # the one way out, whatever state the request is in

Rule 1: an event is a few moves, however many connections, requests and origins there are.
Rule 3: nobody is bound to a connection that is being dialed. Who waits longest takes what comes first, and
a newcomer queues behind.
Rule 4: dials belong to the pool. A caller that goes away leaves its dial behind, for a while: where callers
are less patient than a handshake takes, nothing would ever be opened otherwise.
Rule 8: a place on an HTTP/2 connection is reserved before it is handed out.

Here is what follows from what has happened. The rest is decided elsewhere: who waits, and who is served
next, in `admission.py`, how open connections are kept in `stock.py`, when to dial in `dials.py` and
`growth.py`, who makes way for whom in `room.py`, both brought together in `supply.py`, what an origin speaks
in `protocols.py`, which address is dialed in `endpoints.py`.

Not thread-safe: whoever shares a scheduler among threads calls it under one lock.
"""

from __future__ import annotations

import itertools
import math
import random
from collections.abc import Hashable, Sequence

from pool_manager.config import Limits, PoolConfig
from pool_manager.core.admission import Admission, closed
from pool_manager.core.closeups import CloseUp
from pool_manager.core.deadlines import Deadlines
from pool_manager.core.dials import Dials
from pool_manager.core.directory import Directory, lane_states
from pool_manager.core.effects import Effect
from pool_manager.core.endpoints import AddressInfo, Endpoints
from pool_manager.core.lanes import Lanes
from pool_manager.core.messages import Request, TransportFailure
from pool_manager.core.origins import (
    Connection,
    Origin,
    OriginKey,
    Phase,
    Place,
    Speaks,
    Ticket,
)
from pool_manager.core.protocols import FIRST_STREAMS, Protocols
from pool_manager.core.room import Room
from pool_manager.core.snapshots import Picture
from pool_manager.core.stock import Stock
from pool_manager.core.supply import Supply
from pool_manager.core.telling import Teller
from pool_manager.events import Audience


class Scheduler:
    """
    The connections of one pool.

    Args:
        config: Tells what an origin can speak.

        limits: How far the pool may grow.

        lanes: The lanes of the manager.

        rng: Where jitter comes from.

        audience: Who listens.

    Attributes:
        effects: What is to be done, in order. The runtime takes it after each call: `take_effects`.

        deadlines: `tick` wants to be called when `deadlines.next` is reached.
    """

    def __init__(
        self,
        config: PoolConfig,
        limits: Limits,
        lanes: Lanes,
        rng: random.Random | None = None,
        audience: Audience | None = None,
    ) -> None:
        rng = rng or random.Random()  # noqa: S311 - jitter, no secret
        self._limits, self._closed = limits, False
        self._numbers = itertools.count(1)
        self.effects: list[Effect] = []
        self.deadlines: Deadlines[Connection | Origin] = Deadlines()
        self._lanes = lane_states(lanes, limits)
        self._protocols = Protocols(config)
        self._endpoints = Endpoints()
        self._origins = Directory(self._lanes, self._protocols, self.deadlines)
        self._room = Room(limits.max_connections, self._lanes.values())
        self._dials = Dials(limits, self.deadlines, rng)
        self._teller = Teller(audience or Audience(), self.effects)
        self._stock = Stock(
            limits,
            self._room,
            self._dials,
            self.deadlines,
            effects=self.effects,
            teller=self._teller,
            rng=rng,
        )
        self._supply = Supply(
            self._room,
            self._dials,
            self._stock,
            self._origins,
            numbers=self._numbers,
            effects=self.effects,
        )
        self._admission = Admission(
            limits,
            self._room,
            self._dials,
            self._stock,
            self._supply,
            directory=self._origins,
            numbers=self._numbers,
            effects=self.effects,
            teller=self._teller,
        )

    def take_effects(self) -> list[Effect]:
        """Take what is to be done."""
        effects = self.effects.copy()
        self.effects.clear()  # others hold on to the list
        return effects

    def picture(self, now: float) -> Picture:
        """See how things stand now. Changes nothing, and may be asked for in the middle of a move."""
        return Picture(self._origins.values(), self._origins.ledger, self._lanes.values(), now)

    def close_up(self, now: float) -> CloseUp:
        """See who holds which connection, and who waits. As for `picture`."""
        return CloseUp(self._origins.values(), self._lanes.values(), now)

    # What requests do

    def ask(
        self, key: OriginKey, now: float, number: int | None = None, request: Request | None = None
    ) -> Ticket:
        """
        Ask for a connection. The ticket has it now, or a `Wake` will tell.

        Args:
            key: Which origin, in which lane.

            now: Seconds.

            number: That of the request's last ticket if it is sent again: it goes to the front.

            request: What it is for: told to listeners, and to who wants to know who holds what.

        Raises:
            PoolClosed: `close` was called.

            PoolOverloaded: It would have to wait, and `Limits.max_pending` requests do (rule 19). There may
                be effects all the same.
        """
        if self._closed:
            raise closed()
        origin = self._origins[key]
        arrived = next(self._numbers)
        ticket = Ticket(origin, number or arrived, arrived, now, now, request=request)
        if number is None:
            origin.counts.requests += 1
        self._admission.arrive(ticket, now)
        if ticket.place is Place.QUEUE and self._admission.is_one_too_many(ticket):
            self.leave(ticket, now)
            raise self._admission.overloaded()
        return ticket

    def leave(
        self,
        ticket: Ticket,
        now: float,
        *,
        used: bool = True,
        reusable: bool = True,
        keep_alive: float | None = None,
        dial_too_slow: bool = False,
        status: int = 0,
    ) -> None:
        """
        Give back whatever *ticket* has: a connection, a place in a queue, nothing. Safe to repeat.

        Args:
            ticket: What `ask` gave.

            now: Seconds.

            used: Something was sent on the connection.

            reusable: An HTTP/1.1 connection can carry another request.

            keep_alive: Seconds for which the server said that it keeps the connection.

            dial_too_slow: The request leaves since no connection was opened in time. A dial that was begun
                for it is replaced if others wait for it (rule 5): it may have lost its first packet.

            status: That of its answer, for listeners; 0 if none has come.
        """
        place, ticket.place = ticket.place, Place.GONE
        if place is Place.GONE:
            return
        if place is Place.LANE:
            self._admission.give_up_lane(ticket, now)
        else:
            if place is Place.CONNECTION:
                given = ticket.connection
                assert given is not None
                del given.tickets[ticket]
                if used:
                    ticket.origin.counts.request_time.add(now - ticket.asked)
                if self._teller.audience.listeners:
                    self._teller.request("on_released", ticket, now, status)
                if self._stock.take_back(given, now, used=used, reusable=reusable, keep_alive=keep_alive):
                    self._admission.offer(given, now)
            else:
                self._admission.give_up_place(ticket, now, dial_too_slow=dial_too_slow)
            self._admission.leave_lane(ticket.origin.lane, now)
        self._settle(ticket.origin, now)

    def dial_begun(self, ticket: Ticket) -> float | None:
        """
        Tell since when *ticket* waits for a dial; None if it waits for somebody else to finish.

        The time to connect counts from then; the pool timeout counts while it is None.
        """
        origin = ticket.origin
        if ticket.place is Place.QUEUE and not origin.usable and origin.dialing_since is not None:
            return max(origin.dialing_since, ticket.since)
        return None if ticket.dial is None else ticket.dial.begun

    # What dials do

    def resolved(
        self, dial: Connection, name: Hashable, found: Sequence[AddressInfo], now: float
    ) -> list[AddressInfo]:
        """Take the answer to the look-up of *name*; give the addresses as *dial* is to try them."""
        return self._endpoints.resolved(dial, name, found, now)

    def reached(
        self, dial: Connection, name: Hashable, tried: Sequence[AddressInfo], address: Hashable, now: float
    ) -> None:
        """Take the news which of the addresses let *dial* in. Connections drain whose addresses have left."""
        for departed in self._endpoints.reached(dial, name, tried, address, now):
            self._stock.drain(departed, now, "moved")
            self._settle(departed.origin, now)

    def dialed(self, connection: Connection, now: float, *, multiplexed: bool) -> None:
        """Take a connection that is open. If it is no longer wanted, a `Close` comes back."""
        if connection.phase is not Phase.DIALING:
            return
        origin = connection.origin
        self._dials.end(connection)
        origin.in_doubt, origin.failures = False, 0
        origin.dial_time = now - connection.begun
        origin.speaks = Speaks.HTTP2 if multiplexed else Speaks.HTTP1
        self._protocols.remember(origin)
        self._stock.add(connection, now, multiplexed=multiplexed)
        if origin.oldest_shared():  # rule 7: dials raced, and nobody waits
            self._stock.close(connection, now, "surplus")
        else:
            self._admission.offer(connection, now)
        self._settle(origin, now)

    def dial_failed(self, connection: Connection, now: float, error: TransportFailure) -> None:
        """
        Take the news that a dial failed; decide who is told (rule 5).

        With a usable connection: over HTTP/1.1 the request it was for, over HTTP/2 nobody; then it backs off.
        While other dials are under way: the request it was for, and no further dial is begun until those
        are decided. Else: all that waited when it began, and none that came later.
        """
        if connection.phase is not Phase.DIALING:
            return
        if connection.endpoint is not None:
            connection.endpoint.avoid(now)
        origin, told = connection.origin, [] if connection.cause is None else [connection.cause]
        origin.counts.dials_failed += 1
        self._stock.drop(connection, now, "closed")
        if origin.usable:
            self._dials.back_off(origin, now)
            if origin.speaks is not Speaks.HTTP1:
                told = []
        elif origin.dials:
            origin.in_doubt = True
        else:
            told = [*itertools.takewhile(lambda ticket: ticket.arrived < connection.horizon, origin.waiters)]
        self._admission.fail(told, error, now)
        self._settle(origin, now)

    # What connections do

    def allow(self, connection: Connection, now: float, streams: int) -> None:
        """Take what the server of an HTTP/2 connection allows at once: more, less or nothing (rule 8)."""
        if connection.phase is Phase.CLOSED:
            return
        origin = connection.origin
        origin.streams = streams or FIRST_STREAMS
        self._protocols.remember(origin)
        if connection.phase is not Phase.OPEN:
            return
        connection.streams = int(min(streams, self._limits.max_streams_per_connection))
        if not streams:  # it is overloaded: do not answer with more connections
            self._dials.back_off(origin, now)
        origin.list_shared(connection)
        self._settle(origin, now)

    def suspend(self, connection: Connection) -> None:
        """Hand an HTTP/2 connection to nobody: its server was asked whether it is there (rule 14)."""
        connection.is_suspended = True

    def resume(self, connection: Connection, now: float) -> None:
        """Hand the connection out again: its server is there."""
        connection.is_suspended = False
        if connection.phase is Phase.OPEN:
            connection.origin.list_shared(connection)
            self._settle(connection.origin, now)

    def drain(self, connection: Connection, now: float) -> None:
        """Hand the connection out no more; it is closed when the last request has left (rule 10)."""
        if connection.phase is Phase.OPEN:
            self._stock.drain(connection, now, "drained")
            self._settle(connection.origin, now)

    def refused(self, connection: Connection, now: float) -> None:
        """Take the news that its server refused a stream; if it does so often, it is drained (rule 11b)."""
        if connection.phase is Phase.OPEN:
            self._stock.refuse(connection, now)
            self._settle(connection.origin, now)

    def lost(self, connection: Connection, now: float) -> None:
        """
        Take the news that the connection is no more. Requests on it leave by themselves.

        If one that had served before ends under a request, idle ones are closed with it: a server that was
        restarted ends them all, and whoever is sent again (rule 11c) must not meet the next dead one.
        """
        if connection.phase is not Phase.CLOSED:
            if connection.in_use and connection.endpoint is not None:
                connection.endpoint.avoid(now)
            if connection.in_use and connection.requests > 1:
                self._stock.close_idle(connection.origin, now)
            self._stock.drop(connection, now, "lost" if connection.in_use else "ended")
            self._settle(connection.origin, now)

    # What the clock and the owner do

    def tick(self, now: float) -> None:
        """Do what is due: idle connections close, orphaned dials end, queues are looked at, dials begun."""
        for item in self.deadlines.take_due(now):
            if isinstance(item, Origin):
                self._dials.look(item, now)
                self._settle(item, now)
            elif item.phase is not Phase.DIALING:
                self._stock.look(item, now)
                self._settle(item.origin, now)
            elif not self._dials.adopt(item):
                self._stock.expire(item, now)
                self._settle(item.origin, now)

    def reset(self, now: float) -> None:
        """Use no connection that is there again: idle ones close, busy ones when they fall idle (rule 18)."""
        for connection in self.connections():
            if connection.phase is Phase.DIALING:
                self._stock.close(connection, now, "reset")
            else:
                self._stock.drain(connection, now, "reset")
        self._endpoints.reset()
        for origin in [*self._origins.values()]:
            origin.retry_at = -math.inf
            self._settle(origin, now)

    def close(self, now: float) -> None:
        """Close every connection, fail who waits, and refuse who comes."""
        self._closed = True
        for lane in self._lanes.values():
            self._admission.close_lane(lane, now)
        for origin in [*self._origins.values()]:
            self._admission.fail([*origin.waiters], closed(), now)
        for connection in self.connections():
            self._stock.close(connection, now, "closed")
        for origin in [*self._origins.values()]:
            self._settle(origin, now)

    def connections(self) -> list[Connection]:
        """Give every connection whose socket may be open, dials included. Costs a step for each."""
        return [connection for origin in self._origins.values() for connection in origin.connections]

    # Origins

    def _settle(self, origin: Origin, now: float) -> None:
        """Do what follows from whatever has changed: serve, dial, feed, forget."""
        if self._room.idle > self._limits.max_keepalive_connections:
            oldest = self._room.longest_idle()
            assert oldest is not None
            self._supply.evict(oldest, now)
        if origin.waiters or self._room.starving:
            self._admission.serve(origin, now)
            self._supply.dial(origin, now)
        if not origin.dials:
            origin.dialing_since = None
            if not origin.connections:
                self._origins.forget(origin)
