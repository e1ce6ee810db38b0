"""What httpx's own transports are told means the same on the pool, on every runtime: seen by real servers."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import httpcore
import httpcore2
import httpx
import httpx2
import pytest

from pool_manager import PoolConfig, PoolManager
from pool_manager.runtimes.clock import CLOCK
from tests.support.certificates import Certificates
from tests.support.listener import Listener, hang_up
from tests.support.scripted_http1 import OK, ScriptedHttp1
from tests.support.scripted_http2 import ScriptedHttp2
from tests.support.worlds import PATIENCE, World

PLAIN = PoolConfig(trust_env=False)


def answer(connection: socket.socket) -> None:
    """Answer each request that has come whole: one without a body, in chunks, or with the body sent here."""
    said = b""
    while received := connection.recv(65536):
        said += received
        head = said.lower()
        end = (
            b"0\r\n\r\n" if b"chunked" in head else b"whole" if b"content-length: 5" in head else b"\r\n\r\n"
        )
        if said.endswith(end):
            connection.sendall(OK)
            said = b""


def play(world: World, main: Callable[[Any], Awaitable[None]], **settings: Any) -> None:
    """Run *main* with a client that is made with *settings*."""

    async def everything() -> None:
        async with (
            asyncio.timeout(PATIENCE),
            PoolManager(PLAIN) as manager,
            world.client(manager, **settings) as client,
        ):
            await main(client)

    world.tell(everything())


def test_uds(world: World, tmp_path: Path) -> None:
    """`uds`: the Unix socket is connected to, whatever the URL says, and nothing is looked up."""

    async def main(client: Any) -> None:
        for _ in range(2):
            assert 200 == (await client.get("http://nobody.invalid/")).status_code

    path = tmp_path / "socket"
    with Listener(serve=answer, path=path) as server:
        play(world, main, uds=str(path))
        server.guest()
        assert server.guests.empty(), "one connection for both"


def test_local_address(world: World) -> None:
    """`local_address`: the server sees it."""

    async def main(client: Any) -> None:
        assert 200 == (await client.get(f"http://127.0.0.1:{server.port}/")).status_code

    with Listener(serve=answer) as server:
        play(world, main, local_address="127.0.0.9")
        assert "127.0.0.9" == server.guest().address[0]


@pytest.mark.parametrize(
    ("options", "keepalive", "linger"),
    [
        ([], 0, 0),
        ([(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_LINGER2, 33)], 1, 33),
    ],
)
def test_socket_options(world: World, options: list[Any], keepalive: int, linger: int) -> None:
    """`socket_options`: the connection has those, and they stand in for the pool's own."""

    async def main(client: Any) -> None:
        stream = (await client.get(f"http://127.0.0.1:{server.port}/")).extensions["network_stream"]
        sock = stream.get_extra_info("socket")
        assert keepalive == sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert linger in (0, sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_LINGER2))

    with Listener(serve=answer) as server:
        play(world, main, socket_options=options)


def test_http2_by_prior_knowledge(world: World) -> None:
    """`http1=False` and `http2=True` speak HTTP/2 in the clear; without that, HTTP/1.1."""

    async def main(client: Any) -> None:
        assert version == (await client.get("/")).http_version

    with ScriptedHttp2() as server:
        version = "HTTP/2"
        play(world, main, base_url=server.url, http1=False, http2=True)
    with ScriptedHttp1() as server1:
        version = "HTTP/1.1"
        play(world, main, base_url=server1.url, http2=True)


@pytest.mark.parametrize(
    ("switches", "agreed"), [({}, "h2"), ({"http2": False}, "http/1.1"), ({"http1": False}, "h2")], ids=str
)
def test_what_is_offered(
    world: World, certificates: Certificates, switches: dict[str, bool], agreed: str
) -> None:
    """`http1` and `http2` over TLS: what is switched off is not offered."""
    context = certificates.server_context()
    context.set_alpn_protocols(["h2", "http/1.1"])

    async def main(client: Any) -> None:
        with contextlib.suppress(world.library.HTTPError):  # the server speaks neither
            await client.get(f"https://localhost:{server.port}/")

    with Listener(context, hang_up) as server:
        play(world, main, verify=certificates.client_context(), **switches)
        assert agreed == server.guest().protocol


# Retries


class LateServer:
    """
    A server that refuses connections until somebody has waited for it so often.

    Attributes:
        waits: The seconds that were waited, each time.
    """

    def __init__(self, after: int) -> None:
        self._after = after
        self.waits: list[float] = []
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}/"
        self._thread = threading.Thread(target=self._serve, name="late-server")

    def wait(self, seconds: float) -> None:
        """Note that somebody waits; let no time pass."""
        self.waits.append(seconds)
        if len(self.waits) == self._after:
            self._socket.listen()
            self._thread.start()

    async def await_(self, seconds: float) -> None:
        """Note that a task waits."""
        self.wait(seconds)

    def _serve(self) -> None:
        connection, _ = self._socket.accept()
        with connection:
            answer(connection)

    def stop(self) -> None:
        """End it."""
        if self._thread.ident is not None:
            self._thread.join(PATIENCE)
        self._socket.close()


@pytest.fixture
def late(monkeypatch: pytest.MonkeyPatch) -> Iterator[LateServer]:
    """Give a server that is there when three attempts have failed, and two waits are over, and the third."""
    server = LateServer(3)
    monkeypatch.setattr(CLOCK, "sleep", server.wait)
    monkeypatch.setattr(CLOCK, "asleep", server.await_)
    for core in (httpcore, httpcore2):
        monkeypatch.setattr(core.NetworkBackend, "sleep", lambda _, seconds: server.wait(seconds))
    yield server
    server.stop()


@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_retries_of_the_libraries_themselves(late: LateServer, library: Any) -> None:
    """This is what they mean there: at once, then after half a second, then after a whole one."""
    with library.Client(transport=library.HTTPTransport(retries=3), trust_env=False) as client:
        assert 200 == client.get(late.url).status_code
    assert [0, 0.5, 1.0] == late.waits


@pytest.mark.parametrize("body", [b"", b"whole", "in parts"])
def test_retries(world: World, late: LateServer, body: bytes | str) -> None:
    """`retries=3`: so here, whatever is asked, a body included that can be had once; three are no fewer."""

    async def parts() -> AsyncIterator[bytes]:
        yield b"part"

    async def main(client: Any) -> None:
        content: Any = parts() if isinstance(body, str) else body
        response = await client.request("POST", late.url, content=content)
        assert (200, 3) == (response.status_code, response.extensions["pool_manager"].retries)

    play(world, main, retries=3)
    assert [0, 0.5, 1.0] == late.waits


def test_retries_that_are_too_few(world: World, late: LateServer) -> None:
    """`retries=2`: the error of the third attempt is raised."""

    async def main(client: Any) -> None:
        with pytest.raises(world.library.ConnectError):
            await client.get(late.url)

    play(world, main, retries=2)
    assert [0, 0.5] == late.waits


def test_retries_are_for_connecting_alone(world: World) -> None:
    """What was sent is not sent again by them: neither an error's answer nor what broke off."""

    async def main(client: Any) -> None:
        assert 503 == (await client.get("/")).status_code
        with pytest.raises(world.library.RemoteProtocolError):
            await client.get("/")

    def unwell(peer: Any) -> None:
        peer.read_request()
        peer.answer(status=b"503 Service Unavailable")

    def broken(peer: Any) -> None:
        peer.read_request()
        peer.close()

    with ScriptedHttp1(lambda peer: (unwell(peer), peer.close()), broken) as server:  # type: ignore[arg-type, func-returns-value]
        play(world, main, base_url=server.url, retries=3)
        assert 2 == len(server.requests)


@pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
def test_retries_of_an_attached_client(late: LateServer, library: Any) -> None:
    """Those of its own transport go on to mean the same."""
    own = library.HTTPTransport(retries=3)
    with PoolManager(PLAIN) as manager, library.Client(transport=own, trust_env=False) as client:
        manager.attach(client)
        response = client.get(late.url)
        assert (200, 3) == (response.status_code, response.extensions["pool_manager"].retries)
        manager.detach(client)
    assert [0, 0.5, 1.0] == late.waits
