"""
The subprocess of `hypercorn_server`: accepts, counts, obeys.

One argument, the `Options` as JSON. The first line on stdout is the port; from
then on each line on stdin is an order, and each line on stdout its answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import ssl
import sys
from typing import cast

import attrs
from hypercorn.app_wrappers import ASGIWrapper
from hypercorn.asyncio.tcp_server import TCPServer
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.typing import LifespanState

from tests.support.app import App
from tests.support.server import Seen

FOREVER = 1_000_000  # of requests on a connection: no test gets there by chance
BACKLOG = 1024
ESTABLISHED = 1  # the first byte of Linux's struct tcp_info


@attrs.frozen(kw_only=True)
class Options:
    """
    What kind of server to run.

    Attributes:
        cert_file: PEM files; without them the server speaks in the clear.

        client_ca_file: If given, clients must show a certificate it issued.

        alpn: In order of preference.

        max_streams: HTTP/2 streams on one connection.

        idle_timeout: Seconds after which the server closes an idle connection.
    """

    cert_file: str | None = None
    key_file: str | None = None
    client_ca_file: str | None = None
    alpn: tuple[str, ...] = ("h2", "http/1.1")
    max_streams: int = 100
    idle_timeout: float = 300.0

    def config(self) -> Config:
        """Say the same to hypercorn."""
        config = Config()
        config.certfile = self.cert_file
        config.keyfile = self.key_file
        config.alpn_protocols = list(self.alpn)
        config.h2_max_concurrent_streams = self.max_streams
        config.keep_alive_timeout = self.idle_timeout
        config.keep_alive_max_requests = FOREVER
        config.errorlog = None
        if self.client_ca_file is not None:
            config.ca_certs = self.client_ca_file
            config.verify_mode = ssl.CERT_REQUIRED
        return config


class Listener:
    """Accepts, counts, and hands what it accepted to hypercorn."""

    def __init__(self, options: Options, loop: asyncio.AbstractEventLoop) -> None:
        self._app = App()
        self._config = options.config()
        self._context = WorkerContext(None)
        self._tls = self._config.create_ssl_context()
        self._loop = loop
        self._tasks: set[asyncio.Task[None]] = set()
        self._open: set[socket.socket] = set()
        self._connections = 0
        self._handshakes = 0
        self._socket = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        # What it accepts inherits this. asyncio would set it only where the socket names its protocol:
        # without it each answer of two writes waits 40 ms for an acknowledgement.
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.settimeout(0)
        loop.add_reader(self._socket, self._accept_all)

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._socket.getsockname()[1]
        return port

    def obey(self, order: str) -> object:
        """Carry out an order of the parent; give what to tell it."""
        self._accept_all()
        return {"seen": self._seen, "reset": self._reset, "drop": self._drop}[order]()

    def _seen(self) -> object:
        seen = Seen(
            connections=self._connections,
            handshakes=self._handshakes,
            requests=self._app.recorder.requests(),
            open=sum(is_established(connection) for connection in self._open),
        )
        return attrs.asdict(seen)

    def _reset(self) -> None:
        self._connections = self._handshakes = 0
        self._app.recorder.forget()

    def _drop(self) -> None:
        for connection in self._open:
            with contextlib.suppress(OSError):  # the peer was quicker
                connection.shutdown(socket.SHUT_RDWR)

    def _accept_all(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except BlockingIOError:
                return
            self._connections += 1
            task = self._loop.create_task(self._serve(connection))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, connection: socket.socket) -> None:
        self._open.add(connection)
        try:
            reader, writer = await self._start(connection)
            state = LifespanState()
            app = ASGIWrapper(self._app)
            await TCPServer(app, self._loop, self._config, self._context, state, reader, writer)
        except OSError:  # `ssl.SSLError` is one: the handshake failed, or the client left during it
            connection.close()
        finally:
            self._open.discard(connection)

    async def _start(self, connection: socket.socket) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader = asyncio.StreamReader(loop=self._loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=self._loop)
        transport, _ = await self._loop.connect_accepted_socket(
            lambda: protocol,
            connection,
            ssl=self._tls,
            # Clients seldom say good-bye in TLS, and asyncio would wait 30 s for it.
            ssl_shutdown_timeout=0.5 if self._tls else None,
        )
        self._handshakes += self._tls is not None
        writer = asyncio.StreamWriter(cast("asyncio.WriteTransport", transport), protocol, reader, self._loop)
        return reader, writer


def is_established(connection: socket.socket) -> bool:
    """Tell whether neither side has closed; the kernel knows before asyncio does."""
    try:
        state = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
    except OSError:
        return False
    return state == ESTABLISHED


async def main(options: Options) -> None:
    """Serve until stdin ends."""
    loop = asyncio.get_running_loop()
    orders = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    listener = Listener(options, loop)
    _say(listener.port)
    while line := await orders.readline():
        _say(listener.obey(json.loads(line)))
    # The kernel closes the sockets. Nothing that a client left unfinished can hold this up.
    os._exit(0)


def _say(value: object) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    given = json.loads(sys.argv[1])
    asyncio.run(main(Options(alpn=tuple(given.pop("alpn")), **given)))
