"""`pooled`: SDKs keep what is theirs and share connections; their errors and streams stay theirs."""

from __future__ import annotations

import gc
import socket
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import openai
import pytest

import pool_manager
from pool_manager import ConfigError, Limits, PoolConfig, PoolManager
from tests.support import sdk_answers
from tests.support.certificates import Certificates
from tests.support.counting_server import Answer, CountingServer
from tests.support.leaks import open_sockets
from tests.support.sdks import (
    ASYNC,
    FLAVOURS,
    RUNTIMES,
    STREAMERS,
    SYNC,
    Flavour,
    Run,
    Sdk,
    StepServer,
    all_of,
    called,
    close_stream,
    echo,
    events_at,
    headers_of,
    inner,
    next_text,
    open_stream,
    post,
    rest_of,
    running,
)
from tests.support.server import Server

CLIENTS = 50
PLENTY = 100  # more events than there are

every_flavour = pytest.mark.parametrize("flavour", FLAVOURS, ids=str)
every_streamer = pytest.mark.parametrize("flavour", STREAMERS, ids=str)


@pytest.fixture(params=["HTTP/1.1", "HTTP/2"])
def steps(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[StepServer]:
    """Give a server that streams step by step."""
    with StepServer(certificates if request.param == "HTTP/2" else None) as server:
        yield server


# What is the SDK's stays


@every_flavour
def test_headers_and_settings_stay(
    flavour: Flavour, manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """A pooled SDK sends what an unpooled one sends, with the same timeouts and retries."""
    pair = flavour.plain(counting_server.url), flavour.pooled(manager, counting_server.url)
    for sdk in pair:
        run(echo(sdk))
        run(sdk.close())
    plain, pooled = counting_server.requests
    assert pooled.headers == plain.headers
    assert (pair[1].timeout, pair[1].max_retries) == (pair[0].timeout, pair[0].max_retries)


@every_flavour
def test_timeouts_reach_the_transport(
    flavour: Flavour, manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """Each request of a pooled SDK carries the SDK's own default timeouts."""
    seen: list[object] = []

    def look(request: object) -> None:
        seen.append(vars(request)["extensions"]["timeout"])

    async def look_async(request: object) -> None:
        look(request)

    sdk = flavour.pooled(manager, counting_server.url)
    inner(sdk).event_hooks = {"request": [look_async if flavour.is_async else look]}
    run(echo(sdk))
    run(sdk.close())
    assert seen == [cast("openai.Timeout", flavour.sdk.DEFAULT_TIMEOUT).as_dict()]


@every_flavour
def test_redirects_stay(flavour: Flavour, manager: PoolManager, plain_server: Server, run: Run) -> None:
    """A pooled SDK follows redirects, as its own client does and a bare httpx client does not."""
    sdk = flavour.pooled(manager, plain_server.url)
    run(sdk.get("/redirect/2", cast_to=object))
    run(sdk.close())
    paths = [request.path for request in plain_server.seen().requests]
    assert paths == ["/redirect/2", "/redirect/1", "/echo"]


@every_flavour
def test_retries_stay(
    flavour: Flavour, manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """A pooled SDK repeats a request that failed as often as its authors say, and no more."""
    counting_server.respond = lambda _: Answer(status=500, headers=(("retry-after-ms", "1"),))
    sdk = flavour.pooled(manager, counting_server.url)
    with pytest.raises(flavour.sdk.InternalServerError):
        run(post(sdk))
    run(sdk.close())
    assert counting_server.processed("POST") == 1 + flavour.sdk.DEFAULT_MAX_RETRIES


@every_flavour
def test_is_made_of_the_sdks_own_client(
    flavour: Flavour, manager: PoolManager, h2_server: Server, run: Run
) -> None:
    """A pooled SDK is an instance of its class, its client one of its package's own, over HTTP/2."""
    sdk = flavour.pooled(manager, h2_server.url)
    assert type(sdk).__name__ == flavour.name
    assert isinstance(sdk, cast("type[object]", flavour.sdk_class))
    assert isinstance(inner(sdk), flavour.default_client)
    run(echo(sdk))
    run(sdk.close())
    assert [request.http_version for request in h2_server.seen().requests] == ["2"]


def test_subclasses_and_variants_are_served(manager: PoolManager, counting_server: CountingServer) -> None:
    """A user's subclass of an SDK and the SDK's own variant (Azure) are pooled by the same rule."""

    class Mine(openai.OpenAI):
        """Somebody's own."""

    azure = {"azure_endpoint": counting_server.url, "api_version": "1"}
    with (
        manager.pooled(Mine, api_key="key", base_url=counting_server.url) as mine,
        manager.pooled(openai.AzureOpenAI, api_key="key", **azure) as other,
    ):
        mine.get("/", cast_to=object)
        other.get("/", cast_to=object)
        (pool,) = manager.stats().pools
        assert (pool.leases, pool.lease_names, pool.opened, pool.reused) == (2, ("Mine", "AzureOpenAI"), 1, 1)


def test_module_functions_use_the_default_manager(counting_server: CountingServer) -> None:
    """`pool_manager.pooled` pools on the manager of the process."""
    flavours = called("OpenAI"), called("Groq")
    for flavour in flavours:
        made = pool_manager.pooled(flavour.sdk_class, **flavour.options(counting_server.url))
        with cast("openai.OpenAI", made) as sdk:
            sdk.get("/", cast_to=object)
            (pool,) = pool_manager.default_manager().stats().pools
            assert pool.lease_names == (flavour.name,)
    assert pool_manager.stats().pools == ()


def test_other_classes_are_refused(manager: PoolManager) -> None:
    """A class that no adapter serves is refused with what to do instead, and nothing is taken."""
    with pytest.raises(ConfigError, match=r"manager\.client\(.*manager\.attach\("):
        manager.pooled(socket.socket)
    assert manager.stats().leases_taken == 0


# Fifty clients, one connection


async def _storm(manager: PoolManager, url: str) -> None:
    """Have 50 async SDKs of four kinds send at once."""
    sdks = [ASYNC[number % 4].pooled(manager, url, f"key-{number}") for number in range(CLIENTS)]
    await all_of([_echo_of(sdk, number) for number, sdk in enumerate(sdks)])
    for sdk in sdks:
        await cast("openai.AsyncOpenAI", sdk).close()


def _echo_of(sdk: Sdk, number: int) -> Callable[[], Any]:
    return lambda: sdk.get(f"/{number}/echo", cast_to=object)


def _storm_of_threads(manager: PoolManager, url: str) -> None:
    """Have 50 sync SDKs of four kinds send at once, each from a thread of its own."""
    sdks = [SYNC[number % 4].pooled(manager, url, f"key-{number}") for number in range(CLIENTS)]
    with ThreadPoolExecutor(CLIENTS) as threads:
        list(threads.map(lambda ask: ask(), [_echo_of(sdk, number) for number, sdk in enumerate(sdks)]))
    for sdk in sdks:
        sdk.close()


def _storm_on(runtime: str, manager: PoolManager, url: str) -> None:
    if runtime == "threads":
        _storm_of_threads(manager, url)
    else:
        RUNTIMES[runtime](lambda: _storm(manager, url))


@pytest.mark.parametrize("runtime", ["threads", *RUNTIMES])
@pytest.mark.parametrize("server_name", ["h2_server", "nginx_h2"])
def test_fifty_clients_are_one_connection(
    server_name: str, runtime: str, manager: PoolManager, request: pytest.FixtureRequest
) -> None:
    """Fifty SDK clients of four kinds and two libraries are one HTTP/2 connection; each has its own key."""
    server: Server = request.getfixturevalue(server_name)
    _storm_on(runtime, manager, server.url)
    seen = server.seen()
    assert (seen.connections, seen.handshakes) == (1, 1)
    assert {(seen.path, seen.header("authorization"), seen.http_version) for seen in seen.requests} == {
        (f"/{number}/echo", f"Bearer key-{number}", "2") for number in range(CLIENTS)
    }
    assert len(seen.requests) == CLIENTS
    assert manager.stats().pools == ()


@pytest.mark.parametrize("runtime", ["threads", *RUNTIMES])
@pytest.mark.parametrize("server_name", ["h1_server", "nginx_h1"])
def test_fifty_clients_share_one_limit(
    server_name: str, runtime: str, config: PoolConfig, request: pytest.FixtureRequest
) -> None:
    """Over HTTP/1.1 fifty clients have no more connections than the limit allows them together."""
    server: Server = request.getfixturevalue(server_name)
    with PoolManager(config, limits=Limits(max_connections_per_origin=4)) as manager:
        _storm_on(runtime, manager, server.url)
    seen = server.seen()
    assert 1 <= seen.connections <= 4
    assert len(seen.requests) == CLIENTS


# One client, many loops


def through_loops(sdk: Sdk, runtime: str, sockets: Callable[[], int]) -> tuple[list[object], list[int], int]:
    """Send a POST in each of 20 runs; give the answers, the sockets after each, the loops still there."""
    loops: list[weakref.ref[object]] = []

    async def ask() -> object:
        loops.append(weakref.ref(running()))
        return await cast("openai.AsyncOpenAI", sdk).post("/echo", cast_to=object, body={})

    answers, left = [], []
    for _ in range(20):
        answers.append(RUNTIMES[runtime](ask))
        left.append(sockets())
    gc.collect()
    alive = sum(loop() is not None for loop in loops)
    RUNTIMES[runtime](cast("openai.AsyncOpenAI", sdk).close)
    return answers, left, alive


@pytest.mark.parametrize("runtime", RUNTIMES)
@pytest.mark.parametrize("flavour", ASYNC, ids=str)
def test_one_client_through_twenty_loops(
    flavour: Flavour, runtime: str, manager: PoolManager, counting_server: CountingServer
) -> None:
    """One client through 20 runs: 20 answers, 20 requests at the server, sockets and loops flat."""
    sdk = flavour.pooled(manager, counting_server.url)
    answers, left, alive = through_loops(sdk, runtime, counting_server.open_connections)
    assert answers == [{"ok": True}] * 20
    assert counting_server.processed("POST") == len(counting_server.requests) == 20
    assert counting_server.connections == 20
    assert left == [0] * 20
    assert alive == 0


@pytest.mark.parametrize("runtime", RUNTIMES)
def test_one_client_through_twenty_loops_over_http2(
    runtime: str, manager: PoolManager, h2_server: Server
) -> None:
    """The same over TLS and HTTP/2."""
    sdk = called("AsyncOpenAI").pooled(manager, h2_server.url)
    before = open_sockets().keys()
    answers, left, alive = through_loops(sdk, runtime, lambda: len(open_sockets().keys() - before))
    assert [headers_of(answer)["authorization"] for answer in answers] == ["Bearer key"] * 20
    assert [(seen.method, seen.http_version) for seen in h2_server.seen().requests] == [("POST", "2")] * 20
    assert left == [0] * 20
    assert alive == 0


# Streams


@every_streamer
def test_streams_arrive_step_by_step(
    flavour: Flavour, manager: PoolManager, steps: StepServer, run: Run
) -> None:
    """Each server-sent event is with the caller before the server may send the next."""
    sdk = flavour.pooled(manager, steps.url, timeout=5)
    stream = run(open_stream(sdk))
    heard = ""
    for word in sdk_answers.WORDS:
        while not heard.endswith(word):
            steps.step()
            heard += cast("str", run(next_text(stream)))
    steps.step(PLENTY)
    run(close_stream(stream))
    run(sdk.close())
    assert heard == sdk_answers.TEXT


@every_streamer
def test_a_dropped_stream_gives_back(
    flavour: Flavour, config: PoolConfig, steps: StepServer, run: Run
) -> None:
    """An unread stream that is dropped gives its connection back and says where it came from."""
    with PoolManager(config, limits=Limits(max_connections_per_origin=1)) as manager:
        sdk = flavour.pooled(manager, steps.url, timeout=5)
        stream = run(open_stream(sdk))
        with pytest.warns(ResourceWarning, match=rf"unclosed response .*lease '{flavour.name}'") as told:
            del stream
            gc.collect()
        steps.step(PLENTY)
        again = run(open_stream(sdk))
        events = run(rest_of(vars(again)["response"]))
        run(sdk.close())
        assert len(told) == 1
        assert b"pool" in cast("bytes", events)
        assert [pool.in_flight for pool in manager.stats().pools] == []


@every_streamer
def test_a_stream_outlives_its_client(
    flavour: Flavour, manager: PoolManager, steps: StepServer, run: Run
) -> None:
    """A stream that is open while its client is closed can be read to its end; then the pool goes."""
    sdk = flavour.pooled(manager, steps.url, timeout=5)
    stream = run(open_stream(sdk))
    run(sdk.close())
    steps.step(PLENTY)
    events = run(rest_of(vars(stream)["response"]))
    assert events == b"".join(events_at(flavour.ask))
    assert manager.stats().pools == ()


@every_streamer
@pytest.mark.parametrize("closed", [True, False], ids=["closed", "dropped"])
def test_a_stream_outlives_a_collected_client(
    flavour: Flavour, manager: PoolManager, steps: StepServer, run: Run, *, closed: bool
) -> None:
    """Nor does it matter that the client is gone altogether, closed or not."""
    sdk = flavour.pooled(manager, steps.url, timeout=5)
    gone = weakref.ref(inner(sdk))
    stream = run(open_stream(sdk))
    response = vars(stream)["response"]
    if closed:
        run(sdk.close())
        del sdk, stream
        gc.collect()
    else:
        with pytest.warns(ResourceWarning, match=f"unclosed lease '{flavour.name}'"):
            del sdk, stream
            gc.collect()
    assert gone() is None
    steps.step(PLENTY)
    assert run(rest_of(response)) == b"".join(events_at(flavour.ask))
    assert manager.stats().pools == ()
