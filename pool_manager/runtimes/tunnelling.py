"""
Tunnels on asyncio and uvloop: the conversation of `core.tunnels`, spoken over a socket or over TLS.

With a proxy that is reached in the clear it is held on the bare socket, before a loop has that: what comes
afterwards is as for any connection. A proxy that is reached over TLS needs a transport from the start, and a
target with TLS a second one upon it.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any, TypeVar, cast

from pool_manager.core.tunnels import Tunnel, proxy_error
from pool_manager.runtimes.on_asyncio.letting_go import mend, sever

P = TypeVar("P")  # a protocol by its methods


async def talk(connection: socket.socket, tunnel: Tunnel) -> None:
    """
    Have the proxy at the other end of *connection* connect us. Closes it where that fails.

    Raises:
        TransportFailure: It did not; mostly a "ProxyError".
    """
    loop = asyncio.get_running_loop()
    try:
        data = tunnel.start()
        while not tunnel.is_open:
            if data:
                await loop.sock_sendall(connection, data)
            data = tunnel.receive(await loop.sock_recv(connection, tunnel.wants))
    except OSError as error:
        connection.close()
        raise proxy_error(f"the connection to the proxy broke: {error}") from error
    except BaseException:
        connection.close()
        raise


class Doorman(asyncio.Protocol):
    """
    Has a connection while it is being prepared, and hands it over with all that came meanwhile.

    Attributes:
        transport: The connection.
    """

    transport: asyncio.Transport

    def __init__(self) -> None:
        self._came = bytearray()
        self._waiter: asyncio.Future[None] | None = None
        self._is_over = False
        self._heir: Callable[[Exception | None], None] | None = None

    async def talk(self, tunnel: Tunnel) -> None:
        """
        Have the proxy at the other end connect us. The connection is left to the caller where that fails.

        Raises:
            TransportFailure: It did not; mostly a "ProxyError".
        """
        data = tunnel.start()
        while not tunnel.is_open:
            if data:
                self.transport.write(data)
            data = tunnel.receive(await self._read())

    async def _read(self) -> bytes:
        if not self._came and not self._is_over:
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        data = bytes(self._came)
        self._came.clear()
        return data

    async def encrypted(self, context: ssl.SSLContext, options: Mapping[str, Any]) -> Doorman:
        """
        Begin TLS on the connection; give who has it then. It is left to the caller where that fails.

        Raises:
            OSError: There was no handshake.
        """
        inner = Doorman()
        loop = asyncio.get_running_loop()
        mend(self.transport)
        transport = await loop.start_tls(self.transport, inner, context, **options)
        if transport is None:  # the connection was lost meanwhile
            raise ConnectionResetError
        inner.transport = transport
        return inner

    def hand_over(self, protocol: asyncio.BaseProtocol) -> None:
        """Let *protocol* have the connection, as if it had just been made, and tell it what came."""
        transport = self.transport
        transport.set_protocol(protocol)
        protocol.connection_made(transport)
        chosen = cast(asyncio.Protocol, transport.get_protocol())  # it may have put another in its place
        self._heir = chosen.connection_lost
        if self._came:
            chosen.data_received(bytes(self._came))
        if self._is_over:
            chosen.connection_lost(None)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    # What asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection."""
        self.transport = cast(asyncio.Transport, transport)  # uvloop's is one by its methods alone

    def data_received(self, data: bytes) -> None:
        """Keep what came."""
        self._came += data
        self._wake()

    def eof_received(self) -> None:
        """Know that no more will come."""
        self._is_over = True
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        """Know that it is over, or tell who has the connection by now."""
        if self._heir is not None:
            self._heir(exc)
        self._is_over = True
        self._wake()


async def tunnelled(
    doorman: Doorman,
    tunnel: Tunnel,
    context: ssl.SSLContext | None,
    options: Mapping[str, Any],
    make_protocol: Callable[[], P],
) -> P:
    """
    Make a tunnel by the connection that *doorman* has, and give it to a protocol. Closes it where that fails.

    Args:
        doorman: Its connection is one to the proxy, over TLS.

        tunnel: The conversation to be had.

        context: TLS with the target, inside the TLS with the proxy; None if there is none.

        options: Of that handshake.

        make_protocol: Makes the protocol.

    Raises:
        TransportFailure: There is no tunnel; mostly a "ProxyError".

        OSError: There was no handshake with the target.
    """
    try:
        await doorman.talk(tunnel)
        last = doorman if context is None else await doorman.encrypted(context, options)
        protocol = make_protocol()
        last.hand_over(cast(asyncio.BaseProtocol, protocol))
    except BaseException:
        sever(doorman.transport)  # nothing is awaited: the dial may be cancelled, or the loop be gone
        raise
    return protocol
