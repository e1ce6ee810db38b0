"""
Dialing on trio: from a host and a port to a connection, as `runtimes/dialing.py` does it on asyncio.

No time is bounded here: a dial runs in a system task, which the pool cancels, and wherever that happens no
socket stays behind.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
from collections.abc import Callable, Sequence
from typing import TypeVar, cast

import trio

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
)
from pool_manager.runtimes.connecting import BUSY, Connector, connected
from pool_manager.runtimes.encrypting import Encryption
from pool_manager.runtimes.in_loops.port import Listener
from pool_manager.runtimes.on_trio.flights import Flights
from pool_manager.runtimes.on_trio.loop import TrioLoop
from pool_manager.runtimes.on_trio.racing import first_to_connect
from pool_manager.runtimes.on_trio.transports import SocketTransport
from pool_manager.runtimes.preparing import Conversation, Way, encryption_for, preparing
from pool_manager.runtimes.proxies import config_for, out_of_reach, way_by

L = TypeVar("L", bound=Listener)


class TrioDialer:
    """Opens the connections of one pool, in its run."""

    def __init__(self, loop: TrioLoop, config: PoolConfig, contexts: tls.ContextCache) -> None:
        self._loop, self._config, self._contexts = loop, config, contexts
        self._to_proxy: PoolConfig | None = None
        self._connector = Connector(config)
        self._look_ups: Flights[Sequence[AddressInfo]] = Flights()
        self._builds: Flights[ssl.SSLContext] = Flights()

    async def dial(self, address: Address, make_listener: Callable[[], L], guide: Guide = UNGUIDED) -> L:
        """
        Connect to *address*, and give what listens, with its connection made.

        Raises:
            TransportFailure: A ConnectError that says what failed, with its cause; a ProxyError, if a proxy
                did not connect us.
        """
        encryption = await self._encryption_for(address, self._config)
        if self._config.proxy is not None:
            way = await self._way_by(self._config.proxy, address)
            try:
                connection = await self._connect(way.proxy, guide)
            except TransportFailure as error:
                raise out_of_reach(error, address) from error
        else:
            way = None
            if self._config.uds is not None:
                connection = await self._connect_unix(self._config.uds)
            else:
                connection = await self._connect(address, guide)
        try:
            last = await _converse(connection, preparing(address, encryption, way))
            listener = make_listener()
            transport = SocketTransport(self._loop, connection, last, listener)
            listener.connection_made(transport)
        except BaseException:
            connection.close()
            raise
        transport.start()
        return listener

    async def _encryption_for(self, address: Address, config: PoolConfig) -> Encryption | None:
        if address.scheme not in ("https", "wss"):
            return None
        return encryption_for(address, await self._context(offered_to(address.scheme, config)))

    async def _context(self, config: PoolConfig) -> ssl.SSLContext:
        """Give the context. Where CAs have to be read a thread does it, and the run goes on."""
        if self._contexts.has(config):
            return tls.offering(config, self._contexts)
        return await self._builds.join(
            config,
            lambda: trio.to_thread.run_sync(tls.offering, config, self._contexts, abandon_on_cancel=True),
        )

    async def _way_by(self, proxy: Proxy, address: Address) -> Way:
        there, tunnel = way_by(proxy, address)
        try:
            if self._to_proxy is None:
                self._to_proxy = config_for(proxy, self._config)
            return Way(there, await self._encryption_for(there, self._to_proxy), tunnel)
        except TransportFailure as error:
            raise out_of_reach(error, address) from error

    async def _connect(self, address: Address, guide: Guide) -> socket.socket:
        check_port(address)
        tried = candidates(address, await self._resolve(address), self._connector, guide)
        try:
            connection = await first_to_connect(tried, self._tcp)
        except ExceptionGroup as group:
            cause = group.exceptions[0] if len(group.exceptions) == 1 else group
            raise refused(all_refused(address, tried, group.exceptions)) from cause
        guide.arrived(address, tried, connection)
        return connection

    async def _connect_unix(self, path: str) -> socket.socket:
        try:
            connection = self._connector.prepared_unix()
            try:
                while not connected(connection, path):  # noqa: ASYNC110 - nobody tells when there is room
                    await trio.sleep(BUSY)
            except BaseException:
                connection.close()
                raise
        except OSError as error:
            raise refused(f"{ALL_FAILED}: {path} ({why(error)})") from error
        return connection

    async def _tcp(self, info: AddressInfo) -> socket.socket:
        """Connect to one address; raises OSError."""
        connection = self._connector.prepared(info)
        try:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, True)  # noqa: FBT003 - as `socket` has it
            with contextlib.suppress(BlockingIOError):
                connection.connect(info[4])
            await trio.lowlevel.wait_writable(connection)
            _raise_error_of(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    async def _resolve(self, address: Address) -> Sequence[AddressInfo]:
        key = (address.host, address.port)
        try:
            return literal(*key) or await self._look_ups.join(key, lambda: look_up(*key))
        except (OSError, ValueError) as error:  # ValueError: not ASCII, or a NUL in it
            raise refused(f"cannot resolve {address.host}: {why(error)}") from error


def _raise_error_of(connection: socket.socket) -> None:
    if number := connection.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
        raise OSError(number, os.strerror(number))


async def look_up(host: str, port: int) -> Sequence[AddressInfo]:
    """Ask the system for the addresses of *host*, or the resolver that trio was told to ask instead."""
    # In bytes: Python would take a string through IDNA, which was done, and refuse some names that work.
    return await trio.socket.getaddrinfo(host.encode("ascii"), port, type=socket.SOCK_STREAM)


async def _converse(connection: socket.socket, talk: Conversation) -> Encryption | None:
    """Have a conversation; give what it returns."""
    try:
        data, wanted = next(talk)
        while True:
            try:
                await _send(connection, data)
                received = await _receive(connection, wanted) if wanted else b""
            except OSError as error:
                data, wanted = talk.throw(error)
            else:
                data, wanted = talk.send(received)
    except StopIteration as end:
        return cast("Encryption | None", end.value)


async def _send(connection: socket.socket, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        await trio.lowlevel.wait_writable(connection)
        with contextlib.suppress(BlockingIOError):
            rest = rest[connection.send(rest) :]


async def _receive(connection: socket.socket, size: int) -> bytes:
    while True:
        await trio.lowlevel.wait_readable(connection)
        with contextlib.suppress(BlockingIOError):
            return connection.recv(size)
