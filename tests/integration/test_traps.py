"""
The traps that SDKs set for whoever gives them a client: numbers as in sdk-matrix, section 3.

Elsewhere: 2 (clients are not shared) and 11 (copies) in test_sharing; 4 (silent
double POST), 9 (the SDK's own client) in test_sdks; 5 (errors) and 7 (timeouts) in
test_errors; 18 (clients that were there before) in test_attach. 17 is of SDKs on
aiohttp, which none of these four is.
"""

from __future__ import annotations

import asyncio
import gc
import os
import socket
import warnings
import weakref
from collections.abc import Callable
from types import ModuleType
from typing import Any, cast

import httpx
import httpx2
import openai
import pytest
import uvloop

from pool_manager import Lane, Limits, PoolConfig, PoolManager
from tests.support.certificates import Certificates
from tests.support.counting_server import Answer, CountingServer
from tests.support.proxy_server import ProxyServer
from tests.support.sdks import (
    CLIENTS,
    FLAVOURS,
    Flavour,
    HttpClient,
    Run,
    StepServer,
    answer_at_length,
    called,
    close,
    close_answer,
    close_stream,
    echo,
    echo_beside,
    leases_out,
    library_of,
    open_answer,
    open_stream,
    rest_of,
)
from tests.support.server import Server

PROXY_VARIABLES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")

every_flavour = pytest.mark.parametrize("flavour", FLAVOURS, ids=str)
every_client = pytest.mark.parametrize("kind", CLIENTS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
both_libraries = pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda library: library.__name__)


# 1: close is called more often than open


@every_client
def test_trap_1_double_release(
    kind: type[HttpClient], manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """One client that closes in every way there is gives back its own lease, and that once."""
    transport = manager.transport(library_of(kind))
    mounts = {"all://a.test": transport, "all://b.test": transport}
    often = kind(transport=transport, mounts=mounts)  # type: ignore[arg-type]
    other = manager.client(kind)
    for client in (often, other):
        run(client.get(counting_server.url))
    for _ in range(3):
        run(close(often))
    run(_leave(often))
    run(other.get(counting_server.url))
    assert (counting_server.connections, leases_out(manager)) == (1, 1)
    run(close(other))
    stats = manager.stats()
    assert (stats.leases_taken, stats.leases_returned, stats.pools) == (2, 2, ())


def _leave(client: HttpClient) -> object:
    """Leave the `with` of a client that is closed already: that closes its transports once more."""
    exact = cast("Any", client)
    return exact.__aexit__() if hasattr(exact, "__aexit__") else exact.__exit__()


# 3: close is not the end


@every_client
def test_trap_3_use_after_close(
    kind: type[HttpClient], manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """A transport that was closed takes its lease anew when it is used again, and gives that back, too."""
    transport = manager.transport(library_of(kind))
    for number in (1, 2, 3):
        client = kind(transport=transport)  # type: ignore[arg-type]
        run(client.get(counting_server.url))
        assert leases_out(manager) == 1
        run(close(client))
        assert (manager.stats().leases_returned, manager.stats().pools) == (number, ())
    assert counting_server.open_connections() == 0


# 6: families do not mix, colours do


def test_trap_6_two_families(manager: PoolManager) -> None:
    """There is one transport class for each library, of both colours, and none of both libraries."""
    made = [manager.transport(library) for library in (httpx, httpx, httpx2)]
    for transport in made:
        transport.close()
    one, same, other = (type(transport) for transport in made)
    assert one is same
    assert issubclass(one, httpx.BaseTransport)
    assert issubclass(one, httpx.AsyncBaseTransport)
    assert not issubclass(one, httpx2.BaseTransport | httpx2.AsyncBaseTransport)
    assert issubclass(other, httpx2.BaseTransport)
    assert issubclass(other, httpx2.AsyncBaseTransport)
    assert not issubclass(other, httpx.BaseTransport | httpx.AsyncBaseTransport)


@both_libraries
def test_trap_6_one_transport_for_both_colours(
    library: ModuleType, manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """One transport object serves a sync and an async client, as some SDKs want it, by one lease."""
    transport = manager.transport(library)  # type: ignore[call-overload]
    both = library.Client(transport=transport), library.AsyncClient(transport=transport)
    for client in both * 2:
        run(client.get(counting_server.url))
    assert sorted(pool.runtime for pool in manager.stats().pools) == ["asyncio", "threads"]
    assert counting_server.per_connection() == {1: 2, 2: 2}
    run(close(both[1]))
    assert (leases_out(manager), manager.stats().pools) == (0, ())


# 8: what `transport=` would drop


@every_flavour
def test_trap_8_environment_proxies(
    flavour: Flavour,
    counting_server: CountingServer,
    proxy: ProxyServer,
    run: Run,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A pooled SDK goes through the environment's proxy, and past it where NO_PROXY says so."""
    for name in PROXY_VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    with PoolManager() as manager:
        sdk = flavour.pooled(manager, counting_server.url)
        run(echo(sdk))
        run(sdk.close())
        assert [request.target for request in proxy.seen()] == [f"{counting_server.url}/echo"]
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        sdk = flavour.pooled(manager, counting_server.url)
        run(echo(sdk))
        run(sdk.close())
    assert len(proxy.seen()) == 1
    assert len(counting_server.requests) == 2


@every_flavour
def test_trap_8_verification(flavour: Flavour, manager: PoolManager, h2_server: Server, run: Run) -> None:
    """A client that does not trust a server never rides on the connection of one that does."""
    trusting = flavour.pooled(manager, h2_server.url)
    run(echo(trusting))
    stranger = manager.client(flavour.default_client, verify=True)
    with pytest.raises(flavour.library.ConnectError, match="certificate"):
        run(stranger.get(h2_server.url))
    run(echo(trusting))
    run(trusting.close())
    run(close(stranger))
    assert len(h2_server.seen().requests) == 2


@every_client
def test_trap_8_keepalive_and_limits(
    kind: type[HttpClient], manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """TCP keepalive is on, as Anthropic and Cohere want it; a client's own limits are its own pool's."""
    answer_at_length(counting_server)
    client = manager.client(kind)
    answer = run(open_answer(client, counting_server.url))
    stream = cast("Any", answer).extensions["network_stream"]
    assert stream.get_extra_info("socket").getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    library = library_of(kind)
    timeout = library.Timeout(5, pool=0.05)
    limited = manager.client(kind, limits=library.Limits(max_connections=1), timeout=timeout)
    held = run(open_answer(limited, counting_server.url))
    with pytest.raises(library_of(kind).PoolTimeout):
        run(limited.get(counting_server.url))
    for open_one in (answer, held):
        run(close_answer(open_one))
    for one in (client, limited):
        run(close(one))


# 10, 12: those who never close


@every_client
@pytest.mark.parametrize("what", ["client", "transport"])
def test_trap_10_no_finaliser(
    what: str, kind: type[HttpClient], manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """A client or a bare transport that is dropped unclosed gives back, with one warning and no await."""
    transport = manager.transport(library_of(kind)) if what == "transport" else None
    client = manager.client(kind) if transport is None else kind(transport=transport)  # type: ignore[arg-type]
    run(client.get(counting_server.url))
    with pytest.warns(ResourceWarning, match="unclosed lease '.*', taken at .*test_traps.py:") as told:
        del client, transport
        gc.collect()
    run(run.turn())
    assert len(told) == 1
    assert (leases_out(manager), manager.stats().leases_leaked, manager.stats().pools) == (0, 1, ())
    counting_server.wait_for(lambda server: server.open_connections() == 0)


class Deaf(httpx.BaseTransport):
    """A wrapper that forgets to pass `close` on, as unstructured's does."""

    def __init__(self, wrapped: httpx.BaseTransport) -> None:
        self._wrapped = wrapped

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Pass it on."""
        return self._wrapped.handle_request(request)


def test_trap_12_close_is_swallowed(manager: PoolManager, counting_server: CountingServer) -> None:
    """A lease is given back by its own close, whatever is wrapped around what it made."""
    with manager.lease() as lease:
        with httpx.Client(transport=Deaf(lease.transport())) as client:
            client.get(counting_server.url)
        assert (leases_out(manager), counting_server.open_connections()) == (1, 1)
    assert (leases_out(manager), counting_server.open_connections()) == (0, 0)


# 13: loops that die, and whose ids are given away again


@pytest.mark.parametrize(
    "new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"]
)
def test_trap_13_loops_without_an_end(
    new_loop: Callable[[], asyncio.AbstractEventLoop], manager: PoolManager, counting_server: CountingServer
) -> None:
    """Of 100 loops that are closed without a word no connection, pool or loop stays or is used again."""
    sdk = cast("openai.AsyncOpenAI", called("AsyncOpenAI").pooled(manager, counting_server.url))
    loops: weakref.WeakSet[asyncio.AbstractEventLoop] = weakref.WeakSet()
    for _ in range(100):
        loop = new_loop()
        loops.add(loop)
        assert loop.run_until_complete(sdk.post("/", cast_to=object, body={})) == {"ok": True}
        with warnings.catch_warnings():
            # uvloop closes the sockets that are left, and says so.
            warnings.filterwarnings("ignore", "unclosed resource", ResourceWarning)
            loop.close()
        del loop
        assert len(manager.stats().pools) == 0
        assert counting_server.open_connections() == 0
    gc.collect()
    asyncio.run(sdk.close())
    assert counting_server.connections == counting_server.processed("POST") == 100
    assert len(loops) == 0


# 14: others close while one reads


@every_client
def test_trap_14_streams_survive_others(
    kind: type[HttpClient], manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """An answer that is being read is not disturbed by others who close, nor by its own client's close."""
    counting_server.respond = lambda _: Answer(body=b"x" * 5_000_000)
    one, other = manager.client(kind), manager.client(kind)
    answer = run(open_answer(one, counting_server.url))
    run(other.get(counting_server.url))
    run(close(other))
    run(close(one))
    assert leases_out(manager) == 0
    assert run(rest_of(answer)) == b"x" * 5_000_000
    assert manager.stats().pools == ()


# 15: all on one HTTP/2 connection


@pytest.mark.parametrize("tls", [True, False], ids=["HTTP/2", "HTTP/1.1"])
@pytest.mark.parametrize("name", ["OpenAI", "AsyncOpenAI"])
def test_trap_15_lanes(
    name: str, config: PoolConfig, certificates: Certificates, run: Run, *, tls: bool
) -> None:
    """Long streams in a lane of their own hold up nobody else, however few connections there may be."""
    lanes, limits = [Lane("long", paths=("/chat/completions",))], Limits(max_connections_per_origin=1)
    with (
        StepServer(certificates if tls else None, max_streams=1) as steps,
        PoolManager(config, limits=limits, lanes=lanes) as manager,
    ):
        sdk = called(name).pooled(manager, steps.url, timeout=5, max_retries=0)
        stream = run(open_stream(sdk))
        echo_beside(stream, sdk, run)
        steps.step(100)
        assert b"[DONE]" in cast("bytes", run(rest_of(vars(stream)["response"])))
        run(sdk.close())


@pytest.mark.parametrize("name", ["OpenAI", "AsyncOpenAI"])
def test_trap_15_more_connections(
    name: str, config: PoolConfig, certificates: Certificates, run: Run
) -> None:
    """Where a server allows one stream on a connection, a second request gets a second connection."""
    with StepServer(certificates, max_streams=1) as steps, PoolManager(config) as manager:
        sdk = called(name).pooled(manager, steps.url, timeout=5, max_retries=0)
        stream = run(open_stream(sdk))
        try:
            echo_beside(stream, sdk, run)
        finally:
            run(close_stream(stream))
            run(sdk.close())


# 16: fork


@every_flavour
def test_trap_16_fork(flavour: Flavour, manager: PoolManager, h2_server: Server, run: Run) -> None:
    """After a fork the same SDK object works in parent and child, each on connections of its own."""
    sdk = flavour.pooled(manager, h2_server.url)
    run(echo(sdk))
    child = os.fork()
    if child == 0:
        status = 1
        try:
            with Run() as run_of_child:
                answer = run_of_child(sdk.get("/child/echo", cast_to=object))
            status = 0 if cast("dict[str, str]", answer)["path"] == "/child/echo" else 2
        finally:
            os._exit(status)
    for _ in range(3):
        run(echo(sdk))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    run(echo(sdk))
    run(sdk.close())
    assert sorted(h2_server.seen().per_client.values()) == [1, 5]
