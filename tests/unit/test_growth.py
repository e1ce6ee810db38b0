"""When another HTTP/2 connection is opened (rule 9): stories of queues that end, and of those that stand."""

from __future__ import annotations

import math

import pytest

from pool_manager.config import Lane
from tests.support.scheduling import Caller, Wire, World

STREAMS = 10
LOOK = 0.025 * (1 + 1 / 32)  # what lies between two looks, where a dial takes no time


def full(waiting: int, *, dial_time: float = 0.0, streams: int = STREAMS) -> tuple[World, Wire, list[Caller]]:
    """Give a connection of which every stream is taken, and those that wait for one."""
    pool = World(http1=False, max_streams_per_connection=streams)
    callers = [pool.request() for _ in range(streams + waiting)]
    wire = pool.want_dial()
    pool.after(dial_time)
    wire.finish(h2=True)
    pool.want_no_dial()
    return pool, wire, callers[streams:]


def work(pool: World, wire: Wire, seconds: float, *, each: float) -> None:
    """Have a request answered every *each* seconds, for so long; the one that is out longest goes first."""
    for _ in range(round(seconds / each)):
        pool.after(each)
        if wire.holders:
            wire.holders[0].finish()


def test_a_burst_of_short_requests_is_answered_on_one_connection() -> None:
    """However many wait, if that does not take long."""
    pool, wire, callers = full(400)
    work(pool, wire, 0.6, each=0.0015)
    pool.want_no_dial()
    assert {caller.wire for caller in callers} == {wire}


def test_where_no_stream_comes_free_another_connection_is_opened() -> None:
    """After fifty milliseconds, and not before: those that hold the streams hold them for long."""
    pool, _, callers = full(3)
    pool.after(LOOK)
    pool.want_no_dial()
    pool.after(LOOK)
    pool.want_dial().finish(h2=True)
    assert all(caller.wire for caller in callers)


def test_the_next_ones_are_opened_without_another_wait() -> None:
    """Long polls fill three connections: patience is paid for once, also by a short call that comes later."""
    pool, _, callers = full(2 * STREAMS)
    pool.want_growth().finish(h2=True)
    pool.want_dial().finish(h2=True)
    pool.want_no_dial()
    assert all(caller.wire for caller in callers)
    pool.after(10)
    late = pool.request()
    pool.want_dial().finish(h2=True)
    assert late.wire is not None


def test_a_stream_that_comes_free_ends_the_haste() -> None:
    """Who waits then has to be patient again."""
    pool, wire, _ = full(STREAMS)
    second = pool.want_growth()
    second.finish(h2=True)
    wire.holders[0].finish()
    pool.request().want(wire)
    late = pool.request()
    pool.want_growth().finish(h2=True)
    assert late.wire is not None


@pytest.mark.parametrize(
    ("took", "patience"), [(0.0, 0.05), (0.03, 0.05), (0.1, 0.1), (0.2, 0.2), (5.0, 0.25), (60.0, 0.25)]
)
def test_patience_is_what_a_dial_takes(took: float, patience: float) -> None:
    """Within bounds: far servers answer later, and another connection to them costs more."""
    pool, _, _ = full(1, dial_time=took)
    for _ in range(19):
        pool.after(patience / 20)
    pool.want_no_dial()
    for _ in range(3):
        pool.after(patience / 20)
    pool.want_dial()


def test_a_look_that_comes_late_says_nothing_yet() -> None:
    """The loop was busy for a second: the answers may be there, and were not read."""
    pool, wire, callers = full(1)
    pool.after(1)
    pool.want_no_dial()
    wire.holders[0].finish()
    callers[0].want(wire)
    pool.after(1)
    pool.want_no_dial()


def test_the_first_answers_are_no_pace() -> None:
    """They come just before a look: what they promise is known at the next."""
    pool, wire, _ = full(500)
    pool.after(LOOK)
    pool.after(LOOK * 0.9)
    wire.holders[0].finish()
    pool.after(LOOK * 0.1)
    pool.want_no_dial()
    work(pool, wire, 0.3, each=0.0005)
    pool.want_no_dial()


@pytest.mark.parametrize(("waiting", "grows"), [(60, False), (120, False), (300, True), (900, True)])
def test_a_queue_that_will_stand_for_long(waiting: int, grows: bool) -> None:
    """At two hundred answers a second: whether those that wait are served within a second is seen at once."""
    pool, wire, _ = full(waiting)
    work(pool, wire, 0.12, each=0.005)
    assert bool(pool.undialed) == grows


def test_a_queue_that_does_not_end() -> None:
    """Each that is served comes back. Nobody waits for long, but after a second it is enough."""
    pool, wire, _ = full(10, streams=20)
    for _ in range(80):
        pool.after(0.01)
        wire.holders[0].finish()
        pool.request()
    pool.want_no_dial()
    for _ in range(30):
        pool.after(0.01)
        wire.holders[0].finish()
        pool.request()
    pool.want_dial()


def test_what_another_connection_makes_of_a_queue_is_looked_at_afresh() -> None:
    """The queue would have stood for two seconds; on two connections it ends in one."""
    pool, wire, _ = full(75, streams=1)
    work(pool, wire, 0.12, each=0.02)
    second = pool.want_dial()
    second.finish(h2=True)
    for _ in range(30):
        pool.after(0.02)
        wire.holders[0].finish()
        second.holders[0].finish()
        pool.want_no_dial()


def test_a_queue_that_was_empty_is_another_queue() -> None:
    """Its looks begin anew, though the last queue was to be looked at just now."""
    pool, wire, callers = full(1)
    pool.after(LOOK)
    wire.holders[0].finish()
    callers[0].want(wire)
    for _ in range(100):  # a second in which somebody waits at every look, and nobody for long
        late = pool.request()
        pool.after(0.024)
        late.want_waiting()
        wire.holders[0].finish()
        late.want(wire)
    pool.want_no_dial()


def test_nobody_looks_where_nothing_can_come_of_it() -> None:
    """As many connections as may be are open: the timer rests, until one of them goes."""
    pool = World(http1=False, max_streams_per_connection=1, max_h2_connections_per_origin=2)
    callers = [pool.request() for _ in range(3)]
    first = pool.want_dial()
    first.finish(h2=True)
    pool.want_growth().finish(h2=True)
    for _ in range(3):
        pool.after(LOOK)
    assert pool.scheduler.deadlines.next == math.inf
    callers[2].want_waiting()
    first.lose()
    pool.want_dial().finish(h2=True)
    assert callers[2].wire is not None


def test_a_queue_is_watched_anew_when_backing_off_ends() -> None:
    """The server allowed nothing for a while; what came free meanwhile says that there is movement again."""
    pool, wire, _ = full(3)
    origin = wire.connection.origin
    wire.settings(0)
    wire.holders[0].finish()
    pool.now = origin.retry_at
    wire.holders[0].finish()
    pool.after(LOOK)
    pool.want_no_dial()
    pool.after(LOOK)
    pool.want_dial()


def test_without_a_connection_nobody_is_patient() -> None:
    """The only one goes away, and its streams run on: who waits is dialed for at once."""
    pool, wire, callers = full(1)
    wire.goaway()
    pool.want_dial().finish(h2=True)
    assert callers[0].wire is not None


def test_a_stream_of_a_connection_that_drains_is_not_free() -> None:
    """Requests end on it, one after another, and nobody else is served."""
    pool = World(http1=False, max_streams_per_connection=STREAMS)
    for _ in range(STREAMS):
        pool.request()
    old = pool.want_dial()
    old.finish(h2=True)
    old.goaway()
    for _ in range(STREAMS + 1):
        pool.request()
    pool.want_dial().finish(h2=True)
    for _ in range(4):
        pool.after(LOOK / 2)
        old.holders[0].finish()
    pool.want_dial()


def test_an_origin_that_has_outgrown_its_connections_waits_for_room() -> None:
    """The pool is full: it has the next connection that falls idle elsewhere."""
    pool = World(http1=False, max_connections=2, max_streams_per_connection=1)
    other, _ = pool.connected("b", h2=True)
    pool.connected("a", h2=True)
    waiter = pool.request("a")
    pool.after(0.13)
    pool.after(0.13)
    pool.want_no_dial()
    other.finish()
    pool.want_dial("a").finish(h2=True)
    assert waiter.wire is not None


def test_lanes_are_patient_each_for_itself() -> None:
    """What one lane has found out does not hurry the other."""
    pool = World(http1=False, max_streams_per_connection=1, lanes=[Lane("slow")])
    pool.connected(h2=True, lane="slow")
    pool.connected(h2=True)
    pool.request(lane="slow")
    pool.after(LOOK)
    late = pool.request()
    pool.after(LOOK)
    assert pool.want_dial().key.lane == "slow"
    late.want_waiting()
    pool.after(LOOK)
    assert pool.want_dial().key == late.key


def test_a_connection_that_is_handed_to_nobody() -> None:
    """Its server was asked whether it is there: who waits has another connection soon."""
    pool = World(http1=False)
    _, wire = pool.connected(h2=True)
    wire.suspend()
    waiter = pool.request()
    pool.want_growth().finish(h2=True)
    assert waiter.wire is not wire
