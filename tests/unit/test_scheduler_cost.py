"""
What an event costs must not grow with what there is (rule 1).

Steps are counted, not timed: lines of Python that run, and calls into C. A scan of all connections, requests
or origins shows as more of either, however fast it is.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any

import pytest

from pool_manager.config import Lane, Limits, PoolConfig
from pool_manager.core.effects import Dial
from pool_manager.core.lanes import DEFAULT, Lanes
from pool_manager.core.messages import TransportFailure
from pool_manager.core.origins import Connection, OriginKey, Ticket
from pool_manager.core.scheduler import Scheduler

SIZES = (1, 100, 1_000)
NOW = 1_000.0


def key(host: str, lane: str = DEFAULT) -> OriginKey:
    """Name an origin."""
    return OriginKey("https", host, 443, None, lane)


def pool(*, http2: bool = False, lanes: tuple[Lane, ...] = (), **limits: Any) -> Scheduler:
    """Make a pool that has room for everything, but what *limits* say."""
    wide = {
        "max_connections": 10_000,
        "max_connections_per_origin": 10_000,
        "max_keepalive_connections": 10_000,
        "max_connecting_per_origin": 10_000,
        "max_h2_connections_per_origin": 10_000,
    }
    chosen = Limits(**{**wide, **limits})
    return Scheduler(PoolConfig(http2=http2), chosen, Lanes(lanes), random.Random(0))


def dials(scheduler: Scheduler) -> list[Connection]:
    """Carry out the effects; give what is to be dialed."""
    return [effect.connection for effect in scheduler.take_effects() if isinstance(effect, Dial)]


def opened(scheduler: Scheduler, host: str, *, h2: bool = False, lane: str = DEFAULT) -> Ticket:
    """Ask and have the dial done."""
    ticket = scheduler.ask(key(host, lane), NOW)
    for later in (0, 0.1, 0.2):  # those that wait for a stream are patient (rule 9)
        scheduler.tick(NOW + later)
        for connection in dials(scheduler):
            scheduler.dialed(connection, NOW, multiplexed=h2)
    return ticket


def steps(call: Callable[[], object]) -> int:
    """Count lines run and C functions called in *call*."""
    count = 0

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        del frame
        count += event == "line"
        return trace

    def profile(frame: FrameType, event: str, _: object) -> None:
        nonlocal count
        del frame
        count += event == "c_call"

    was_tracing, was_profiling = sys.gettrace(), sys.getprofile()
    sys.settrace(trace)
    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(was_profiling)
        sys.settrace(was_tracing)
    return count


def same(prepare: Callable[[int], Callable[[], object]]) -> None:
    """Expect that what *prepare* gives costs the same for each size; one may be a case of its own."""
    one, hundred, thousand = (steps(prepare(size)) for size in SIZES)
    assert one > 10, "nothing was counted"
    assert hundred < 2 * one + 20
    assert thousand == hundred


def test_steps_are_counted() -> None:
    """A loop in Python and one over calls into C both show."""
    numbers = [*range(1_000)]

    def scan() -> int:
        total = 0
        for number in numbers:
            total += number
        return total

    assert steps(scan) > 1_000
    assert steps(lambda: [len("") for _ in numbers]) > 1_000
    assert isinstance(scan.__code__, CodeType)


def idle(scheduler: Scheduler, size: int, *, origins: bool, h2: bool = False) -> None:
    """Have *size* idle connections, of as many origins or of one."""
    tickets = [opened(scheduler, f"host{number}" if origins else "host0", h2=h2) for number in range(size)]
    for ticket in tickets:
        scheduler.leave(ticket, NOW)


def ask_and_leave(scheduler: Scheduler, host: str = "host0") -> Callable[[], object]:
    """Give a request that comes and goes, finding a connection or not."""
    return lambda: scheduler.leave(scheduler.ask(key(host), NOW + 1), NOW + 2)


@pytest.mark.parametrize("h2", [False, True], ids=["http1", "http2"])
@pytest.mark.parametrize("origins", [False, True], ids=["one origin", "many origins"])
@pytest.mark.parametrize("host", ["host0", "new"])
def test_beside_idle_connections(h2: bool, origins: bool, host: str) -> None:
    """A request comes and goes, and finds a connection or has one dialed."""

    def prepare(size: int) -> Callable[[], object]:
        scheduler = pool(http2=h2, max_streams_per_connection=1)
        idle(scheduler, size, origins=origins, h2=h2)
        return ask_and_leave(scheduler, host)

    same(prepare)


@pytest.mark.parametrize("origins", [False, True], ids=["one origin", "many origins"])
def test_evicting_one_of_many(origins: bool) -> None:
    """A dial takes the place of the connection that was unused the longest."""

    def prepare(size: int) -> Callable[[], object]:
        scheduler = pool(max_connections=size)
        idle(scheduler, size, origins=origins)
        return lambda: scheduler.ask(key("new"), NOW + 1)

    same(prepare)


def test_one_idle_too_many() -> None:
    """The longest unused goes."""

    def prepare(size: int) -> Callable[[], object]:
        scheduler = pool(max_keepalive_connections=size)
        ticket = opened(scheduler, "new")
        idle(scheduler, size, origins=True)
        return lambda: scheduler.leave(ticket, NOW + 1)

    same(prepare)


def full(
    size: int, *, origins: bool, h2: bool = False, **limits: Any
) -> tuple[Scheduler, Ticket, list[Ticket]]:
    """Have one connection in use and *size* requests that wait for room."""
    scheduler = pool(http2=h2, max_connections=1, max_streams_per_connection=1, **limits)
    holder = opened(scheduler, "host0", h2=h2)
    waiting = [scheduler.ask(key(f"host{number}" if origins else "host0"), NOW) for number in range(size)]
    assert scheduler.picture(NOW).developed().total.waiting == size
    return scheduler, holder, waiting


@pytest.mark.parametrize("h2", [False, True], ids=["http1", "http2"])
@pytest.mark.parametrize("origins", [False, True], ids=["one origin", "many origins"])
@pytest.mark.parametrize("how", ["served", "broken", "come", "go"])
def test_beside_those_that_wait(h2: bool, origins: bool, how: str) -> None:
    """A connection is handed on, or goes for one who starves; another request comes, or goes."""

    def prepare(size: int) -> Callable[[], object]:
        scheduler, holder, waiting = full(size + 1, origins=origins, h2=h2)
        if how == "come":
            return ask_and_leave(scheduler)
        if how == "go":
            return lambda: scheduler.leave(waiting[size // 2], NOW)
        return lambda: scheduler.leave(holder, NOW, reusable=how == "served")

    same(prepare)


def test_beside_those_that_were_sent_again() -> None:
    """The first of them is found."""

    def prepare(size: int) -> Callable[[], object]:
        scheduler = pool(max_connections=1)
        holder = opened(scheduler, "host0")
        waiting = [scheduler.ask(key("host0"), NOW) for _ in range(size)]
        for ticket in waiting:
            scheduler.leave(ticket, NOW)
        for ticket in reversed(waiting):
            scheduler.ask(key("host0"), NOW, ticket.number)
        return lambda: scheduler.leave(holder, NOW)

    same(prepare)


@pytest.mark.parametrize("how", ["come", "served"])
def test_a_long_queue_for_a_lane(how: str) -> None:
    """The lane lets the next one in, or has one more wait."""

    def prepare(size: int) -> Callable[[], object]:
        scheduler = pool(lanes=(Lane("slow", max_in_flight=1),))
        holder = opened(scheduler, "host0", lane="slow")
        for number in range(size):
            scheduler.ask(key(f"host{number}", "slow"), NOW)
        if how == "come":
            return lambda: scheduler.leave(scheduler.ask(key("host0", "slow"), NOW), NOW)
        return lambda: scheduler.leave(holder, NOW)

    same(prepare)


@pytest.mark.parametrize("how", ["dialed", "failed", "cancelled", "too slow"])
def test_beside_many_dials(how: str) -> None:
    """One ends, or the request it was for goes away."""

    def prepare(size: int) -> Callable[[], object]:
        scheduler = pool()
        holder = opened(scheduler, "host0")
        tickets = [scheduler.ask(key("host0"), NOW) for _ in range(size)]
        connections = dials(scheduler)
        assert len(connections) == size
        assert holder.connection is not None
        if how == "dialed":
            return lambda: scheduler.dialed(connections[-1], NOW, multiplexed=False)
        if how == "failed":
            error = TransportFailure("ConnectError", "refused")
            return lambda: scheduler.dial_failed(connections[-1], NOW, error)
        return lambda: scheduler.leave(tickets[0], NOW, dial_too_slow=how == "too slow")

    same(prepare)


def test_a_dial_that_fails_only_those_before_it() -> None:
    """Those that came later are not even looked at."""

    def prepare(size: int) -> Callable[[], object]:
        scheduler = pool(max_connecting_per_origin=1)
        scheduler.ask(key("host0"), NOW)
        (connection,) = dials(scheduler)
        for _ in range(size):
            scheduler.ask(key("host0"), NOW)
        error = TransportFailure("ConnectError", "refused")
        return lambda: scheduler.dial_failed(connection, NOW, error)

    same(prepare)


@pytest.mark.parametrize("how", ["allow", "drain", "lost"])
def test_news_of_one_of_many_connections(how: str) -> None:
    """A server has something to say."""

    def prepare(size: int) -> Callable[[], object]:
        scheduler = pool(http2=True)
        tickets = [opened(scheduler, f"host{number}", h2=True) for number in range(size)]
        connection = tickets[size // 2].connection
        assert connection is not None
        if how == "allow":
            return lambda: scheduler.allow(connection, NOW, 7)
        news = scheduler.drain if how == "drain" else scheduler.lost
        return lambda: news(connection, NOW)

    same(prepare)


def test_many_streams_on_one_connection() -> None:
    """Another comes and goes."""

    def prepare(size: int) -> Callable[[], object]:
        scheduler = pool(http2=True, max_streams_per_connection=10_000)
        ticket = opened(scheduler, "host0", h2=True)
        assert ticket.connection is not None
        scheduler.allow(ticket.connection, NOW, 10_000)
        for _ in range(size):
            scheduler.ask(key("host0"), NOW)
        return ask_and_leave(scheduler)

    same(prepare)


def test_a_tick_when_one_is_due() -> None:
    """Those that are not are left alone."""

    def prepare(size: int) -> Callable[[], object]:
        scheduler = pool()
        first = opened(scheduler, "first")
        scheduler.leave(first, NOW - 1)
        idle(scheduler, size, origins=True)
        return lambda: scheduler.tick(NOW + 59.5)

    same(prepare)
