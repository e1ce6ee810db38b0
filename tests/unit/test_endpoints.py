"""Which address of a name is dialed, and whose connections go when an address has left DNS."""

from __future__ import annotations

import math
import random
from typing import Any

import pytest

from pool_manager.config import Lane
from pool_manager.core import endpoints
from pool_manager.core.endpoints import Endpoints
from pool_manager.core.origins import Connection, Phase
from tests.support.naming import info
from tests.support.scheduling import Caller, Wire, World

LEFT_AFTER = 30.0
AVOIDED_FOR = 60.0


def world(**limits: Any) -> World:
    """Make a pool that keeps what it has."""
    return World(**{"http2": False, "keepalive_expiry": math.inf, **limits})


def dialed(pool: World, answer: str, *, to: str | None = None, **kwargs: Any) -> tuple[Caller, Wire]:
    """Have a connection opened to the first address that is tried, or to another; *answer* is spaced."""
    caller = pool.request(**kwargs)
    wire = pool.want_dial()
    order = wire.resolve(*answer.split())
    wire.reach(to or order[0])
    wire.finish(h2=not pool.config.http1)
    return caller, wire


def place(wire: Wire) -> str:
    """Tell where a connection leads to."""
    assert wire.place is not None
    return wire.place[1]


def test_connections_are_spread() -> None:
    """The address that the fewest connections lead to is dialed, in the system's order if they are equals."""
    pool = world()
    callers = [dialed(pool, "1 2 3") for _ in range(6)]
    assert [place(wire) for _, wire in callers] == ["1", "2", "3"] * 2
    for caller, wire in (callers[1], callers[4]):
        caller.broken()
        wire.want_closed()
    assert [place(dialed(pool, "1 2 3")[1]) for _ in range(3)] == ["2", "2", "1"]


def test_a_burst_is_spread() -> None:
    """Dials that are under way count where they are begun: those of a burst do not all go one way."""
    pool = world()
    for _ in range(6):
        pool.request()
    assert [pool.want_dial().resolve("1", "2")[0] for _ in range(6)] == ["1", "2"] * 3


def test_all_origins_of_a_name_are_spread_together() -> None:
    """What counts is who leads there, whatever the lane and the scheme."""
    pool = world()
    one = dialed(pool, "1 2")[1]
    two = dialed(pool, "1 2", scheme="http")[1]
    other = dialed(pool, "1 2", host="b")[1]
    assert [place(wire) for wire in (one, two, other)] == ["1", "2", "1"]


def test_the_preferred_family_stays_first() -> None:
    """Addresses are spread within a family, and families alternate as the system has them."""
    pool = world()
    orders = []
    for _ in range(3):
        pool.request()
        wire = pool.want_dial()
        orders.append(wire.resolve(":1", ":2", "1", "2"))
        wire.reach(orders[-1][0])
        wire.finish()
    assert orders == [[":1", "1", ":2", "2"], [":2", "1", ":1", "2"], [":1", "1", ":2", "2"]]


@pytest.mark.parametrize("how", ["slow", "no TLS", "breaks"])
def test_an_address_that_fails_comes_last_for_a_while(how: str) -> None:
    """It was passed over, its dial failed later, or a request was lost on it: the others are tried first."""
    pool = world()
    if how == "slow":
        dialed(pool, "1 2 3", to="2")
        expected = ["3", "2", "1"]
    else:
        pool.request()
        wire = pool.want_dial()
        wire.resolve("1", "2", "3")
        wire.reach("1")
        if how == "breaks":
            wire.finish()
            wire.lose()
        else:
            wire.fail()
        expected = ["2", "3", "1"]
    pool.request()
    assert expected == pool.want_dial().resolve("1", "2", "3")
    pool.now += AVOIDED_FOR
    pool.request()
    assert pool.want_dial().resolve("1", "2", "3")[0] == "1"


def test_an_address_that_works_again_is_taken_as_before() -> None:
    """One that was tried in spite of all, and let a dial in, is avoided no longer."""
    pool = world()
    dialed(pool, "1 2", to="2")
    dialed(pool, "1")
    assert place(dialed(pool, "1 2")[1]) == "1"


def test_an_address_that_failed_is_not_forgotten_with_those_that_left_long_ago() -> None:
    """Its last connection is lost after it was away for long: it comes last for a while, should it return."""
    pool = world()
    wire = dialed(pool, "1")[1]
    dialed(pool, "2")
    pool.now += 605.0
    wire.lose()
    dialed(pool, "2")
    assert place(dialed(pool, "1 2")[1]) == "2"


LANES = [Lane(f"lane{number}") for number in range(10)]


@pytest.fixture(params=[False, True], ids=["http1", "http2"])
def pool(request: pytest.FixtureRequest) -> World:
    """Give a pool of either version of HTTP, with lanes: the first request of each has a name looked up."""
    return world(http1=not request.param, http2=request.param, lanes=LANES)


def test_a_connection_whose_address_left_drains(pool: World) -> None:
    """Once no answer had it for 30 s: what is out on it finishes, an idle one closes, and others stay."""
    holder, busy = dialed(pool, "1")
    gone, idle = dialed(pool, "1 2", to="1", lane="lane0")
    gone.finish()
    other = dialed(pool, "1 2", to="2", lane="lane1")[1]
    pool.now += 500
    dialed(pool, "2 3", lane="lane2")
    pool.now += LEFT_AFTER - 1
    dialed(pool, "2 3", lane="lane3")
    assert busy.connection.phase is idle.connection.phase is Phase.OPEN
    pool.now += 1
    dialed(pool, "3", to="3", lane="lane4")
    idle.want_closed()
    busy.want_open()
    assert busy.connection.phase is Phase.DRAINING
    holder.finish()
    busy.want_closed()
    assert other.connection.phase is Phase.OPEN


def test_one_absence_is_none(pool: World) -> None:
    """An address that is in every other answer stays, however long that goes on."""
    _, wire = dialed(pool, "1 2", to="1")
    for lane in LANES:
        dialed(pool, "2" if int(lane.name[-1]) % 2 else "1 2", to="2", lane=lane.name)
        pool.now += 400
    assert wire.connection.phase is Phase.OPEN


def test_how_long_absences_last_is_learned(pool: World) -> None:
    """One that came back after 25 s: from then on an address has left after 50 s, not after 30."""
    _, wire = dialed(pool, "1 2", to="1")
    for lane, (answer, seconds) in enumerate([("2", 25), ("1 2", 1), ("2", 49), ("2", 1)]):
        dialed(pool, answer, to="2", lane=f"lane{lane}")
        pool.now += seconds
    assert wire.connection.phase is Phase.OPEN
    dialed(pool, "2", lane="lane4")
    assert wire.connection.phase is Phase.DRAINING


def test_nothing_drains_for_an_address_that_nobody_reaches(pool: World) -> None:
    """While no dial succeeds the connections there are go on, whatever the answers say."""
    _, wire = dialed(pool, "1")
    for lane in ("lane0", "lane1"):
        pool.request(lane=lane)
        dial = pool.want_dial()
        dial.resolve("2")
        dial.fail()
        pool.now += LEFT_AFTER
    assert wire.connection.phase is Phase.OPEN
    dialed(pool, "2", lane="lane2")
    assert wire.connection.phase is Phase.DRAINING


@pytest.mark.parametrize("named", [1, 3])
def test_a_resolver_that_names_a_few_of_many(named: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes connections away only until it is known for what it is."""
    monkeypatch.setattr(World, "check", lambda _: None)  # it costs more than the rest
    pool, rng = world(max_connections=1000), random.Random(5)
    everything = [str(number) for number in range(12)]
    holders: list[tuple[Caller, Wire]] = []
    drained: list[float] = []
    for _ in range(2000):
        pool.now += 2
        holders.append(dialed(pool, " ".join(rng.sample(everything, named))))
        drained += [pool.now] * sum(wire.connection.phase is Phase.DRAINING for _, wire in holders)
        holders = [(caller, wire) for caller, wire in holders if wire.connection.phase is Phase.OPEN]
        if len(holders) > 30:
            holders.pop(0)[0].broken()
    assert len(drained) < 50
    assert max(drained, default=0) < pool.now - 2000


def test_a_reset_forgets_it_all() -> None:
    """Where connections led, and which addresses failed, does not count any more."""
    pool = world()
    _, old = dialed(pool, "1 2", to="2")
    pool.reset()
    assert place(dialed(pool, "1 2")[1]) == "1"
    old.want_open()
    assert old.connection.phase is Phase.DRAINING


def test_a_dial_that_was_given_up_counts_nowhere() -> None:
    """Its answer comes too late to be counted, and is an answer all the same."""
    pool = world()
    caller = pool.request()
    wire = pool.want_dial()
    caller.cancel()
    pool.after(6)
    wire.want_closed()
    found = [info("1"), info("2")]
    assert [*pool.scheduler.resolved(wire.connection, "a", found, pool.now)] == found
    pool.scheduler.reached(wire.connection, "a", found, found[1][4], pool.now)
    assert wire.connection.endpoint is None
    assert place(dialed(pool, "1 2")[1]) == "1"


def test_names_are_forgotten_at_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many names the last are remembered; and of a name, no address that is gone and led nowhere."""
    monkeypatch.setattr(endpoints, "MAX_NAMES", 2)
    pool, known = world(), Endpoints()
    pool.request()
    dial: Connection = pool.want_dial().connection
    for number, name in enumerate(["a", "b", "a", "c"]):
        known.resolved(dial, name, [info(str(number))], pool.now)
    assert [*known._names] == ["a", "c"]  # noqa: SLF001 - the state under test
    for _ in range(3):
        pool.now += 600
        known.resolved(dial, "a", [info("9")], pool.now)
    assert [*known._names["a"]] == [info("9")[4]]  # noqa: SLF001 - the state under test
