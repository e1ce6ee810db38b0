"""A server of one test's: a thread that takes connections, shakes hands if told so, and says what it saw."""

from __future__ import annotations

import contextlib
import queue
import socket
import ssl
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import attrs

GREETING: Final = b"hello"
PATIENCE: Final = 10.0  # seconds; longer means that something is stuck


@attrs.frozen
class Guest:
    """
    One connection, as the server saw it.

    Attributes:
        address: Where it came from.

        name: The name it asked for (SNI).

        protocol: What ALPN came to.
    """

    address: Any
    name: str | None = None
    protocol: str | None = None


Serve = Callable[[socket.socket], None]


def greet(connection: socket.socket) -> None:
    """Say hello, and wait for the other end to go."""
    connection.sendall(GREETING)
    while connection.recv(65536):
        pass


def hang_up(connection: socket.socket) -> None:
    """Read what comes first, and close."""
    connection.recv(65536)


def say_http(connection: socket.socket) -> None:
    """Answer as a server for plain HTTP does to what it cannot read."""
    connection.recv(65536)
    connection.sendall(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")


def wait(connection: socket.socket) -> None:
    """Say nothing, and wait for the other end to go."""
    while connection.recv(65536):
        pass


class Listener:
    """
    A context manager. Leaves with its last connection.

    Attributes:
        guests: Who came, after the handshake, in that order.

        gone: One item for each connection that has ended.
    """

    def __init__(
        self,
        context: ssl.SSLContext | None = None,
        serve: Serve = greet,
        *,
        host: str = "127.0.0.1",
        path: Path | None = None,
    ) -> None:
        self._context = context
        self._serve = serve
        self._names: list[str | None] = []
        if context is not None:
            context.sni_callback = lambda _, name, __: self._names.append(name)
        if path is not None:
            self._listener = socket.socket(socket.AF_UNIX)
            self._listener.bind(str(path))
            self._listener.listen()
        else:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self._listener = socket.create_server((host, 0), family=family)
        name = self._listener.getsockname()
        self.port: int = 80 if path is not None else name[1]
        self.guests: queue.SimpleQueue[Guest] = queue.SimpleQueue()
        self.gone: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="listener")
        self._servants: list[threading.Thread] = []

    def guest(self) -> Guest:
        """Give the next one who came."""
        return self.guests.get(timeout=PATIENCE)

    def _run(self) -> None:
        while True:
            try:
                connection, address = self._listener.accept()
            except OSError:  # shut down by `__exit__`
                return
            servant = threading.Thread(target=self._receive, args=(connection, address), name="servant")
            self._servants.append(servant)
            servant.start()

    def _receive(self, connection: socket.socket, address: object) -> None:
        with contextlib.ExitStack() as stack:
            stack.callback(self.gone.put, None)
            stack.callback(connection.close)
            stack.enter_context(contextlib.suppress(OSError))  # clients leave as they like
            name, protocol = None, None
            if self._context is not None:
                connection = self._context.wrap_socket(connection, server_side=True)
                stack.callback(connection.close)
                name, protocol = self._names.pop(), connection.selected_alpn_protocol()
            self.guests.put(Guest(address, name, protocol))
            self._serve(connection)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join(PATIENCE)
        self._listener.close()
        for servant in self._servants:
            servant.join(PATIENCE)
            assert not servant.is_alive(), "a client has not hung up"
