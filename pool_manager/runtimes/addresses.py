"""Where to connect, and in what words it is said that nobody can: the same for each way to dial."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Final

import attrs

from pool_manager.core.endpoints import AddressInfo, interleaved
from pool_manager.core.messages import TransportFailure
from pool_manager.runtimes.connecting import Connector

_MAX_PORT: Final = 65535

# What OpenSSL says of a peer whose first bytes are no TLS.
_NOT_TLS: Final = ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG", "RECORD_LAYER_FAILURE")


@attrs.frozen
class Address:
    """
    Where to connect.

    Attributes:
        scheme: http, https, ws or wss.

        host: The host, IDNA-encoded, without brackets; an IPv6 address may carry a ``%scope``.

        port: The port.

        server_name: The name to ask for, and to verify, instead of the host (TLS only).
    """

    scheme: str
    host: str
    port: int
    server_name: str | None = None

    def __str__(self) -> str:
        """Name it for an error."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def tls_name(self) -> str:
        """The name for SNI and certificates: no final dot (RFC 6066, 3), and no scope, which is local."""
        return (self.server_name or self.host).partition("%")[0].removesuffix(".")


def literal(host: str, port: int) -> Sequence[AddressInfo]:
    """Give the one address that *host* is, without look-up or thread; nothing if it is a name."""
    try:
        return socket.getaddrinfo(
            host.encode("ascii"), port, type=socket.SOCK_STREAM, flags=socket.AI_NUMERICHOST
        )
    except socket.gaierror:
        return []


def check_port(address: Address) -> None:
    """
    Refuse a port that is none.

    Raises:
        TransportFailure: "ConnectError".
    """
    if not 0 < address.port <= _MAX_PORT:
        raise refused(f"cannot connect to {address}: a port is a number from 1 to {_MAX_PORT}")


@attrs.frozen
class Guide:
    """
    Who knows where the connections of a pool lead to, asked for one dial: see `core/endpoints.py`.

    Attributes:
        resolved: Takes a name and its addresses; gives them in the order in which they are to be tried.

        reached: Takes the name, those addresses, and the one that let the dial in.
    """

    resolved: Callable[[Hashable, Sequence[AddressInfo]], Sequence[AddressInfo]]
    reached: Callable[[Hashable, Sequence[AddressInfo], Hashable], object]

    def arrived(self, address: Address, tried: Sequence[AddressInfo], connection: socket.socket) -> None:
        """Tell where *connection* leads to."""
        with contextlib.suppress(OSError):  # the peer is gone already
            self.reached((address.host, address.port), tried, connection.getpeername())


def _as_found(_: Hashable, found: Sequence[AddressInfo]) -> Sequence[AddressInfo]:
    return interleaved(found)


def _to_nobody(_: Hashable, __: Sequence[AddressInfo], ___: Hashable) -> None:
    pass


# For a dial that is in nobody's book.
UNGUIDED: Final = Guide(_as_found, _to_nobody)


def candidates(
    address: Address, found: Iterable[AddressInfo], connector: Connector, guide: Guide
) -> Sequence[AddressInfo]:
    """
    Give the addresses to try, in order.

    Raises:
        TransportFailure: "ConnectError": there is none.
    """
    reachable = [info for info in found if connector.may_reach(info)]
    if not reachable:
        local = connector.local or "this machine"
        raise refused(f"cannot connect to {address}: it has no address that {local} can reach")
    return guide.resolved((address.host, address.port), reachable)


# What users of httpx know.
ALL_FAILED: Final = "All connection attempts failed"


def refused(message: str) -> TransportFailure:
    """Make the error of a dial."""
    return TransportFailure("ConnectError", message)


def all_refused(address: Address, tried: Sequence[AddressInfo], errors: Sequence[BaseException]) -> str:
    """Say of each address that was tried what was wrong with it."""
    reasons: list[str] = []
    for info, error in zip(tried, errors, strict=True):
        tried_at = str(info[4][0])
        reasons.append(why(error) if tried_at == address.host else f"{tried_at}: {why(error)}")
    return f"{ALL_FAILED}: {address} ({'; '.join(reasons)})"


def why(error: BaseException) -> str:
    """Say what was wrong, in one line."""
    if isinstance(error, OSError) and str(error.strerror).startswith("Connect call failed"):
        return f"[Errno {error.errno}] {os.strerror(error.errno or 0)}"  # asyncio says where instead of why
    return str(error) or type(error).__name__


def why_no_tls(error: OSError) -> str:
    """Say why there was no handshake, or how the connection ended in the middle of it."""
    if isinstance(error, ssl.SSLError) and error.reason in _NOT_TLS:
        return f"{error} (is this a port for plain HTTP?)"
    return str(error) or "the server hung up during the handshake"
