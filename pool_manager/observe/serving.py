"""
Statistics over a Unix socket, for whoever looks at a running process.

It speaks HTTP, so that any tool can ask (``curl --unix-socket PATH http://localhost/metrics``): ``/stats`` is
a snapshot as JSON, ``/metrics`` the text that Prometheus scrapes. One thread serves all, one after another.
"""

from __future__ import annotations

import json
import logging
import os
import socket
import socketserver
import stat
import struct
import threading
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import TracebackType
from typing import Final, Protocol, Self, cast

import attrs

from pool_manager.observe.readings import Observed
from pool_manager.stats import ManagerStats

__all__ = ["StatsServer", "as_json"]

_PATIENCE: Final = 1.0  # seconds for a peer to ask, and to read: it holds up the next one
_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid

_log = logging.getLogger(__name__)


class StatsServer:
    """
    Answers this user, until it is closed. Made by `PoolManager.serve_stats`.

    A forked child's is not served, and closing it there leaves the parent's as it is.
    """

    def __init__(self, path: Path, manager: Observed) -> None:
        self.path: Final = path
        self._owner = os.getpid()
        _remove_what_a_crash_left(path)
        self._server = _Server(str(path), manager)
        self._is_open = True
        self._thread = threading.Thread(target=self._serve, name=f"stats at {path.name}", daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        while self._is_open:
            self._server.handle_request()

    def close(self) -> None:
        """Stop, and remove the socket's file. Safe to repeat."""
        if not self._is_open:
            return
        self._is_open = False
        if self._owner == os.getpid():
            self._server.socket.shutdown(socket.SHUT_RDWR)  # wakes who waits for the next to ask
            self._thread.join()
            self.path.unlink(missing_ok=True)
        self._server.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Server(socketserver.UnixStreamServer):
    """Listens where nobody else of this machine may connect."""

    def __init__(self, path: str, manager: Observed) -> None:
        self.manager = manager
        super().__init__(path, _Handler)

    def server_bind(self) -> None:
        super().server_bind()
        Path(cast(str, self.server_address)).chmod(0o600)  # nobody can connect before it listens

    def verify_request(self, request: object, client_address: object) -> bool:  # noqa: ARG002 - the library's
        """Ask the kernel whose process is at the other end; a stranger, root included, is told nothing."""
        return user_of(cast(socket.socket, request)) == os.geteuid()

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002 - as above
        """Go on: who asked did not wait for the answer, or would not read it."""
        _log.debug("a look at the statistics was broken off", exc_info=True)


class _Handler(BaseHTTPRequestHandler):
    timeout = _PATIENCE

    def do_GET(self) -> None:
        pages = {"/stats": ("application/json", as_json), "/metrics": ("text/plain; version=0.0.4", _metrics)}
        page = pages.get(self.path)
        if page is None:
            self._answer(404, "text/plain", f"there is {' and '.join(pages)}\n".encode())
            return
        kind, read = page
        try:
            body = read(cast(_Server, self.server).manager)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next look may succeed
            _log.exception("no statistics could be taken")
            self._answer(500, "text/plain", f"{type(error).__name__}: {error}\n".encode())
        else:
            self._answer(200, kind, body)

    def _answer(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the library's
        """Say nothing: it would be said on the standard error stream."""


def _remove_what_a_crash_left(path: Path) -> None:
    """
    Remove a socket of this user's to which nobody listens: what made it did not end as it should have.

    Whatever else is there, one to which somebody listens included, is left for `bind` to complain of.
    """
    try:
        found = path.lstat()
    except OSError:
        return
    if not stat.S_ISSOCK(found.st_mode) or found.st_uid != os.geteuid():
        return
    with socket.socket(socket.AF_UNIX) as asked:
        asked.settimeout(_PATIENCE)
        try:
            asked.connect(str(path))
        except ConnectionRefusedError:
            path.unlink(missing_ok=True)
        except OSError:
            pass


class _HasStats(Protocol):
    def stats(self) -> ManagerStats: ...


def user_of(peer: socket.socket) -> int:
    """Ask the kernel whose process is at the other end."""
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    user: int = _CREDENTIALS.unpack(credentials)[1]
    return user


def as_json(manager: _HasStats) -> bytes:
    """Write a snapshot as JSON, without the pools' configs: those hold proxies and their passwords."""
    told = attrs.asdict(manager.stats(), filter=lambda field, _: field.name != "config")
    return json.dumps(told).encode()


def _metrics(manager: Observed) -> bytes:
    try:
        from pool_manager.observe.prometheus import metrics_text  # noqa: PLC0415 - an extra
    except ImportError:
        raise RuntimeError("/metrics needs the extra: pip install 'pool-manager[prometheus]'") from None
    return metrics_text(manager)
