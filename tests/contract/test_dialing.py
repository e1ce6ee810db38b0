"""From a host and a port to a connected protocol, on asyncio and uvloop."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import threading
from pathlib import Path
from typing import Any

import pytest

from pool_manager import PoolConfig
from pool_manager.runtimes import dialing, tls
from pool_manager.runtimes.addresses import Address
from tests.support.certificates import Certificates
from tests.support.dialing import (
    ON_BOTH_LOOPS,
    Run,
    Wire,
    black_hole,
    dialer,
    failure,
    found,
    greeted,
    known_names,
    refusing,
)
from tests.support.leaks import pending_tasks
from tests.support.listener import GREETING, PATIENCE, Listener

pytestmark = ON_BOTH_LOOPS


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Give the names there are."""
    return known_names(monkeypatch)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "::1%1"])
def test_a_plain_connection(run: Run, host: str) -> None:
    """A literal of either IP version, with a scope or not, and a name that the system knows are reached."""
    with Listener(host="::1" if ":" in host else "127.0.0.1") as server:
        wire = run(lambda: greeted(dialer(), Address("http", host, server.port)))
        assert wire.handshaken is None
        assert server.guest().address[0] == ("::1" if ":" in host else "127.0.0.1")


@pytest.mark.parametrize("scheme", ["https", "wss"])
@pytest.mark.parametrize(
    ("http1", "http2", "protocol"), [(True, True, "h2"), (True, False, "http/1.1"), (False, True, "h2")]
)
def test_tls_is_done_when_the_connection_is_made(
    run: Run, certificates: Certificates, *, scheme: str, http1: bool, http2: bool, protocol: str
) -> None:
    """`connection_made` sees the finished transport, with the protocol that ALPN came to."""
    if scheme == "wss" and http1:
        protocol = "http/1.1"  # a WebSocket is offered nothing else
    context = certificates.server_context()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with Listener(context) as server:
        ours = dialer(certificates, http1=http1, http2=http2)
        wire = run(lambda: greeted(ours, Address(scheme, "localhost", server.port)))
        assert wire.handshaken == "TLSv1.3"
        guest = server.guest()
        assert (guest.name, guest.protocol) == ("localhost", protocol)


@pytest.mark.parametrize(
    ("host", "server_name", "heard"),
    [
        ("localhost", None, "localhost"),
        ("localhost.", None, "localhost"),
        ("127.0.0.1", None, None),
        ("::1", None, None),
        ("::1%1", None, None),
        ("127.0.0.1", "localhost", "localhost"),
        ("service.example", "localhost", "localhost"),
        ("localhost", "127.0.0.1", None),
    ],
)
def test_the_name_that_is_asked_for(
    run: Run, certificates: Certificates, names: dict[str, Any], *, host: str, server_name: str | None,
    heard: str | None,
) -> None:  # fmt: skip
    """SNI is the `server_name`, else the host without its final dot; an IP address is verified, not sent."""
    with Listener(certificates.server_context(), host="::1" if ":" in host else "127.0.0.1") as server:
        names[host] = found(("127.0.0.1", server.port))
        run(lambda: greeted(dialer(certificates), Address("https", host, server.port, server_name)))
        assert server.guest().name == heard


def test_a_client_certificate_is_shown(run: Run, certificates: Certificates) -> None:
    """The client certificate of the caller's context comes to a server that demands one."""
    context = certificates.server_context()
    context.load_verify_locations(certificates.ca_file)
    context.verify_mode = ssl.CERT_REQUIRED
    verify = certificates.client_context(certificates.client("ann"))
    with Listener(context) as server:
        run(lambda: greeted(dialer(verify=verify), Address("https", "localhost", server.port)))
        server.guest()


def test_socket_options_are_set(run: Run) -> None:
    """The options of the config are set, and before the SYN: the segment size is negotiated by it."""
    options = (
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 33),
        (socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00"),
        (socket.IPPROTO_TCP, socket.TCP_MAXSEG, 1000),
    )

    async def main(address: Address) -> list[int]:
        wire = await dialer(socket_options=options).dial(address, Wire)
        assert wire.transport is not None
        with socket.socket(fileno=os.dup(wire.transport.get_extra_info("socket").fileno())) as copy:
            values = [copy.getsockopt(level, name) for level, name, _ in options]
            values.append(copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        await wire.abort()
        return values

    with Listener() as server:
        alive, idle, linger, segment, no_delay = run(lambda: main(Address("http", "127.0.0.1", server.port)))
        assert (alive, idle, linger, no_delay) == (1, 33, 1, 1)
        assert 900 < segment <= 1000


def test_where_it_comes_from(run: Run) -> None:
    """The server sees the `local_address`."""
    with Listener() as server:
        run(lambda: greeted(dialer(local_address="127.0.0.9"), Address("http", "127.0.0.1", server.port)))
        assert server.guest().address[0] == "127.0.0.9"


def test_a_local_address_is_of_one_ip_version(run: Run, names: dict[str, Any]) -> None:
    """Addresses of the other version are not tried; if there are no others, that is the error."""
    with Listener(host="::1") as server:
        names["both.example"] = found(("127.0.0.1", 1), ("::1", server.port))
        names["old.example"] = found(("127.0.0.1", server.port))
        ours = dialer(local_address="::1")
        run(lambda: greeted(ours, Address("http", "both.example", server.port)))
        assert server.guest().address[0] == "::1"
        error = failure(run, ours, Address("http", "old.example", server.port))
        assert (
            str(error) == f"cannot connect to old.example:{server.port}: it has no address that ::1 can reach"
        )


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_unix_domain_socket(run: Run, certificates: Certificates, tmp_path: Path, scheme: str) -> None:
    """With `uds` the host is not looked up, but asked for and verified; TCP options are left out."""
    path = tmp_path / "socket"
    with Listener(certificates.server_context() if scheme == "https" else None, path=path) as server:
        ours = dialer(certificates, uds=str(path))
        wire = run(lambda: greeted(ours, Address(scheme, "localhost", 443)))
        assert wire.handshaken == ("TLSv1.3" if scheme == "https" else None)
        assert server.guest().name == ("localhost" if scheme == "https" else None)
        if scheme == "https":
            error = failure(run, ours, Address(scheme, "other.example", 443))
            assert "certificate verify failed" in str(error)


def test_a_busy_unix_domain_socket(run: Run, tmp_path: Path) -> None:
    """Where the queue of a Unix domain socket is full a dial waits for room, and is really connected then."""
    path = tmp_path / "socket"

    async def main(listener: socket.socket) -> None:
        dial = asyncio.ensure_future(dialer(uds=str(path)).dial(Address("http", "a", 80), Wire))
        await asyncio.sleep(0.03)
        assert not dial.done()
        for _ in range(2):
            listener.accept()[0].close()
        wire = await dial
        with listener.accept()[0] as connection:
            connection.sendall(GREETING)
            await wire.heard.wait()
            await wire.abort()

    with socket.socket(socket.AF_UNIX) as listener, contextlib.ExitStack() as fillers:
        listener.bind(str(path))
        listener.listen(1)
        for _ in range(2):
            filler = fillers.enter_context(socket.socket(socket.AF_UNIX))
            filler.settimeout(0)
            filler.connect(str(path))
        run(lambda: main(listener))


# Several addresses


@pytest.mark.parametrize("order", [1, -1])
def test_a_refusing_address_is_passed_over(run: Run, names: dict[str, Any], order: int) -> None:
    """Of an IPv6 and an IPv4 address one refuses: the other is used, whichever comes first."""
    with refusing("::1") as dead, Listener() as server:
        names["both.example"] = found(("::1", dead), ("127.0.0.1", server.port))[::order]
        run(lambda: greeted(dialer(), Address("http", "both.example", 80)))


def test_a_silent_address_is_passed_over(run: Run, names: dict[str, Any]) -> None:
    """An address that swallows packets holds a dial up for a quarter of a second."""
    with black_hole() as silent, Listener(host="::1") as server:
        names["both.example"] = found(("127.0.0.1", silent), ("::1", server.port))

        async def main() -> float:
            begun = asyncio.get_running_loop().time()
            await greeted(dialer(), Address("http", "both.example", 80))
            assert [*pending_tasks()] == [asyncio.current_task()]
            return asyncio.get_running_loop().time() - begun

        assert 0.2 < run(main) < 2.0


def test_look_ups_are_shared(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Dials at one time share a look-up, also when the one that began it is cancelled; later ones do not."""
    asked: list[tuple[str, int]] = []

    async def look_up(host: str, port: int) -> list[Any]:
        asked.append((host, port))
        await asyncio.sleep(0.01)
        return found(("127.0.0.1", port))

    monkeypatch.setattr(dialing, "look_up", look_up)

    async def main(port: int) -> None:
        ours = dialer()
        dials = [asyncio.ensure_future(greeted(ours, Address("http", "a.example", port))) for _ in range(5)]
        await asyncio.sleep(0)
        dials[0].cancel()
        await asyncio.wait(dials)
        assert [dial.cancelled() for dial in dials] == [True] + [False] * 4
        assert asked == [("a.example", port)]
        await greeted(ours, Address("http", "a.example", port))
        assert asked == [("a.example", port)] * 2

    with Listener() as server:
        run(lambda: main(server.port))


def test_the_system_is_asked(run: Run) -> None:
    """A look-up gives what `getaddrinfo` gives; names that are none end in its error."""

    async def main() -> None:
        infos = await dialing.look_up("localhost", 80)
        assert {info[4][0] for info in infos} <= {"127.0.0.1", "::1"}
        assert infos
        with pytest.raises((socket.gaierror, UnicodeError)):
            await dialing.look_up(f"{'a' * 64}.example", 80)

    run(main)


# Contexts


def test_a_context_is_built_once_and_beside_the_loop(
    run: Run, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dials that need the same CAs have them read once, by a thread, while the loop runs."""
    built: list[threading.Thread] = []
    build, turned = tls._build, threading.Event()  # noqa: SLF001 - counted, not changed

    def slow(config: PoolConfig) -> ssl.SSLContext:
        built.append(threading.current_thread())
        assert turned.wait(PATIENCE)
        return build(config)

    monkeypatch.setattr(tls, "_build", slow)

    async def main(port: int) -> None:
        ours = dialer(verify=str(certificates.ca_file))
        address = Address("https", "127.0.0.1", port)
        dials = [asyncio.ensure_future(greeted(ours, address)) for _ in range(5)]
        dials.append(asyncio.ensure_future(ours.dial(address, Wire)))
        while not built:
            await asyncio.sleep(0)
        dials.pop().cancel()
        turned.set()
        await asyncio.gather(*dials)
        await greeted(ours, address)
        assert len(built) == 1
        assert built != [threading.current_thread()]

    with Listener(certificates.server_context()) as server:
        run(lambda: main(server.port))


def test_a_context_that_cannot_be_built(run: Run, tmp_path: Path) -> None:
    """Each dial is told; the next one tries again."""
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nobody")
    ours = dialer(verify=str(nonsense))
    for _ in range(2):
        error = failure(run, ours, Address("https", "127.0.0.1", 1))
        assert "no TLS context can be made" in str(error)
