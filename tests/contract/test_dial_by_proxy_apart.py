"""From a host and a port to a connection, by a proxy, on trio and in a thread (see `test_dial_by_proxy`)."""

from __future__ import annotations

import contextlib
import itertools
import ssl
import threading
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import attrs
import pytest
import trio

from pool_manager import PoolConfig, Proxy
from pool_manager.core.messages import TransportFailure
from pool_manager.runtimes import tls
from pool_manager.runtimes.addresses import Address
from pool_manager.runtimes.in_loops.port import Listener as Protocol
from pool_manager.runtimes.in_loops.port import Transport
from pool_manager.runtimes.on_threads.dialing import Dialer
from pool_manager.runtimes.on_trio.dialing import TrioDialer
from pool_manager.runtimes.on_trio.loop import TrioLoop
from tests.contract.test_dial_by_proxy import KINDS, MUCH, answer, echo
from tests.support.certificates import Certificates
from tests.support.dialing import refusing
from tests.support.listener import GREETING, PATIENCE, Listener, hang_up, say_http, wait
from tests.support.proxy_server import ProxyServer
from tests.support.real_proxies import Microsocks


@attrs.frozen
class Talk:
    """What came of a connection: what was said to *said*, by which TLS."""

    said: bytes
    tls: ssl.SSLObject | None


# Connects, sends something, hears so many bytes, says goodbye.
Dial: TypeAlias = Callable[[PoolConfig, Address, bytes, int], Talk]


class Guest(Protocol):
    """Says something, and keeps what it hears."""

    transport: Transport

    def __init__(self, words: bytes, size: int) -> None:
        self._words, self._size = words, size
        self.heard, self.lost = bytearray(), trio.Event()

    def connection_made(self, transport: Transport) -> None:
        """Speak first."""
        self.transport = transport
        transport.write(self._words)

    def data_received(self, data: bytes) -> None:
        """Hang up when all was said."""
        self.heard += data
        if len(self.heard) >= self._size:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell the test."""
        assert exc is None
        self.lost.set()


def on_trio(config: PoolConfig, address: Address, words: bytes, size: int) -> Talk:
    """Dial in a run of its own."""

    async def main() -> Talk:
        with trio.fail_after(PATIENCE):
            dialer = TrioDialer(TrioLoop(), config, tls.ContextCache())
            guest = await dialer.dial(address, lambda: Guest(words, size))
            await guest.lost.wait()
        return Talk(bytes(guest.heard), guest.transport.get_extra_info("ssl_object"))

    return trio.run(main)


def in_threads(config: PoolConfig, address: Address, words: bytes, size: int) -> Talk:
    """Dial in a thread; read in this one, and write in another."""
    wire = Dialer(config, tls.ContextCache()).dial(address, lambda: None)

    def write() -> None:
        left = memoryview(wire.encode(words))
        while left:
            wire.wait(2, None)
            left = left[wire.send_now(left) :]

    writer = threading.Thread(target=write)
    writer.start()
    heard = bytearray()
    try:
        while len(heard) < size:
            received = wire.receive(PATIENCE)
            assert received
            heard += wire.decode(received)
        writer.join()
        wire.send_now(wire.goodbye())
    finally:
        wire.close()
    return Talk(bytes(heard), wire.tls)


@pytest.fixture(params=[on_trio, in_threads], ids=["trio", "threads"])
def dial(request: pytest.FixtureRequest) -> Dial:
    """Give each way to dial."""
    there: Dial = request.param
    return there


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, certificates: Certificates) -> Iterator[str]:
    """Give a proxy of each kind."""
    if request.param == "socks":
        with Microsocks() as socks:
            yield socks.url
    else:
        with ProxyServer(certificates=certificates if request.param == "https" else None) as proxy:
            yield proxy.url


def proxied(certificates: Certificates, url: str, **settings: Any) -> PoolConfig:
    """Go by a proxy, and trust the certificates, the proxy's as well."""
    proxy = Proxy.parse(url)
    if url.startswith("https"):
        proxy = attrs.evolve(proxy, ssl_context=certificates.client_context())
    return PoolConfig(**{"verify": certificates.client_context(), "proxy": proxy, **settings})


def failure(dial: Dial, config: PoolConfig, address: Address) -> TransportFailure:
    """Dial in vain; give the error."""
    with pytest.raises(TransportFailure) as caught:
        dial(config, address, b"hi", 1)
    return caught.value


@pytest.mark.parametrize(("http2", "protocol"), [(True, "h2"), (False, "http/1.1")])
def test_tls_in_the_tunnel(
    dial: Dial, certificates: Certificates, url: str, *, http2: bool, protocol: str
) -> None:
    """TLS is with the target: its name is asked for, ALPN agreed with it, and what it says is heard."""
    context = certificates.server_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with Listener(context, answer) as server:
        address = Address("https", "localhost", server.port)
        talk = dial(proxied(certificates, url, http2=http2), address, b"hi", len(GREETING))
        guest = server.guest()
    assert talk.tls is not None
    assert (talk.said, talk.tls.version()) == (GREETING, "TLSv1.3")
    assert (guest.name, guest.protocol, talk.tls.selected_alpn_protocol()) == (
        "localhost",
        protocol,
        protocol,
    )


def test_no_tls_in_the_tunnel(dial: Dial, certificates: Certificates, url: str) -> None:
    """ws:// goes through a tunnel in the clear (RFC 6455, 4.1); the proxy itself may speak TLS."""
    with Listener(serve=answer) as server:
        address = Address("ws", "127.0.0.1", server.port)
        talk = dial(proxied(certificates, url), address, b"hi", len(GREETING))
    assert talk.said == GREETING
    assert (talk.tls is not None) is url.startswith("https")


def test_much_goes_both_ways(dial: Dial, certificates: Certificates, url: str) -> None:
    """More than any buffer holds goes through a tunnel and back, whole."""
    data = bytes(range(256)) * (MUCH // 256)
    with Listener(certificates.server_context(), echo) as server:
        address = Address("https", "localhost", server.port)
        assert dial(proxied(certificates, url), address, data, len(data)).said == data


# What goes wrong


@pytest.mark.parametrize("secure", [True, False])
def test_a_refused_tunnel(dial: Dial, certificates: Certificates, *, secure: bool) -> None:
    """A proxy that wants to know who we are is a ProxyError, with its status and reason."""
    with ProxyServer(credentials=("a", "b"), certificates=certificates if secure else None) as proxy:
        error = failure(dial, proxied(certificates, proxy.url), Address("https", "localhost", 443))
    assert (error.kind, str(error)) == ("ProxyError", "407 Proxy Authentication Required")


@pytest.mark.parametrize("kind", ["http", "https", "socks5"])
def test_no_proxy_there(dial: Dial, certificates: Certificates, kind: str) -> None:
    """A proxy that cannot be reached is named, and what it was needed for."""
    with refusing() as port:
        config = proxied(certificates, f"{kind}://127.0.0.1:{port}")
        error = failure(dial, config, Address("https", "target.example", 8080))
    assert error.kind == "ConnectError"
    assert str(error) == (
        f"All connection attempts failed: 127.0.0.1:{port} ([Errno 111] Connection refused);"
        " it is the proxy to target.example:8080"
    )


@pytest.mark.parametrize("serve", [hang_up, say_http], ids=["hangs up", "says HTTP"])
@pytest.mark.parametrize("kind", ["http", "https", "socks5"])
def test_a_proxy_that_is_none(
    dial: Dial, certificates: Certificates, kind: str, serve: Callable[[Any], None]
) -> None:
    """Whoever hangs up in the middle, or does not speak our language, is a ProxyError."""
    with Listener(certificates.server_context() if kind == "https" else None, serve) as server:
        config = proxied(certificates, f"{kind}://localhost:{server.port}")
        assert failure(dial, config, Address("https", "localhost", 443)).kind == "ProxyError"


def test_a_proxy_whose_certificate_is_not_trusted(dial: Dial, certificates: Certificates) -> None:
    """`verify=False` is for targets: a proxy is verified by its own context, or as usual."""
    with Listener(certificates.server_context()) as server:
        config = PoolConfig(verify=False, proxy=Proxy.parse(f"https://localhost:{server.port}"))
        error = failure(dial, config, Address("https", "localhost", 443))
    assert error.kind == "ConnectError"
    assert isinstance(error.__cause__, ssl.SSLCertVerificationError)


@pytest.mark.parametrize("serve", [hang_up, say_http], ids=["hangs up", "says HTTP"])
def test_a_target_without_tls(
    dial: Dial, certificates: Certificates, url: str, serve: Callable[[Any], None]
) -> None:
    """A target that fails at TLS inside the tunnel is no fault of the proxy's: a ConnectError."""
    with Listener(serve=serve) as server:
        error = failure(dial, proxied(certificates, url), Address("https", "localhost", server.port))
    assert error.kind == "ConnectError"
    assert str(error).startswith(f"TLS with localhost:{server.port} failed: ")


# Cancelled


@pytest.mark.parametrize("silent", ["proxy", "target"])
@pytest.mark.parametrize("secure", [True, False])
def test_cancelled_while_somebody_is_silent(certificates: Certificates, silent: str, *, secure: bool) -> None:
    """A proxy that does not answer, or a target that does not shake hands, is hung up on at once."""

    async def on_a_run(config: PoolConfig, address: Address) -> None:
        with trio.move_on_after(0.2) as scope:
            await TrioDialer(TrioLoop(), config, tls.ContextCache()).dial(address, lambda: Guest(b"", 1))
        assert scope.cancelled_caught

    def in_a_thread(config: PoolConfig, address: Address) -> None:
        looks = itertools.count()

        def check() -> None:
            if next(looks) > 10:
                raise TransportFailure("ConnectError", "nobody wants it")

        with pytest.raises(TransportFailure, match="nobody wants it"):
            Dialer(config, tls.ContextCache()).dial(address, check)

    context = certificates.server_context() if secure and silent == "proxy" else None
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(Listener(context, wait))
        url = f"{'https' if secure else 'http'}://localhost:{server.port}"
        if silent == "target":
            proxy = stack.enter_context(ProxyServer(certificates=certificates if secure else None))
            url = proxy.url
        config = proxied(certificates, url)
        address = Address("https", "localhost", server.port)
        trio.run(on_a_run, config, address)
        server.gone.get(timeout=PATIENCE)
        in_a_thread(config, address)
        server.gone.get(timeout=PATIENCE)
