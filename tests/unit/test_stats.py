"""Numbers: counters only grow, `since` takes differences, and a pool can say how it stands."""

from __future__ import annotations

import asyncio
import gc
import weakref
from collections.abc import Mapping
from contextlib import ExitStack
from types import ModuleType
from typing import Any, Final, cast

import attrs
import httpx
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_manager import (
    Histogram,
    ManagerStats,
    OriginStats,
    PoolConfig,
    PoolManager,
    PoolStats,
    RequestRecord,
    RuntimeStats,
)
from pool_manager.core.counts import Times
from pool_manager.stats import Traffic, total
from tests.support.counting_server import Answer, CountingServer
from tests.support.hypercorn_server import HypercornServer

ORIGIN_COUNTERS: Final = {"requests", "queued", "given_up", "opened", "reused", "dials_failed"}
POOL_COUNTERS: Final = ORIGIN_COUNTERS | {"failed", "retried", "replayed"}
TIMES: Final = {"queue_time", "connect_time", "connection_age", "request_time"}
LEASE_COUNTERS: Final = {"leases_taken", "leases_returned", "leases_leaked", "responses_leaked", "overdue"}
NOWHERE: Final = "http://127.0.0.1:1"  # nobody listens there
LONG: Final = Answer(body=b"x" * 5_000_000)

numbers = st.integers(0, 1000)


def times(*seconds: float) -> Histogram:
    """Count some times."""
    counted = Times()
    for one in seconds:
        counted.add(one)
    return counted.frozen()


def pool_stats(**fields: object) -> PoolStats:
    """Describe a pool that has done nothing, but for *fields*."""
    nothing = {"leases": 0, "lease_names": (), "in_flight": 0}
    return PoolStats(runtime="threads", config=PoolConfig(), **cast(Any, nothing | fields))


def origin_stats(host: str = "a", **fields: Any) -> OriginStats:
    """Describe an origin of which nothing is told, but for *fields*."""
    return OriginStats(scheme="https", host=host, port=443, lane="default", **fields)


def manager_stats(**fields: object) -> ManagerStats:
    """Describe a manager that has done nothing, but for *fields*."""
    return ManagerStats(name="m", **cast(Any, {"pools": ()} | dict.fromkeys(LEASE_COUNTERS, 0) | fields))


def split(counts: Mapping[str, tuple[int, int]]) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """Give what was counted before, what came since, and the sums of both."""
    return (
        {name: before for name, (before, _) in counts.items()},
        {name: more for name, (_, more) in counts.items()},
        {name: sum(pair) for name, pair in counts.items()},
    )


@given(st.fixed_dictionaries(dict.fromkeys(sorted(POOL_COUNTERS), st.tuples(numbers, numbers))))
def test_pool_counters_are_counted_from_earlier(counts: dict[str, tuple[int, int]]) -> None:
    """`PoolStats.since` subtracts every counter, and leaves the gauges as they are now."""
    earlier = pool_stats(in_flight=9, **{name: before for name, (before, _) in counts.items()})
    now = pool_stats(
        in_flight=2, leases=3, **{name: before + more for name, (before, more) in counts.items()}
    )
    assert now.since(earlier) == pool_stats(
        in_flight=2, leases=3, **{name: more for name, (_, more) in counts.items()}
    )


@given(st.fixed_dictionaries(dict.fromkeys(sorted(LEASE_COUNTERS), st.tuples(numbers, numbers))))
def test_lease_counters_are_counted_from_earlier(counts: dict[str, tuple[int, int]]) -> None:
    """`ManagerStats.since` subtracts every counter, and leaves gauges as they are now."""
    pools = (pool_stats(idle=4),)
    earlier = manager_stats(**{name: before for name, (before, _) in counts.items()})
    now = manager_stats(pools=pools, **{name: before + more for name, (before, more) in counts.items()})
    assert now.since(earlier) == manager_stats(
        pools=pools, **{name: more for name, (_, more) in counts.items()}
    )


def test_what_is_nested_is_counted_from_earlier() -> None:
    """Pools, origins, causes and times are counted each from what was before; what is new is whole."""

    def manager(pools: dict[int, dict[str, dict[str, Any]]]) -> ManagerStats:
        return manager_stats(
            pools=tuple(
                pool_stats(
                    number=number, origins=tuple(origin_stats(host, **has) for host, has in of.items())
                )
                for number, of in pools.items()
            )
        )

    earlier = manager({1: {"a": {"closed": {"idle": 2, "age": 1}, "queue_time": times(1, 2)}}, 2: {}})
    now = manager(
        {
            1: {
                "a": {"closed": {"idle": 5, "age": 1, "lost": 1}, "queue_time": times(1, 2, 3), "idle": 7},
                "b": {"opened": 1},
            },
            3: {"a": {"opened": 2}},
        }
    )
    assert now.since(earlier) == manager(
        {
            1: {
                "a": {"closed": {"idle": 3, "lost": 1}, "queue_time": times(3), "idle": 7},
                "b": {"opened": 1},
            },
            3: {"a": {"opened": 2}},
        }
    )


def test_a_sum_is_of_all_and_the_oldest_wait_is_the_longest() -> None:
    """Gauges, counters, causes and times of several origins are added up; of waits the longest is told."""
    parts = [
        origin_stats("a", idle=1, opened=2, closed={"idle": 1}, connect_time=times(1), oldest_wait=3.0),
        origin_stats("b", idle=4, opened=5, closed={"idle": 1, "age": 2}, connect_time=times(2)),
    ]
    assert total(parts) == Traffic(
        idle=5, opened=7, closed={"idle": 2, "age": 2}, connect_time=times(1, 2), oldest_wait=3.0
    )


@pytest.mark.parametrize(
    ("kind", "counters"),
    [
        (OriginStats, ORIGIN_COUNTERS | TIMES | {"closed"}),
        (PoolStats, POOL_COUNTERS | TIMES | {"closed", "retries", "origins", "rest"}),
        (RuntimeStats, ORIGIN_COUNTERS | TIMES | {"closed", "failed", "retries", "origins", "rest"}),
        (ManagerStats, LEASE_COUNTERS | {"pools", "runtimes"}),
    ],
)
def test_documented_counters_are_the_ones_counted(
    kind: type[attrs.AttrsInstance], counters: set[str]
) -> None:
    """What the documentation calls a counter is subtracted by `since`, and nothing else is."""
    nested = {"pools", "runtimes", "origins", "rest"}
    lines = [line.strip() for base in kind.__mro__ for line in (base.__doc__ or "").splitlines()]
    assert {line.partition(":")[0] for line in lines if ": Counter: " in line} == counters - nested
    assert {field.name for field in attrs.fields(kind) if "grows" in field.metadata} == counters


@pytest.mark.parametrize("kind", [PoolStats, ManagerStats, RuntimeStats, OriginStats, Histogram])
def test_a_snapshot_is_frozen(kind: type[attrs.AttrsInstance]) -> None:
    """A snapshot is of one instant: it cannot be changed, and equal ones are equal."""
    values = cast(Any, dict.fromkeys(field.name for field in attrs.fields(kind)))
    snapshot = kind(**values)
    assert snapshot == kind(**values)
    for field in attrs.fields(kind):
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            setattr(snapshot, field.name, 1)


def test_a_pool_says_how_it_stands() -> None:
    """The text of a `PoolStats` has its runtime, its numbers and who holds it."""
    stats = pool_stats(leases=2, lease_names=("billing", "search"), in_flight=5)
    assert str(stats) == (
        "threads pool: connections: 0 open; requests: 5 in flight, 0 waiting; held by billing, search"
    )
    stats = attrs.evolve(stats, active=2, draining=1, connecting=4, waiting=3, oldest_wait=2.34)
    assert str(stats) == (
        "threads pool: connections: 3 open (2 active, 1 draining), 4 connecting;"
        " requests: 5 in flight, 3 waiting (for up to 2.3 s); held by billing, search"
    )


def test_an_origin_says_how_it_stands() -> None:
    """The text of an `OriginStats` has its URL, its lane if it has one of its own, and its numbers."""
    assert str(origin_stats("api.example.com", idle=1)) == (
        "https://api.example.com:443: connections: 1 open (1 idle); requests: 0 on them, 0 waiting"
    )
    assert str(attrs.evolve(origin_stats("::1", active=1, streams=3), lane="polls")) == (
        "https://[::1]:443, lane polls: connections: 1 open (1 active); requests: 3 on them, 0 waiting"
    )


def test_a_pool_that_nobody_holds_says_so() -> None:
    """A pool without leases is held by no lease."""
    assert str(pool_stats()).endswith("held by no lease")


@given(st.integers(1, 40))
def test_a_crowded_pool_stays_readable(leases: int) -> None:
    """Of many leases the text names the first eight and counts the rest."""
    names = tuple(f"lease-{number}" for number in range(leases))
    text = str(pool_stats(leases=leases, lease_names=names))
    assert [name for name in names if name in text.replace(",", " ").split()] == list(names[:8])
    assert ("more" in text) is (leases > 8)
    assert leases <= 8 or text.endswith(f"lease-7 and {leases - 8} more")


def test_stats_tell_what_happened(counting_server: CountingServer) -> None:
    """Requests, failures, connections and leases are counted as the server saw them."""
    with PoolManager(name="test") as manager:
        assert (
            manager.stats() == manager_stats(pools=()).since(manager_stats()) or manager.stats().pools == ()
        )
        with manager.client(name="first") as first, manager.client(name="second") as second:
            for client in (first, second, first):
                client.get(counting_server.url)
            with pytest.raises(httpx.ConnectError):
                first.get(NOWHERE)
            stats = manager.stats()
            (pool,) = stats.pools
            assert (pool.requests, pool.failed, pool.opened, pool.reused, pool.dials_failed) == (
                4,
                1,
                1,
                2,
                1,
            )
            assert (pool.leases, pool.lease_names, pool.connections) == (2, ("first", "second"), 1)
            assert (pool.in_flight, pool.waiting, pool.runtime) == (0, 0, "threads")
        ended = manager.stats().since(stats)
        assert (ended.leases_taken, ended.leases_returned, ended.leases_leaked) == (0, 2, 0)


def test_reading_disturbs_nobody(counting_server: CountingServer) -> None:
    """Two readers at different times both get right differences: a look resets nothing."""
    with PoolManager() as manager, manager.client() as client:
        looks = [manager.stats()]
        for _ in range(3):
            client.get(counting_server.url)
            looks.append(manager.stats())
        assert [look.pools[0].requests for look in looks] == [0, 1, 2, 3]
        assert looks[3].pools[0].since(looks[1].pools[0]).requests == 2
        assert looks[3].pools[0].since(looks[2].pools[0]).requests == 1


def test_an_open_response_is_in_flight(counting_server: CountingServer) -> None:
    """A response that is not closed yet is in flight, and does not wait."""
    with PoolManager() as manager, manager.client() as client:
        with client.stream("GET", counting_server.url):
            (pool,) = manager.stats().pools
            assert (pool.in_flight, pool.waiting) == (1, 0)
        (pool,) = manager.stats().pools
        assert (pool.in_flight, pool.failed) == (0, 0)


def test_what_closed_pools_have_counted_is_kept(counting_server: CountingServer) -> None:
    """Twenty runs of a loop have twenty pools, one after another: their sum never falls."""
    manager = PoolManager(PoolConfig(trust_env=False))

    async def ask() -> None:
        async with manager.client(httpx.AsyncClient) as client:
            assert 200 == (await client.get(counting_server.url)).status_code
            with pytest.raises(httpx.ConnectError):
                await client.get(NOWHERE)
            look()

    def look() -> None:
        stats = manager.stats()
        (runtime,) = stats.runtimes
        assert runtime.opened >= seen[-1].opened
        assert len(runtime.origins) == 2
        seen.append(runtime)

    seen = [RuntimeStats(runtime="asyncio", pools=0, leases=0, in_flight=0)]
    for number in range(1, 21):
        asyncio.run(ask())
        look()
        last = seen[-1]
        assert (last.runtime, last.pools, last.connections, last.in_flight) == ("asyncio", 0, 0, 0)
        assert (last.requests, last.failed, last.opened) == (2 * number, number, number)
        assert (last.dials_failed, last.closed) == (number, {"closed": number})
        assert last.request_time.count == number
    assert manager.stats().pools == ()
    manager.close()


def test_a_lost_answer_is_counted_as_leaked(counting_server: CountingServer) -> None:
    """A response that was collected unclosed has failed, and is counted."""
    counting_server.respond = lambda _: LONG
    with PoolManager(PoolConfig(trust_env=False)) as manager, manager.client(httpx.Client) as client:
        answer = client.send(client.build_request("GET", counting_server.url), stream=True)
        assert (manager.stats().pools[0].failed, manager.stats().responses_leaked) == (0, 0)
        with pytest.warns(ResourceWarning, match="unclosed response"):
            del answer
            gc.collect()
        assert (manager.stats().pools[0].failed, manager.stats().responses_leaked) == (1, 1)


def test_a_lost_lease_is_counted_as_leaked() -> None:
    """A lease that was collected unreleased is counted, and told of once, with where it was taken."""
    with PoolManager() as manager:
        before = manager.stats()
        lost = manager.lease(name="lost")
        with pytest.warns(ResourceWarning, match=rf"unclosed lease 'lost', taken at {__file__}") as told:
            del lost
            gc.collect()
        assert len(told) == 1
        since = manager.stats().since(before)
        assert (since.leases_taken, since.leases_returned, since.leases_leaked) == (1, 1, 1)


@pytest.mark.parametrize("library", [httpx, httpx2])
def test_a_lost_attached_client_is_counted_as_leaked(library: ModuleType) -> None:
    """An attached client that nobody holds is collected, and its lease is found."""
    with PoolManager() as manager:
        client = manager.attach(library.Client(), config=PoolConfig())
        gone = weakref.ref(client)
        with pytest.warns(ResourceWarning, match="unclosed lease 'Client'"):
            del client
            gc.collect()
        assert gone() is None
        assert manager.stats().leases_leaked == 1


@given(st.lists(st.floats(0, 10_000), min_size=1), st.floats(0, 1))
def test_a_histogram_tells_how_long_most_took(seconds: list[float], share: float) -> None:
    """A quantile is a bound that so many did not pass, and the next smaller one was passed by too many."""
    told = times(*seconds)
    assert told.count == len(seconds)
    assert told.sum == pytest.approx(sum(seconds))
    bound = told.quantile(share)
    below = max((other for other in (0.0, *told.bounds) if other < bound), default=0.0)
    assert sum(one <= bound for one in seconds) >= share * len(seconds)
    assert not below or sum(one <= below for one in seconds) < share * len(seconds)


def test_a_histogram_of_nothing_is_zero() -> None:
    """Where nothing was counted, no time is claimed."""
    assert Histogram().quantile(0.5) == Histogram().count == Histogram().sum == 0


# Of one answer


@pytest.fixture
def server(request: pytest.FixtureRequest) -> HypercornServer:
    """Give the server that a test names."""
    return cast(HypercornServer, request.getfixturevalue(request.param))


@pytest.mark.parametrize("server", ["plain_server", "h2_server"], indirect=True)
@pytest.mark.parametrize("library", [httpx, httpx2])
def test_a_record_tells_how_an_answer_came(library: ModuleType, server: HypercornServer) -> None:
    """`extensions["pool_manager"]` is a frozen record of the connection, the waits and the lease."""
    config = PoolConfig(verify=server.client_context(), trust_env=False)
    with PoolManager(config) as manager, manager.client(library.Client, name="billing") as client:
        first, second = (client.get(server.url) for _ in range(2))
    told: list[RequestRecord] = [response.extensions["pool_manager"] for response in (first, second)]
    assert [record.reused for record in told] == [False, True]
    assert [record.connection_id for record in told] == [1, 1]
    assert told[0].connect_time > 0 == told[1].connect_time
    assert told[0].idle_for == 0 < told[1].idle_for < 5
    for record, response in zip(told, (first, second), strict=True):
        assert type(record) is RequestRecord
        assert record.http_version == response.http_version
        assert (record.attempts, record.lane, record.lease) == (1, "default", "billing")
        assert 0 <= record.queued_for < 5
        with pytest.raises(AttributeError):
            record.reused = True  # type: ignore[misc]


@pytest.mark.parametrize("server", ["plain_server", "h2_server"], indirect=True)
@pytest.mark.parametrize("library", [httpx, httpx2])
def test_the_network_stream_is_there(library: ModuleType, server: HypercornServer) -> None:
    """`network_stream` tells of the connection while the response is open, TLS included."""
    config = PoolConfig(verify=server.client_context(), trust_env=False)
    with (
        PoolManager(config) as manager,
        manager.client(library.Client) as client,
        client.stream("GET", server.url) as response,
    ):
        stream = response.extensions["network_stream"]
        assert stream.get_extra_info("server_addr") == ("127.0.0.1", server.port)
        tls = stream.get_extra_info("ssl_object")
        assert (tls is not None) is server.url.startswith("https")
        assert tls is None or tls.selected_alpn_protocol() == "h2"


@pytest.mark.parametrize(
    ("server", "options", "spoken", "by_default"),
    [
        ("h2_server", {"http2": False}, "HTTP/1.1", "HTTP/2"),
        ("h2_server", {"http1": False}, "HTTP/2", "HTTP/2"),
        ("h1_server", {"http2": False}, "HTTP/1.1", "HTTP/1.1"),
        ("plain_server", {"http2": False}, "HTTP/1.1", "HTTP/1.1"),
        ("plain_server", {"http1": False}, "HTTP/2", "HTTP/1.1"),
    ],
    indirect=["server"],
)
@pytest.mark.parametrize("library", [httpx, httpx2])
def test_the_config_decides_the_protocol(
    library: ModuleType, server: HypercornServer, options: dict[str, Any], spoken: str, by_default: str
) -> None:
    """ALPN chooses among what is allowed; without HTTP/1.1, http:// speaks HTTP/2 by prior knowledge."""
    context = server.client_context()  # one context of the caller's for all of them, side by side
    with PoolManager(PoolConfig(verify=context, trust_env=False)) as manager, ExitStack() as clients:
        for given, version in ((options, spoken), ({}, by_default), (options, spoken)):
            client = clients.enter_context(manager.client(library.Client, **given))
            response = client.get(f"{server.url}/echo")
            assert response.http_version == version
            assert response.extensions["pool_manager"].http_version == version
        assert server.seen().connections == 2
