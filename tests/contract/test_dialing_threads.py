"""From a host and a port to a wire, in a thread that blocks; the rest is as in `test_dialing`."""

from __future__ import annotations

import socket
import ssl
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from pool_manager import PoolConfig
from pool_manager.core.messages import TransportFailure
from pool_manager.runtimes import tls
from pool_manager.runtimes.addresses import Address
from pool_manager.runtimes.on_threads import dialing
from pool_manager.runtimes.on_threads.dialing import Dialer, DialGivenUp, Flights
from pool_manager.runtimes.on_threads.wires import Wire
from tests.support.certificates import Certificates
from tests.support.dialing import black_hole, found, refusing
from tests.support.listener import GREETING, Listener, say_http, wait


def never() -> None:
    """Want the connection for ever."""


def dialer(certificates: Certificates | None = None, **settings: Any) -> Dialer:
    """Make a dialer that trusts *certificates*."""
    if certificates is not None:
        settings["verify"] = certificates.client_context()
    return Dialer(PoolConfig(**settings), tls.ContextCache())


def greeted(dialer: Dialer, address: Address) -> Wire:
    """Dial, be greeted, and hang up."""
    wire = dialer.dial(address, never)
    heard = b""
    while heard != GREETING:
        received = wire.receive(5)
        assert received
        heard += wire.decode(received)
    wire.close()
    return wire


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Give the names there are."""
    known: dict[str, Any] = {}

    def look_up(host: str, _: int) -> Any:
        answer = known[host]
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(dialing, "look_up", look_up)
    return known


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost"])
def test_a_plain_connection(host: str) -> None:
    """A literal of either IP version, and a name that the system knows, are reached."""
    with Listener(host="::1" if ":" in host else "127.0.0.1") as server:
        assert greeted(dialer(), Address("http", host, server.port)).alpn is None


@pytest.mark.parametrize(
    ("http1", "http2", "protocol"), [(True, True, "h2"), (True, False, "http/1.1"), (False, True, "h2")]
)
def test_tls(certificates: Certificates, *, http1: bool, http2: bool, protocol: str) -> None:
    """The handshake is done, the name asked for, and ALPN agreed upon; the caller's context is as it was."""
    context = certificates.server_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    verify = certificates.client_context()
    before = verify.verify_mode, verify.options
    with Listener(context) as server:
        ours = dialer(verify=verify, http1=http1, http2=http2)
        wire = greeted(ours, Address("https", "127.0.0.1", server.port, "localhost"))
        guest = server.guest()
        assert (wire.alpn, guest.name, guest.protocol) == (protocol, "localhost", protocol)
    assert before == (verify.verify_mode, verify.options)
    with socket.create_server(("127.0.0.1", 0)) as plain:  # it offers nothing of ours
        plain.settimeout(5)
        client = socket.create_connection(plain.getsockname())
        client.settimeout(0)
        with (
            client,
            verify.wrap_socket(client, server_hostname="localhost", do_handshake_on_connect=False) as it,
        ):
            assert it.selected_alpn_protocol() is None


@pytest.mark.parametrize("order", [1, -1])
def test_a_refusing_address_is_passed_over(names: dict[str, Any], order: int) -> None:
    """Of an IPv6 and an IPv4 address one refuses: the other is used, whichever comes first."""
    with refusing("::1") as dead, Listener() as server:
        names["both.example"] = found(("::1", dead), ("127.0.0.1", server.port))[::order]
        greeted(dialer(), Address("http", "both.example", 80))


def test_a_silent_address_is_passed_over(names: dict[str, Any]) -> None:
    """An address that swallows packets holds a dial up for a quarter of a second, and not for ever."""
    with black_hole() as silent, Listener() as server:
        names["both.example"] = found(("127.0.0.1", silent), ("127.0.0.1", server.port))
        begun = time.monotonic()
        greeted(dialer(), Address("http", "both.example", 80))
        assert time.monotonic() - begun >= 0.25


def test_each_address_keeps_its_error(names: dict[str, Any]) -> None:
    """Where all fail the error says why, of each."""
    with refusing() as one, refusing("::1") as other:
        names["both.example"] = found(("127.0.0.1", one), ("::1", other))
        with pytest.raises(
            TransportFailure, match=r"All connection attempts failed: both.example:80"
        ) as caught:
            dialer().dial(Address("http", "both.example", 80), never)
    assert caught.value.kind == "ConnectError"
    assert "127.0.0.1: [Errno 111]" in str(caught.value)
    assert "::1: [Errno 111]" in str(caught.value)
    assert isinstance(caught.value.__cause__, ExceptionGroup)


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_unix_domain_socket(certificates: Certificates, tmp_path: Path, scheme: str) -> None:
    """With `uds` the host is not looked up, but asked for and verified."""
    path = tmp_path / "socket"
    with Listener(certificates.server_context() if scheme == "https" else None, path=path) as server:
        greeted(dialer(certificates, uds=str(path)), Address(scheme, "localhost", 443))
        assert server.guest().name == ("localhost" if scheme == "https" else None)


def test_where_it_comes_from_and_how_it_is_set() -> None:
    """The server sees the `local_address`; the socket has its options, and waits for no full packet."""
    options = ((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 33))
    with Listener() as server:
        ours = dialer(local_address="127.0.0.9", socket_options=options)
        wire = ours.dial(Address("http", "127.0.0.1", server.port), never)
        values = [wire.sock.getsockopt(level, name) for level, name, _ in options]
        values.append(wire.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        wire.close()
        assert server.guest().address[0] == "127.0.0.9"
    assert values == [1, 33, 1]


def test_plain_http_where_tls_is_expected(certificates: Certificates) -> None:
    """A server that speaks no TLS is named as such, and no socket stays behind."""
    with Listener(serve=say_http) as server, pytest.raises(TransportFailure, match=r"plain HTTP\?") as caught:
        dialer(certificates).dial(Address("https", "localhost", server.port), never)
    assert isinstance(caught.value.__cause__, ssl.SSLError)


@pytest.mark.parametrize("where", ["connect", "handshake"])
def test_a_dial_that_nobody_wants_ends(certificates: Certificates, where: str) -> None:
    """Wherever it is, a dial looks whether it is wanted, and closes its socket if it is not."""
    looks = iter(range(3))

    def check() -> None:
        if next(looks, None) is None:
            raise DialGivenUp("silent", 1)

    with black_hole() as silent, Listener(serve=wait) as server:
        port = silent if where == "connect" else server.port
        with pytest.raises(DialGivenUp):
            dialer(certificates).dial(Address("https", "127.0.0.1", port), check)


def test_one_question_at_a_time() -> None:
    """Threads that look up one name at once ask once; an error is each thread's own."""
    flights: Flights[int] = Flights()
    asked, go = [], threading.Event()
    answers: list[object] = []

    def ask() -> int:
        asked.append(1)
        go.wait(5)
        raise OSError(len(asked), "no")

    def join() -> None:
        try:
            flights.join("name", ask)
        except OSError as error:
            answers.append(error)

    threads = [threading.Thread(target=join) for _ in range(5)]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 5
    while not asked and time.monotonic() < deadline:
        time.sleep(0.001)
    go.set()
    for thread in threads:
        thread.join()
    assert len(answers) == len({id(error) for error in answers}) == 5
    assert len(asked) <= 2  # one that came after the answer would ask anew
