"""From a host and a port to a connected protocol, through a proxy of each kind."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import ssl
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import attrs
import pytest

from pool_manager import Proxy
from pool_manager.core.messages import TransportFailure
from pool_manager.runtimes.dialing import Address, Dialer
from tests.contract.test_dial_cancelled import HOW, Makes, stepped
from tests.support.certificates import Certificates
from tests.support.dialing import ON_BOTH_LOOPS, Run, Wire, dialer, known_names, refusing
from tests.support.leaks import open_sockets, pending_tasks
from tests.support.listener import GREETING, PATIENCE, Listener, hang_up, say_http, wait
from tests.support.proxy_server import ProxyServer
from tests.support.real_proxies import Microsocks

pytestmark = ON_BOTH_LOOPS

KINDS = ["http", "https", "socks"]
MUCH = 3 * 1024 * 1024

Dial: TypeAlias = Callable[..., Dialer]


def answer(connection: socket.socket) -> None:
    """Say hello to who has spoken first, as all do that HTTP goes to."""
    connection.recv(65536)
    connection.sendall(GREETING)
    wait(connection)


def echo(connection: socket.socket) -> None:
    """Send back what comes."""
    while data := connection.recv(65536):
        connection.sendall(data)


class Guest(Wire):
    """Speaks first."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say something."""
        super().connection_made(transport)
        assert self.transport is not None
        self.transport.write(b"hi")


class Hoard(Wire):
    """Wants much back."""

    def data_received(self, data: bytes) -> None:
        """Know when all is there."""
        self.received += data
        if len(self.received) >= MUCH:
            self.heard.set()


def proxied(certificates: Certificates, url: str, **settings: Any) -> Dialer:
    """Make a dialer that goes by a proxy, and trusts the certificates, the proxy's as well."""
    proxy = Proxy.parse(url)
    if url.startswith("https"):
        proxy = attrs.evolve(proxy, ssl_context=certificates.client_context())
    return dialer(certificates, proxy=proxy, **settings)


class Before:
    """What there was before a dial: the proxy's own sockets and tasks are in this process."""

    def __init__(self) -> None:
        self._sockets, self._tasks = set(open_sockets()), pending_tasks()

    async def back_again(self) -> None:
        """Wait until there is no more than that; less long than a goodbye or a handshake would take."""
        async with asyncio.timeout(1.0):
            while set(open_sockets()) - self._sockets or pending_tasks() - self._tasks:
                await asyncio.sleep(0.001)
        for _ in range(5):  # what is called soon, when all is done
            await asyncio.sleep(0)


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[str]:
    """Give a proxy of each kind."""
    if request.param == "socks":
        with Microsocks() as socks:
            yield socks.url
    else:
        with ProxyServer(certificates=certificates if request.param == "https" else None) as proxy:
            yield proxy.url


def by_proxy(run: Run, ours: Dialer, address: Address, kind: type[Wire] = Guest) -> Wire:
    """Dial, be greeted, and hang up."""

    async def main() -> Wire:
        wire = await ours.dial(address, kind)
        await wire.heard.wait()
        await wire.abort()
        return wire

    wire: Wire = run(main)
    return wire


def failure(run: Run, ours: Dialer, address: Address) -> TransportFailure:
    """Dial in vain; give the error. No socket is left."""

    async def main() -> TransportFailure:
        before = Before()
        with pytest.raises(TransportFailure) as caught:
            await ours.dial(address, Wire)
        await before.back_again()
        return caught.value

    error: TransportFailure = run(main)
    return error


@pytest.mark.parametrize(("http2", "protocol"), [(True, "h2"), (False, "http/1.1")])
def test_tls_in_the_tunnel(
    run: Run, certificates: Certificates, url: str, *, http2: bool, protocol: str
) -> None:
    """TLS is with the target: its name is asked for, ALPN agreed with it, and what it says first is heard."""
    context = certificates.server_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with Listener(context) as server:
        ours = proxied(certificates, url, http2=http2)
        wire = by_proxy(run, ours, Address("https", "localhost", server.port), Wire)
        guest = server.guest()
    assert (wire.handshaken, wire.received) == ("TLSv1.3", GREETING)
    assert (guest.name, guest.protocol) == ("localhost", protocol)


def test_a_name_of_the_callers_choice(run: Run, certificates: Certificates, url: str) -> None:
    """`sni_hostname` is asked for, and verified, inside a tunnel as well."""
    with Listener(certificates.server_context()) as server:
        ours = proxied(certificates, url)
        by_proxy(run, ours, Address("https", "127.0.0.1", server.port, "localhost"))
        assert server.guest().name == "localhost"
        error = failure(run, ours, Address("https", "127.0.0.1", server.port, "other.example"))
    assert error.kind == "ConnectError"
    assert "CERTIFICATE_VERIFY_FAILED" in str(error)


def test_no_tls_in_the_tunnel(run: Run, certificates: Certificates, url: str) -> None:
    """ws:// goes through a tunnel in the clear (RFC 6455, 4.1); the proxy itself may speak TLS."""
    with Listener(serve=answer) as server:
        wire = by_proxy(run, proxied(certificates, url), Address("ws", "127.0.0.1", server.port))
    assert wire.received == GREETING
    assert bool(wire.handshaken) is url.startswith("https")


def test_names_are_the_proxys_to_look_up(
    run: Run, certificates: Certificates, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The target's name is not looked up here."""
    names = known_names(monkeypatch)
    with Listener(certificates.server_context()) as server:
        url = url.replace("localhost", "127.0.0.1")
        by_proxy(run, proxied(certificates, url), Address("https", "localhost", server.port))
    assert names == {}, "and any name would have been an error"


def test_much_goes_both_ways(run: Run, certificates: Certificates, url: str) -> None:
    """More than any buffer holds goes through a tunnel and back, whole."""
    data = bytes(range(256)) * (MUCH // 256)

    async def main() -> None:
        wire = await proxied(certificates, url).dial(Address("https", "localhost", server.port), Hoard)
        assert wire.transport is not None
        wire.transport.write(data)
        await wire.heard.wait()
        assert wire.received == data
        await wire.abort()

    with Listener(certificates.server_context(), echo) as server:
        run(main)


# What goes wrong


@pytest.mark.parametrize("secure", [True, False])
def test_a_refused_tunnel(run: Run, certificates: Certificates, *, secure: bool) -> None:
    """A proxy that wants to know who we are is a ProxyError, with its status and reason."""
    with ProxyServer(credentials=("a", "b"), certificates=certificates if secure else None) as proxy:
        error = failure(run, proxied(certificates, proxy.url), Address("https", "localhost", 443))
    assert (error.kind, str(error)) == ("ProxyError", "407 Proxy Authentication Required")


def test_a_target_that_nobody_is_at(run: Run, certificates: Certificates, url: str) -> None:
    """A proxy that finds nobody at the target says so, each in its words."""
    with refusing() as port:
        error = failure(run, proxied(certificates, url), Address("https", "127.0.0.1", port))
    assert error.kind == "ProxyError"
    refused = "Proxy Server could not connect: Connection refused."
    assert str(error) == (refused if url.startswith("socks") else "502 Bad Gateway")


def test_wrong_credentials_for_socks(run: Run, certificates: Certificates) -> None:
    """User and password that a SOCKS proxy does not know are a ProxyError; the right ones open the tunnel."""
    with Microsocks(("user", "word")) as socks, Listener(certificates.server_context()) as server:
        there = Address("https", "localhost", server.port)
        by_proxy(run, proxied(certificates, socks.url.replace("//", "//user:word@")), there)
        error = failure(run, proxied(certificates, socks.url.replace("//", "//user:no@")), there)
        assert (error.kind, str(error)) == ("ProxyError", "Invalid username/password")


@pytest.mark.parametrize("scheme", ["https", "http", "ws"])
@pytest.mark.parametrize("kind", ["http", "https", "socks5"])
def test_no_proxy_there(run: Run, certificates: Certificates, kind: str, scheme: str) -> None:
    """A proxy that cannot be reached is named, and what it was needed for."""
    with refusing() as port:
        ours = proxied(certificates, f"{kind}://127.0.0.1:{port}")
        error = failure(run, ours, Address(scheme, "target.example", 8080))
    assert error.kind == "ConnectError"
    assert str(error) == (
        f"All connection attempts failed: 127.0.0.1:{port} ([Errno 111] Connection refused);"
        " it is the proxy to target.example:8080"
    )


@pytest.mark.parametrize("serve", [hang_up, say_http], ids=["hangs up", "says HTTP"])
@pytest.mark.parametrize("kind", ["http", "https", "socks5"])
def test_a_proxy_that_is_none(
    run: Run, certificates: Certificates, kind: str, serve: Callable[[socket.socket], None]
) -> None:
    """Whoever hangs up in the middle, or does not speak our language, is a ProxyError."""
    with Listener(certificates.server_context() if kind == "https" else None, serve) as server:
        ours = proxied(certificates, f"{kind}://localhost:{server.port}")
        error = failure(run, ours, Address("https", "localhost", 443))
    assert error.kind == "ProxyError"


def test_a_proxy_whose_certificate_is_not_trusted(run: Run, certificates: Certificates) -> None:
    """`verify=False` is for targets: a proxy is verified by its own context, or as usual."""
    with Listener(certificates.server_context()) as server:
        ours = dialer(verify=False, proxy=Proxy.parse(f"https://localhost:{server.port}"))
        error = failure(run, ours, Address("https", "localhost", 443))
    assert error.kind == "ConnectError"
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)


@pytest.mark.parametrize("serve", [hang_up, say_http], ids=["hangs up", "says HTTP"])
def test_a_target_without_tls(
    run: Run, certificates: Certificates, url: str, serve: Callable[[socket.socket], None]
) -> None:
    """A target that fails at TLS inside the tunnel is no fault of the proxy's: a ConnectError."""
    with Listener(serve=serve) as server:
        error = failure(run, proxied(certificates, url), Address("https", "localhost", server.port))
    assert error.kind == "ConnectError"
    assert str(error).startswith(f"TLS with localhost:{server.port} failed: ")


def test_a_port_that_is_none(run: Run, certificates: Certificates, url: str) -> None:
    """A target's port is looked at before the proxy is asked."""
    error = failure(run, proxied(certificates, url), Address("https", "localhost", 70_000))
    assert str(error) == "cannot connect to localhost:70000: a port is a number from 1 to 65535"


# Cancelled


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("scheme", ["https", "ws"])
def test_cancelled_at_every_await(
    run: Run, certificates: Certificates, url: str, scheme: str, how: str
) -> None:
    """Wherever a dial by a proxy is cancelled it ends so, and leaves no socket, task or transport."""

    async def main(address: Address) -> int:
        before, make = Before(), Makes()
        for k in itertools.count(1):
            dial = asyncio.ensure_future(stepped(proxied(certificates, url).dial(address, make), k, how))
            await asyncio.wait([dial])
            if not dial.cancelled():
                await dial.result().abort()
                return k
            del dial
            await before.back_again()
            assert make.left() == []
        raise AssertionError

    with Listener(certificates.server_context() if scheme == "https" else None, answer) as server:
        assert run(lambda: main(Address(scheme, "127.0.0.1", server.port, "localhost"))) >= 3


@pytest.mark.parametrize("secure", [True, False])
@pytest.mark.parametrize("silent", ["proxy", "target"])
def test_cancelled_while_somebody_is_silent(
    run: Run, certificates: Certificates, silent: str, *, secure: bool
) -> None:
    """A proxy that does not answer, or a target that does not shake hands, is hung up on at once."""

    async def main(server: Listener, url: str, port: int) -> None:
        before, make = Before(), Makes()
        dial = asyncio.ensure_future(
            proxied(certificates, url).dial(Address("https", "localhost", port), make)
        )
        while server.guests.empty():
            await asyncio.sleep(0)
        for _ in range(50):
            await asyncio.sleep(0)
        assert not dial.done()
        dial.cancel()
        await asyncio.wait([dial])
        assert dial.cancelled()
        del dial
        await before.back_again()
        assert make.left() == []
        await asyncio.to_thread(server.gone.get, timeout=PATIENCE)

    context = certificates.server_context() if secure and silent == "proxy" else None
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Listener(context, wait))
        url = f"{'https' if secure else 'http'}://localhost:{server.port}"
        if silent == "target":
            proxy = stack.enter_context(ProxyServer(certificates=certificates if secure else None))
            url = proxy.url
        run(lambda: main(server, url, server.port))
