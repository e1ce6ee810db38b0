"""What the scheduler counts: why connections end, how long things take, and of whom it is remembered."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pool_manager.config import Lane, Limits, PoolConfig
from pool_manager.core.effects import Dial
from pool_manager.core.lanes import Lanes
from pool_manager.core.messages import TransportFailure
from pool_manager.core.origins import OriginKey
from pool_manager.core.scheduler import Scheduler
from pool_manager.core.snapshots import MAX_KEPT
from pool_manager.stats import CloseCause, OriginStats
from tests.support.scheduling import World


def told_of(pool: World, host: str = "a", lane: str = "default") -> OriginStats:
    """Give what is told of one origin."""
    (found,) = [
        origin
        for origin in pool.scheduler.picture(pool.now).developed().origins
        if (origin.host, origin.lane) == (host, lane)
    ]
    return found


# Why connections end


def idle_too_long(pool: World) -> None:
    """Use nothing for a minute."""
    pool.idle()
    pool.after(61)


def server_said_shorter(pool: World) -> None:
    """Have the server say that it waits no longer than three seconds."""
    caller, _ = pool.connected()
    caller.finish(keep_alive=3)
    pool.after(3)


def too_old(pool: World) -> None:
    """Let an idle one grow old."""
    pool.idle()
    pool.after(31)


def too_old_under_a_request(pool: World) -> None:
    """Let one grow old under a request."""
    caller, _ = pool.connected()
    pool.after(31)
    caller.finish()


def used_up(pool: World) -> None:
    """Send as many requests as may be."""
    caller, _ = pool.connected()
    caller.finish()
    pool.request().finish()


def made_way(pool: World) -> None:
    """Ask for another origin where there is room for one connection."""
    pool.idle()
    pool.request("b")


def raced(pool: World) -> None:
    """Have two dials find HTTP/2 where HTTP/1.1 was."""
    pool.idle()
    pool.after(61)
    pool.request()
    pool.request()
    first, second = pool.want_dial(), pool.want_dial()
    first.finish(h2=True)
    second.finish(h2=True)


def ended_while_idle(pool: World) -> None:
    """Have it end while nobody uses it."""
    pool.idle().lose()


def ended_under_a_request(pool: World) -> None:
    """Have it end under its second request."""
    _, wire = pool.connected()
    wire.lose()


def went_away(pool: World) -> None:
    """Have the server send GOAWAY."""
    caller, wire = pool.connected(h2=True)
    wire.goaway()
    caller.finish()


def went_away_and_broke(pool: World) -> None:
    """Have the server send GOAWAY, and break off."""
    _, wire = pool.connected(h2=True)
    wire.goaway()
    wire.lose()


def refused(pool: World) -> None:
    """Have the server refuse two streams."""
    caller, wire = pool.connected(h2=True)
    wire.refuse()
    wire.refuse()
    caller.finish()


def moved(pool: World) -> None:
    """Have its address leave DNS."""
    for answer in ("1", "2", "2"):
        pool.request()
        dial = pool.want_dial()
        dial.reach(dial.resolve(answer)[0])
        dial.finish()
        pool.now += 31
    pool.callers[0].finish()


def unfit(pool: World) -> None:
    """Have an answer that leaves it unfit."""
    caller, _ = pool.connected()
    caller.broken()


def reset(pool: World) -> None:
    """Reset the pool."""
    pool.idle()
    pool.reset()


def closed(pool: World) -> None:
    """Close the pool."""
    pool.idle()
    pool.close()


@pytest.mark.parametrize(
    ("story", "limits", "cause"),
    [
        (idle_too_long, {}, "idle"),
        (server_said_shorter, {}, "idle"),
        (too_old, {"max_connection_age": 30}, "age"),
        (too_old_under_a_request, {"max_connection_age": 30}, "age"),
        (used_up, {"max_requests_per_connection": 2}, "requests"),
        (made_way, {"max_connections": 1}, "evicted"),
        (raced, {}, "surplus"),
        (ended_while_idle, {}, "ended"),
        (ended_under_a_request, {}, "lost"),
        (went_away, {}, "drained"),
        (went_away_and_broke, {}, "drained"),
        (refused, {}, "refused"),
        (moved, {}, "moved"),
        (unfit, {}, "unusable"),
        (reset, {}, "reset"),
        (closed, {}, "closed"),
    ],
    ids=lambda part: part.__name__ if callable(part) else "",
)
def test_a_closed_connection_has_a_cause(
    story: Callable[[World], None], limits: dict[str, float], cause: CloseCause
) -> None:
    """Whatever ends a connection is counted once, by its cause; of two causes the first counts."""
    pool = World(**limits)
    story(pool)
    told = told_of(pool)
    assert told.closed.get(cause) == 1, told.closed
    assert sum(told.closed.values()) == told.opened - told.connections


def test_the_idle_neighbour_of_a_lost_connection_is_suspect() -> None:
    """It is closed with the one that broke, and counted by itself."""
    pool = World()
    callers = [pool.connected(), pool.connected()]
    for caller, _ in callers:
        caller.finish()
    pool.request()
    callers[1][1].lose()
    assert told_of(pool).closed == {"lost": 1, "suspect": 1}


def test_a_dial_that_is_given_up_is_no_closed_connection() -> None:
    """What never was open is neither opened, nor closed, nor failed."""
    pool = World()
    pool.request()
    pool.close()
    told = told_of(pool)
    assert (0, 0, {}, 1) == (told.opened, told.dials_failed, told.closed, told.given_up)


# How long things take


def test_times_are_those_of_the_clock() -> None:
    """A request's wait, a dial, a request and the life of a connection last as long as the clock says."""
    pool = World()
    caller = pool.request()
    pool.now += 0.2
    pool.want_dial().finish()
    pool.now += 3
    caller.finish()
    pool.after(61)
    told = told_of(pool)
    times = (told.queue_time, told.connect_time, told.request_time, told.connection_age)
    assert [1] * 4 == [one.count for one in times]
    assert [one.sum for one in times] == pytest.approx([0.2, 0.2, 3.2, 64])


def test_a_wait_for_a_lane_and_then_for_a_connection_is_one() -> None:
    """Who is let in by its lane and has no connection yet goes on waiting, since it asked."""
    pool = World(lanes=[Lane("narrow", max_in_flight=1)])
    first, _ = pool.connected(lane="narrow")
    second = pool.request("b", lane="narrow")
    pool.now += 5
    assert told_of(pool, "b", "narrow").oldest_wait == 5
    first.finish()
    pool.now += 2
    assert told_of(pool, "b", "narrow").oldest_wait == 7
    second.want_waiting()
    pool.want_dial("b").finish()
    told = told_of(pool, "b", "narrow")
    assert (1, 1, 7, 0) == (told.queued, told.queue_time.count, told.queue_time.sum, told.given_up)


def test_a_request_that_was_never_sent_takes_no_time() -> None:
    """A connection that is given back unused has served nobody."""
    pool = World()
    caller, _ = pool.connected()
    caller.unused()
    assert told_of(pool).request_time.count == 0


def test_a_request_that_is_sent_again_is_one() -> None:
    """It asks twice, and is counted once."""
    pool = World()
    first, _ = pool.connected()
    first.finish()
    pool.request(again=first).finish()
    assert (1, 1, 2) == (told_of(pool).requests, told_of(pool).reused, told_of(pool).request_time.count)


# Of whom


def test_what_was_counted_is_there_when_an_origin_comes_back() -> None:
    """An origin to which nothing is open goes on where it was."""
    pool = World()
    for number in range(1, 4):
        pool.idle()
        pool.after(61)
        assert (number, number, {"idle": number}, 0) == (
            told_of(pool).requests,
            told_of(pool).opened,
            told_of(pool).closed,
            told_of(pool).connections,
        )


def test_of_many_origins_only_the_last_are_told_apart() -> None:
    """A pool that has met thousands keeps as much as for a hundred; their sum is whole."""
    scheduler = Scheduler(PoolConfig(), Limits(), Lanes(()))
    for number in range(MAX_KEPT + 50):
        scheduler.ask(OriginKey("https", f"host{number}", 443, None, "default"), 0)
        (dial,) = scheduler.take_effects()
        assert isinstance(dial, Dial)
        scheduler.dial_failed(dial.connection, 0, TransportFailure("ConnectError", "refused"))
        scheduler.take_effects()
    told = scheduler.picture(0).developed()
    assert [origin.host for origin in told.origins] == [f"host{number}" for number in range(50, 150)]
    assert told.rest.dials_failed == 50
    assert told.total.dials_failed == told.total.requests == told.total.given_up == 150


def test_an_origin_is_named_without_its_server_name() -> None:
    """Requests of one origin under several names are told as one: by scheme, host, port and lane."""
    pool = World()
    for name in ("one", "two"):
        pool.scheduler.ask(OriginKey("https", "a", 443, name, "default"), pool.now)
    (told,) = pool.scheduler.picture(pool.now).developed().origins
    assert (told.url, told.requests, told.connecting, told.waiting) == ("https://a:443", 2, 2, 2)
