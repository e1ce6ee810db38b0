"""Pooled clients behind proxies: real ones, and what limits, ages and failures mean there."""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, TypeAlias, cast

import attrs
import httpx
import httpx2
import httpx_ws
import pytest
import uvloop

from pool_manager import Limits, PoolConfig, PoolManager, PoolStats, Proxy
from tests.contract.test_loops import run_by_hand, run_uvloop_by_hand
from tests.support.certificates import Certificates
from tests.support.hypercorn_server import HypercornServer
from tests.support.leaks import open_sockets
from tests.support.listener import PATIENCE, Listener, wait
from tests.support.proxy_server import ProxyServer
from tests.support.real_proxies import Microsocks, RealProxy, Tinyproxy
from tests.support.worlds import World

Main: TypeAlias = Callable[[], Coroutine[Any, Any, None]]

KNOWN = ("user", "word")
REAL = {
    "tinyproxy": Tinyproxy,
    "tinyproxy with credentials": lambda: Tinyproxy(KNOWN),
    "microsocks": Microsocks,
    "microsocks with credentials": lambda: Microsocks(KNOWN),
}
WORLDS: dict[str, tuple[Any, ...]] = {
    "asyncio": (httpx, asyncio.run),
    "uvloop": (httpx2, uvloop.run),
    "trio": (httpx, asyncio.run, False, True),
    "threads": (httpx2, asyncio.run, True),
}


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest) -> World:
    """Give each runtime."""
    return World(*WORLDS[request.param])


@pytest.fixture(params=REAL)
def real(request: pytest.FixtureRequest) -> Iterator[RealProxy]:
    """Give each real proxy; its URL knows the credentials."""
    with REAL[request.param]() as proxy:
        if "credentials" in request.param:
            proxy.url = proxy.url.replace("//", "//{}:{}@".format(*KNOWN))
        yield proxy


def through(config: PoolConfig, proxy: str | Proxy, **settings: Any) -> PoolConfig:
    """Give the config that goes by a proxy."""
    return attrs.evolve(config, proxy=cast(Any, proxy), **settings)


def pool_of(manager: PoolManager) -> PoolStats:
    """Give its one pool."""
    (pool,) = manager.stats().pools
    return pool


async def asked(client: Any, method: str, url: str, content: bytes, slots: asyncio.Semaphore) -> Any:
    """Send a request when its turn comes; give the answer."""
    async with slots:
        return await client.request(method, url, content=content)


# Real ones


def test_real_proxies(  # noqa: PLR0917 - parameters and fixtures
    world: World,
    real: RealProxy,
    config: PoolConfig,
    h2_server: HypercornServer,
    h1_server: HypercornServer,
    plain_server: HypercornServer,
) -> None:
    """Twenty requests at once to three servers are answered through a proxy, over few connections."""
    servers = {"HTTP/2": h2_server, "HTTP/1.1": h1_server, "plain": plain_server}

    async def main() -> None:
        async with (
            PoolManager(through(config, real.url), limits=Limits(max_connections_per_origin=4)) as manager,
            world.client(manager, timeout=PATIENCE) as client,
        ):
            for name, server in servers.items():
                # Where it passes on, tinyproxy hangs up some time after each answer: what may be sent twice.
                method = "GET" if server is plain_server else "POST"
                slots = asyncio.Semaphore(1 if server is plain_server else 20)
                ask = (asked(client, method, f"{server.url}/echo?{n}", b"x" * n, slots) for n in range(20))
                answers = await asyncio.gather(*ask)
                assert [answer.json()["query"] for answer in answers] == [str(n) for n in range(20)]
                assert [answer.json()["body_length"] for answer in answers] == [*range(20)]
                assert {answer.http_version for answer in answers} == {name.replace("plain", "HTTP/1.1")}
            assert pool_of(manager).waiting == pool_of(manager).in_flight == 0
        for server in servers.values():
            assert len(server.seen().requests) == 20
        assert h2_server.seen().connections == 1
        assert h1_server.seen().connections <= 4

    world.tell(main())


@pytest.mark.parametrize("kind", [Tinyproxy, Microsocks])
def test_real_proxies_refuse(
    world: World, kind: type[RealProxy], config: PoolConfig, h2_server: HypercornServer
) -> None:
    """A real proxy that does not know us is a ProxyError, in its words."""

    async def main() -> None:
        with kind(KNOWN) as proxy:
            async with (
                PoolManager(through(config, proxy.url)) as manager,
                world.client(manager) as client,
            ):
                with pytest.raises(world.library.ProxyError, match=r"401|407|NO ACCEPTABLE METHODS"):
                    await client.get(h2_server.url)
                assert (pool_of(manager).connections, pool_of(manager).dials_failed) == (0, 1)
        assert h2_server.seen().connections == 0

    world.tell(main())


@pytest.mark.parametrize("kind", [Tinyproxy, Microsocks])
def test_names_are_the_proxys_to_look_up(
    world: World,
    kind: type[RealProxy],
    config: PoolConfig,
    h2_server: HypercornServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The name of a server is told to the proxy, HTTP or SOCKS, and looked up by nobody here."""
    look_up = socket.getaddrinfo

    def strict(host: Any, *args: Any, **kwargs: Any) -> Any:
        assert host not in {"localhost", b"localhost"}, "that is for the proxy to find"
        return look_up(host, *args, **kwargs)

    async def main() -> None:
        with kind() as proxy:
            async with (
                PoolManager(through(config, proxy.url)) as manager,
                world.client(manager, timeout=PATIENCE) as client,
            ):
                monkeypatch.setattr(socket, "getaddrinfo", strict)
                assert (await client.get(f"{h2_server.url}/echo")).http_version == "HTTP/2"

    assert "//localhost:" in h2_server.url
    world.tell(main())


@pytest.mark.parametrize("secure", [False, True], ids=["http", "https"])
def test_what_a_proxy_is_told(  # noqa: PLR0917 - parameters and fixtures
    world: World,
    secure: bool,
    config: PoolConfig,
    certificates: Certificates,
    h2_server: HypercornServer,
    plain_server: HypercornServer,
) -> None:
    """The library's own `Proxy`, with credentials, headers and TLS, is used; a tunnel shows none of it."""
    with ProxyServer(credentials=KNOWN, certificates=certificates if secure else None) as proxy:
        context = {"ssl_context": certificates.client_context()} if secure else {}
        told = world.library.Proxy(proxy.url, auth=KNOWN, headers={"X-Tenant": "a"}, **context)

        async def main() -> None:
            async with PoolManager(config) as manager, world.client(manager, proxy=told) as client:
                inside = dict((await client.get(f"{h2_server.url}/echo")).json()["headers"])
                behind = dict((await client.get(f"{plain_server.url}/echo")).json()["headers"])
            assert "x-tenant" not in inside
            assert "proxy-authorization" not in {*inside, *behind}

        world.tell(main())
        assert [seen.method for seen in proxy.seen()] == ["CONNECT", "GET"]
        assert [dict(seen.headers)["x-tenant"] for seen in proxy.seen()] == ["a", "a"]
        assert all(seen.proxy_authorization for seen in proxy.seen())


def test_the_proxies_of_the_environment(  # noqa: PLR0917 - fixtures
    world: World,
    proxy: ProxyServer,
    config: PoolConfig,
    h2_server: HypercornServer,
    plain_server: HypercornServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of one client each request goes by the proxy that the environment has for it, or by none."""
    for name in ("HTTP_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)

    async def main(socks: RealProxy) -> None:
        monkeypatch.setenv("ALL_PROXY", socks.url)
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        async with (
            PoolManager(attrs.evolve(config, trust_env=True)) as manager,
            world.client(manager, timeout=PATIENCE) as client,
        ):
            direct, tunnelled = plain_server.url, h2_server.url
            by_socks = direct.replace("127.0.0.1", "localhost")
            for url in (direct, tunnelled, by_socks, direct, tunnelled, by_socks):
                assert (await client.get(f"{url}/echo")).status_code == 200
            assert socks.open_connections() == 1
            assert [seen.target for seen in proxy.seen()] == [tunnelled.removeprefix("https://")]
            pools = manager.stats().pools
            assert sum(pool.opened for pool in pools) == sum(pool.reused for pool in pools) == 3

    with Microsocks() as socks:
        world.tell(main(socks))


# The pool's rules hold


def test_connections_by_a_proxy_are_reused(
    world: World,
    proxy: ProxyServer,
    config: PoolConfig,
    h1_server: HypercornServer,
    plain_server: HypercornServer,
) -> None:
    """One request after the other to two origins: one connection to the proxy for each, and it says so."""

    async def main() -> None:
        async with (
            PoolManager(through(config, proxy.url)) as manager,
            world.client(manager) as client,
        ):
            for server in (h1_server, plain_server):
                answers = [await client.get(f"{server.url}/echo") for _ in range(3)]
                records = [answer.extensions["pool_manager"] for answer in answers]
                assert [record.reused for record in records] == [False, True, True]
                assert records[0].connect_time > 0
            pool = pool_of(manager)
            assert (pool.connections, pool.opened, pool.reused) == (2, 2, 4)
            assert proxy.connections == 2

    world.tell(main())


def test_the_limit_counts_tunnels(
    world: World, proxy: ProxyServer, config: PoolConfig, h1_server: HypercornServer
) -> None:
    """A limit of two connections is one of two tunnels: ten requests share them, in turn."""

    async def main() -> None:
        async with (
            PoolManager(through(config, proxy.url), limits=Limits(max_connections=2)) as manager,
            world.client(manager) as client,
        ):
            answers = await asyncio.gather(*(client.get(f"{h1_server.url}/echo") for _ in range(10)))
        assert {answer.status_code for answer in answers} == {200}
        assert 1 <= proxy.connections <= 2

    world.tell(main())


@pytest.mark.parametrize(
    "limits",
    [Limits(max_requests_per_connection=1), Limits(max_connection_age=0), Limits(keepalive_expiry=0)],
)
def test_tunnels_age(
    world: World, limits: Limits, proxy: ProxyServer, config: PoolConfig, h1_server: HypercornServer
) -> None:
    """A tunnel that is worn out, too old or not to be kept is closed; the next request has its own."""

    async def main() -> None:
        async with (
            PoolManager(through(config, proxy.url), limits=limits) as manager,
            world.client(manager) as client,
        ):
            for number in range(1, 4):
                await client.get(f"{h1_server.url}/echo")
                assert proxy.connections == number
            while proxy.open_tunnels:
                await asyncio.sleep(0.001)
            assert pool_of(manager).connections == 0

    world.tell(asyncio.wait_for(main(), PATIENCE))


def test_reset_drains_tunnels(
    world: World, proxy: ProxyServer, config: PoolConfig, h2_server: HypercornServer
) -> None:
    """After `reset` an answer under way goes on, and the next request opens a tunnel of its own."""

    async def main() -> None:
        async with (
            PoolManager(through(config, proxy.url)) as manager,
            world.client(manager) as client,
        ):
            async with client.stream("GET", f"{h2_server.url}/stream/2/1") as answer:
                manager.reset()
                await asyncio.sleep(0)  # it is done in the loop's next turn
                assert (await client.get(f"{h2_server.url}/echo")).status_code == 200
                assert await answer.aread() == b"chunk 0\nchunk 1\n"
            assert proxy.connections == 2
            while proxy.open_tunnels != 1:
                await asyncio.sleep(0.001)

    world.tell(asyncio.wait_for(main(), PATIENCE))


def test_prior_knowledge_is_of_the_target(
    world: World,
    proxy: ProxyServer,
    config: PoolConfig,
    h2_server: HypercornServer,
    plain_server: HypercornServer,
) -> None:
    """With HTTP/2 alone it is spoken inside tunnels; a proxy that passes on is asked in HTTP/1.1."""

    async def main() -> None:
        async with (
            PoolManager(through(config, proxy.url, http1=False)) as manager,
            world.client(manager) as client,
        ):
            answers = [await client.get(f"{server.url}/echo") for server in (h2_server, plain_server)]
        assert [answer.http_version for answer in answers] == ["HTTP/2", "HTTP/1.1"]
        assert [seen.method for seen in proxy.seen()] == ["CONNECT", "GET"]

    world.tell(main())


def test_a_websocket_in_a_tunnel(
    proxy: ProxyServer, config: PoolConfig, plain_server: HypercornServer
) -> None:
    """ws:// goes through a tunnel, as RFC 6455, 4.1, has it."""

    async def main() -> None:
        async with (
            PoolManager(through(config, proxy.url)) as manager,
            manager.client(httpx.AsyncClient) as client,
        ):
            session: httpx_ws.AsyncWebSocketSession
            url = plain_server.url.replace("http", "ws")
            async with httpx_ws.aconnect_ws(f"{url}/websocket", client) as session:
                await session.send_text("hello")
                assert await session.receive_text() == "hello"
            assert [seen.method for seen in proxy.seen()] == ["CONNECT"]

    asyncio.run(asyncio.wait_for(main(), PATIENCE))


def test_a_websocket_in_a_tunnel_of_a_thread(
    proxy: ProxyServer, config: PoolConfig, plain_server: HypercornServer
) -> None:
    """Likewise in threads."""
    with (
        PoolManager(through(config, proxy.url)) as manager,
        manager.client(httpx.Client, timeout=PATIENCE) as client,
    ):
        session: httpx_ws.WebSocketSession
        url = plain_server.url.replace("http", "ws")
        with httpx_ws.connect_ws(f"{url}/websocket", client) as session:
            session.send_text("hello")
            assert session.receive_text(timeout=PATIENCE) == "hello"
        assert [seen.method for seen in proxy.seen()] == ["CONNECT"]


# What goes wrong


@pytest.mark.parametrize("scheme", ["http", "https", "socks5"])
def test_a_proxy_that_hangs(
    world: World, scheme: str, config: PoolConfig, certificates: Certificates
) -> None:
    """A proxy that never answers costs the time to connect and no more, and leaves nothing."""

    async def main(port: int) -> None:
        proxy = Proxy(
            url=f"{scheme}://localhost:{port}",
            ssl_context=certificates.client_context() if scheme == "https" else None,
        )
        async with (
            PoolManager(through(config, proxy)) as manager,
            world.client(manager, timeout=world.library.Timeout(PATIENCE, connect=0.1)) as client,
        ):
            with pytest.raises(world.library.ConnectTimeout):
                await client.get("https://target.example")
            pool = pool_of(manager)
            assert (pool.connections, pool.waiting, pool.in_flight) == (0, 0, 0)

    with Listener(certificates.server_context() if scheme == "https" else None, wait) as server:
        world.tell(main(server.port))
        server.gone.get(timeout=PATIENCE)


def test_a_proxy_that_hangs_up_behind_its_answers(world: World, config: PoolConfig) -> None:
    """A proxy that does not say that it will hang up, as tinyproxy: nobody is next on such a connection."""
    asked: list[bytes] = []

    def answer_once(connection: socket.socket) -> None:
        # Corked: the end comes in one piece with the answer.
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
        said = b""
        while not said.endswith(b"body"):
            received = connection.recv(65536)
            if not received:  # a connection that was not needed any more
                return
            said += received
        asked.append(said)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        connection.shutdown(socket.SHUT_WR)
        wait(connection)

    async def main(proxy: str) -> None:
        async with (
            PoolManager(through(config, proxy), limits=Limits(max_connections=2)) as manager,
            world.client(manager, timeout=PATIENCE) as client,
        ):
            posts = (client.post("http://target.example/", content=b"body") for _ in range(20))
            assert {answer.text for answer in await asyncio.gather(*posts)} == {"ok"}
            assert len(asked) == 20, "each was sent once"

    with Listener(serve=answer_once) as server:
        world.tell(main(f"http://127.0.0.1:{server.port}"))


@pytest.mark.parametrize("path", ["/echo", "/stream/100/1000"])
def test_a_proxy_that_goes(world: World, path: str, config: PoolConfig, h1_server: HypercornServer) -> None:
    """A tunnel that is cut is an error of the answer it carried; then the proxy is not there, and named."""

    async def main() -> None:
        with ProxyServer() as proxy:
            async with (
                PoolManager(through(config, proxy.url)) as manager,
                world.client(manager, timeout=PATIENCE) as client,
            ):
                async with client.stream("GET", f"{h1_server.url}{path}") as answer:
                    await asyncio.to_thread(proxy.stop)
                    if path != "/echo":
                        with pytest.raises((world.library.ReadError, world.library.RemoteProtocolError)):
                            await answer.aread()
                with pytest.raises(world.library.ConnectError, match="it is the proxy to localhost"):
                    await client.get(h1_server.url)
                assert pool_of(manager).connections == 0

    world.tell(main())


@pytest.mark.parametrize("run", [run_by_hand, run_uvloop_by_hand], ids=["asyncio", "uvloop"])
def test_a_loop_that_is_gone(
    run: Callable[[Main], None], certificates: Certificates, config: PoolConfig, h2_server: HypercornServer
) -> None:
    """A loop that is closed without notice leaves no socket, not even below TLS inside TLS."""
    with ProxyServer(certificates=certificates) as proxy:
        way = Proxy(url=proxy.url, ssl_context=certificates.client_context())
        with PoolManager(through(config, way)) as manager:
            client = manager.client(httpx.AsyncClient)

            async def main() -> None:
                assert (await client.get(h2_server.url)).http_version == "HTTP/2"

            before = len([*open_sockets()])
            for _ in range(3):
                run(main)
            assert manager.stats().pools == ()
            run(client.aclose)
            gc.collect()
            deadline = time.monotonic() + PATIENCE
            while proxy.open_tunnels or len([*open_sockets()]) > before:
                assert time.monotonic() < deadline
                time.sleep(0.001)
