"""
The open connections of a pool: where one is found, how long it is kept, how it ends (rules 6, 8, 10 and 13).

Nobody is asked here who waits for what: that is for `scheduler.py`.
"""

from __future__ import annotations

import math
import random
from typing import Final

from pool_manager.config import Limits
from pool_manager.core.deadlines import Deadlines
from pool_manager.core.dials import Dials
from pool_manager.core.effects import Close, Effect
from pool_manager.core.origins import Connection, Origin, Phase, Place, Ticket
from pool_manager.core.room import Room
from pool_manager.core.telling import Teller
from pool_manager.stats import CloseCause

# Rule 11b: refusals after which a connection takes no new stream.
MAX_REFUSED: Final = 2

# Rule 13: connections made in one moment do not age in one moment.
AGE_JITTER: Final = 0.05

# Rule 13: seconds by which a connection is given up before the server may close it.
SERVER_MARGIN: Final = 1.0


class Stock:
    """
    The connections of one pool from the end of their dials.

    Args:
        limits: How long they are kept, and how many requests they carry.

        room: Where they are counted, and idle ones lined up.

        dials: Those that are being opened; to close one of them is to end its dial.

        deadlines: Where it is noted when an idle one ends.

        effects: Where it is noted that one is to be closed.

        teller: Where it is noted what listeners are to be told.

        rng: Where jitter comes from.
    """

    def __init__(
        self,
        limits: Limits,
        room: Room,
        dials: Dials,
        deadlines: Deadlines[Connection | Origin],
        *,
        effects: list[Effect],
        teller: Teller,
        rng: random.Random,
    ) -> None:
        self._limits, self._room, self._dials = limits, room, dials
        self._deadlines, self._effects, self._random = deadlines, effects, rng
        self._teller = teller

    # How one comes and is handed out

    def add(self, connection: Connection, now: float, *, multiplexed: bool) -> None:
        """Take a connection that is open."""
        origin = connection.origin
        origin.counts.opened += 1
        origin.counts.connect_time.add(now - connection.begun)
        connection.phase, connection.multiplexed = Phase.OPEN, multiplexed
        connection.opened = connection.idle_since = now
        connection.streams = self._dials.hoped_for(origin) if multiplexed else 1
        age = self._limits.max_connection_age
        connection.ages = now + age * (1 - self._random.random() * AGE_JITTER)
        origin.usable += 1
        origin.usable_shared += multiplexed
        if self._teller.audience.listeners:
            self._teller.connection("on_connect", connection, now - connection.begun)

    def find(self, origin: Origin, now: float) -> Connection | None:
        """Take the newest idle HTTP/1.1 connection, or the oldest HTTP/2 one with a slot (rules 6 and 9)."""
        while origin.idle:
            connection = next(reversed(origin.idle))
            if now >= connection.idle_until:
                self.expire(connection, now)
            else:
                self._room.rouse(connection)
                return connection
        while (shared := origin.oldest_shared()) is not None:
            if now >= shared.ages and shared.requests:
                self.drain(shared, now, "age")
            elif not shared.in_use and now >= shared.idle_until:
                self.expire(shared, now)
            else:
                return shared
        return None

    def hand(self, connection: Connection, ticket: Ticket, now: float) -> None:
        """Reserve a place on *connection* for *ticket* (rule 8)."""
        ticket.connection, ticket.place = connection, Place.CONNECTION
        connection.tickets[ticket] = None
        if connection.multiplexed and not connection.in_use:
            self._room.rouse(connection)
        if connection.requests:
            connection.origin.counts.reused += 1
            if not connection.in_use:
                ticket.idle_for = now - connection.idle_since
        connection.in_use += 1
        connection.requests += 1
        if self._teller.audience.listeners:
            self._teller.request("on_acquired", ticket, now)
        if connection.requests >= self._limits.max_requests_per_connection:
            self.drain(connection, now, "requests")

    # How it is given back and kept

    def take_back(
        self, connection: Connection, now: float, *, used: bool, reusable: bool, keep_alive: float | None
    ) -> bool:
        """Take one request off *connection*; tell whether another may have the place."""
        connection.in_use -= 1
        if used:
            connection.idle_since, connection.idle_until = now, math.inf
            connection.keep_alive = math.inf if keep_alive is None else keep_alive
        else:
            connection.requests -= 1
        if connection.phase is Phase.OPEN:
            connection.origin.freed += 1
            if not (reusable or connection.multiplexed):
                self.close(connection, now, "unusable")
            elif now >= connection.ages:
                self.drain(connection, now, "age")
            elif not (used or connection.in_use) and self._kept_until(connection) <= now:
                self.expire(connection, now)  # it was handed out in time, but nobody has used it since
            else:
                return True
        elif connection.phase is Phase.DRAINING and not connection.in_use:
            self.close(connection, now, "drained")
        return False

    def rest(self, connection: Connection, now: float) -> None:
        """Keep *connection* for later; how many are kept is for others to say (rules 6 and 13)."""
        until = self._kept_until(connection)
        if until <= now:
            self.expire(connection, now)
            return
        connection.idle_until = until
        self._room.rest(connection)
        self._watch(connection, now)

    def look(self, connection: Connection, now: float) -> None:
        """Close *connection*, which is open, if nobody has used it for too long: its deadline is over."""
        if not connection.in_use:
            if now >= connection.idle_until:
                self.expire(connection, now)
            else:
                self._watch(connection, now)

    def _watch(self, connection: Connection, now: float) -> None:
        """Have `look` called in time: mostly it was, when the connection rested before."""
        if connection.idle_until != math.inf:
            self._deadlines.set_at_latest(connection, now, connection.idle_until - now)

    def _kept_until(self, connection: Connection) -> float:
        """Tell how long *connection* may go on being unused."""
        kept = self._limits.keepalive_expiry
        if connection.keep_alive != math.inf:
            kept = min(kept, max(connection.keep_alive - SERVER_MARGIN, connection.keep_alive / 2))
        until = connection.idle_since + kept
        return min(connection.ages, until)

    # How it ends

    def refuse(self, connection: Connection, now: float) -> None:
        """Know that its server refused a stream; one that does so often is handed out no more (rule 11b)."""
        connection.refused += 1
        if connection.refused >= MAX_REFUSED:
            self.drain(connection, now, "refused")

    def drain(self, connection: Connection, now: float, cause: CloseCause) -> None:
        """Hand *connection* out no more; close it when the last request has left (rule 10)."""
        if connection.phase is not Phase.OPEN:
            return
        self._retire(connection)
        connection.phase, connection.ending = Phase.DRAINING, cause
        if not connection.in_use:
            self.close(connection, now, cause)

    def close_idle(self, origin: Origin, now: float) -> None:
        """Close the HTTP/1.1 connections of *origin* that nobody holds."""
        for connection in [*origin.idle]:
            self.close(connection, now, "suspect")

    def expire(self, connection: Connection, now: float) -> None:
        """Have *connection* closed, whose time is over (rule 13)."""
        self.close(connection, now, "age" if now >= connection.ages else "idle")

    def close(self, connection: Connection, now: float, cause: CloseCause) -> None:
        """Have *connection* closed, or its dial ended."""
        self.drop(connection, now, cause)
        self._effects.append(Close(connection))

    def drop(self, connection: Connection, now: float, cause: CloseCause) -> None:
        """Count *connection* no more: it is closed, or to be closed, since *cause*, or what came before."""
        if connection.phase is Phase.DIALING:
            self._dials.end(connection)
        else:
            if connection.phase is Phase.OPEN:
                self._retire(connection)
            cause, age = connection.ending or cause, now - connection.opened
            connection.origin.counts.close(cause, age)
            if self._teller.audience.listeners:
                self._teller.connection("on_close", connection, age, cause)
        connection.phase = Phase.CLOSED
        if connection.endpoint is not None:
            connection.endpoint.leave(connection)
        self._room.leave(connection)

    def _retire(self, connection: Connection) -> None:
        """Take an open connection out of where it would be found."""
        self._room.rouse(connection)
        self._deadlines.discard(connection)
        connection.origin.usable -= 1
        connection.origin.usable_shared -= connection.multiplexed
