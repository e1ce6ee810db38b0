"""What is held for too long is told of once, with where it was taken; and again when it comes back."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import httpx
import pytest

from pool_manager import Limits, PoolConfig, PoolManager
from pool_manager.core.leaks import Overdue
from tests.support.counting_server import Answer, CountingServer

LONG = Answer(body=b"x" * 5_000_000)


class Clock:
    """The time by which a registry knows how long something is held."""

    now = 1_000.0

    def __call__(self) -> float:
        """Tell it."""
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Set the time of the registries that are made from now on."""
    clock = Clock()
    monkeypatch.setattr("pool_manager.registry.time.monotonic", clock)
    return clock


@pytest.fixture
def manager(clock: Clock) -> Iterator[PoolManager]:
    """Give a manager whose leases and answers may be held for a minute."""
    assert clock.now
    with PoolManager(PoolConfig(trust_env=False), limits=Limits(leak_threshold=60)) as manager:
        yield manager


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    """Give what the log has said of leaks since this was called last."""
    messages = [record.getMessage() for record in caplog.records if record.name == "pool_manager.leaks"]
    assert {record.levelno for record in caplog.records if record.name == "pool_manager.leaks"} <= {
        logging.WARNING
    }
    caplog.clear()
    return messages


def test_a_lease_that_is_held_for_long_is_told_of_once(
    manager: PoolManager, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    """After a minute the next look at the pools says who holds what, and where that was taken."""
    lease = manager.lease(name="billing")
    clock.now += 59
    manager.stats()
    assert [] == told(caplog)
    clock.now += 3
    assert 1 == manager.stats().overdue
    (message,) = told(caplog)
    assert f"lease 'billing', taken at {__file__}:" in message
    assert "has been held for more than 60 s" in message
    clock.now += 600
    assert 1 == manager.stats().overdue
    assert [] == told(caplog)
    lease.close()
    (message,) = told(caplog)
    assert f"lease 'billing', taken at {__file__}:" in message
    assert "was given back after all" in message
    lease.close()
    assert [] == told(caplog)


def test_a_response_that_is_held_for_long_is_told_of(
    manager: PoolManager, clock: Clock, counting_server: CountingServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The next request of anybody says so, without a look: where it was taken, and of which request it is."""
    counting_server.respond = lambda _: LONG
    hog = manager.client(httpx.Client, name="hog")
    with hog.stream("GET", f"{counting_server.url}/big?key=secret"):
        clock.now += 30
        with manager.client(httpx.Client, name="late") as client:
            client.get(counting_server.url)
            clock.now += 31
            client.get(counting_server.url)
            messages = told(caplog)
    assert 2 == len(messages)
    assert f"lease 'hog', taken at {__file__}:" in messages[0]
    assert f"response to GET {counting_server.url}/big, taken at {__file__}:" in messages[1]
    assert "by lease 'hog', has been held" in messages[1]
    assert 1 == len(told(caplog))
    hog.close()
    assert 1 == len(told(caplog))


def test_what_is_given_back_in_time_is_not_told_of(
    manager: PoolManager, clock: Clock, counting_server: CountingServer, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither leases nor responses that were closed in time, however late the look."""
    with manager.client(httpx.Client) as client:
        client.get(counting_server.url)
        clock.now += 50
    clock.now += 500
    assert 0 == manager.stats().overdue
    assert [] == told(caplog)


def test_a_lease_that_is_taken_anew_counts_anew(
    manager: PoolManager, clock: Clock, counting_server: CountingServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A transport that is used after its close has a lease from then on."""
    transport = manager.transport(httpx)
    client = httpx.Client(transport=transport, trust_env=False)
    transport.close()
    clock.now += 50
    client.get(counting_server.url)
    clock.now += 50
    manager.stats()
    assert [] == told(caplog)
    clock.now += 15
    manager.stats()
    assert 1 == len(told(caplog))
    client.close()


def test_nothing_is_too_long_unless_somebody_says_so(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    """By default a lease may be held for ever."""
    with PoolManager() as manager, manager.lease():
        clock.now += 1e9
        assert 0 == manager.stats().overdue
    assert [] == told(caplog)


def test_each_thing_has_its_own_time() -> None:
    """What may be held for less is found sooner; what was released is not found, and what was is known."""
    overdue = Overdue[str]()
    overdue.hold("long", 0, 100)
    overdue.hold("short", 10, 5)
    overdue.hold("ever", 0, float("inf"))
    overdue.hold("gone", 0, 5)
    assert not overdue.release("gone")
    assert [] == overdue.find(14)
    assert [("short", 5)] == overdue.find(16)
    assert [("long", 100)] == overdue.find(1_000)
    assert [] == overdue.find(10_000)
    assert (True, False) == (overdue.release("short"), overdue.release("short"))
    assert not overdue.release("ever")
