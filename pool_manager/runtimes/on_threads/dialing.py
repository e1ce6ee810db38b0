"""
Dialing in a thread of its own: from a host and a port to a wire.

No time is bounded here: who waits for a dial has a timeout of his own. A dial looks up every now and then
whether it is still wanted; what the system does on its own (to look up a name) cannot be interrupted.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Hashable, Sequence
from typing import Final, Generic, TypeVar, cast

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
from pool_manager.runtimes.on_threads.racing import first_to_connect
from pool_manager.runtimes.on_threads.wires import READABLE, WRITABLE, TlsWire, Wait, Wire, ready
from pool_manager.runtimes.preparing import Conversation, Way, encryption_for, preparing
from pool_manager.runtimes.proxies import config_for, out_of_reach, way_by

T = TypeVar("T")

# Seconds after which a dial looks whether it is still wanted.
STEP: Final = 0.1


class Dialer:
    """Opens the connections of one pool, each in a thread of its own."""

    def __init__(self, config: PoolConfig, contexts: tls.ContextCache) -> None:
        self._config = config
        self._contexts = contexts
        self._to_proxy: PoolConfig | None = None
        self._connector = Connector(config)
        self._look_ups: Flights[Sequence[AddressInfo]] = Flights()

    def dial(self, address: Address, check: Callable[[], object], guide: Guide = UNGUIDED) -> Wire:
        """
        Connect to *address*, TLS included.

        Args:
            address: Where to.

            check: Called every now and then; raises if the connection is no longer wanted.

            guide: Says which address to try first.

        Raises:
            TransportFailure: A ConnectError that says what failed, with its cause; a ProxyError, if a proxy
                did not connect us.
        """

        def wait(
            socks: Sequence[socket.socket], events: int, seconds: float | None
        ) -> Sequence[tuple[socket.socket, int]]:
            until = None if seconds is None else time.monotonic() + seconds
            while True:
                check()
                left = STEP if until is None else min(STEP, until - time.monotonic())
                if (found := ready(socks, events, left)) or (until is not None and left < STEP):
                    return found

        encryption = self._encryption(address, self._config)
        if self._config.proxy is not None:
            way = self._way_by(self._config.proxy, address)
            try:
                sock = self._connect(way.proxy, wait, guide)
            except TransportFailure as error:
                raise out_of_reach(error, address) from error
        else:
            way = None
            if self._config.uds is not None:
                sock = self._connect_unix(self._config.uds, check)
            else:
                sock = self._connect(address, wait, guide)
        try:
            last = _converse(sock, preparing(address, encryption, way), wait)
            return Wire(sock) if last is None else TlsWire(sock, last)
        except BaseException:
            sock.close()
            raise

    def _encryption(self, address: Address, config: PoolConfig) -> Encryption | None:
        if address.scheme not in ("https", "wss"):
            return None
        return encryption_for(address, tls.offering(offered_to(address.scheme, config), self._contexts))

    def _way_by(self, proxy: Proxy, address: Address) -> Way:
        there, tunnel = way_by(proxy, address)
        try:
            if self._to_proxy is None:
                self._to_proxy = config_for(proxy, self._config)
            return Way(there, self._encryption(there, self._to_proxy), tunnel)
        except TransportFailure as error:
            raise out_of_reach(error, address) from error

    def _connect(self, address: Address, wait: Wait, guide: Guide) -> socket.socket:
        check_port(address)
        tried = candidates(address, self._resolve(address), self._connector, guide)
        try:
            sock = first_to_connect(tried, self._connector.prepared, wait)
        except ExceptionGroup as group:
            cause = group.exceptions[0] if len(group.exceptions) == 1 else group
            raise refused(all_refused(address, tried, group.exceptions)) from cause
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            guide.arrived(address, tried, sock)
        except BaseException as error:
            sock.close()
            if isinstance(error, OSError):
                raise refused(f"the connection to {address} failed: {why(error)}") from error
            raise
        return sock

    def _connect_unix(self, path: str, check: Callable[[], object]) -> socket.socket:
        try:
            sock = self._connector.prepared_unix()
            try:
                while not connected(sock, path):
                    check()
                    time.sleep(BUSY)
            except BaseException:
                sock.close()
                raise
        except OSError as error:
            raise refused(f"{ALL_FAILED}: {path} ({why(error)})") from error
        return sock

    def _resolve(self, address: Address) -> Sequence[AddressInfo]:
        key = (address.host, address.port)
        try:
            return literal(*key) or self._look_ups.join(key, lambda: look_up(*key))
        except (OSError, ValueError) as error:  # ValueError: not ASCII, or a NUL in it
            raise refused(f"cannot resolve {address.host}: {why(error)}") from error


def _converse(sock: socket.socket, talk: Conversation, wait: Wait) -> Encryption | None:
    """Have a conversation on a socket that does not block; give what it returns."""
    try:
        data, wanted = next(talk)
        while True:
            try:
                _send(sock, data, wait)
                received = _receive(sock, wanted, wait) if wanted else b""
            except OSError as error:
                data, wanted = talk.throw(error)
            else:
                data, wanted = talk.send(received)
    except StopIteration as end:
        return cast("Encryption | None", end.value)


def _send(sock: socket.socket, data: bytes, wait: Wait) -> None:
    left = memoryview(data)
    while left:
        wait((sock,), WRITABLE, None)
        with contextlib.suppress(BlockingIOError):
            left = left[sock.send(left) :]


def _receive(sock: socket.socket, size: int, wait: Wait) -> bytes:
    while True:
        wait((sock,), READABLE, None)
        with contextlib.suppress(BlockingIOError):
            return sock.recv(size)


def look_up(host: str, port: int) -> Sequence[AddressInfo]:
    """Ask the system for the addresses of *host*: the one place where DNS happens in threads."""
    # In bytes: Python would take a string through IDNA, which was done, and refuse some names that work.
    return socket.getaddrinfo(host.encode("ascii"), port, type=socket.SOCK_STREAM)


class Flights(Generic[T]):
    """One question at a time: who asks what is being asked already waits for the same answer."""

    def __init__(self) -> None:
        self._flights: dict[Hashable, _Flight[T]] = {}

    def join(self, key: Hashable, ask: Callable[[], T]) -> T:
        """Give the answer to *key*, or raise its error; *ask* is called if nobody is asking yet."""
        own = _Flight[T]()
        flight = self._flights.setdefault(key, own)
        if flight is own:
            try:
                flight.answer = ask()
            except Exception as error:  # noqa: BLE001 - it is raised in each of the threads
                flight.error = error
            finally:
                del self._flights[key]
                flight.landed.set()
        flight.landed.wait()
        if flight.error is not None:
            raise type(flight.error)(*flight.error.args) from flight.error
        assert flight.answer is not None
        return flight.answer


class _Flight(Generic[T]):
    def __init__(self) -> None:
        self.answer: T | None = None
        self.error: Exception | None = None
        self.landed = threading.Event()


class DialGivenUp(TransportFailure):
    """Nobody wants the connection any more."""

    def __init__(self, host: str, port: int) -> None:
        super().__init__("ConnectError", f"the dial of {host}:{port} was cancelled")
