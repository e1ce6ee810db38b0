"""A dial that fails says why: what was tried, in the words of the system, with the cause chained."""

from __future__ import annotations

import errno
import resource
import socket
import ssl
from pathlib import Path
from typing import Any, Final

import pytest
import trustme

from pool_manager.core.messages import TransportFailure
from pool_manager.runtimes.addresses import Address
from tests.support.certificates import Certificates
from tests.support.dialing import (
    ON_BOTH_LOOPS,
    Run,
    Wire,
    dialer,
    failure,
    found,
    greeted,
    known_names,
    refusing,
)
from tests.support.listener import Listener, hang_up, say_http

pytestmark = ON_BOTH_LOOPS

NOWHERE: Final = "192.0.2.1"  # for documentation (RFC 5737): no address of this machine


@pytest.fixture
def names(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Give the names there are."""
    return known_names(monkeypatch)


def test_refused(run: Run) -> None:
    """One address refuses: the host, the port and the system's own words."""
    with refusing() as port:
        error = failure(run, dialer(), Address("http", "127.0.0.1", port))
    assert str(error) == f"All connection attempts failed: 127.0.0.1:{port} ([Errno 111] Connection refused)"
    assert isinstance(error.__cause__, ConnectionRefusedError)


def test_all_addresses_fail(run: Run, names: dict[str, Any]) -> None:
    """Several addresses fail: each with its reason, and all as the cause."""
    with refusing() as one, refusing("::1") as two:
        names["both.example"] = found(("127.0.0.1", one), ("::1", two))
        error = failure(run, dialer(), Address("http", "both.example", 80))
    assert str(error) == (
        "All connection attempts failed: both.example:80"
        " (127.0.0.1: [Errno 111] Connection refused; ::1: [Errno 111] Connection refused)"
    )
    assert isinstance(error.__cause__, ExceptionGroup)
    assert [type(cause) for cause in error.__cause__.exceptions] == [ConnectionRefusedError] * 2


def test_no_such_name(run: Run, names: dict[str, Any]) -> None:
    """A look-up fails: the name and the resolver's words."""
    names["no.example"] = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    error = failure(run, dialer(), Address("http", "no.example", 80))
    assert str(error) == "cannot resolve no.example: [Errno -2] Name or service not known"
    assert isinstance(error.__cause__, socket.gaierror)


@pytest.mark.parametrize("host", ["bücher.example", "a\0b"])
def test_no_name_at_all(run: Run, host: str) -> None:
    """What can be no host is a ConnectError like any."""
    assert str(failure(run, dialer(), Address("http", host, 80))).startswith("cannot resolve")


@pytest.mark.parametrize("port", [0, 65536, -1])
def test_no_port(run: Run, port: int) -> None:
    """A number that is no port is said to be none."""
    error = failure(run, dialer(), Address("http", "::1", port))
    assert str(error) == f"cannot connect to [::1]:{port}: a port is a number from 1 to 65535"


@pytest.mark.parametrize(
    ("server_name", "host"), [("a" * 64 + ".example", "127.0.0.1"), ("a..b", "127.0.0.1"), (None, ".")]
)
def test_a_name_that_cannot_be_asked_for(
    run: Run, certificates: Certificates, server_name: str | None, host: str
) -> None:
    """A name that TLS cannot carry is refused before anybody is connected to."""
    error = failure(run, dialer(certificates), Address("https", host, 1, server_name))
    assert "TLS cannot ask for the name" in str(error)


def test_a_local_address_of_somebody_else(run: Run) -> None:
    """A `local_address` that is not this machine's is named."""
    with Listener() as server:
        error = failure(run, dialer(local_address=NOWHERE), Address("http", "127.0.0.1", server.port))
    assert f"cannot connect from {NOWHERE}: Cannot assign requested address" in str(error)


@pytest.mark.parametrize("option", [(socket.IPPROTO_TCP, 9999, 1), (socket.SOL_SOCKET, 9, 2**40)])
def test_an_option_that_cannot_be_set(run: Run, option: tuple[int, int, int]) -> None:
    """A socket option that the system does not know, or a value it cannot take, is named."""
    with Listener() as server:
        error = failure(run, dialer(socket_options=[option]), Address("http", "127.0.0.1", server.port))
    assert f"socket option {option} cannot be set" in str(error)


@pytest.mark.parametrize("length", [1, 200])
def test_no_unix_domain_socket(run: Run, tmp_path: Path, length: int) -> None:
    """A path where nobody listens, or that is too long, is named with the reason."""
    path = str(tmp_path / ("s" * length))
    error = failure(run, dialer(uds=path), Address("http", "a", 80))
    reason = "[Errno 2] No such file or directory" if length == 1 else "AF_UNIX path too long"
    assert str(error) == f"All connection attempts failed: {path} ({reason})"


def test_another_name_or_authority_is_refused(run: Run, certificates: Certificates) -> None:
    """A certificate that does not verify: OpenSSL's words, and its error as the cause."""
    with Listener(certificates.server_context()) as server:
        address = Address("https", "127.0.0.1", server.port, "other.example")
        error = failure(run, dialer(certificates), address)
        assert f"TLS with 127.0.0.1:{server.port} failed: [SSL: CERTIFICATE_VERIFY_FAILED]" in str(error)
        assert "Hostname mismatch" in str(error)
        assert isinstance(error.__cause__, ssl.SSLCertVerificationError)
    other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(other)
    with Listener(other) as server:
        error = failure(run, dialer(certificates), Address("https", "localhost", server.port))
        assert "certificate verify failed" in str(error)


def test_plain_http_where_tls_was_expected(run: Run, certificates: Certificates) -> None:
    """A server that answers in the clear is suspected to be one for plain HTTP."""
    with Listener(serve=say_http) as server:
        error = failure(run, dialer(certificates), Address("https", "127.0.0.1", server.port))
        assert str(error).startswith(f"TLS with 127.0.0.1:{server.port} failed: [SSL: ")
        assert str(error).endswith("(is this a port for plain HTTP?)")


def test_a_handshake_is_cut_short(run: Run, certificates: Certificates) -> None:
    """A server that hangs up during the handshake is said to have done so."""
    with Listener(serve=hang_up) as server:
        error = failure(run, dialer(certificates), Address("https", "127.0.0.1", server.port))
        assert str(error) == (
            f"TLS with 127.0.0.1:{server.port} failed: the server hung up during the handshake"
        )
        assert isinstance(error.__cause__, ConnectionResetError)


def test_no_file_descriptors_left(run: Run) -> None:
    """Where the process may open no more files, that is the error; when it may again, a dial works."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def main(address: Address) -> None:
        ours = dialer()
        await greeted(ours, address)
        resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
        try:
            with pytest.raises(TransportFailure, match=r"\[Errno 24\] Too many open files") as caught:
                await ours.dial(address, Wire)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        assert isinstance(caught.value.__cause__, OSError)
        assert caught.value.__cause__.errno == errno.EMFILE
        await greeted(ours, address)

    with Listener() as server:
        run(lambda: main(Address("http", "127.0.0.1", server.port)))


def test_a_protocol_that_cannot_be_made(run: Run) -> None:
    """What `make_protocol` raises is raised, and the socket closed."""

    def broken() -> Wire:
        raise ZeroDivisionError

    async def main(address: Address) -> None:
        with pytest.raises(ZeroDivisionError):
            await dialer().dial(address, broken)

    with Listener() as server:
        run(lambda: main(Address("http", "127.0.0.1", server.port)))
