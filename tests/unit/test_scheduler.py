"""Who gets which connection when: stories of dials, told one event at a time, and tables for the rules."""

from __future__ import annotations

import math
from typing import Any

import pytest

from pool_manager.config import Lane, Limits, PoolConfig
from pool_manager.core.effects import Dial
from pool_manager.core.lanes import DEFAULT, Lanes
from pool_manager.core.messages import TransportFailure
from pool_manager.core.origins import OriginKey, Place
from pool_manager.core.protocols import MAX_REMEMBERED
from pool_manager.core.scheduler import Scheduler
from pool_manager.errors import PoolClosed, PoolOverloaded
from tests.support.scheduling import START, Caller, World


@pytest.fixture(params=[False, True], ids=["http1", "http2"])
def h2(request: pytest.FixtureRequest) -> bool:
    """Give each protocol."""
    return bool(request.param)


def numbers(callers: list[Caller]) -> list[int]:
    """Give which connection each has."""
    return [0 if caller.wire is None else caller.wire.connection.number for caller in callers]


# What Go's transport promises of its dials (transport_dial_test.go), told anew


def test_an_idle_connection_is_used_again(h2: bool) -> None:
    """A request that comes later takes the connection that is there."""
    pool = World()
    first, wire = pool.connected(h2=h2)
    first.finish()
    second = pool.request()
    second.want(wire)
    pool.want_no_dial()
    assert pool.stats().reused == 1
    assert pool.stats().opened == 1


def test_a_connection_in_use_is_not_shared() -> None:
    """Two requests at once over HTTP/1.1 have two connections."""
    pool = World()
    _, first = pool.connected()
    _, second = pool.connected()
    assert first is not second


@pytest.mark.parametrize("in_use", [True, False], ids=["under a request", "idle"])
def test_who_is_sent_again_meets_no_dead_neighbour(in_use: bool) -> None:
    """A server that ends a used connection under a request may have ended the idle ones: they are closed."""
    pool = World()
    callers = [pool.connected(), pool.connected()]
    for caller, _ in callers:
        caller.finish()
    (_, idle), (_, lost) = callers
    if in_use:
        pool.request().want(lost)
    lost.lose()
    if in_use:
        idle.want_closed()
    else:
        idle.want_open()


def test_over_the_limit_of_streams_a_second_connection_is_opened() -> None:
    """A third request at two streams has another connection; with room on both, the oldest is taken."""
    pool = World()
    _, first = pool.connected(h2=True)
    first.settings(2)
    pool.request().want(first)
    third = pool.request()
    third.want_waiting()
    second = pool.want_growth()
    second.finish(h2=True)
    third.want(second)
    for caller in [*pool.callers]:
        caller.finish()
    for wire in (first, first, second):
        pool.request().want(wire)


def test_two_requests_share_the_first_dial() -> None:
    """Where HTTP/2 may be had, one dial is made for all who wait, and all go on it."""
    pool = World()
    callers = [pool.request() for _ in range(5)]
    wire = pool.want_dial()
    pool.want_no_dial()
    wire.finish(h2=True)
    for caller in callers:
        caller.want(wire)


def test_an_idle_connection_beats_the_dial_begun_for_the_request() -> None:
    """Who waits takes what comes first; a third request takes the dial that was left over."""
    pool = World(http2=False)
    first, wire = pool.connected()
    second = pool.request()
    dial = pool.want_dial()
    first.finish()
    second.want(wire)
    third = pool.request()
    pool.want_no_dial()
    dial.finish()
    third.want(dial)


def test_connections_that_cannot_be_kept_are_not_used_again() -> None:
    """With no idle connections allowed, each request has its own."""
    pool = World(max_keepalive_connections=0)
    for _ in range(2):
        first, wire = pool.connected()
        first.finish()
        wire.want_closed()


def test_a_dial_outlives_the_request_that_left(h2: bool) -> None:
    """A cancelled request leaves its dial to the next one."""
    pool = World()
    pool.request().cancel()
    dial = pool.want_dial()
    second = pool.request()
    pool.want_no_dial()
    dial.finish(h2=h2)
    second.want(dial)


def test_a_dial_whose_request_left_is_kept_idle(h2: bool) -> None:
    """It is there for whoever comes later."""
    pool = World()
    pool.request().cancel()
    dial = pool.want_dial()
    dial.finish(h2=h2)
    dial.want_open()
    pool.after(3)
    later = pool.request()
    later.want(dial)
    assert later.ticket.idle_for == 0.0


def test_a_dial_whose_request_left_is_closed_where_nothing_is_kept() -> None:
    """It is not kept where nothing is."""
    pool = World(max_keepalive_connections=0)
    pool.request().cancel()
    dial = pool.want_dial()
    dial.finish()
    dial.want_closed()
    pool.connected()


def test_a_broken_connection_is_not_used_again() -> None:
    """A request whose connection broke leaves nothing for the next."""
    pool = World()
    first, wire = pool.connected()
    first.broken()
    wire.want_closed()
    _, other = pool.connected()
    assert other is not wire


def test_a_connection_that_breaks_under_a_request() -> None:
    """The connection is gone at once; the request leaves when it likes, and again."""
    pool = World(max_connections=1)
    first, wire = pool.connected()
    second = pool.request()
    wire.lose()
    pool.want_dial().finish()
    second.want(pool.wires[second.ticket.connection])  # type: ignore[index]  # it has one
    first.leave(reusable=False)
    first.leave()


def test_more_idle_connections_than_are_kept() -> None:
    """The one that has been idle the longest goes, whosever it is."""
    pool = World(max_keepalive_connections=2)
    (first, one), (second, two), (third, three) = (pool.connected(host) for host in ("a", "a", "b"))
    for caller in (third, second, first):
        pool.after(1)
        caller.finish()
    three.want_closed()
    two.want_open()
    pool.request("a").want(one)


# Rule 2 and 7: how many dials


def test_one_probe_and_then_all_at_once() -> None:
    """Where ALPN decides, one dial asks; if it says HTTP/1.1, the others follow at once."""
    pool = World()
    callers = [pool.request() for _ in range(6)]
    probe = pool.want_dial()
    pool.want_no_dial()
    probe.finish()
    dials = [pool.want_dial() for _ in range(5)]
    pool.want_no_dial()
    for dial in dials:
        dial.finish()
    assert numbers(callers) == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("kwargs", "scheme", "dials"),
    [
        ({}, "https", 1),
        ({}, "http", 3),
        ({}, "ws", 3),
        ({}, "wss", 3),
        ({"http2": False}, "https", 3),
        ({"http1": False}, "https", 1),
        ({"http1": False}, "http", 1),
    ],
)
def test_what_an_origin_is_taken_to_speak(kwargs: dict[str, Any], scheme: str, dials: int) -> None:
    """HTTP/1.1 in the clear, for WebSockets, or if it is all; HTTP/2 by prior knowledge; else one asks."""
    pool = World(**kwargs)
    for _ in range(3):
        pool.request(scheme=scheme)
    assert len(pool.undialed) == dials


@pytest.mark.parametrize(("h2", "dials"), [(True, 1), (False, 3)])
def test_an_origin_is_remembered(h2: bool, dials: int) -> None:
    """What it spoke is known when nothing is open any more; in each lane by itself."""
    pool = World(lanes=[Lane("slow")])
    pool.idle(h2=h2).goaway()
    assert not pool.scheduler.connections()
    for _ in range(3):
        pool.request()
    assert len(pool.undialed) == dials
    for _ in range(3):
        pool.request(lane="slow")
    assert len(pool.undialed) == dials + 1


def test_a_thousand_origins_are_remembered() -> None:
    """The one that was asked for least lately is forgotten first."""
    scheduler = Scheduler(PoolConfig(), Limits(max_keepalive_connections=0), Lanes(()))

    def dials(host: str) -> int:
        """Tell how many dials two requests cause: one where it is not known what the origin speaks."""
        key = OriginKey("https", host, 443, None, DEFAULT)
        tickets = [scheduler.ask(key, START) for _ in range(2)]
        effects = scheduler.take_effects()
        begun = len(effects)
        while effects:
            for effect in effects:
                if isinstance(effect, Dial):
                    scheduler.dialed(effect.connection, START, multiplexed=False)
            effects = scheduler.take_effects()
        for ticket in tickets:
            scheduler.leave(ticket, START)
        assert len(scheduler.take_effects()) == 2  # both are closed: nothing is kept
        return begun

    for number in range(MAX_REMEMBERED):
        assert dials(f"host{number}") == 1
    assert dials("host0") == 2
    assert dials("new") == 1
    assert dials("host0") == 2
    assert dials("host2") == 2
    assert dials("host1") == 1


def test_surplus_of_a_race_to_http2_is_closed() -> None:
    """Dials that raced to an origin thought to speak HTTP/1.1: the first is kept, the others are closed."""
    pool = World()
    pool.idle().goaway()
    callers = [pool.request() for _ in range(3)]
    first, second, third = (pool.want_dial() for _ in range(3))
    first.finish(h2=True)
    for caller in callers:
        caller.want(first)
    second.finish(h2=True)
    second.want_closed()
    third.finish(h2=True)
    third.want_closed()
    first.want_open()


def test_a_dial_that_raced_is_kept_where_the_first_is_full() -> None:
    """A second connection over HTTP/2 that somebody waits for is no surplus."""
    pool = World(max_streams_per_connection=1)
    pool.idle().goaway()
    callers = [pool.request() for _ in range(2)]
    first, second = pool.want_dial(), pool.want_dial()
    first.finish(h2=True)
    second.finish(h2=True)
    callers[0].want(first)
    callers[1].want(second)


def test_dials_at_once_have_a_limit() -> None:
    """The next is begun when one has ended, well or badly."""
    pool = World(http2=False, max_connecting_per_origin=2)
    callers = [pool.request() for _ in range(4)]
    first, second = pool.want_dial(), pool.want_dial()
    pool.want_no_dial()
    first.finish()
    callers[0].want(first)
    third = pool.want_dial()
    pool.want_no_dial()
    second.finish()
    third.finish()
    pool.want_dial().finish()
    assert all(caller.wire for caller in callers)


def test_a_dial_is_hoped_to_serve_a_hundred_at_most() -> None:
    """Before its server has said so, no connection is taken to allow more than 100 streams (rule 8)."""
    pool = World(http1=False, max_streams_per_connection=500)
    _, wire = pool.connected(h2=True)
    wire.settings(300)
    wire.goaway()
    for _ in range(101):
        pool.request()
    second = pool.want_dial()
    second.finish(h2=True)
    assert second.connection.streams == 100
    assert pool.stats().waiting == 1
    second.settings(300)
    assert pool.stats().waiting == 0


# Rule 4: dials belong to the pool


@pytest.mark.parametrize("served", [False, True])
def test_an_orphaned_dial_has_five_seconds(served: bool) -> None:
    """A dial whose request left or was served elsewhere goes on for so long, and is then ended."""
    pool = World(http2=False)
    first, _ = pool.connected()
    second = pool.request()
    dial = pool.want_dial()
    assert pool.scheduler.dial_begun(second.ticket) == START
    pool.after(1)
    if served:
        first.finish()
    else:
        second.cancel()
    assert pool.scheduler.dial_begun(second.ticket) is None
    pool.after(4.9)
    dial.want_open()
    pool.after(0.2)
    dial.want_closed()


def test_an_orphaned_dial_is_adopted() -> None:
    """Who needs the dial after the five seconds keeps it going, and hears if it fails."""
    pool = World(http2=False)
    pool.request().cancel()
    dial = pool.want_dial()
    pool.after(1)
    second = pool.request()
    pool.want_no_dial()
    pool.after(4)
    pool.after(60)
    dial.want_open()
    assert second.ticket.dial is dial.connection
    second.cancel()
    pool.after(4.9)
    dial.want_open()
    pool.after(0.2)
    dial.want_closed()


def test_one_orphan_is_adopted_and_the_others_end() -> None:
    """As many as are needed go on."""
    pool = World(http2=False)
    for caller in [pool.request() for _ in range(3)]:
        caller.cancel()
    later = pool.request()
    dials = [pool.want_dial() for _ in range(3)]
    pool.want_no_dial()
    pool.after(5)
    assert sorted(wire.closed for wire in dials) == [False, True, True]
    (left,) = (wire for wire in dials if not wire.closed)
    left.finish()
    later.want(left)


def test_a_dial_that_ends_after_it_was_given_up() -> None:
    """It is not taken: whoever ended it has closed it."""
    pool = World(http2=False)
    pool.request().cancel()
    dial = pool.want_dial()
    pool.after(5)
    dial.want_closed()
    pool.scheduler.dialed(dial.connection, pool.now, multiplexed=False)
    pool.scheduler.dial_failed(dial.connection, pool.now, TransportFailure("ConnectError", "late"))
    assert not pool.scheduler.take_effects()
    assert pool.stats().opened == pool.stats().dials_failed == 0


# Rule 5: who gets the error, and who dials when again


def test_nothing_usable_fails_all_that_waited_when_the_dial_began() -> None:
    """Each has an exception of its own, with the kind, the message and the cause of the failure."""
    pool = World(http1=False, max_connections=1)
    held, wire = pool.connected("b")
    callers = [pool.request() for _ in range(3)]
    held.finish()
    wire.want_closed()
    cause = OSError("no route")
    error = TransportFailure("ConnectTimeout", "too slow")
    error.__cause__ = cause
    pool.want_dial().finish(error)
    errors = [caller.want_error("ConnectTimeout") for caller in callers]
    assert len({id(error), *map(id, errors)}) == 4
    assert {str(each) for each in errors} == {"too slow"}
    assert all(each.__cause__ is cause for each in errors)
    assert pool.stats().dials_failed == 1


def test_who_came_after_the_dial_began_is_not_failed() -> None:
    """Another dial is made for them, and it may fail them."""
    pool = World()
    first = pool.request()
    dial = pool.want_dial()
    later = [pool.request() for _ in range(2)]
    dial.fail()
    first.want_error()
    second = pool.want_dial()
    pool.want_no_dial()
    for caller in later:
        caller.want_waiting()
    second.fail()
    for caller in later:
        caller.want_error()
    pool.want_no_dial()


def test_beside_other_dials_only_the_causes_are_told() -> None:
    """While dials are under way, each failure is told to its own request, and no further dial begun."""
    pool = World(http2=False, max_connecting_per_origin=3)
    callers = [pool.request() for _ in range(5)]
    first, second, third = (pool.want_dial() for _ in range(3))
    second.fail()
    callers[1].want_error()
    pool.want_no_dial()
    first.fail()
    callers[0].want_error()
    pool.want_no_dial()
    third.fail()
    callers[2].want_error()
    assert [caller.waiting for caller in callers] == [False, False, False, True, True]
    assert len(pool.undialed) == 2


def test_a_success_ends_the_doubt() -> None:
    """One dial fails, another succeeds: the origin is there, and further dials are begun."""
    pool = World(http2=False, max_connecting_per_origin=3)
    callers = [pool.request() for _ in range(6)]
    first, second, third = (pool.want_dial() for _ in range(3))
    first.fail()
    pool.want_no_dial()
    second.finish()
    callers[1].want(second)
    assert len(pool.undialed) == 2
    third.want_open()


def test_doubt_ends_with_the_dials() -> None:
    """If the last dial in flight is given up, the origin is dialed anew."""
    pool = World(http2=False, max_connecting_per_origin=2)
    callers = [pool.request() for _ in range(3)]
    first, second = pool.want_dial(), pool.want_dial()
    first.fail()
    pool.want_no_dial()
    callers[1].too_slow()
    second.want_closed()
    pool.want_dial().finish()
    assert callers[2].wire is not None


def test_a_further_dial_that_fails_is_told_to_its_cause_alone() -> None:
    """Over HTTP/1.1, with a connection in use: the others wait for that, or for the next dial."""
    pool = World(http2=False, max_connecting_per_origin=1)
    _, _ = pool.connected()
    second, third = pool.request(), pool.request()
    pool.want_dial().fail()
    second.want_error()
    third.want_waiting()
    pool.want_no_dial()
    pool.after(1.2)
    pool.want_dial().finish()
    assert third.wire is not None


def test_a_further_dial_that_fails_is_told_to_nobody_over_http2() -> None:
    """Those that wait stay: a stream will come free, or a dial succeed."""
    pool = World(http1=False, max_streams_per_connection=1)
    first, wire = pool.connected(h2=True)
    second, third = pool.request(), pool.request()
    pool.want_growth().fail()
    second.want_waiting()
    first.finish()
    second.want(wire)
    third.want_waiting()


def test_backing_off() -> None:
    """Seconds double from 1 to 60, and differ by a tenth; a dial that succeeds begins anew."""
    pool = World(http1=False, max_streams_per_connection=1, max_connections_per_origin=3)
    origin = pool.connected(h2=True)[0].ticket.origin
    pool.request()
    waits = []
    dial = pool.want_growth()
    for _ in range(10):
        dial.fail()
        pool.want_no_dial()
        waits.append(origin.retry_at - pool.now)
        pool.after((origin.retry_at - pool.now) * 0.999)
        pool.want_no_dial()
        pool.after(2)
        dial = pool.want_dial()
    ratios = [wait / min(2**n, 60) for n, wait in enumerate(waits)]
    assert all(0.9 <= ratio <= 1.1 for ratio in ratios)
    assert max(ratios) - min(ratios) > 0.05
    dial.finish(h2=True)
    pool.request()
    pool.want_dial().fail()
    assert origin.retry_at - pool.now == pytest.approx(1, rel=0.1)


def test_dials_that_fail_together_back_off_once() -> None:
    """A burst of ten that is refused is one failure, not ten: the next is dialed a second later."""
    pool = World(http2=False)
    pool.connected()
    for _ in range(10):
        pool.request()
    late = pool.request
    for dial in [pool.want_dial() for _ in range(10)]:
        dial.fail()
    waiter = late()
    pool.want_no_dial()
    pool.after(1.2)
    pool.want_dial().finish()
    assert waiter.wire is not None


def test_a_dial_that_is_too_slow_is_replaced() -> None:
    """The request it was for leaves; who else waits has a new one, and waits no longer than it would have."""
    pool = World()
    first = pool.request()
    dial = pool.want_dial()
    pool.after(3)
    second = pool.request()
    assert pool.scheduler.dial_begun(first.ticket) == START
    assert pool.scheduler.dial_begun(second.ticket) == START + 3
    pool.after(2)
    first.too_slow()
    dial.want_closed()
    another = pool.want_dial()
    assert pool.scheduler.dial_begun(second.ticket) == START + 3
    another.finish()
    second.want(another)


def test_a_dial_that_is_too_slow_for_one_goes_on_for_nobody() -> None:
    """Nobody else waits: it has its five seconds. What waits for another dial does not end this one."""
    pool = World(http2=False)
    first, second = pool.request(), pool.request()
    one, two = pool.want_dial(), pool.want_dial()
    first.too_slow()
    one.want_open()
    two.want_open()
    one.finish()
    second.want(one)


def test_only_its_cause_finds_a_dial_too_slow() -> None:
    """One that joined later leaves the dial alone."""
    pool = World()
    first = pool.request()
    dial = pool.want_dial()
    second = pool.request()
    second.too_slow()
    dial.want_open()
    dial.finish()
    first.want(dial)


def test_since_when_one_waits_for_a_dial() -> None:
    """With nothing usable: since dials are made without a break. Else since one is made for oneself."""
    pool = World(http2=False, max_connections=3, max_connecting_per_origin=1)
    begun = pool.scheduler.dial_begun
    first, second = pool.request(), pool.request()
    pool.after(1)
    assert begun(first.ticket) == begun(second.ticket) == START
    pool.want_dial().finish()
    assert begun(first.ticket) is None
    assert begun(second.ticket) == START + 1
    third = pool.request()
    assert begun(third.ticket) is None
    pool.after(1)
    pool.want_dial().finish()
    assert begun(third.ticket) == START + 2
    pool.want_dial().finish()
    fourth = pool.request()
    pool.want_no_dial()
    assert begun(fourth.ticket) is None
    fourth.cancel()
    assert begun(fourth.ticket) is None


def test_the_clock_of_who_was_kept_by_its_lane_begins_when_it_is_let_in() -> None:
    """Dials that others waited for meanwhile do not count."""
    pool = World(lanes=[Lane("slow", max_in_flight=1)])
    first = pool.request(lane="slow")
    dial = pool.want_dial()
    second = pool.request(lane="slow")
    assert pool.scheduler.dial_begun(second.ticket) is None
    pool.after(4)
    first.cancel()
    assert pool.scheduler.dial_begun(second.ticket) == START + 4
    dial.finish()
    second.want(dial)


# Rule 6 and 13: what is kept idle, and what goes


def test_the_newest_is_taken_first() -> None:
    """Those that are not needed fall idle and expire."""
    pool = World(http2=False)
    callers = [pool.connected()[0] for _ in range(3)]
    wires = [caller.wire for caller in callers]
    for caller in callers:
        pool.after(1)
        caller.finish()
    for wire in reversed(wires):
        taken = pool.request()
        assert taken.wire is wire


def test_the_longest_idle_of_any_origin_and_lane_goes() -> None:
    """At the limit of the pool, a dial takes the place of the connection that was unused the longest."""
    pool = World(max_connections=4, lanes=[Lane("slow")])
    wires = []
    for host, lane in (("a", "slow"), ("b", "default"), ("c", "slow"), ("d", "default")):
        wires.append(pool.idle(host, lane=lane))
        pool.after(1)
    for host, oldest in zip("ef", wires, strict=False):
        pool.connected(host)
        oldest.want_closed()
    pool.connected("g")
    wires[2].want_open()  # the last of its lane
    wires[3].want_closed()


def test_the_place_of_an_idle_connection_in_the_order() -> None:
    """Being used makes it the newest."""
    pool = World(http2=False, max_connections=3, keepalive_expiry=60)
    one = pool.idle("a")
    pool.after(1)
    two = pool.idle("b")
    pool.after(1)
    pool.request("a").finish()
    pool.after(1)
    pool.idle("c")
    pool.request("d")
    two.want_closed()
    one.want_open()


def test_an_unused_connection_has_been_idle_all_the_time() -> None:
    """Rule 3: handed out and given back unused, it expires when it would have."""
    pool = World(http2=False, keepalive_expiry=60)
    wire = pool.idle()
    pool.after(50)
    caller = pool.request()
    assert caller.ticket.idle_for == 50
    pool.after(1)
    caller.unused()
    again = pool.request()
    assert again.ticket.idle_for == 51
    again.unused()
    pool.after(8)
    wire.want_open()
    pool.after(3)
    wire.want_closed()


def test_a_new_connection_that_its_request_did_not_use_is_kept(h2: bool) -> None:
    """It was dialed for a request that left at the last moment: the next one has it."""
    pool = World()
    caller, wire = pool.connected(h2=h2)
    caller.unused()
    wire.want_open()
    later = pool.request()
    later.want(wire)
    assert pool.stats().reused == 0


def test_a_connection_that_went_from_hand_to_hand_is_not_old() -> None:
    """Idle time counts from the last use, though it was handed on and given back unused."""
    pool = World(http2=False, max_connections=1, keepalive_expiry=60)
    first, wire = pool.connected()
    first.finish()
    pool.after(1)
    second = pool.request()
    pool.after(100)
    third = pool.request()
    second.finish()
    third.want(wire)
    assert third.ticket.idle_for == 0
    third.unused()
    wire.want_open()
    pool.request().want(wire)


def test_a_connection_over_http2_that_was_idle_once_is_handed_on() -> None:
    """The time at which it would have expired then is nobody's business while it is in use."""
    pool = World(http1=False, max_connections=1, max_streams_per_connection=1, keepalive_expiry=60)
    wire = pool.idle(h2=True)
    first = pool.request()
    second = pool.request()
    pool.after(100)
    first.finish()
    second.want(wire)


@pytest.mark.parametrize(
    ("keep_alive", "expiry", "kept"),
    [
        (None, 60, 60),
        (None, 5, 5),
        (5, 60, 4),
        (100, 60, 60),
        (1.5, 60, 0.75),
        (1, 60, 0.5),
        (None, math.inf, math.inf),
        (7, math.inf, 6),
    ],
)
@pytest.mark.parametrize("how", ["tick", "ask"])
def test_how_long_an_idle_connection_is_kept(
    keep_alive: float | None, expiry: float, kept: float, how: str
) -> None:
    """As long as the limits say, or a second less than the server says."""
    pool = World(http2=False, keepalive_expiry=expiry)
    caller, wire = pool.connected()
    caller.finish(keep_alive=keep_alive)
    margin = min(0.1, kept / 100)
    if kept == math.inf:
        pool.after(1e9)
        wire.want_open()
        assert pool.scheduler.deadlines.next == math.inf
        return
    pool.after(kept - margin)
    wire.want_open()
    if how == "tick":
        pool.after(kept / 64 + 2 * margin)
        wire.want_closed()
    else:
        pool.now += margin
        pool.request()
        wire.want_closed()
        pool.want_dial()


def test_a_server_that_keeps_nothing() -> None:
    """It says zero seconds, and the connection is closed at once; so where the limits say zero."""
    pool = World(http2=False)
    caller, wire = pool.connected()
    caller.finish(keep_alive=0)
    wire.want_closed()
    pool = World(keepalive_expiry=0)
    for h2 in (False, True):
        pool.idle("b" if h2 else "a", h2=h2).want_closed()


def test_the_last_answer_says_how_long() -> None:
    """A hint holds until the next answer: without one, the limits hold."""
    pool = World(http2=False, keepalive_expiry=60)
    caller, wire = pool.connected()
    caller.finish(keep_alive=5)
    pool.request().finish()
    pool.after(30)
    wire.want_open()
    caller = pool.request()
    caller.finish(keep_alive=5)
    pool.request().unused()
    pool.after(5)
    wire.want_closed()


def test_an_idle_connection_over_http2_expires() -> None:
    """By the clock, or when it is asked for and the clock was late; not while a request is on it."""
    pool = World(http1=False, keepalive_expiry=10)
    wire = pool.idle(h2=True)
    pool.now += 10
    pool.request()
    wire.want_closed()
    second = pool.want_dial()
    second.finish(h2=True)
    pool.after(100)
    second.want_open()
    pool.callers[0].finish()
    pool.after(11)
    second.want_closed()


@pytest.mark.parametrize("seed", range(5))
def test_a_connection_ages(h2: bool, seed: int) -> None:
    """It takes no new request after its age, less up to a twentieth; one that is under way ends."""
    pool = World(seed=seed, max_connection_age=100, keepalive_expiry=math.inf)
    holder, wire = pool.connected(h2=h2)
    age = wire.connection.ages - pool.now
    assert 95 <= age <= 100
    assert age != World(seed=seed + 1, max_connection_age=100).connected()[1].connection.ages - START
    pool.after(age - 0.5)
    if h2:
        pool.request().want(wire)
        pool.callers[-1].finish()
    pool.after(0.5)
    later = pool.request()
    later.want_waiting()
    wire.want_open()
    holder.finish()
    wire.want_closed()
    pool.want_dial().finish(h2=h2)
    assert later.wire is not None


def test_an_aged_connection_that_is_idle(h2: bool) -> None:
    """It goes when it ages, be it by the clock or when asked for."""
    for ask in (False, True):
        pool = World(max_connection_age=100, keepalive_expiry=math.inf)
        wire = pool.idle(h2=h2)
        pool.now = wire.connection.ages
        if ask:
            pool.request()
        else:
            pool.after(2)
        wire.want_closed()


def test_no_age_at_all(h2: bool) -> None:
    """Each request has its own connection; it is used once and not dialed for ever."""
    pool = World(max_connection_age=0)
    for _ in range(2):
        caller = pool.request()
        wire = pool.want_dial()
        wire.finish(h2=h2)
        caller.want(wire)
        caller.finish()
        wire.want_closed()


def test_requests_on_a_connection_have_a_limit(h2: bool) -> None:
    """The last one is let end; what was given back unused does not count."""
    pool = World(max_requests_per_connection=2)
    first, wire = pool.connected(h2=h2)
    first.unused()
    pool.request().finish()
    wire.want_open()
    last = pool.request()
    last.want(wire)
    other = pool.request()
    other.want_waiting()
    last.finish()
    wire.want_closed()


# Rule 8 and 9: HTTP/2


def test_settings_lowered_raised_and_zero() -> None:
    """Nothing is cancelled; new requests wait, and are served in the step in which there is room."""
    pool = World(http1=False, max_h2_connections_per_origin=1)
    first, wire = pool.connected(h2=True)
    callers = [first, *(pool.request() for _ in range(3))]
    wire.settings(2)
    waiting = [pool.request() for _ in range(3)]
    callers[0].finish()
    callers[1].finish()
    waiting[0].want_waiting()
    callers[2].finish()
    waiting[0].want(wire)
    waiting[1].want_waiting()
    wire.settings(0)
    waiting[0].finish()
    callers[3].finish()
    waiting[1].want_waiting()
    wire.settings(1)
    waiting[1].want(wire)
    waiting[2].want_waiting()
    wire.settings(1_000)
    waiting[2].want(wire)
    assert wire.connection.streams == 100
    pool.want_no_dial()


def test_a_server_that_allows_nothing_is_not_answered_with_more_connections() -> None:
    """Its zero is a failure: it is backed off from."""
    pool = World(http1=False)
    first, wire = pool.connected(h2=True)
    wire.settings(0)
    waiter = pool.request()
    for _ in range(5):  # looks at those that wait would be due meanwhile
        pool.after(0.17)
        pool.want_no_dial()
    pool.after(0.3)
    pool.want_dial().finish(h2=True)
    assert waiter.wire is not None
    first.finish()


def test_what_a_server_allows_is_remembered() -> None:
    """The next connection is taken to allow as much; after a zero, a hundred."""
    pool = World(http1=False)
    caller, wire = pool.connected(h2=True)
    wire.settings(3)
    wire.goaway()
    caller.finish()
    _, wire = pool.connected(h2=True)
    assert wire.connection.streams == 3
    wire.settings(0)
    wire.lose()
    pool.callers[0].finish()
    _, wire = pool.connected(h2=True)
    assert wire.connection.streams == 100


def test_settings_of_a_connection_that_is_gone() -> None:
    """They tell of nothing that is there."""
    pool = World(http1=False)
    wire = pool.idle(h2=True)
    wire.lose()
    wire.closed = True
    pool.scheduler.allow(wire.connection, pool.now, 3)
    pool.scheduler.drain(wire.connection, pool.now)
    pool.scheduler.lost(wire.connection, pool.now)
    assert not pool.scheduler.take_effects()
    caller, again = pool.connected(h2=True)
    assert again.connection.streams == 100
    caller.finish()


def test_connections_over_http2_have_a_limit() -> None:
    """One dial at a time, and no more than the limits say; then one waits for a stream."""
    pool = World(http1=False, max_streams_per_connection=1, max_h2_connections_per_origin=2)
    callers = [pool.request() for _ in range(4)]
    first = pool.want_dial()
    pool.want_no_dial()
    first.finish(h2=True)
    second = pool.want_growth()
    pool.want_no_dial()
    second.finish(h2=True)
    pool.want_no_dial()
    callers[1].finish()
    callers[2].want(second)
    callers[0].finish()
    callers[3].want(first)


def test_a_drained_connection_makes_room_for_another() -> None:
    """GOAWAY: who is on it stays, who waits has a new connection, and it is closed when it is empty."""
    pool = World(http1=False, max_h2_connections_per_origin=1)
    first, wire = pool.connected(h2=True)
    wire.goaway()
    second = pool.request()
    pool.want_dial().finish(h2=True)
    assert second.wire is not wire
    wire.want_open()
    wire.goaway()
    first.finish()
    wire.want_closed()


def test_a_connection_whose_server_refuses_twice_takes_no_new_request() -> None:
    """Once may happen; those on it stay (rule 11b)."""
    pool = World(http1=False)
    first, wire = pool.connected(h2=True)
    wire.refuse()
    second = pool.request()
    second.want(wire)
    wire.refuse()
    wire.want_open()
    pool.request()
    pool.want_dial()
    first.finish()
    second.finish()
    wire.want_closed()


def test_a_connection_that_is_suspended_is_handed_to_nobody() -> None:
    """Those on it stay, and what they give back waits, until its server says that it is there (rule 14)."""
    pool = World(http1=False, max_h2_connections_per_origin=1)
    first, wire = pool.connected(h2=True)
    second = pool.request()
    wire.suspend()
    waiters = [pool.request() for _ in range(2)]
    first.finish()
    waiters[0].want_waiting()
    wire.resume()
    for caller in waiters:
        caller.want(wire)
    second.want(wire)
    pool.want_no_dial()


def test_an_idle_connection_that_is_suspended_is_kept() -> None:
    """It expires as any other, and is found again when its server is there."""
    pool = World(http1=False, keepalive_expiry=60)
    wire = pool.idle(h2=True)
    wire.suspend()
    pool.after(30)
    wire.resume()
    pool.request().want(wire)


def test_a_connection_that_goes_while_it_is_suspended() -> None:
    """To resume what is closed or drains does nothing, and who waits is dialed for."""
    pool = World(http1=False)
    holder, wire = pool.connected(h2=True)
    wire.suspend()
    waiter = pool.request()
    wire.goaway()
    pool.want_dial().finish(h2=True)
    wire.resume()
    assert waiter.wire is not wire
    holder.finish()
    wire.want_closed()
    pool.scheduler.resume(wire.connection, pool.now)
    assert not pool.scheduler.take_effects()


def test_an_idle_connection_is_drained_at_once(h2: bool) -> None:
    """Nobody is on it."""
    pool = World()
    wire = pool.idle(h2=h2)
    wire.goaway()
    wire.want_closed()
    pool.connected(h2=h2)


def test_dead_connections_do_not_pile_up_behind_a_living_one() -> None:
    """A connection that always has room hides those that come and go behind it; they are forgotten."""
    pool = World(http1=False, max_streams_per_connection=1, keepalive_expiry=math.inf)
    _, oldest = pool.connected(h2=True)
    oldest.settings(1)
    origin = oldest.connection.origin
    for _ in range(50):
        caller = pool.request()
        wire = pool.want_growth()
        wire.finish(h2=True)
        caller.finish()
        wire.goaway()
        wire.want_closed()
    assert len(origin.shared) <= 10


# Rule 18: reset and close


def test_reset(h2: bool) -> None:
    """Idle connections and dials end at once, busy ones when they are given back; who waits is dialed for."""
    pool = World(http1=True, max_streams_per_connection=1)
    idle, busy = pool.idle("a", h2=h2), pool.connected("b", h2=h2)
    waiter = pool.request("b")
    dial = pool.want_growth() if h2 else pool.want_dial()
    pool.reset()
    idle.want_closed()
    dial.want_closed()
    busy[1].want_open()
    again = pool.want_dial()
    again.finish(h2=h2)
    waiter.want(again)
    busy[0].finish()
    busy[1].want_closed()


def test_reset_dials_at_once() -> None:
    """What an origin backed off from is another story."""
    pool = World(http1=False, max_streams_per_connection=1)
    pool.connected(h2=True)
    waiter = pool.request()
    pool.want_growth().fail()
    pool.want_no_dial()
    pool.reset()
    pool.want_dial().finish(h2=True)
    assert waiter.wire is not None


def test_close(h2: bool) -> None:
    """Who waits hears of it, connections are closed, who holds one may leave later, who comes is refused."""
    pool = World(lanes=[Lane("slow", max_in_flight=1)], max_streams_per_connection=1)
    idle, (holder, busy) = pool.idle("a", h2=h2), pool.connected("b", h2=h2)
    waiting = [pool.request("b"), pool.request("b", "slow"), pool.request("b", "slow")]
    dial = pool.want_dial()
    pool.close()
    for wire in (idle, busy, dial):
        wire.want_closed()
    errors = [caller.want_error("PoolClosed") for caller in waiting]
    assert len({*map(id, errors)}) == 3
    with pytest.raises(PoolClosed):
        pool.request()
    holder.finish()
    pool.close()
    pool.tick()
    assert pool.stats().connections == pool.stats().waiting == 0
    assert len(pool.scheduler.deadlines) == 0


# Rule 19: limits, overload, fairness


@pytest.mark.parametrize("limit", ["max_connections", "max_connections_per_origin"])
def test_over_the_limit_one_waits(limit: str) -> None:
    """First come, first served."""
    limits: dict[str, Any] = {limit: 2}
    pool = World(http2=False, **limits)
    first, one = pool.connected()
    second, two = pool.connected()
    waiting = [pool.request() for _ in range(3)]
    pool.want_no_dial()
    second.finish()
    waiting[0].want(two)
    waiting[1].cancel()
    first.finish()
    waiting[2].want(one)
    assert not waiting[1].wakes


@pytest.mark.parametrize("most", [0, 1, 3])
def test_too_many_wait(most: int) -> None:
    """The newcomer is turned away at once; one that leaves makes room for the next."""
    pool = World(http2=False, max_connections=1, max_pending=most)
    holder, wire = pool.connected()
    waiting = [pool.request() for _ in range(most)]
    with pytest.raises(PoolOverloaded):
        pool.request()
    with pytest.raises(PoolOverloaded):
        pool.request("b")
    assert pool.stats().waiting == most
    if waiting:
        waiting.pop().cancel()
        waiting.append(pool.request())
        holder.finish()
        waiting[0].want(wire)


def test_who_waits_for_a_dial_of_its_own_is_not_turned_away() -> None:
    """The pool is not overloaded when it opens a connection for each request."""
    pool = World(http2=False, max_pending=0)
    for _ in range(5):
        pool.request()
    for _ in range(5):
        pool.want_dial().finish()
    assert pool.stats().waiting == 0


def test_an_overloaded_lane() -> None:
    """Who is turned away leaves nothing behind, not even its origin."""
    pool = World(lanes=[Lane("slow", max_in_flight=1)], max_pending=0)
    pool.connected(lane="slow")
    with pytest.raises(PoolOverloaded):
        pool.request("b", "slow")
    pool.request("a")


def test_an_origin_that_starves_is_fed_by_another_that_falls_idle(h2: bool) -> None:
    """A connection with no waiter of its own goes for the first that starves."""
    pool = World(max_connections=1)
    first, wire = pool.connected("a", h2=h2)
    second, third = pool.request("b"), pool.request("c")
    pool.want_no_dial()
    first.finish()
    wire.want_closed()
    dial = pool.want_dial("b")
    pool.want_no_dial()
    dial.finish(h2=h2)
    second.want(dial)
    second.finish()
    pool.want_dial("c").finish(h2=h2)
    assert third.wire is not None


def test_a_busy_origin_cannot_starve_another() -> None:
    """Its connection goes to who has waited longer than its own, if that has none at all."""
    pool = World(http2=False, max_connections=1)
    first, wire = pool.connected("a")
    second = pool.request("a")
    other = pool.request("b")
    third = pool.request("a")
    first.finish()
    second.want(wire)
    second.finish()
    wire.want_closed()
    dial = pool.want_dial("b")
    dial.finish()
    other.want(dial)
    other.finish()
    pool.want_dial("a").finish()
    assert third.wire is not None


def test_two_busy_origins_do_not_trade_handshakes() -> None:
    """Each keeps its connection while it has a use for it."""
    pool = World(http2=False, max_connections=2)
    holders = [pool.connected(host)[0] for host in "ab"]
    for _ in range(5):
        waiting = [pool.request(host) for host in "ba"]
        for holder in holders:
            holder.finish()
        holders = waiting[::-1]
    pool.want_no_dial()
    assert pool.stats().opened == 2


@pytest.mark.parametrize("how", ["broken", "fail"])
def test_an_origin_that_keeps_nothing_cannot_starve_another(how: str) -> None:
    """A place that comes free goes to who waits for one, not to whose connection it was."""
    pool = World(http2=False, max_connections=1)
    first = pool.request("a")
    dial = pool.want_dial("a")
    if how == "broken":
        dial.finish()
    other = pool.request("b")
    later = pool.request("a")
    if how == "broken":
        first.broken()
    else:
        dial.fail()
    dial = pool.want_dial("b")
    dial.finish()
    other.want(dial)
    other.finish()
    pool.want_dial("a").finish()
    assert later.wire is not None


def test_a_failing_origin_that_lost_its_last_connection_does_not_starve() -> None:
    """It starved while it had a connection, lost that while it backed off, and is counted among the poor."""
    pool = World(http2=False, max_connections=2, max_connecting_per_origin=1)
    _, one = pool.connected("a")
    caller = pool.request("a")
    late = [pool.request("a") for _ in range(2)]
    pool.want_dial("a").fail()
    caller.want_error()
    holders = [pool.connected("b")[0]]
    one.lose()
    holders.append(pool.connected("b")[0])
    pool.after(2)
    pool.want_no_dial()
    waiting = [pool.request("b") for _ in range(2)]
    for holder in holders:
        holder.finish()
    dial = pool.want_dial("a")
    dial.finish()
    late[0].want(dial)
    assert waiting[0].wire is None or waiting[1].wire is None


def test_evicting_the_last_connection_of_an_origin_forgets_it(h2: bool) -> None:
    """A pool that meets a million origins does not remember them all."""
    pool = World(max_connections=2)
    for number in range(10):
        pool.idle(f"host{number}", h2=h2)
    pool = World(max_keepalive_connections=2)
    for number in range(10):
        pool.idle(f"host{number}", h2=h2)


def test_an_idle_connection_without_streams_is_evicted_and_its_origin_dialed() -> None:
    """Who waits for an overloaded server is not forgotten when its only connection goes for another."""
    pool = World(http1=False, max_connections=1, max_h2_connections_per_origin=1)
    caller, wire = pool.connected("a", h2=True)
    wire.settings(0)
    caller.finish()
    waiter = pool.request("a")
    pool.want_no_dial()
    pool.after(2)
    other = pool.request("b")
    wire.want_closed()
    dial = pool.want_dial("b")
    dial.finish(h2=True)
    other.want(dial)
    other.finish()
    pool.want_dial("a").finish(h2=True)
    assert waiter.wire is not None


# Retries keep their place


def test_a_request_that_is_sent_again_goes_to_the_front() -> None:
    """It has waited longest of all."""
    pool = World(http2=False, max_connections=1)
    first, wire = pool.connected()
    second = pool.request()
    first.broken()
    wire.want_closed()
    first = pool.request(again=first)
    dial = pool.want_dial()
    dial.finish()
    first.want(dial)
    first.finish()
    second.want(dial)


def test_many_that_are_sent_again_keep_their_order() -> None:
    """A server that goes away sends all of them back; those that came later wait behind them."""
    pool = World(http1=False, max_streams_per_connection=4, max_h2_connections_per_origin=1)
    first, wire = pool.connected(h2=True)
    callers = [first, *(pool.request() for _ in range(3))]
    later = [pool.request() for _ in range(2)]
    wire.goaway()
    again = {}
    for index in (1, 0, 3, 2):
        callers[index].leave(reusable=False)
        again[index] = pool.request(again=callers[index])
    dial = pool.want_dial()
    dial.finish(h2=True)
    assert [again[index].wire for index in range(4)] == [dial] * 4
    for caller in later:
        caller.want_waiting()


def test_one_that_is_sent_again_does_not_hear_of_a_dial_that_was_begun_before() -> None:
    """It came back later: another dial is made for it."""
    pool = World()
    first, wire = pool.connected(h2=True)
    wire.goaway()
    second = pool.request()
    dial = pool.want_dial()
    first.broken()
    first = pool.request(again=first)
    dial.fail()
    second.want_error()
    first.want_waiting()
    pool.want_dial().finish(h2=True)
    assert first.wire is not None


def test_one_that_is_sent_again_goes_to_the_front_of_its_lane() -> None:
    """Its lane lets it in before those that came later."""
    pool = World(http2=False, lanes=[Lane("slow", max_in_flight=2)])
    first, _ = pool.connected(lane="slow")
    second, _ = pool.connected(lane="slow")
    others = [pool.request(lane="slow") for _ in range(3)]
    first.broken()
    again = pool.request(lane="slow", again=first)
    callers = [again, *others]
    assert [Place.LANE, Place.QUEUE, Place.LANE, Place.LANE] == [caller.ticket.place for caller in callers]
    second.broken()
    assert [Place.QUEUE, Place.QUEUE, Place.LANE, Place.LANE] == [caller.ticket.place for caller in callers]


def test_who_is_let_in_by_a_failure_is_not_dialed_for_those_that_failed() -> None:
    """The lane lets one in for five that fail: one dial is begun, for that one."""
    pool = World(lanes=[Lane("slow", max_in_flight=5)])
    first = pool.request(lane="slow")
    dial = pool.want_dial()
    callers = [first, *(pool.request(lane="slow") for _ in range(4))]
    dial.fail()
    first.want_error()
    again = pool.want_dial()
    pool.want_no_dial()
    late = pool.request(lane="slow")
    kept_out = pool.request(lane="slow")
    again.fail()
    for caller in callers[1:]:
        caller.want_error()
    for caller in (late, kept_out):
        caller.want_waiting()
    dial = pool.want_dial()
    pool.want_no_dial()
    assert dial.connection.cause is late.ticket


def test_an_unused_connection_that_is_too_old_by_now_is_not_handed_on(h2: bool) -> None:
    """It was idle, handed out, and given back unused after its time: the next one has a new connection."""
    pool = World(max_connections=1, max_streams_per_connection=1, keepalive_expiry=60)
    wire = pool.idle(h2=h2)
    pool.after(59)
    caller = pool.request()
    caller.want(wire)
    waiter = pool.request()
    pool.after(2)
    caller.unused()
    wire.want_closed()
    pool.want_dial().finish(h2=h2)
    assert waiter.wire is not None


@pytest.mark.parametrize("most", [0, 1])
def test_a_connection_that_its_lane_takes_at_once_is_not_idle(most: int) -> None:
    """It goes from one request of a full lane to the next, and no idle one has to go for it."""
    pool = World(http2=False, max_keepalive_connections=most, lanes=[Lane("slow", max_in_flight=1)])
    idle = pool.idle("b")
    first, wire = pool.connected(lane="slow")
    second = pool.request(lane="slow")
    pool.after(1)
    first.finish()
    second.want(wire)
    assert idle.closed == (not most)


def test_a_second_connection_over_http2_outlives_who_asked_for_it() -> None:
    """The first is full: what was dialed for one that has left is kept for the next."""
    pool = World(http1=False, max_streams_per_connection=1)
    pool.connected(h2=True)
    caller = pool.request()
    dial = pool.want_growth()
    caller.cancel()
    dial.finish(h2=True)
    dial.want_open()
    pool.request().want(dial)


def test_a_connection_that_went_from_hand_to_hand_unused_for_too_long(h2: bool) -> None:
    """It was not idle when it was handed out, but nobody has used it since: it is not handed on."""
    pool = World(max_connections=1, max_streams_per_connection=1, keepalive_expiry=60)
    first, wire = pool.connected(h2=h2)
    second, third = pool.request(), pool.request()
    first.finish()
    second.want(wire)
    pool.after(61)
    second.unused()
    wire.want_closed()
    pool.want_dial().finish(h2=h2)
    assert third.wire is not None


@pytest.mark.parametrize("limits", [{"keepalive_expiry": 0}, {"max_keepalive_connections": 0}])
def test_where_nothing_is_kept_idle_one_that_waits_has_the_connection(
    h2: bool, limits: dict[str, Any]
) -> None:
    """It is handed on, and was never idle."""
    pool = World(max_connections=1, max_streams_per_connection=1, **limits)
    first, wire = pool.connected(h2=h2)
    second = pool.request()
    first.finish()
    second.want(wire)
    second.finish()
    wire.want_closed()


def test_one_that_its_lane_keeps_out_may_leave() -> None:
    """It makes room in the queue, and hears nothing."""
    pool = World(lanes=[Lane("slow", max_in_flight=1)])
    first = pool.request(lane="slow")
    second, third = pool.request("b", "slow"), pool.request("b", "slow")
    second.cancel()
    first.cancel()
    assert third.ticket.place is Place.QUEUE
    assert not second.wakes


def test_nothing_is_left_of_one_that_its_lane_kept_out() -> None:
    """It was the only one that asked for its origin."""
    pool = World(lanes=[Lane("slow", max_in_flight=1)])
    pool.request(lane="slow")
    pool.request("b", "slow").cancel()
    assert pool.stats().waiting == 1


def test_one_that_is_sent_again_keeps_its_place_when_its_lane_lets_it_in() -> None:
    """It goes before those that its lane let in while it was on its way."""
    pool = World(http2=False, max_connections=1, lanes=[Lane("slow", max_in_flight=3)])
    first, _ = pool.connected(lane="slow")
    second, third, fourth, fifth = (pool.request(lane="slow") for _ in range(4))
    first.broken()
    again = pool.request(lane="slow", again=first)
    assert [again.ticket.place, fifth.ticket.place] == [Place.LANE, Place.LANE]
    second.cancel()
    dial = pool.want_dial()
    for caller in (again, third, fourth, fifth):
        if dial.dialing:
            dial.finish()
        caller.want(dial)
        caller.finish()


def test_settings_of_a_connection_that_drains_are_remembered() -> None:
    """It takes no more requests for them."""
    pool = World(http1=False)
    _, wire = pool.connected(h2=True)
    wire.goaway()
    wire.settings(2)
    _, wire = pool.connected(h2=True)
    assert wire.connection.streams == 2


def test_a_lane_without_room_does_not_hold_up_another() -> None:
    """What a lane cannot have, since it would be the other's last, the other may use for itself."""
    pool = World(http2=False, max_connections=3, lanes=[Lane("slow")])
    pool.connected("a")
    pool.connected("b")
    slow, wire = pool.connected("s", lane="slow")
    first, second = pool.request("c"), pool.request("d", lane="slow")
    slow.finish()
    wire.want_closed()
    pool.want_dial("d").finish()
    assert second.wire is not None
    first.want_waiting()


def test_an_origin_that_backs_off_holds_up_nobody() -> None:
    """It starved, and has no use for room now."""
    pool = World(http2=False, max_connections=2)
    pool.connected("a")
    callers = [pool.request("a") for _ in range(3)]
    pool.want_dial("a").fail()
    callers[0].want_error()
    pool.connected("b")


def test_a_stream_beside_others_was_not_idle() -> None:
    """The connection is in use, and does not expire."""
    pool = World(http1=False, keepalive_expiry=60)
    wire = pool.idle(h2=True)
    pool.after(59)
    first = pool.request()
    assert first.ticket.idle_for == 59
    pool.after(2)
    second = pool.request()
    second.want(wire)
    assert second.ticket.idle_for == 0
    second.unused()
    wire.want_open()
    first.finish()


def test_who_came_back_is_dialed_for_first() -> None:
    """And who has lost the dial that was begun for it before those that have had none."""
    pool = World(http2=False, max_connections_per_origin=3, max_connecting_per_origin=1)
    first, wire = pool.connected()
    second, third = pool.request(), pool.request()
    dial = pool.want_dial()
    assert dial.connection.cause is second.ticket
    first.broken()
    wire.want_closed()
    first = pool.request(again=first)
    dial.finish()
    first.want(dial)
    dial = pool.want_dial()
    assert dial.connection.cause is second.ticket
    first.broken()
    first = pool.request(again=first)
    dial.fail()
    second.want_error()
    third.want_error()
    dial = pool.want_dial()
    assert dial.connection.cause is first.ticket


def test_the_next_dial_is_for_who_came_back() -> None:
    """Before those that have waited for one."""
    pool = World(http2=False, max_connecting_per_origin=1)
    pool.connected()
    first, _ = pool.connected()
    second, third = pool.request(), pool.request()
    first.broken()
    first = pool.request(again=first)
    pool.want_dial().fail()
    second.want_error()
    pool.after(2)
    assert pool.want_dial().connection.cause is first.ticket
    third.want_waiting()


def test_the_first_that_waits_adopts_an_orphan() -> None:
    """It has waited longest."""
    pool = World()
    pool.request().cancel()
    dial = pool.want_dial()
    first, _ = pool.request(), pool.request()
    pool.after(5)
    assert dial.connection.cause is first.ticket


def test_a_stream_that_comes_free_is_not_a_connection() -> None:
    """Others are on it: whoever starves cannot have it, and its own waiter has the stream."""
    pool = World(http1=False, max_connections=1, max_streams_per_connection=2)
    first, wire = pool.connected("a", h2=True)
    pool.request("a").want(wire)
    pool.request("b").want_waiting()
    waiter = pool.request("a")
    first.finish()
    waiter.want(wire)


def test_nothing_is_taken_from_a_lane_in_vain() -> None:
    """Its last connection would make no room for the other lane: its own waiter has it."""
    pool = World(http2=False, max_connections=2, lanes=[Lane("slow")])
    pool.connected("a")
    slow, wire = pool.connected("s", lane="slow")
    pool.request("b").want_waiting()
    waiter = pool.request("s", lane="slow")
    slow.finish()
    waiter.want(wire)


def test_who_has_no_connection_goes_first() -> None:
    """One that has some has waited longer, but is being served."""
    pool = World(http2=False, max_connections=2)
    pool.connected("a")
    other, _ = pool.connected("c")
    pool.request("a").want_waiting()
    pool.request("b").want_waiting()
    other.finish()
    pool.want_dial("b")
    pool.want_no_dial()


def test_the_lane_that_has_waited_longest_goes_first() -> None:
    """Whichever was named first."""
    pool = World(http2=False, max_connections=4, lanes=[Lane("slow")])
    holder, _ = pool.connected("a")
    pool.connected("b")
    pool.connected("s", lane="slow")
    pool.connected("t", lane="slow")
    pool.request("d", lane="slow").want_waiting()
    pool.request("c").want_waiting()
    holder.finish()
    pool.want_dial("d")
    pool.want_no_dial()


def test_one_dial_each_in_turn() -> None:
    """Who has had its turn waits for the next, behind those that wait for their first."""
    pool = World(http2=False, max_connections=3)
    holders = [pool.connected(host)[0] for host in "xyz"]
    for host in "aabb":
        pool.request(host).want_waiting()
    for holder, host in zip(holders, "aba", strict=True):
        holder.finish()
        pool.want_dial(host)
        pool.want_no_dial()


def test_backing_off_ends_to_the_moment() -> None:
    """The timer may be late: whoever comes is dialed for."""
    pool = World(http2=False)
    origin = pool.connected()[0].ticket.origin
    pool.request()
    pool.want_dial().fail()
    pool.now = origin.retry_at
    pool.request()
    pool.want_dial()


def test_who_comes_in_for_one_that_failed_does_not_feed_an_origin_that_backs_off() -> None:
    """The failure has made room, but not for the origin that failed."""
    pool = World(
        max_connections=4,
        max_streams_per_connection=1,
        max_h2_connections_per_origin=1,
        lanes=[Lane("slow", max_in_flight=4)],
    )
    pool.connected("b", h2=True, lane="slow")
    pool.connected("a", lane="slow")
    first, second = pool.request("a", "slow"), pool.request("a", "slow")
    kept_out = pool.request("b", "slow")
    dial = pool.want_dial("a")
    pool.want_no_dial()
    dial.fail()
    first.want_error()
    for caller in (second, kept_out):
        assert caller.ticket.place is Place.QUEUE
    pool.want_no_dial()
