"""From a host and a port to a connection, on trio; the rest is as in `test_dialing`."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio

from pool_manager import PoolConfig
from pool_manager.core.messages import TransportFailure
from pool_manager.runtimes import tls
from pool_manager.runtimes.addresses import Address
from pool_manager.runtimes.in_loops.port import Listener as Protocol
from pool_manager.runtimes.in_loops.port import Transport
from pool_manager.runtimes.on_trio import dialing
from pool_manager.runtimes.on_trio.dialing import TrioDialer
from pool_manager.runtimes.on_trio.loop import TrioLoop
from tests.support.certificates import Certificates
from tests.support.dialing import black_hole, found, refusing
from tests.support.leaks import open_sockets
from tests.support.listener import GREETING, Listener, say_http, wait


class Guest(Protocol):
    """Keeps what it hears."""

    transport: Transport

    def __init__(self) -> None:
        self.heard = b""
        self.lost = trio.Event()

    def connection_made(self, transport: Transport) -> None:
        """Know the transport."""
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        """Hang up when greeted."""
        self.heard += data
        if self.heard == GREETING:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the test."""
        assert exc is None
        self.lost.set()


def dial(address: Address, certificates: Certificates | None = None, **settings: Any) -> Guest:
    """Dial in a run of its own, be greeted, and hang up."""
    if certificates is not None:
        settings["verify"] = certificates.client_context()

    async def main() -> Guest:
        dialer = TrioDialer(TrioLoop(), PoolConfig(**settings), tls.ContextCache())
        with trio.fail_after(10):
            guest = await dialer.dial(address, Guest)
            await guest.lost.wait()
        assert guest.heard == GREETING
        return guest

    return trio.run(main)


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Give the names there are."""
    known: dict[str, Any] = {}

    async def look_up(host: str, _: int) -> Any:
        await trio.lowlevel.checkpoint()
        return known[host]

    monkeypatch.setattr(dialing, "look_up", look_up)
    return known


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_plain_connection(host: str) -> None:
    """A literal of either IP version, and a name that the system knows, are reached."""
    with Listener(host="::1" if ":" in host else "127.0.0.1") as server:
        dial(Address("http", host, server.port))


@pytest.mark.parametrize(("http1", "http2", "protocol"), [(True, True, "h2"), (True, False, "http/1.1")])
def test_tls(certificates: Certificates, *, http1: bool, http2: bool, protocol: str) -> None:
    """The handshake is done, the name asked for, and ALPN agreed upon."""
    context = certificates.server_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with Listener(context) as server:
        address = Address("https", "127.0.0.1", server.port, "localhost")
        guest = dial(address, certificates, http1=http1, http2=http2)
        seen = server.guest()
    agreed = guest.transport.get_extra_info("ssl_object").selected_alpn_protocol()
    assert (protocol, "localhost", protocol) == (agreed, seen.name, seen.protocol)


@pytest.mark.parametrize("order", [1, -1])
def test_a_refusing_address_is_passed_over(names: dict[str, Any], order: int) -> None:
    """Of an IPv6 and an IPv4 address one refuses: the other is used, whichever comes first."""
    with refusing("::1") as dead, Listener() as server:
        names["both.example"] = found(("::1", dead), ("127.0.0.1", server.port))[::order]
        dial(Address("http", "both.example", 80))


def test_a_silent_address_is_passed_over(names: dict[str, Any]) -> None:
    """An address that swallows packets does not hold a dial up for ever."""
    with black_hole() as silent, Listener() as server:
        names["both.example"] = found(("127.0.0.1", silent), ("127.0.0.1", server.port))
        dial(Address("http", "both.example", 80))


def test_each_address_keeps_its_error(names: dict[str, Any]) -> None:
    """Where all fail the error says why, of each."""
    with refusing() as one, refusing("::1") as other:
        names["both.example"] = found(("127.0.0.1", one), ("::1", other))
        with pytest.raises(
            TransportFailure, match=r"All connection attempts failed: both\.example"
        ) as caught:
            dial(Address("http", "both.example", 80))
    assert "127.0.0.1: [Errno 111]" in str(caught.value)
    assert "::1: [Errno 111]" in str(caught.value)
    assert isinstance(caught.value.__cause__, ExceptionGroup)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_unix_domain_socket(certificates: Certificates, tmp_path: Path, scheme: str) -> None:
    """With `uds` the host is not looked up, but asked for and verified."""
    path = tmp_path / "socket"
    with Listener(certificates.server_context() if scheme == "https" else None, path=path) as server:
        dial(Address(scheme, "localhost", 443), certificates, uds=str(path))
        assert server.guest().name == ("localhost" if scheme == "https" else None)


def test_plain_http_where_tls_is_expected(certificates: Certificates) -> None:
    """A server that speaks no TLS is named as such, and no socket stays behind."""
    with Listener(serve=say_http) as server, pytest.raises(TransportFailure, match=r"plain HTTP\?") as caught:
        dial(Address("https", "localhost", server.port), certificates)
    assert isinstance(caught.value.__cause__, ssl.SSLError)


def test_a_certificate_that_nobody_trusts(certificates: Certificates) -> None:
    """The error says that the certificate could not be verified."""
    with (
        Listener(certificates.server_context()) as server,
        pytest.raises(TransportFailure, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        dial(Address("https", "localhost", server.port))


@pytest.mark.parametrize("where", ["connect", "handshake"])
def test_a_dial_that_is_cancelled_leaves_no_socket(certificates: Certificates, where: str) -> None:
    """Wherever a dial is when it is cancelled, its socket is closed by then."""

    async def main(count: Callable[[], int], port: int) -> None:
        config = PoolConfig(verify=certificates.client_context())
        dialer = TrioDialer(TrioLoop(), config, tls.ContextCache())
        before = count()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(dialer.dial, Address("https", "127.0.0.1", port, "localhost"), Guest)
            with trio.fail_after(5):
                while count() == before:
                    await trio.sleep(0.001)
            nursery.cancel_scope.cancel()
        with trio.fail_after(5):
            while count() > before:
                await trio.sleep(0.001)

    with black_hole() as silent, Listener(serve=wait) as server:
        trio.run(main, lambda: len(open_sockets()), silent if where == "connect" else server.port)


def test_an_ungreeted_socket_is_set_as_the_pool_wants_it() -> None:
    """The server sees the `local_address`; the socket has its options, and waits for no full packet."""
    options = ((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 33))

    async def main(port: int) -> list[int]:
        config = PoolConfig(local_address="127.0.0.9", socket_options=options)
        dialer = TrioDialer(TrioLoop(), config, tls.ContextCache())
        guest = await dialer.dial(Address("http", "127.0.0.1", port), Guest)
        sock = guest.transport.get_extra_info("socket")
        values = [sock.getsockopt(level, name) for level, name, _ in options]
        values.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        guest.transport.abort()
        return values

    with Listener() as server:
        assert trio.run(main, server.port) == [1, 33, 1]
        assert server.guest().address[0] == "127.0.0.9"
