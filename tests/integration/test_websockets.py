"""WebSockets by httpx-ws and by httpx2 itself, on pooled clients, over real servers and broken ones."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import hashlib
import threading
from collections.abc import Callable
from typing import Any, Final

import anyio
import httpx
import httpx2
import httpx2.websockets
import httpx_ws
import pytest
import trio

from pool_manager import PoolConfig, PoolManager
from tests.support.hypercorn_server import HypercornServer
from tests.support.scripted import Gate
from tests.support.scripted_http1 import Http1Peer, ScriptedHttp1

PATIENCE: Final = 5.0  # seconds; longer means that something hangs
LIBRARIES: Final = (httpx, httpx2)
# "https" is what some write for a server over TLS; all but the first two would rather speak HTTP/2.
PLACES: Final = {
    "ws": ("plain_server", "ws"),
    "http": ("plain_server", "http"),
    "wss, HTTP/1.1": ("h1_server", "wss"),
    "wss": ("h2_server", "wss"),
    "https": ("h2_server", "https"),
}
RUNS: Final[dict[str, Callable[..., Any]]] = {"asyncio": lambda main: asyncio.run(main()), "trio": trio.run}
SALT: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"  # RFC 6455, 1.3


@pytest.fixture(params=LIBRARIES, ids=lambda library: library.__name__)
def library(request: pytest.FixtureRequest) -> Any:
    """Give each library in turn."""
    return request.param


@pytest.fixture(params=PLACES)
def url(request: pytest.FixtureRequest) -> str:
    """Give a WebSocket of each kind of server, and how it is asked for."""
    name, scheme = PLACES[request.param]
    server: HypercornServer = request.getfixturevalue(name)
    return f"{scheme}:{server.url.partition(':')[2]}/websocket"


def connect(client: Any, url: str) -> Any:
    """Open a WebSocket in this thread."""
    return client.websocket(url) if isinstance(client, httpx2.Client) else httpx_ws.connect_ws(url, client)


def aconnect(client: Any, url: str) -> Any:
    """Open one in this loop."""
    if isinstance(client, httpx2.AsyncClient):
        return client.websocket(url)
    return httpx_ws.aconnect_ws(url, client)


def errors_of(library: Any) -> Any:
    """Give where its errors are."""
    return httpx2.websockets if library is httpx2 else httpx_ws


def test_in_threads(library: Any, url: str, manager: PoolManager) -> None:
    """Text and bytes go both ways; meanwhile the client asks other things; all connections are given back."""
    with manager.client(library.Client, timeout=PATIENCE) as client:
        with connect(client, url) as socket:
            for text in ("hello", "x" * 50_000):
                socket.send_text(text)
                assert socket.receive_text(timeout=PATIENCE) == text
            there = url.replace("ws", "http", 1) if url.startswith("ws") else url
            assert client.get(there.replace("/websocket", "/echo")).status_code == 200
            socket.send_bytes(b"bytes")
            assert socket.receive_bytes(timeout=PATIENCE) == b"bytes"
        (pool,) = manager.stats().pools
        assert pool.in_flight == 0


@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_in_loops(library: Any, url: str, run: Callable[..., Any], manager: PoolManager) -> None:
    """Likewise in a loop."""

    async def main() -> None:
        async with manager.client(library.AsyncClient, timeout=PATIENCE) as client:
            async with aconnect(client, url) as socket:
                for text in ("hello", "x" * 50_000):
                    await socket.send_text(text)
                    assert await socket.receive_text(timeout=PATIENCE) == text
                there = url.replace("ws", "http", 1) if url.startswith("ws") else url
                assert (await client.get(there.replace("/websocket", "/echo"))).status_code == 200
                await socket.send_bytes(b"bytes")
                assert await socket.receive_bytes(timeout=PATIENCE) == b"bytes"
            (pool,) = manager.stats().pools
            assert pool.in_flight == 0

    run(main)


def test_with_install(h2_server: HypercornServer, manager: PoolManager, config: PoolConfig) -> None:
    """A client that speaks HTTP/2 elsewhere has its WebSockets all the same."""
    with manager.install(config=config):
        client = httpx.Client(http2=True, verify=config.verify)
    with client:
        assert client.get(f"{h2_server.url}/echo").http_version == "HTTP/2"
        with connect(client, f"wss:{h2_server.url.partition(':')[2]}/websocket") as socket:
            socket.send_text("hello")
            assert socket.receive_text(timeout=PATIENCE) == "hello"


def breaks(over: Gate, how: str) -> Callable[[Http1Peer], None]:
    """Accept a WebSocket, and end the connection without a word when *over* is open."""

    def story(peer: Http1Peer) -> None:
        key = peer.read_request().header("sec-websocket-key") or ""
        accept = base64.b64encode(hashlib.sha1(key.encode() + SALT).digest())  # noqa: S324 - RFC 6455, 4.2.2
        lines = [
            b"HTTP/1.1 101 Switching Protocols", b"upgrade: websocket", b"connection: Upgrade",
            b"sec-websocket-accept: " + accept, b"", b"",
        ]  # fmt: skip
        peer.send(b"\r\n".join(lines))
        peer.wait(over)
        getattr(peer, how)()

    return story


@pytest.mark.parametrize("how", ["close", "reset"])
def test_one_that_breaks_in_a_thread(library: Any, how: str, manager: PoolManager) -> None:
    """Who waits for a message hears that the network failed, in the words of the WebSocket library."""
    over = Gate()
    with (
        ScriptedHttp1(breaks(over, how)) as server,
        manager.client(library.Client, timeout=PATIENCE) as client,
    ):
        with contextlib.suppress(errors_of(library).WebSocketNetworkError), connect(client, server.url) as it:
            threading.Timer(0.01, over.open).start()
            with pytest.raises(errors_of(library).WebSocketNetworkError):
                it.receive_text(timeout=PATIENCE)
        assert client.get(server.url).status_code == 200
        (pool,) = manager.stats().pools
        assert pool.in_flight == 0


@pytest.mark.parametrize("how", ["close", "reset"])
@pytest.mark.parametrize("run", RUNS.values(), ids=RUNS)
def test_one_that_breaks_in_a_loop(
    library: Any, run: Callable[..., Any], how: str, manager: PoolManager
) -> None:
    """Likewise in a loop."""
    over = Gate()

    async def main() -> None:
        async with manager.client(library.AsyncClient, timeout=PATIENCE) as client:
            with contextlib.suppress(errors_of(library).WebSocketNetworkError):
                async with aconnect(client, server.url) as it, anyio.create_task_group() as group:
                    group.start_soon(anyio.to_thread.run_sync, over.open)
                    with pytest.raises(errors_of(library).WebSocketNetworkError):
                        await it.receive_text(timeout=PATIENCE)
            assert (await client.get(server.url)).status_code == 200
            (pool,) = manager.stats().pools
            assert pool.in_flight == 0

    with ScriptedHttp1(breaks(over, how)) as server:
        run(main)
