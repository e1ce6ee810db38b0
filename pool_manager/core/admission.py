"""
Who is let in, who waits, and who is served next.

A request waits for its lane first, where that is full, and then for a connection; who has waited longest in
the one queue goes to the end of the other. The numbers of rules are those of `scheduler.py`.
"""

from __future__ import annotations

from collections.abc import Iterator

from pool_manager.config import Limits
from pool_manager.core.dials import Dials
from pool_manager.core.directory import Directory
from pool_manager.core.effects import Effect, Wake
from pool_manager.core.messages import TransportFailure
from pool_manager.core.origins import Connection, LaneState, Origin, Phase, Place, Queue, Ticket
from pool_manager.core.room import Room
from pool_manager.core.stock import Stock
from pool_manager.core.supply import Supply
from pool_manager.core.telling import Teller
from pool_manager.errors import PoolClosed, PoolError, PoolOverloaded


class Admission:
    """
    The queues of a pool.

    Args:
        limits: Say how many may wait.

        room: The places of the pool.

        dials: Its dials.

        stock: Its open connections.

        supply: What opens more.

        directory: Its origins; one for which nobody waits after all is forgotten.

        numbers: Where the next number of a ticket comes from.

        effects: Where it is noted who is to be woken.

        teller: Tells listeners.
    """

    def __init__(
        self,
        limits: Limits,
        room: Room,
        dials: Dials,
        stock: Stock,
        supply: Supply,
        *,
        directory: Directory,
        numbers: Iterator[int],
        effects: list[Effect],
        teller: Teller,
    ) -> None:
        self._max_pending, self._waiting = limits.max_pending, 0
        self._room, self._dials, self._stock, self._supply = room, dials, stock, supply
        self._directory, self._numbers, self._effects, self._teller = directory, numbers, effects, teller

    # Who comes

    def arrive(self, ticket: Ticket, now: float) -> None:
        """
        Let a request in, or have it wait for its lane.

        Raises:
            PoolOverloaded: It would have to, and too many wait already (rule 19).
        """
        lane = ticket.origin.lane
        if lane.in_flight < lane.max_in_flight:
            lane.in_flight += 1
            self._admit(ticket, now)
        else:
            self._keep_out(ticket, now)

    def is_one_too_many(self, ticket: Ticket) -> bool:
        """Tell whether *ticket*, which was let in, has to wait, and not just for the dials under way."""
        return self._waiting > self._max_pending and len(ticket.origin.waiters) > ticket.origin.coming

    def overloaded(self) -> PoolOverloaded:
        """Say that too many wait."""
        return PoolOverloaded(
            f"{self._waiting} requests are waiting for a connection already (Limits.max_pending)"
        )

    def _keep_out(self, ticket: Ticket, now: float) -> None:
        """Have *ticket* wait for its lane."""
        origin = ticket.origin
        self._queued(ticket, now)
        if self._waiting >= self._max_pending:
            self._waited(ticket, now, given_up=True)
            self._directory.forget(origin)
            raise self.overloaded()
        ticket.place = Place.LANE
        origin.lane.queue.put(ticket)
        origin.kept_out += 1
        self._waiting += 1

    def _admit(self, ticket: Ticket, now: float) -> None:
        """Give a connection to a request that its lane has let in, or a place in the queue."""
        origin, was_kept_out = ticket.origin, ticket.place is Place.LANE
        ticket.place = Place.QUEUE
        if not origin.waiters:
            connection = self._stock.find(origin, now)
            if connection is not None:
                self._stock.hand(connection, ticket, now)
                return
        if not was_kept_out:
            self._queued(ticket, now)
        self._waiting += 1
        origin.waiters.put(ticket)
        origin.unattempted[ticket] = None
        if ticket.is_back:
            origin.unattempted.move_to_end(ticket, last=False)
        self._supply.dial(origin, now)

    # Who is served

    def offer(self, connection: Connection, now: float) -> None:
        """Give *connection*, which has room, to who waits longest; else let it rest (rules 3 and 19)."""
        origin = connection.origin
        if origin.waiters and self._room.is_needed_elsewhere(connection):
            self._stock.close(connection, now, "evicted")
        elif connection.multiplexed:
            origin.list_shared(connection)
            self.serve(origin, now)
        elif origin.waiters:
            self._serve_first(origin, connection, now)
        if not connection.in_use and connection.phase is Phase.OPEN:
            self._stock.rest(connection, now)

    def serve(self, origin: Origin, now: float) -> None:
        """Give what there is to who waits longest."""
        while origin.waiters and (connection := self._stock.find(origin, now)) is not None:
            self._serve_first(origin, connection, now)

    def _serve_first(self, origin: Origin, connection: Connection, now: float) -> None:
        ticket = origin.waiters.first()
        self._dequeue(ticket, now)
        self._waited(ticket, now)
        self._stock.hand(connection, ticket, now)
        self._effects.append(Wake(ticket))

    # Who goes

    def leave_lane(self, lane: LaneState, now: float) -> None:
        """Know that a request that was let in is gone; let the next one of its lane in."""
        lane.in_flight -= 1
        if lane.queue and lane.in_flight < lane.max_in_flight:
            ticket = lane.queue.first()
            self._let_go(ticket)
            lane.in_flight += 1
            ticket.arrive(next(self._numbers), now)
            self._admit(ticket, now)
            if ticket.place is Place.CONNECTION:
                self._waited(ticket, now)
                self._effects.append(Wake(ticket))

    def give_up_lane(self, ticket: Ticket, now: float) -> None:
        """Have *ticket* wait for its lane no longer, nor for anything else."""
        self._let_go(ticket)
        self._waited(ticket, now, given_up=True)

    def give_up_place(self, ticket: Ticket, now: float, *, dial_too_slow: bool) -> None:
        """Leave the queue; a dial that was too slow ends if others need it: it is replaced (rule 5)."""
        dial = ticket.dial
        self._dequeue(ticket, now)
        self._waited(ticket, now, given_up=True)
        if dial is not None and dial_too_slow and self._dials.is_needed(dial):
            self._stock.close(dial, now, "closed")

    def fail(self, tickets: list[Ticket], error: TransportFailure | PoolError, now: float) -> None:
        """Have *tickets* wait no longer. Each gets an error of its own: tracebacks are written into it."""
        for ticket in tickets:
            self._dequeue(ticket, now)
            self._waited(ticket, now, given_up=True)
            ticket.place, ticket.error = Place.GONE, _copy(error)
            self._effects.append(Wake(ticket))
        for ticket in tickets:  # after all of them: who comes in now must not find them waiting
            self.leave_lane(ticket.origin.lane, now)

    def close_lane(self, lane: LaneState, now: float) -> None:
        """Have nobody wait for *lane* any more: the pool is closed."""
        queued, lane.queue = lane.queue, Queue()
        for ticket in queued:
            ticket.place, ticket.error = Place.GONE, closed()
            ticket.origin.kept_out -= 1
            self._waited(ticket, now, given_up=True)
            self._effects.append(Wake(ticket))
            self._waiting -= 1

    # What each of them does

    def _let_go(self, ticket: Ticket) -> None:
        """Take *ticket* out of the queue of its lane."""
        origin = ticket.origin
        del origin.lane.queue[ticket]
        origin.kept_out -= 1
        self._waiting -= 1

    def _dequeue(self, ticket: Ticket, now: float) -> None:
        """Take *ticket* out of the queue; a dial begun for it goes on without it (rule 4)."""
        origin = ticket.origin
        del origin.waiters[ticket]
        origin.unattempted.pop(ticket, None)
        if not origin.waiters:
            origin.watch = None
        self._waiting -= 1
        self._dials.orphan(ticket, now)

    def _queued(self, ticket: Ticket, now: float) -> None:
        """Count a wait that begins."""
        ticket.origin.counts.queued += 1
        if self._teller.audience.listeners:
            self._teller.request("on_queued", ticket, now)

    def _waited(self, ticket: Ticket, now: float, *, given_up: bool = False) -> None:
        """Count a wait that is over."""
        counts = ticket.origin.counts
        counts.queue_time.add(now - ticket.asked)
        if given_up:
            counts.given_up += 1
            if self._teller.audience.listeners:
                self._teller.request("on_released", ticket, now)


def closed() -> PoolClosed:
    """Say that the pool is closed."""
    return PoolClosed("the pool was closed before the request found a connection")


def _copy(error: TransportFailure | PoolError) -> TransportFailure | PoolError:
    copy = (
        TransportFailure(error.kind, str(error))
        if isinstance(error, TransportFailure)
        else type(error)(*error.args)
    )
    copy.__cause__ = error.__cause__
    return copy
