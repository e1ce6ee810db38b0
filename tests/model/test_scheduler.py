"""The scheduler against a world that does to it whatever servers, callers and clocks may do."""

from __future__ import annotations

import math

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from pool_manager.config import Lane
from pool_manager.core.lanes import DEFAULT
from pool_manager.core.origins import Phase
from pool_manager.errors import PoolOverloaded
from tests.support.recount import alive
from tests.support.scheduling import Caller, Wire, World

COUNT = st.integers(1, 3)
HOSTS = ["a", "b", "c"]

LIMITS = st.fixed_dictionaries(
    {
        "max_connections": st.integers(1, 4),
        "max_connections_per_origin": COUNT,
        "max_keepalive_connections": st.sampled_from([0, 1, 2, 100]),
        "keepalive_expiry": st.sampled_from([0, 3.0, 60.0, math.inf]),
        "max_pending": st.sampled_from([0, 2, 100, 100]),
        "max_connecting_per_origin": COUNT,
        "max_h2_connections_per_origin": st.integers(1, 2),
        "max_streams_per_connection": COUNT,
        "max_requests_per_connection": st.sampled_from([1, 2, math.inf, math.inf]),
        "max_connection_age": st.sampled_from([0, 5.0, math.inf, math.inf, math.inf]),
    }
)
LANES = st.lists(
    st.tuples(st.sampled_from([1, 2, math.inf]), COUNT), max_size=2
)  # in flight, connections to one origin


class SchedulerMachine(RuleBasedStateMachine):
    """
    Callers ask and leave, dials end or do not, servers change their minds, time passes.

    `World` carries out what the scheduler says and has everything counted anew after each step; in the end
    every dial succeeds and every holder leaves, and all that wait must be served.
    """

    http1 = http2 = True

    @initialize(limits=LIMITS, lanes=LANES, seed=st.integers(0, 3))
    def begin(self, limits: dict[str, float], lanes: list[tuple[float, int]], seed: int) -> None:
        """Make a pool with narrow limits."""
        self.world = World(
            lanes=[
                Lane(f"lane{number}", max_in_flight=in_flight, max_connections_per_origin=most)
                for number, (in_flight, most) in enumerate(lanes)
            ],
            http1=self.http1,
            http2=self.http2,
            seed=seed,
            **limits,
        )
        self.names = [DEFAULT, *self.world.lanes]
        self.broken: list[Caller] = []  # those that may be sent again
        self.refused = 0

    # What there is to do something with

    def wires(self, *, dialing: bool) -> list[Wire]:
        """Give the dials, or the open connections."""
        return [wire for wire in alive(self.world) if wire.dialing is dialing]

    def held(self) -> list[Caller]:
        """Give who holds a connection."""
        return [caller for caller in self.world.callers if not caller.waiting]

    def queued(self) -> list[Caller]:
        """Give who waits."""
        return [caller for caller in self.world.callers if caller.waiting]

    # Callers

    def ask(self, host: str, lane: str, scheme: str, again: Caller | None = None) -> None:
        """Ask, and perhaps be turned away."""
        waiting = len(self.queued())
        try:
            self.world.request(host, lane, scheme=scheme, again=again)
        except PoolOverloaded:
            assert waiting >= self.world.limits.max_pending
            assert len(self.queued()) == waiting

    @rule(host=st.sampled_from(HOSTS), lane=st.integers(0, 2), https=st.booleans(), count=COUNT)
    def come(self, host: str, lane: int, https: bool, count: int) -> None:
        """A few requests come."""
        for _ in range(count):
            self.ask(host, self.names[lane % len(self.names)], "https" if https or host != "a" else "http")

    @precondition(lambda self: self.held())
    @rule(
        which=st.integers(0, 99),
        keep_alive=st.sampled_from([None, None, None, 0, 1, 4, 90]),
        how=st.sampled_from(["finish", "finish", "finish", "broken", "unused"]),
    )
    def give_back(self, which: int, keep_alive: float | None, how: str) -> None:
        """A request ends, well or not, or never began."""
        held = self.held()
        caller = held[which % len(held)]
        if how == "finish":
            caller.finish(keep_alive=keep_alive)
        elif how == "broken":
            caller.broken()
            self.broken.append(caller)
        else:
            caller.unused()
        caller.leave()

    @precondition(lambda self: self.queued())
    @rule(which=st.integers(0, 99), too_slow=st.booleans())
    def go_away(self, which: int, too_slow: bool) -> None:
        """A request is cancelled, or its dial takes too long."""
        queued = self.queued()
        caller = queued[which % len(queued)]
        if too_slow:
            caller.too_slow()
        else:
            caller.cancel()

    @precondition(lambda self: self.broken)
    @rule(which=st.integers(0, 99))
    def come_back(self, which: int) -> None:
        """A request is sent again."""
        caller = self.broken.pop(which % len(self.broken))
        self.ask(caller.key.host, caller.key.lane, caller.key.scheme, again=caller)

    # Connections

    @precondition(lambda self: self.wires(dialing=True))
    @rule(
        which=st.integers(0, 99),
        addresses=st.lists(st.sampled_from(["1", "2", "3", ":1", ":2"]), min_size=1, max_size=4, unique=True),
    )
    def look_up(self, which: int, addresses: list[str]) -> None:
        """The name of a dial is looked up."""
        dials = self.wires(dialing=True)
        dials[which % len(dials)].resolve(*addresses)

    @precondition(lambda self: any(wire.order for wire in self.wires(dialing=True)))
    @rule(which=st.integers(0, 99), winner=st.integers(0, 3))
    def let_in(self, which: int, winner: int) -> None:
        """One of its addresses lets a dial in."""
        dials = [wire for wire in self.wires(dialing=True) if wire.order]
        wire = dials[which % len(dials)]
        wire.reach(wire.order[winner % len(wire.order)])

    @precondition(lambda self: self.wires(dialing=True))
    @rule(which=st.integers(0, 99), h2=st.booleans(), works=st.sampled_from([True, True, True, False]))
    def end_dial(self, which: int, h2: bool, works: bool) -> None:
        """A dial ends."""
        dials = self.wires(dialing=True)
        wire = dials[which % len(dials)]
        if works:
            wire.finish(h2=self.speaks(wire, h2))
        else:
            wire.fail()

    def speaks(self, wire: Wire, h2: bool) -> bool:
        """Tell whether the connection will speak HTTP/2; one without TLS, by prior knowledge alone."""
        config = self.world.config
        return not config.http1 or (config.http2 and wire.key.scheme == "https" and h2)

    @precondition(lambda self: self.wires(dialing=False))
    @rule(
        which=st.integers(0, 99),
        how=st.sampled_from([0, 1, 1, 2, 3, 200, "goaway", "lost", "refuses", "asked"]),
    )
    def change(self, which: int, how: int | str) -> None:
        """A server changes its mind, or is asked whether it is there, and says so."""
        wires = self.wires(dialing=False)
        wire = wires[which % len(wires)]
        if how == "goaway":
            wire.goaway()
        elif how == "lost":
            wire.lose()
        elif how == "refuses":
            wire.refuse()
        elif how == "asked":
            if wire.suspended:
                wire.resume()
            elif wire.multiplexed:
                wire.suspend()
        elif wire.multiplexed:
            assert isinstance(how, int)
            wire.settings(how)

    # The clock and the owner

    @rule(seconds=st.sampled_from([0.0, 0.026, 0.026, 0.13, 0.13, 1.2, 2.9, 5.1, 61.0]))
    def pass_time(self, seconds: float) -> None:
        """Time passes, and what is due is done."""
        self.world.after(seconds)

    @rule(seconds=st.sampled_from([0.5, 3.0, 61.0]))
    def pass_time_unseen(self, seconds: float) -> None:
        """Time passes, and the timer is late."""
        self.world.now += seconds

    @rule()
    def tick(self) -> None:
        """The timer fires, perhaps too early."""
        self.world.tick()

    @precondition(lambda self: len(self.world.wires) > 3)
    @rule()
    def reset(self) -> None:
        """Nothing that is there may be used again."""
        self.world.reset()

    @precondition(lambda self: len(self.world.wires) > 6)
    @rule()
    def close(self) -> None:
        """All ends; and another pool begins."""
        self.end()
        self.world = World(
            lanes=[*self.world.lanes.values()], http2=self.world.config.http2, http1=self.world.config.http1
        )
        self.broken.clear()

    # The end

    def serve_all(self) -> None:
        """Have every dial succeed and every holder leave: all that wait are served, in few steps."""
        world = self.world
        waiting = self.queued()
        most = 20 * (len(world.callers) + len(alive(world)) + 5)
        for _ in range(most):
            if not self.queued():
                break
            if dials := self.wires(dialing=True):
                dials[0].finish(h2=self.speaks(dials[0], h2=False))
            elif held := self.held():
                held[0].finish()
            elif stuck := [wire for wire in alive(world) if wire.multiplexed and not wire.allowed]:
                stuck[0].settings(1)
            elif silent := [wire for wire in alive(world) if wire.suspended]:
                silent[0].resume()
            else:
                world.now = max(world.now, world.scheduler.deadlines.next)
                assert world.now < math.inf, "somebody waits, and for nothing"
                world.tick()
        assert not self.queued(), "somebody was not served"
        assert all(caller.wire is not None for caller in waiting)

    def end(self) -> None:
        """Serve all, close, and look for what is left."""
        world = self.world
        self.serve_all()
        held = self.held()
        world.request("a").want_waiting() if not held and not alive(world) else None
        world.close()
        assert not alive(world)
        for caller in [*world.callers]:
            caller.finish()
        scheduler = world.scheduler
        assert not scheduler.connections()
        assert len(scheduler.deadlines) == 0
        assert world.stats().waiting == world.stats().connections == 0
        assert not world.callers
        phases = {wire.connection.phase for wire in world.wires.values()}
        assert phases <= {Phase.CLOSED}

    def teardown(self) -> None:
        """Come to an end."""
        if hasattr(self, "world"):
            self.end()


class Http1Machine(SchedulerMachine):
    """All of it over HTTP/1.1."""

    http2 = False


class Http2Machine(SchedulerMachine):
    """All of it over HTTP/2, without asking."""

    http1 = False


# An example costs 15 ms, and rare meetings of limits are what it looks for.
LONGER = settings(max_examples=2 * settings().max_examples, suppress_health_check=[HealthCheck.too_slow])

TestEither = SchedulerMachine.TestCase
TestHttp1 = Http1Machine.TestCase
TestHttp2 = Http2Machine.TestCase

TestEither.settings = TestHttp1.settings = TestHttp2.settings = LONGER
