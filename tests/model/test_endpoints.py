"""Where connections lead, against every answer there ever was."""

from __future__ import annotations

import math

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tests.support.scheduling import Caller, World

ADDRESSES = st.lists(st.sampled_from(["1", "2", "3", ":1", ":2"]), min_size=1, max_size=3, unique=True)


class EndpointsMachine(RuleBasedStateMachine):
    """
    Dials look up two names, whose answers are anything, and every connection is held as long as it may be.

    `World` tells by a book of its own (`tests/support/naming.py`) what is tried when, and what drains.
    """

    @initialize()
    def begin(self) -> None:
        """Make a pool that is never full."""
        self.world = World(http2=False, keepalive_expiry=math.inf)

    def held(self) -> list[Caller]:
        """Give who holds a connection."""
        return [caller for caller in self.world.callers if not caller.waiting]

    @rule(
        host=st.sampled_from(["a", "a", "b"]), answer=ADDRESSES, winner=st.integers(0, 2), works=st.booleans()
    )
    def dial(self, host: str, answer: list[str], winner: int, works: bool) -> None:
        """A connection is opened, or not."""
        caller = self.world.request(host)
        if not self.world.undialed:  # one has failed, and it backs off
            caller.cancel()
            return
        wire = self.world.want_dial()
        order = wire.resolve(*answer)
        if works or winner:
            wire.reach(order[winner % len(order)])
        if works:
            wire.finish()
        else:
            wire.fail()

    @precondition(lambda self: self.held())
    @rule(which=st.integers(0, 99), how=st.sampled_from(["lost", "broken", "goaway"]))
    def end(self, which: int, how: str) -> None:
        """A connection ends, or takes no more."""
        caller = self.held()[which % len(self.held())]
        assert caller.wire is not None
        if how == "lost" and not caller.wire.closed:
            caller.wire.lose()
            caller.leave()
        elif how == "broken":
            caller.broken()
        elif not caller.wire.drained:
            caller.wire.goaway()

    @rule(seconds=st.sampled_from([1.0, 14.0, 31.0, 31.0, 61.0, 605.0]))
    def pass_time(self, seconds: float) -> None:
        """Time passes."""
        self.world.after(seconds)

    @precondition(lambda self: len(self.world.wires) > 5)
    @rule()
    def reset(self) -> None:
        """Nothing that is there may be used again."""
        self.world.reset()


TestEndpoints = EndpointsMachine.TestCase
