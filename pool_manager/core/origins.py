"""
What the scheduler keeps: lanes, origins, connections, and the tickets of requests.

Data and the moves that are one line; every decision is elsewhere. A connection here is an entry in
a book: the runtime hangs its own on `carrier`.
"""

from __future__ import annotations

import enum
import heapq
import math
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

import attrs

from pool_manager.core.counts import Counts
from pool_manager.core.messages import Request, TransportFailure
from pool_manager.errors import PoolError
from pool_manager.stats import CloseCause

if TYPE_CHECKING:
    from pool_manager.core.endpoints import Endpoint


class OriginKey(NamedTuple):
    """Requests of one key may share connections (rule 1; the rest of its key is the pool's config)."""

    scheme: str
    host: str
    port: int
    server_name: str | None
    lane: str


class Speaks(enum.Enum):
    """What an origin is known to speak (rule 7)."""

    UNKNOWN = enum.auto()
    HTTP1 = enum.auto()
    HTTP2 = enum.auto()


class Phase(enum.Enum):
    """The life of a connection."""

    DIALING = enum.auto()
    OPEN = enum.auto()
    DRAINING = enum.auto()  # takes no new request; closed when the last has left
    CLOSED = enum.auto()


class Place(enum.Enum):
    """Where the request of a ticket is."""

    LANE = enum.auto()  # its lane is full
    QUEUE = enum.auto()  # waits for a connection
    CONNECTION = enum.auto()
    GONE = enum.auto()


@attrs.define(eq=False, repr=False)  # they refer to one another
class Ticket:
    """
    One request's claim to a connection, from `Scheduler.ask` to `Scheduler.leave`.

    Attributes:
        number: Its place among all that wait; a request that is sent again keeps it.

        arrived: When it began to wait for a connection, counted as `number` is.

        asked: When it came.

        since: When it began to wait for a connection: `asked`, or when its lane let it in.

        connection: What it was given.

        error: Why it will be given nothing.

        idle_for: Seconds for which the connection had been idle when it was given.

        dial: The dial that was begun for its sake and is under way.

        waiter: The runtime's own: who is to be told by a `Wake`.

        request: What it is for.
    """

    origin: Origin
    number: int
    arrived: int
    asked: float
    since: float
    place: Place = Place.QUEUE
    connection: Connection | None = None
    error: TransportFailure | PoolError | None = None
    idle_for: float = 0.0
    dial: Connection | None = None
    waiter: object = None
    request: Request | None = None

    @property
    def is_back(self) -> bool:
        """Whether the request is sent again."""
        return self.number < self.arrived

    def arrive(self, number: int, now: float) -> None:
        """Begin to wait for a connection, now that the lane lets it in."""
        if not self.is_back:
            self.number = number
        self.arrived, self.since = number, now


class Queue(OrderedDict[Ticket, None]):
    """
    Tickets that wait, in the order in which they came.

    Those of requests that are sent again come first, by their numbers: they stand in a heap besides.
    """

    def __init__(self) -> None:
        super().__init__()
        self._back: list[tuple[int, int, Ticket]] = []

    def put(self, ticket: Ticket) -> None:
        """Add *ticket*."""
        self[ticket] = None
        if ticket.is_back:
            heapq.heappush(self._back, (ticket.number, ticket.arrived, ticket))

    def first(self) -> Ticket:
        """Find who is first; those that were sent again and have left are forgotten on the way."""
        while self._back:
            ticket = self._back[0][2]
            if ticket in self:
                return ticket
            heapq.heappop(self._back)
        return next(iter(self))


@attrs.define(eq=False, repr=False)  # they refer to one another
class Connection:
    """
    One connection as the scheduler sees it, from the beginning of its dial.

    Attributes:
        number: Counts from 1 in the order of dialing: the smaller, the older.

        carrier: The runtime's own, who knows of which type; the scheduler does not look at it.

        endpoint: Where it leads to, if its name was looked up: see `endpoints.py`.

        multiplexed: It speaks HTTP/2.

        streams: Requests that it may carry at once; while it is dialed, those that it is hoped to.

        in_use: Requests that hold it.

        requests: Requests that it was ever given.

        begun: When its dial began.

        opened: When it was open.

        ages: When it takes no new request any more.

        idle_since: When it was last used, or opened; to be handed out unused does not count.

        idle_until: When it closes, if it is not used until then.

        cause: The ticket that it is dialed for, while that waits.

        horizon: Tickets with smaller numbers were waiting when its dial began.
    """

    origin: Origin
    number: int
    begun: float
    streams: int
    horizon: int
    cause: Ticket | None = None
    carrier: Any = None
    endpoint: Endpoint | None = None
    phase: Phase = Phase.DIALING
    multiplexed: bool = False
    in_use: int = 0
    requests: int = 0
    opened: float = 0.0
    ages: float = math.inf
    idle_since: float = 0.0
    idle_until: float = math.inf
    keep_alive: float = math.inf  # seconds for which the server keeps it when idle
    is_listed: bool = False  # in the heap of its origin
    is_suspended: bool = False  # asked whether anybody is there, and not answered yet
    ending: CloseCause | None = None  # why it takes no new request
    tickets: dict[Ticket, None] = attrs.field(factory=dict)  # of the requests that hold it
    refused: int = 0  # streams that its server refused


class Glance(NamedTuple):
    """What a look at a queue saw: at that time, how many streams had ever come free."""

    at: float
    freed: int


@attrs.define(eq=False)
class Watch:
    """
    The looks at a queue for streams (rule 9).

    Attributes:
        since: When it began.

        last: The last look.

        earlier: The one before that.
    """

    since: float
    last: Glance
    earlier: Glance | None = None


@attrs.define(eq=False, repr=False)  # they refer to one another
class LaneState:
    """
    One lane of one pool.

    Attributes:
        in_flight: Requests that wait for a connection or hold one.

        queue: Requests that wait for the lane.

        size: Connections, those being dialed included.

        idle: Connections that nobody holds, the longest unused first.

        destitute: Origins that would dial, had the pool room, and have no connection at all.

        starved: Origins that would dial, had the pool room, and have some.
    """

    max_in_flight: float
    max_connections_per_origin: float
    in_flight: int = 0
    size: int = 0
    queue: Queue = attrs.field(factory=Queue)
    idle: OrderedDict[Connection, None] = attrs.field(factory=OrderedDict)
    destitute: OrderedDict[Origin, None] = attrs.field(factory=OrderedDict)
    starved: OrderedDict[Origin, None] = attrs.field(factory=OrderedDict)


@attrs.define(eq=False, repr=False)  # they refer to one another
class Origin:
    """
    One origin in one lane.

    Attributes:
        speaks: What it is known to speak.

        streams: Requests at once that a further HTTP/2 connection is taken to allow.

        waiters: Who waits.

        unattempted: Of those, the ones for whose sake nothing is being dialed.

        kept_out: How many wait for the lane to let them in.

        idle: HTTP/1.1 connections that nobody holds, the newest last.

        shared: HTTP/2 connections that may have a free slot: a heap, the oldest first.

        dials: Connections being opened.

        coming: Requests that those will carry at once.

        connections: All of every phase but CLOSED.

        usable: How many are OPEN.

        usable_shared: How many of those speak HTTP/2.

        dialing_since: Since when dials have been under way without a break.

        in_doubt: A dial failed while others were under way, and none has succeeded since.

        failures: Dials for a further connection that failed, one after another.

        retry_at: No further connection is dialed before.

        freed: Requests that have given back an open connection, ever: as many streams came free.

        outgrown: That number when another connection was found to be worth it; it holds until the next.

        watch: The looks at those that wait for a stream, if they may be given another connection.

        dial_time: Seconds that the last dial took.

        counts: What it has counted, ever.
    """

    key: OriginKey
    lane: LaneState
    speaks: Speaks
    streams: int
    counts: Counts
    waiters: Queue = attrs.field(factory=Queue)
    unattempted: OrderedDict[Ticket, None] = attrs.field(factory=OrderedDict)
    kept_out: int = 0
    idle: dict[Connection, None] = attrs.field(factory=dict)
    shared: list[tuple[int, Connection]] = attrs.field(factory=list)
    dials: dict[Connection, None] = attrs.field(factory=dict)
    coming: int = 0
    connections: dict[Connection, None] = attrs.field(factory=dict)
    usable: int = 0
    usable_shared: int = 0
    dialing_since: float | None = None
    in_doubt: bool = False
    failures: int = 0
    retry_at: float = -math.inf
    freed: int = 0
    outgrown: int = -1
    watch: Watch | None = None
    dial_time: float = 0.0

    def list_shared(self, connection: Connection) -> None:
        """Put an HTTP/2 connection where those with a free slot are looked for, once."""
        if not connection.is_listed:
            connection.is_listed = True
            heapq.heappush(self.shared, (connection.number, connection))

    def oldest_shared(self) -> Connection | None:
        """Find the oldest HTTP/2 connection with a free slot; those without are forgotten on the way."""
        while self.shared:
            connection = self.shared[0][1]
            has_room = connection.in_use < connection.streams and not connection.is_suspended
            if connection.phase is Phase.OPEN and has_room:
                return connection
            heapq.heappop(self.shared)
            connection.is_listed = False
        return None
