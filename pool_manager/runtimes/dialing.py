"""
Dialing on asyncio and uvloop: from a host and a port to a protocol that is connected.

Names are looked up, addresses raced, and TLS spoken to the end of its handshake.
No time is bounded here: a dial runs in a task of the pool's, which cancels it,
and wherever that happens no socket, transport or task stays behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias, TypeVar

from pool_manager.config import PoolConfig, Proxy
from pool_manager.core.endpoints import AddressInfo
from pool_manager.core.messages import TransportFailure
from pool_manager.core.protocols import offered_to
from pool_manager.runtimes import tls
from pool_manager.runtimes.addresses import (
    ALL_FAILED,
    UNGUIDED,
    Address,
    Guide,
    all_refused,
    candidates,
    check_port,
    literal,
    refused,
    why,
    why_no_tls,
)
from pool_manager.runtimes.connecting import Connector
from pool_manager.runtimes.flights import Flights
from pool_manager.runtimes.proxies import config_for, out_of_reach, way_by
from pool_manager.runtimes.racing import first_to_connect
from pool_manager.runtimes.tunnelling import Doorman, talk, tunnelled

P = TypeVar("P")  # a protocol by its methods
_Attaching: TypeAlias = asyncio.Task[tuple[asyncio.Transport, asyncio.BaseProtocol]]

_NEVER: Final = 365 * 24 * 3600.0  # seconds; a loop wants some limit for a handshake, the pool has its own
_GOODBYE: Final = 2.0  # seconds for the peer to answer our close_notify; with the loops' 30, sockets pile up


class Dialer:
    """Opens the connections of one pool, in its event loop."""

    def __init__(self, config: PoolConfig, contexts: tls.ContextCache) -> None:
        self._config = config
        self._contexts = contexts
        self._to_proxy: PoolConfig | None = None
        self._connector = Connector(config)
        self._look_ups: Flights[Sequence[AddressInfo]] = Flights()
        self._builds: Flights[ssl.SSLContext] = Flights()

    async def dial(self, address: Address, make_protocol: Callable[[], P], guide: Guide = UNGUIDED) -> P:
        """
        Connect to *address*, and give the protocol with its connection made.

        A server may have hung up again by the time this returns; then the
        protocol was told so by `connection_lost`.

        Raises:
            TransportFailure: A ConnectError that says what failed, with its cause; a ProxyError, if a proxy
                did not connect us.
        """
        context = await self._context_for(address, self._config)
        if self._config.proxy is not None:
            return await self._dial_by(self._config.proxy, address, context, make_protocol, guide)
        if self._config.uds is not None:
            connection = await self._connect_unix(self._config.uds)
        else:
            connection = await self._connect(address, guide)
        return await _attach(connection, address, context, make_protocol)

    async def _dial_by(
        self,
        proxy: Proxy,
        address: Address,
        context: ssl.SSLContext | None,
        make_protocol: Callable[[], P],
        guide: Guide,
    ) -> P:
        """Connect to the proxy, and by a tunnel to *address* where the proxy does not pass on requests."""
        there, tunnel = way_by(proxy, address)
        try:
            if self._to_proxy is None:
                self._to_proxy = config_for(proxy, self._config)
            proxy_context = await self._context_for(there, self._to_proxy)
            connection = await self._connect(there, guide)
        except TransportFailure as error:
            raise out_of_reach(error, address) from error
        if tunnel is None:
            return await _attach(connection, there, proxy_context, make_protocol)
        if proxy_context is None:
            await talk(connection, tunnel)
            return await _attach(connection, address, context, make_protocol)
        doorman = await _attach(connection, there, proxy_context, Doorman)
        try:
            options = _handshake_with(address, context)
            return await tunnelled(doorman, tunnel, context, options, make_protocol)
        except OSError as error:
            raise refused(f"TLS with {address} failed: {why_no_tls(error)}") from error

    async def _context_for(self, address: Address, config: PoolConfig) -> ssl.SSLContext | None:
        if address.scheme not in ("https", "wss"):
            return None
        context = await self._context(offered_to(address.scheme, config))
        try:
            # A rehearsal: a name that cannot be asked for is refused before anybody is connected to.
            context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=address.tls_name)
        except (ssl.SSLError, ValueError) as error:  # UnicodeError, for a label too long, is one
            raise refused(f"TLS cannot ask for the name {address.tls_name!r}: {error}") from error
        return context

    async def _context(self, config: PoolConfig) -> ssl.SSLContext:
        """Give the context. Where CAs have to be read a thread does it, and the loop goes on."""
        if self._contexts.has(config):
            return tls.offering(config, self._contexts)
        loop = asyncio.get_running_loop()
        return await self._builds.join(
            config, lambda: loop.run_in_executor(None, tls.offering, config, self._contexts)
        )

    async def _connect_unix(self, path: str) -> socket.socket:
        try:
            return await self._connector.unix(path)
        except OSError as error:
            raise refused(f"{ALL_FAILED}: {path} ({why(error)})") from error

    async def _connect(self, address: Address, guide: Guide) -> socket.socket:
        check_port(address)
        tried = candidates(address, await self._resolve(address), self._connector, guide)
        try:
            connection = await first_to_connect(tried, self._connector.tcp)
        except ExceptionGroup as group:
            cause = group.exceptions[0] if len(group.exceptions) == 1 else group
            raise refused(all_refused(address, tried, group.exceptions)) from cause
        guide.arrived(address, tried, connection)
        return connection

    async def _resolve(self, address: Address) -> Sequence[AddressInfo]:
        key = (address.host, address.port)
        try:
            return literal(*key) or await self._look_ups.join(key, lambda: look_up(*key))
        except (OSError, ValueError) as error:  # ValueError: not ASCII, or a NUL in it
            raise refused(f"cannot resolve {address.host}: {why(error)}") from error


async def look_up(host: str, port: int) -> Sequence[AddressInfo]:
    """Ask the system for the addresses of *host*: the one place where DNS happens."""
    # In bytes: Python would take a string through IDNA, which was done, and refuse some names that work.
    return await asyncio.get_running_loop().getaddrinfo(host.encode("ascii"), port, type=socket.SOCK_STREAM)


async def _attach(
    connection: socket.socket,
    address: Address,
    context: ssl.SSLContext | None,
    make_protocol: Callable[[], P],
) -> P:
    """Hand a connected socket to the loop, with the protocol on top and TLS between them."""
    loop = asyncio.get_running_loop()
    try:
        protocol = make_protocol()
    except BaseException:
        connection.close()
        raise
    tcp = connection.family in (socket.AF_INET, socket.AF_INET6)
    create: Callable[..., Any] = loop.create_connection if tcp else loop.create_unix_connection
    options: dict[str, Any] = _handshake_with(address, context)
    if context is not None:
        options["ssl"] = context
    attaching = loop.create_task(create(lambda: protocol, sock=connection, **options))
    if type(loop).__module__ == "uvloop":
        # It closes the descriptor, but the socket object forgets it only if all goes well, and would
        # close it again when it is collected: somebody else's by then (uvloop issues 645 and 738).
        attaching.add_done_callback(lambda _: connection.detach())
    await _settled(attaching, connection)
    try:
        attaching.result()
    except OSError as error:
        what = "the connection to" if context is None else "TLS with"
        raise refused(f"{what} {address} failed: {why_no_tls(error)}") from error
    return protocol


def _handshake_with(address: Address, context: ssl.SSLContext | None) -> dict[str, Any]:
    if context is None:
        return {}
    return {
        "server_hostname": address.tls_name,
        "ssl_handshake_timeout": _NEVER,
        "ssl_shutdown_timeout": _GOODBYE,
    }


async def _settled(attaching: _Attaching, connection: socket.socket) -> None:
    """
    Wait until *attaching* is done. Cancelled, cut the connection, and see *attaching* fail by that.

    It is not cancelled itself, which no loop does well: asyncio goes on with a
    handshake that was about to begin, and after one waits for the peer's goodbye;
    uvloop keeps the timer for the handshake, and all that hangs on it.
    """
    try:
        await asyncio.wait([attaching])
    except asyncio.CancelledError:
        attaching.add_done_callback(_discard)
        with contextlib.suppress(OSError):  # closed, by us or by the peer
            connection.shutdown(socket.SHUT_RDWR)
        await asyncio.wait([attaching])
        raise


def _discard(attaching: _Attaching) -> None:
    if not attaching.cancelled() and attaching.exception() is None:
        attaching.result()[0].abort()
