"""
When to dial, and for whom (rules 2, 4 and 5; for a further connection over HTTP/2 see `growth.py`).

A dial belongs to the pool. It is begun for the sake of one request, its cause, but nobody is bound to it: who
waits longest takes what comes first. When its cause has left or was served it goes on for a while: where
callers are less patient than a handshake takes, nothing would ever be opened otherwise.
"""

from __future__ import annotations

import itertools
import random
from typing import Final

from pool_manager.config import Limits
from pool_manager.core import growth
from pool_manager.core.deadlines import Deadlines
from pool_manager.core.origins import Connection, Origin, Speaks, Ticket
from pool_manager.core.protocols import FIRST_STREAMS

# Rule 4: seconds for which a dial goes on after the request that it was begun for has left or was served.
ORPHAN_GRACE: Final = 5.0

# Rule 5: seconds until a further connection is dialed again, doubled each time.
FIRST_BACKOFF: Final = 1.0
MAX_BACKOFF: Final = 60.0


class Dials:
    """
    The connections of one pool that are being opened.

    Args:
        limits: How many there may be.

        deadlines: Where it is noted when an orphan ends, and when an origin is dialed again.

        rng: Where jitter comes from.

    Attributes:
        count: How many there are.
    """

    def __init__(self, limits: Limits, deadlines: Deadlines[Connection | Origin], rng: random.Random) -> None:
        self._limits, self._deadlines, self._random = limits, deadlines, rng
        self._numbers = itertools.count(1)
        self.count = 0

    def is_due(self, origin: Origin, now: float) -> bool:
        """Tell whether to begin one."""
        return self._is_possible(origin, now) and growth.is_worth_it(origin)

    def _is_possible(self, origin: Origin, now: float) -> bool:
        """Tell whether more wait than dials will serve, and no limit speaks against another (rule 2)."""
        if len(origin.waiters) <= origin.coming or origin.in_doubt or now < origin.retry_at:
            return False
        limits = self._limits
        if len(origin.connections) >= origin.lane.max_connections_per_origin:
            return False
        if origin.speaks is Speaks.HTTP1:
            return len(origin.dials) < limits.max_connecting_per_origin
        return not origin.dials and origin.usable_shared < limits.max_h2_connections_per_origin

    def watch(self, origin: Origin, now: float) -> None:
        """Look at those that wait for a stream, in a while, if they may have another connection then."""
        if self._is_possible(origin, now) and not self.is_due(origin, now):
            growth.begin(origin, now)
            self._deadlines.set(origin, now, growth.interval(origin))

    def look(self, origin: Origin, now: float) -> None:
        """Look at them now, and again until nobody waits or a dial is begun."""
        if origin.watch is not None:
            growth.look(origin, now)
            self._deadlines.set(origin, now, growth.interval(origin))

    def begin(self, origin: Origin, now: float, horizon: int) -> Connection:
        """Begin one for the first that has none. Who has a number below *horizon* was there before."""
        ticket = next(iter(origin.unattempted))
        del origin.unattempted[ticket]
        connection = Connection(
            origin=origin,
            number=next(self._numbers),
            begun=now,
            streams=1 if origin.speaks is Speaks.HTTP1 else self.hoped_for(origin),
            horizon=horizon,
            cause=ticket,
        )
        ticket.dial = connection
        if origin.dialing_since is None:
            origin.dialing_since = now
        origin.watch = None  # what comes of it is looked at afresh
        origin.dials[connection] = None
        origin.coming += connection.streams
        self.count += 1
        return connection

    def end(self, dial: Connection) -> None:
        """Count *dial* no more; its cause, if it still waits, may cause another."""
        origin = dial.origin
        self._deadlines.discard(dial)
        del origin.dials[dial]
        self.count -= 1
        origin.coming -= dial.streams
        if not origin.dials:
            origin.in_doubt = False
        if dial.cause is not None:
            dial.cause.dial = None
            origin.unattempted[dial.cause] = None
            origin.unattempted.move_to_end(dial.cause, last=False)
            dial.cause = None

    def orphan(self, ticket: Ticket, now: float) -> None:
        """Let the dial that was begun for *ticket*, if there is one, go on without it (rule 4)."""
        if ticket.dial is not None:
            ticket.dial.cause = None
            self._deadlines.set(ticket.dial, now, ORPHAN_GRACE)
            ticket.dial = None

    def is_needed(self, dial: Connection) -> bool:
        """Tell whether somebody waits whom the other dials would not serve."""
        return len(dial.origin.waiters) > dial.origin.coming - dial.streams

    def adopt(self, dial: Connection) -> bool:
        """Have an orphan go on for another that needs it; tell whether there is one."""
        if not self.is_needed(dial):
            return False
        # Each dial serves one at least: if one is needed, somebody waits who has none.
        ticket, _ = dial.origin.unattempted.popitem(last=False)
        dial.cause, ticket.dial = ticket, dial
        return True

    def back_off(self, origin: Origin, now: float) -> None:
        """Dial *origin* no more for a while, twice as long each time; what fails together fails once."""
        if now < origin.retry_at:
            return
        seconds = min(FIRST_BACKOFF * 2**origin.failures, MAX_BACKOFF) * (0.9 + 0.2 * self._random.random())
        origin.failures = min(origin.failures + 1, 10)
        # If nothing comes free meanwhile, it is dialed at once then; else those that wait are watched anew.
        origin.outgrown, origin.watch = origin.freed, None
        origin.retry_at = now + seconds
        self._deadlines.set(origin, now, seconds)

    def hoped_for(self, origin: Origin) -> int:
        """Tell how many requests at once an HTTP/2 connection is taken to carry until its server has said."""
        return int(min(origin.streams, FIRST_STREAMS, self._limits.max_streams_per_connection))
