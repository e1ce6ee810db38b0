"""
Network streams for threads: one may read while another writes.

httpcore's own use one `ssl.SSLSocket` and its timeout from both sides at once,
which OpenSSL does not allow and which loses data. Here TLS lives in memory,
under a lock, above a socket that is never told to block.
"""

from __future__ import annotations

import selectors
import socket
import ssl
import threading
import time
from collections.abc import Iterable
from typing import Any

import httpcore

_RECEIVE = 65536
# Without a descriptor of its own, as epoll would have; Windows has no poll.
_Selector: Any = getattr(selectors, "PollSelector", selectors.SelectSelector)


class ThreadBackend(httpcore.SyncBackend):
    """Connects as httpcore does, and hands out our streams."""

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect over TCP; seconds for the connection to stand."""
        stream = super().connect_tcp(host, port, timeout, local_address, socket_options)
        return SocketStream(stream.get_extra_info("socket"))

    def connect_unix_socket(
        self, path: str, timeout: float | None = None, socket_options: Iterable[Any] | None = None
    ) -> httpcore.NetworkStream:
        """Connect to a Unix domain socket."""
        stream = super().connect_unix_socket(path, timeout, socket_options)
        return SocketStream(stream.get_extra_info("socket"))


class SocketStream(httpcore.NetworkStream):
    """A connected socket. One thread reads at a time, and one writes: httpcore sees to that."""

    def __init__(self, sock: socket.socket) -> None:
        sock.settimeout(0)
        self._socket = sock

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read what there is, waiting up to *timeout* seconds for some; empty at the end."""
        deadline = _deadline(timeout)
        while True:
            try:
                return self._socket.recv(max_bytes)
            except BlockingIOError:
                if not self._wait(selectors.EVENT_READ, deadline):
                    raise httpcore.ReadTimeout("timed out") from None
            except OSError as error:
                raise httpcore.ReadError(str(error)) from error

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write all of *buffer*; *timeout* seconds for each part to be taken."""
        rest = memoryview(buffer)
        while rest:
            try:
                rest = rest[self._socket.send(rest) :]
            except BlockingIOError:
                if not self._wait(selectors.EVENT_WRITE, _deadline(timeout)):
                    raise httpcore.WriteTimeout("timed out") from None
            except OSError as error:
                raise httpcore.WriteError(str(error)) from error

    def _wait(self, event: int, deadline: float | None) -> bool:
        left = None if deadline is None else max(0.0, deadline - time.monotonic())
        with _Selector() as selector:
            try:
                selector.register(self._socket, event)
            except ValueError:  # closed meanwhile: the next call on it says so
                return True
            return bool(selector.select(left))

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Shake hands above this stream; it is closed if that fails."""
        return _shake_hands(self, ssl_context, server_hostname, timeout)

    def get_extra_info(self, info: str) -> Any:
        """Tell about the socket."""
        match info:
            case "socket":
                return self._socket
            case "client_addr":
                return self._socket.getsockname()
            case "server_addr":
                return self._socket.getpeername()
            case "is_readable":
                return self._socket.fileno() == -1 or self._wait(selectors.EVENT_READ, time.monotonic())
            case _:
                return None


class TlsStream(httpcore.NetworkStream):
    """TLS above another stream, another TLS one included."""

    def __init__(
        self,
        below: httpcore.NetworkStream,
        tls: ssl.SSLObject,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
    ) -> None:
        self._below, self._tls, self._incoming, self._outgoing = below, tls, incoming, outgoing
        self._state = threading.Lock()  # around the three above; never held while waiting
        self._writing = threading.Lock()  # what was encrypted first is sent first

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Read as `SocketStream.read` does."""
        deadline = _deadline(timeout)
        while True:
            try:
                with self._state:
                    return self._tls.read(max_bytes)
            except ssl.SSLWantReadError:
                pass
            except (ssl.SSLZeroReturnError, ssl.SSLEOFError):
                return b""
            except ssl.SSLError as error:
                raise httpcore.ReadError(str(error)) from error
            finally:
                self._answer(timeout)
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            self._feed(self._below.read(_RECEIVE, left))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Write as `SocketStream.write` does."""
        if not buffer:
            return
        with self._writing:
            with self._state:
                try:
                    self._tls.write(buffer)
                except ssl.SSLError as error:
                    raise httpcore.WriteError(str(error)) from error
                encrypted = self._outgoing.read()
            self._below.write(encrypted, timeout)

    def _answer(self, timeout: float | None) -> None:
        """Send what reading gave rise to: new keys, or the certificate that a server asks for late."""
        if self._outgoing.pending:
            with self._writing:
                with self._state:
                    encrypted = self._outgoing.read()
                self._below.write(encrypted, timeout)

    def shake_hands(self, timeout: float | None) -> None:
        """Do the handshake, within *timeout* seconds."""
        deadline = _deadline(timeout)
        while True:
            try:
                self._tls.do_handshake()
                done = True
            except ssl.SSLWantReadError:
                done = False
            except ssl.SSLError:
                self._answer(timeout)  # the alert that tells the peer why
                raise
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            self._below.write(self._outgoing.read(), left)
            if done:
                return
            self._feed(self._below.read(_RECEIVE, left))

    def _feed(self, received: bytes) -> None:
        with self._state:
            if received:
                self._incoming.write(received)
            else:
                self._incoming.write_eof()

    def close(self) -> None:
        """Close the stream below; as httpcore, without a word to the peer."""
        self._below.close()

    def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.NetworkStream:
        """Shake hands above this stream: what an https proxy asks for."""
        return _shake_hands(self, ssl_context, server_hostname, timeout)

    def get_extra_info(self, info: str) -> Any:
        """Tell about TLS, or what the stream below tells."""
        if info == "ssl_object":
            return self._tls
        return self._below.get_extra_info(info)


def _shake_hands(
    below: httpcore.NetworkStream, context: ssl.SSLContext, server_hostname: str | None, timeout: float | None
) -> TlsStream:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        tls = context.wrap_bio(incoming, outgoing, server_hostname=server_hostname)
        stream = TlsStream(below, tls, incoming, outgoing)
        stream.shake_hands(timeout)
    except BaseException as error:
        below.close()
        if isinstance(error, httpcore.ReadTimeout | httpcore.WriteTimeout):
            raise httpcore.ConnectTimeout(str(error)) from error
        if isinstance(error, httpcore.NetworkError | OSError):  # ssl.SSLError is an OSError
            raise httpcore.ConnectError(str(error)) from error
        raise
    return stream


def _deadline(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout
