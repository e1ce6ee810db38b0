"""
A forward proxy in a thread that remembers what it was asked.

It does both things that proxies do: CONNECT tunnels, of which it sees only the
target, and absolute-form requests (`GET http://host/path`), which it passes on,
one connection to the origin for each. It can ask for Basic credentials, and can
itself be reached over TLS.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import threading
from types import TracebackType
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import attrs

if TYPE_CHECKING:
    import ssl

    from tests.support.certificates import Certificates

RECEIVE = 65536
REFUSED = (
    b"HTTP/1.1 407 Proxy Authentication Required\r\n"
    b'Proxy-Authenticate: Basic realm="tests"\r\n'
    b"Content-Length: 0\r\nConnection: close\r\n\r\n"
)
UNREACHABLE = b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
# What is between client and proxy only; the origin must not see it.
HOP_BY_HOP = {"proxy-authorization", "proxy-connection", "connection", "keep-alive"}


@attrs.frozen(kw_only=True)
class ProxiedRequest:
    """
    One request to the proxy.

    Attributes:
        target: "host:port" of a tunnel, else the whole URL.

        proxy_authorization: That header as it came, or None.

        client: "host:port" of the peer: it tells connections apart.
    """

    method: str
    target: str
    proxy_authorization: str | None
    headers: tuple[tuple[str, str], ...]
    client: str


class ProxyServer:
    """
    Serves in a thread; a context manager.

    Args:
        credentials: The only user and password to be let through.

        certificates: If given, the proxy itself is reached over TLS.
    """

    def __init__(
        self, *, credentials: tuple[str, str] | None = None, certificates: Certificates | None = None
    ) -> None:
        self._wanted = None if credentials is None else basic(*credentials)
        self._tls: ssl.SSLContext | None = certificates.server_context() if certificates else None
        self._seen: list[ProxiedRequest] = []
        self._connections = 0
        self._tunnels = 0
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="proxy-server", daemon=True)
        self._thread.start()
        self._started.wait()

    def seen(self) -> tuple[ProxiedRequest, ...]:
        """Tell what was asked, in order; refused requests too."""
        return tuple(self._seen)

    @property
    def connections(self) -> int:
        """Connections that clients opened and that were served."""
        return self._connections

    @property
    def open_tunnels(self) -> int:
        """Tunnels that are open now; a closed one may be noticed a moment late."""
        return self._tunnels

    def stop(self) -> None:
        """Cut every tunnel and end the thread. Safe to repeat."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: stopped before
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    # From here on: the thread.

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        server = await asyncio.start_server(self._accepted, "127.0.0.1", 0, ssl=self._tls)
        self.port: int = server.sockets[0].getsockname()[1]
        self.url = f"https://localhost:{self.port}" if self._tls else f"http://127.0.0.1:{self.port}"
        self._started.set()
        await self._stopping.wait()
        server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._connections += 1
        task = self._loop.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (request := await self._next_request(reader, writer)) is not None:
                if self._wanted not in {None, request.proxy_authorization}:
                    writer.write(REFUSED)
                    break
                if not await self._carry_out(request, reader, writer):
                    break
            await writer.drain()
        except (OSError, EOFError, asyncio.CancelledError):
            pass  # one side is gone, or the test is over
        finally:
            await _close(writer)

    async def _next_request(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> ProxiedRequest | None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError:
            return None
        lines = head.decode("latin-1").split("\r\n")
        method, target, _ = lines[0].split(" ")
        headers = tuple(_header(line) for line in lines[1:] if line)
        host, port, *_ = writer.get_extra_info("peername")
        request = ProxiedRequest(
            method=method,
            target=target,
            proxy_authorization=dict(headers).get("proxy-authorization"),
            headers=headers,
            client=f"{host}:{port}",
        )
        self._seen.append(request)
        return request

    async def _carry_out(
        self, request: ProxiedRequest, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Do what was asked; tell whether the client may ask again on this connection."""
        parts = urlsplit(f"//{request.target}" if request.method == "CONNECT" else request.target)
        try:
            origin = await asyncio.open_connection(parts.hostname, parts.port or 80)
        except OSError:
            writer.write(UNREACHABLE)
            return False
        try:
            if request.method == "CONNECT":
                await self._tunnel((reader, writer), origin)
                return False
            await _forward(request, reader, writer, origin)
            return True
        finally:
            await _close(origin[1])

    async def _tunnel(
        self,
        client: tuple[asyncio.StreamReader, asyncio.StreamWriter],
        origin: tuple[asyncio.StreamReader, asyncio.StreamWriter],
    ) -> None:
        client[1].write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        self._tunnels += 1
        pumps = [
            asyncio.create_task(_pump(client[0], origin[1])),
            asyncio.create_task(_pump(origin[0], client[1])),
        ]
        try:
            # As soon as one side has ended, so has the tunnel.
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
        finally:
            self._tunnels -= 1
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)


def basic(user: str, password: str) -> str:
    """Write credentials as the Proxy-Authorization header has them."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


async def _forward(
    request: ProxiedRequest,
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    origin: tuple[asyncio.StreamReader, asyncio.StreamWriter],
) -> None:
    """Pass on one request, and its answer (no trailers, no 1xx)."""
    parts = urlsplit(request.target)
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    kept = [f"{name}: {value}\r\n" for name, value in request.headers if name not in HOP_BY_HOP]
    head = f"{request.method} {path} HTTP/1.1\r\n{''.join(kept)}connection: close\r\n\r\n"
    origin[1].write(head.encode("latin-1"))
    origin[1].write(await _body(reader, dict(request.headers)))
    answer = await origin[0].readuntil(b"\r\n\r\n")
    lines = answer.decode("latin-1").split("\r\n")
    headers = [_header(line) for line in lines[1:] if line]
    kept = [f"{name}: {value}\r\n" for name, value in headers if name not in HOP_BY_HOP]
    writer.write(f"{lines[0]}\r\n{''.join(kept)}\r\n".encode("latin-1"))
    if request.method != "HEAD":
        writer.write(await _body(origin[0], dict(headers)))
    await writer.drain()


async def _body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    """Read a body as it is on the wire."""
    if "chunked" not in headers.get("transfer-encoding", ""):
        return await reader.readexactly(int(headers.get("content-length", "0")))
    raw = b""
    while True:
        size = await reader.readuntil(b"\r\n")
        raw += size + await reader.readexactly(int(size, 16) + 2)
        if int(size, 16) == 0:
            return raw


def _header(line: str) -> tuple[str, str]:
    name, _, value = line.partition(":")
    return name.strip().lower(), value.strip()


async def _pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
    while data := await source.read(RECEIVE):
        sink.write(data)
        await sink.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(OSError, asyncio.CancelledError):
        await writer.wait_closed()
