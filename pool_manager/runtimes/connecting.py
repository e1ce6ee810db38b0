"""Sockets as a pool wants them: options set and address bound before the first packet, then connected."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from typing import Final

from pool_manager.config import PoolConfig, SocketOption
from pool_manager.core.endpoints import AddressInfo

BUSY: Final = 0.01  # seconds until a Unix socket whose queue was full is tried again


class Connector:
    """
    Connects sockets for one pool. A socket that cannot be is closed, also on cancellation.

    Attributes:
        local: The IP address to connect from, if that matters.
    """

    def __init__(self, config: PoolConfig) -> None:
        self._options = config.socket_options
        self.local = config.local_address

    def may_reach(self, info: AddressInfo) -> bool:
        """Whether an address is of the same IP version as the one to connect from."""
        return self.local is None or info[0] == _family_of(self.local)

    async def tcp(self, info: AddressInfo) -> socket.socket:
        """
        Connect to one address.

        Raises:
            OSError: It cannot be done.
        """
        connection = self.prepared(info)
        try:
            await asyncio.get_running_loop().sock_connect(connection, info[4])
        except BaseException:
            connection.close()
            raise
        return connection

    def prepared(self, info: AddressInfo) -> socket.socket:
        """
        Make a socket that is ready to connect to one address, and does not block.

        Raises:
            OSError: It cannot be done.
        """
        family, kind, protocol, _, _ = info
        connection = socket.socket(family, kind, protocol)
        try:
            connection.settimeout(0)
            _set(connection, self._options)  # TCP_NODELAY is what both loops set
            if self.local is not None:
                _bind(connection, self.local)
        except BaseException:
            connection.close()
            raise
        return connection

    async def unix(self, path: str) -> socket.socket:
        """
        Connect to a Unix domain socket; wait where too many others do.

        Raises:
            OSError: It cannot be done, on this platform or at all.
        """
        connection = self.prepared_unix()
        try:
            while not connected(connection, path):  # noqa: ASYNC110 - nobody tells when there is room
                await asyncio.sleep(BUSY)
        except BaseException:
            connection.close()
            raise
        return connection

    def prepared_unix(self) -> socket.socket:
        """
        Make a Unix domain socket that is ready to be `connected`, and does not block.

        Raises:
            OSError: It cannot be done, on this platform or at all.
        """
        if not hasattr(socket, "AF_UNIX"):
            raise OSError(errno.EAFNOSUPPORT, "this platform has no Unix domain sockets")
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(0)
            # TCP keepalive and its kin mean nothing here, and would be refused.
            _set(connection, tuple(option for option in self._options if option[0] == socket.SOL_SOCKET))
        except BaseException:
            connection.close()
            raise
        return connection


def _set(connection: socket.socket, options: tuple[SocketOption, ...]) -> None:
    for option in options:
        try:
            connection.setsockopt(*option)
        except (OSError, TypeError) as error:  # TypeError: a number beyond an int of C's
            number = error.errno if isinstance(error, OSError) else errno.EINVAL
            why = os.strerror(number or errno.EINVAL)
            raise OSError(number, f"the socket option {option} cannot be set: {why}") from error


def _bind(connection: socket.socket, local: str) -> None:
    try:
        # Nothing is looked up: it is an IP address. This is how a scope becomes a number.
        found = socket.getaddrinfo(
            local, 0, family=connection.family, type=connection.type, flags=socket.AI_NUMERICHOST
        )
        connection.bind(found[0][4])
    except OSError as error:
        raise OSError(error.errno, f"cannot connect from {local}: {error.strerror}") from error


def _family_of(address: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def connected(connection: socket.socket, path: str) -> bool:
    """Connect, and tell whether it was done: the kernel never does half of it, as it does with TCP."""
    # Not by the loop: it would take EAGAIN (the queue is full) for a connection that is being made.
    try:
        connection.connect(path)
    except BlockingIOError:
        return False
    return True
