"""
A scheduler, and a world around it: dials end and callers leave when the test says so.

    pool = World(max_connections=1)
    first = pool.request()
    wire = pool.want_dial()
    wire.finish()
    first.want(wire)

The world carries out every effect and, after each step, has `recount` look at everything. It keeps books of
its own, so that the scheduler's are not believed.
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeVar

from pool_manager.config import Lane, Limits, PoolConfig
from pool_manager.core.effects import Close, Dial, Wake
from pool_manager.core.lanes import DEFAULT, Lanes
from pool_manager.core.messages import TransportFailure
from pool_manager.core.origins import Connection, OriginKey, Phase, Place, Speaks, Ticket, Watch
from pool_manager.core.scheduler import Scheduler
from pool_manager.errors import PoolOverloaded
from pool_manager.stats import Traffic
from tests.support.naming import Naming, info
from tests.support.recount import look, recount, watch

T = TypeVar("T")

START: Final = 1_000.0  # a monotonic clock that has run for a while
GRACE: Final = 5.0  # rule 4, said a second time
FIRST_STREAMS: Final = 100  # rule 8, likewise
MAX_REFUSED: Final = 2  # rule 11b, likewise


class Wire:
    """A socket: what a `Dial` opens and a `Close` closes."""

    def __init__(self, world: World, connection: Connection) -> None:
        self.world, self.connection, self.key = world, connection, connection.origin.key
        self.dialing, self.open, self.closed = True, False, False
        self.multiplexed = False
        self.hoped = world.hoped(self.key)
        self.allowed: float = 1
        self.holders: list[Caller] = []
        self.given = 0  # requests that were sent on it, and those that may be
        self.drained = False  # there is a reason to hand it out no more
        self.suspended = False  # its server was asked whether it is there
        self.refused = 0  # streams
        self.orphan_since: float | None = None
        self.begun = self.last_used = world.now
        self.opened = 0.0
        self.keep_alive: float | None = None
        self.place: tuple[str, str] | None = None  # the name and the address that it leads to, or tries first
        self.order: list[str] = []  # the addresses that it tries
        self.expires = float("inf")

    def resolve(self, *addresses: str) -> list[str]:
        """Have the name looked up for the dial; give the order in which the addresses are tried."""
        world, name = self.world, self.key.host
        world.naming.answered(name, [*addresses])
        expected = world.naming.order(name, [*addresses])
        found = [info(address) for address in addresses]
        order = world.act(lambda: world.scheduler.resolved(self.connection, name, found, world.now))
        self.order = [one[4][0] for one in order]
        assert self.order == expected
        self.place = (name, self.order[0])
        return self.order

    def reach(self, address: str) -> None:
        """Have one of those addresses be the first to let the dial in."""
        world, name = self.world, self.key.host
        self.place = (name, address)
        for wire in world.naming.reached(name, self.order, address):
            wire.drained = True
        tried = [info(one) for one in self.order]
        there = info(address)[4]
        world.act(lambda: world.scheduler.reached(self.connection, name, tried, there, world.now))

    def finish(self, error: TransportFailure | None = None, *, h2: bool = False) -> None:
        """End the dial."""
        assert self.dialing, "not being dialed"
        self.dialing = False
        world = self.world
        if self in world.undialed:
            world.undialed.remove(self)
        if error is not None:
            self.closed = True
            world.counted[self.key, "dials_failed"] += 1
            world.naming.avoid(self.place)
            world.dial_ended_badly(self)
            world.act(lambda: world.scheduler.dial_failed(self.connection, world.now, error))
            return
        self.open, self.multiplexed, self.opened, self.last_used = True, h2, world.now, world.now
        world.counted[self.key, "opened"] += 1
        world.dial_times[self.key] = world.now - self.begun
        world.doubtful.pop(self.key, None)
        world.known[self.key] = (Speaks.HTTP2 if h2 else Speaks.HTTP1, world.streams_of(self.key))
        self.allowed = min(world.streams_of(self.key), FIRST_STREAMS, world.max_streams) if h2 else 1
        world.act(lambda: world.scheduler.dialed(self.connection, world.now, multiplexed=h2))

    def fail(self, message: str = "refused") -> None:
        """End the dial badly."""
        self.finish(TransportFailure("ConnectError", message))

    def settings(self, streams: int) -> None:
        """Have the server say how many streams it allows."""
        world = self.world
        self.allowed = min(streams, world.max_streams)
        world.known[self.key] = (world.known[self.key][0], streams or FIRST_STREAMS)
        if not streams and self.connection.phase is Phase.OPEN:
            world.backing_off.add(self.key)
        world.act(lambda: world.scheduler.allow(self.connection, world.now, streams))

    def goaway(self) -> None:
        """Have the server say that it takes no more."""
        self.drained = True
        self.world.act(lambda: self.world.scheduler.drain(self.connection, self.world.now))

    def lose(self) -> None:
        """Have the connection break by itself."""
        self.world.counted[self.key, "closed"] += self.open
        self.open, self.closed = False, True
        if self.holders:
            self.world.naming.avoid(self.place)
        if self.holders and self.given > 1:
            self.world.distrusted = self.key
        self.world.act(lambda: self.world.scheduler.lost(self.connection, self.world.now))
        self.world.distrusted = None

    def refuse(self) -> None:
        """Have the server refuse a stream."""
        self.refused += 1
        self.drained |= self.refused >= MAX_REFUSED
        self.world.act(lambda: self.world.scheduler.refused(self.connection, self.world.now))

    def suspend(self) -> None:
        """Have its server asked whether it is there."""
        self.suspended = True
        self.world.act(lambda: self.world.scheduler.suspend(self.connection))

    def resume(self) -> None:
        """Have it answer."""
        self.suspended = False
        self.world.act(lambda: self.world.scheduler.resume(self.connection, self.world.now))

    @property
    def has_room(self) -> bool:
        """Whether another request may have it."""
        return not self.suspended and len(self.holders) < self.allowed

    def want_open(self) -> None:
        """Expect that it was not closed."""
        assert not self.closed, f"{self} was closed"

    def want_closed(self) -> None:
        """Expect that it was closed."""
        assert self.closed, f"{self} is still there"

    def __repr__(self) -> str:
        return f"<wire {self.connection.number} to {self.key.host}>"


class Caller:
    """A request: who asked, and what became of it."""

    def __init__(self, world: World, key: OriginKey, ticket: Ticket, *, again: bool) -> None:
        self.world, self.key, self.ticket, self.again = world, key, ticket, again
        self.asked = world.now
        self.waiting = True
        self.left = False
        self.wakes = 0
        self.wire: Wire | None = None

    def want(self, wire: Wire) -> None:
        """Expect that it has this connection."""
        assert self.ticket.error is None, self.ticket.error
        assert self.wire is not None, "still waits"
        assert self.wire is wire, f"has {self.wire}, not {wire}"

    def want_waiting(self) -> None:
        """Expect that it waits."""
        assert self.waiting, self.ticket.error or self.wire

    def want_error(self, kind: str = "ConnectError") -> Exception:
        """Expect that it failed; give the error."""
        error = self.ticket.error
        assert error is not None, "did not fail"
        assert kind == (error.kind if isinstance(error, TransportFailure) else type(error).__name__)
        return error

    def finish(self, *, keep_alive: float | None = None) -> None:
        """Have the answer read to its end."""
        assert self.wire is not None
        self.leave(keep_alive=keep_alive)

    def unused(self) -> None:
        """Give the connection back before anything was sent."""
        assert self.wire is not None
        self.leave(used=False)

    def broken(self) -> None:
        """Give the connection back unfit for another request."""
        assert self.wire is not None
        self.leave(reusable=False)

    def cancel(self) -> None:
        """Go away while waiting."""
        assert self.wire is None
        self.leave()

    def too_slow(self) -> None:
        """Go away since the dial takes too long."""
        assert self.wire is None
        self.leave(dial_too_slow=True)

    def leave(self, **how: Any) -> None:
        """Go away, once or again."""
        world, wire = self.world, self.wire
        own = self.ticket.dial if self.waiting and how.get("dial_too_slow") else None
        world.may_be_closed = None if own is None else world.wires[own]
        if self.waiting:
            world.end_wait(self, given_up=True)
        if not self.left and wire is not None:
            wire.holders.remove(self)
            if how.get("used", True):
                world.counted[self.key, "answered"] += 1
                world.spent[self.key] += world.now - self.asked
            world.freed[self.key] += wire.connection.phase is Phase.OPEN
            if not how.get("used", True):
                wire.given -= 1
            else:
                wire.last_used, wire.keep_alive = world.now, how.get("keep_alive")
            if not how.get("reusable", True) and not wire.multiplexed:
                wire.drained = True
        if self in world.callers:
            world.callers.remove(self)
        self.left, self.waiting = True, False
        world.act(lambda: world.scheduler.leave(self.ticket, world.now, **how))
        world.may_be_closed = None


class World:
    """
    A pool without sockets.

    Attributes:
        callers: Those that wait or hold a connection, in the order of asking.

        wires: Those that are there or held, by the scheduler's own connections.

        undialed: Those begun that no test has asked for yet.
    """

    def __init__(
        self,
        *,
        lanes: Sequence[Lane] = (),
        http1: bool = True,
        http2: bool = True,
        seed: int = 0,
        **limits: Any,
    ) -> None:
        self.config = PoolConfig(http1=http1, http2=http2, trust_env=False)
        self.limits = Limits(**limits)
        self.lanes = {lane.name: lane for lane in lanes}
        self.scheduler = Scheduler(self.config, self.limits, Lanes(lanes), random.Random(seed))
        self.now = START
        self.naming = Naming(self)
        self.max_streams = self.limits.max_streams_per_connection
        self.callers: list[Caller] = []
        self.wires: dict[Connection, Wire] = {}
        self.undialed: deque[Wire] = deque()
        self.known: dict[OriginKey, tuple[Speaks, int]] = {}
        self.doubtful: dict[OriginKey, list[Wire]] = {}  # and the dials that will decide
        self.backing_off: set[OriginKey] = set()
        self.closing = False  # `close` was called
        self.resetting = False  # in `reset` now
        self.ticking = False  # in `tick` now
        self.distrusted: OriginKey | None = None  # whose connection ends under a request now
        self.may_be_closed: Wire | None = None  # a dial that this very step may end
        self.queued: set[Ticket] = set()  # who waited before the last step
        self.freed: Counter[OriginKey] = Counter()  # requests that gave an open connection back
        self.counted: Counter[tuple[OriginKey, str]] = Counter()  # what `stats` counts
        self.spent: defaultdict[OriginKey, float] = defaultdict(float)  # seconds, by requests that were sent
        self.waited: defaultdict[OriginKey, float] = defaultdict(float)  # seconds, by those that had to wait
        self.outgrown: dict[OriginKey, int] = {}  # how many had when one more was worth it (rule 9)
        self.dial_times: dict[OriginKey, float] = {}
        self.watches: dict[OriginKey, Watch] = {}
        self.retries: dict[OriginKey, float] = {}
        self.looks: dict[OriginKey, list[tuple[float, int]]] = {}  # when, and how many had
        self.begun: list[Wire] = []  # dials of the last step
        self.ended: list[Wire] = []  # what the last step closed

    # What tests say

    def request(
        self, host: str = "a", lane: str = DEFAULT, *, scheme: str = "https", again: Caller | None = None
    ) -> Caller:
        """Ask for a connection; *again* is the caller that this one repeats."""
        key = OriginKey(scheme, host, 443, host, lane)
        number = None if again is None else again.ticket.number
        queued = [other for other in self.callers if other.key == key and other.ticket.place is Place.QUEUE]
        try:
            ticket = self.act(lambda: self.scheduler.ask(key, self.now, number), check=False)
        except PoolOverloaded:
            for name in ("requests",) * (again is None) + ("queued", "waits", "given_up"):
                self.counted[key, name] += 1
            self.check()
            raise
        caller = Caller(self, key, ticket, again=again is not None)
        self.counted[key, "requests"] += again is None
        self.callers.append(caller)
        if ticket.place is Place.CONNECTION:
            assert not queued, "a newcomer went past those that wait"
            caller.waiting = False
            self.give(caller)
        else:
            self.counted[key, "queued"] += 1
        self.check()
        return caller

    def want_dial(self, host: str | None = None) -> Wire:
        """Expect that a dial was begun which no test has asked for yet; give the first."""
        wire = next((wire for wire in self.undialed if host in (None, wire.key.host)), None)
        assert wire is not None, "no dial was begun"
        self.undialed.remove(wire)
        return wire

    def want_no_dial(self) -> None:
        """Expect that no dial is under way that no test has asked for."""
        assert not self.undialed, f"was dialed: {[*self.undialed]}"

    def want_growth(self, host: str | None = None) -> Wire:
        """Expect that a dial is begun when two looks have shown that the queue stands (rule 9)."""
        self.want_no_dial()
        self.after(0.13)
        self.want_no_dial()
        self.after(0.13)
        return self.want_dial(host)

    def connected(self, host: str = "a", *, h2: bool = False, **kwargs: Any) -> tuple[Caller, Wire]:
        """Ask for a connection and have it dialed."""
        caller = self.request(host, **kwargs)
        wire = self.want_dial()
        wire.finish(h2=h2)
        caller.want(wire)
        return caller, wire

    def idle(self, host: str = "a", *, h2: bool = False, **kwargs: Any) -> Wire:
        """Have a connection opened that nobody holds."""
        caller, wire = self.connected(host, h2=h2, **kwargs)
        caller.finish()
        return wire

    def after(self, seconds: float) -> None:
        """Let time pass, with a tick at its end if one is due."""
        self.now += seconds
        if self.now >= self.scheduler.deadlines.next:
            self.tick()

    def tick(self) -> None:
        """Do what is due."""
        look(self)
        self.ticking = True
        self.act(lambda: self.scheduler.tick(self.now))
        self.ticking = False

    def reset(self) -> None:
        """Use nothing that is there again."""
        for wire in self.wires.values():
            wire.drained, wire.place = True, None
        self.naming.reset()
        self.backing_off.clear()
        self.resetting = True
        self.act(lambda: self.scheduler.reset(self.now))
        self.resetting = False

    def close(self) -> None:
        """End it all; callers may leave later."""
        self.closing = True
        self.act(lambda: self.scheduler.close(self.now))

    def stats(self) -> Traffic:
        """Give what the scheduler says of all its connections."""
        return self.scheduler.picture(self.now).developed().total

    # What the runtime does

    def act(self, call: Callable[[], T], *, check: bool = True) -> T:
        """Call the scheduler, carry out what it says, and look at everything."""
        self.queued = {caller.ticket for caller in self.callers if caller.ticket.place is Place.QUEUE}
        self.begun.clear()
        self.ended.clear()
        try:
            result = call()
        except Exception:
            self.carry_out()
            if check:
                self.check()
            raise
        self.carry_out()
        if check:
            self.check()
        return result

    def carry_out(self) -> None:
        """Do what the scheduler says, in order."""
        by_ticket = {caller.ticket: caller for caller in self.callers}
        for effect in self.scheduler.take_effects():
            if isinstance(effect, Dial):
                assert effect.connection not in self.wires, "dialed twice"
                wire = self.wires[effect.connection] = Wire(self, effect.connection)
                self.undialed.append(wire)
                self.begun.append(wire)
            elif isinstance(effect, Close):
                self.shut(self.wires[effect.connection])
            else:
                assert isinstance(effect, Wake)
                self.wake(by_ticket[effect.ticket])

    def wake(self, caller: Caller) -> None:
        """Tell a caller; it must have waited, and never hears twice."""
        assert caller.waiting, "woken though it did not wait"
        caller.wakes += 1
        assert caller.wakes == 1
        self.end_wait(caller, given_up=caller.ticket.place is not Place.CONNECTION)
        if caller.ticket.place is Place.CONNECTION:
            self.give(caller)
        else:
            assert caller.ticket.place is Place.GONE
            assert caller.ticket.error is not None
            self.callers.remove(caller)

    def end_wait(self, caller: Caller, *, given_up: bool) -> None:
        """Note that a caller waits no longer."""
        caller.waiting = False
        self.counted[caller.key, "waits"] += 1
        self.counted[caller.key, "given_up"] += given_up
        self.waited[caller.key] += self.now - caller.asked

    def give(self, caller: Caller) -> None:
        """Let a caller have its connection; it must be one that it may have."""
        connection = caller.ticket.connection
        assert connection is not None
        wire = self.wires[connection]
        assert wire.key == caller.key, "of another origin"
        assert wire.open, "handed out though not open"
        assert not wire.drained, "handed out though it drains"
        assert len(wire.holders) < wire.allowed, "handed out without a free slot"
        assert not wire.suspended, "handed out though nobody may be there"
        assert wire.given < self.limits.max_requests_per_connection
        fresh = wire.holders or not wire.given or wire.last_used == self.now
        assert fresh or self.now < wire.last_used + self.kept_for(wire), "expired"
        caller.wire = wire
        wire.holders.append(caller)
        wire.given += 1
        self.counted[caller.key, "reused"] += wire.given > 1
        if wire.given >= self.limits.max_requests_per_connection:
            wire.drained = True
        passed = [
            other
            for other in self.callers
            if other.ticket in self.queued
            and other.key == caller.key
            and other.ticket.place is Place.QUEUE
            and other.ticket.number < caller.ticket.number
        ]
        assert not passed, "went past one that has waited longer"

    def shut(self, wire: Wire) -> None:
        """Close a socket or end a dial; there must be a reason."""
        assert not wire.closed, "closed twice"
        if wire.dialing:
            orphaned = wire.orphan_since is not None and self.now >= wire.orphan_since + GRACE
            assert (
                self.closing or self.resetting or wire is self.may_be_closed or (self.ticking and orphaned)
            ), "a dial was ended for no reason"
            if wire in self.undialed:
                self.undialed.remove(wire)
        assert self.closing or not wire.holders, "closed under a request"
        self.counted[wire.key, "closed"] += wire.open
        wire.dialing, wire.open, wire.closed = False, False, True
        self.ended.append(wire)

    def check(self) -> None:
        """Look at everything."""
        for wire in self.wires.values():
            if wire.dialing and wire.connection.cause is None:
                wire.orphan_since = self.now if wire.orphan_since is None else wire.orphan_since
            else:
                wire.orphan_since = None
        watch(self)
        for key, deciding in [*self.doubtful.items()]:
            if not any(wire.dialing for wire in deciding):
                del self.doubtful[key]
        recount(self)
        for wire in [*self.wires.values()]:
            if wire.closed and not wire.holders:
                del self.wires[wire.connection]

    # What the world knows by itself

    def dial_ended_badly(self, failed: Wire) -> None:
        """Note whether the origin is in doubt now, or backs off (rule 5)."""
        others = [wire for wire in self.wires.values() if wire.key == failed.key and not wire.closed]
        if any(wire.connection.phase is Phase.OPEN for wire in others):
            self.backing_off.add(failed.key)
        elif dialing := [wire for wire in others if wire.dialing]:
            self.doubtful[failed.key] = dialing

    def known_of(self, key: OriginKey) -> tuple[Speaks, int]:
        """Give what the origin speaks, and its streams, as far as anybody can know (rule 7)."""
        if key not in self.known:
            if not self.config.http1:
                speaks = Speaks.HTTP2
            elif not self.config.http2 or key.scheme != "https":
                speaks = Speaks.HTTP1
            else:
                speaks = Speaks.UNKNOWN
            self.known[key] = (speaks, FIRST_STREAMS)
        return self.known[key]

    def streams_of(self, key: OriginKey) -> int:
        """Give how many streams the origin was last known to allow."""
        return self.known_of(key)[1]

    def hoped(self, key: OriginKey) -> float:
        """Give how many requests a dial to the origin is hoped to serve (rule 2)."""
        speaks, streams = self.known_of(key)
        return 1 if speaks is Speaks.HTTP1 else min(streams, FIRST_STREAMS, self.max_streams)

    def kept_for(self, wire: Wire) -> float:
        """Give the seconds for which an idle connection is kept (rule 13)."""
        server = float("inf") if wire.keep_alive is None else wire.keep_alive
        return min(self.limits.keepalive_expiry, max(server - 1, server / 2))

    def per_origin(self, lane: str) -> float:
        """Give how many connections an origin may have in that lane."""
        own = self.lanes[lane].max_connections_per_origin if lane in self.lanes else float("inf")
        return min(own, self.limits.max_connections_per_origin)

    def in_flight(self, lane: str) -> float:
        """Give how many requests the lane may have in flight."""
        return self.lanes[lane].max_in_flight if lane in self.lanes else float("inf")
