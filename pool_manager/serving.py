"""
Statistics over a Unix socket, for whoever looks at a running process.

One connection is one snapshot: a line of JSON, then the end. So there is
nothing to read from a stranger, and one thread serves all.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import attrs

from pool_manager.stats import ManagerStats

__all__ = ["StatsServer", "as_line"]

_PATIENCE: Final = 1.0  # seconds for a peer to read its line: it holds up the next one
_CREDENTIALS: Final = struct.Struct("3i")  # pid, uid, gid


class StatsServer:
    """
    Gives a snapshot to each connection of this user's, until it is closed. Made by `PoolManager.serve_stats`.

    A forked child's is not served, and closing it there leaves the parent's as it is.
    """

    def __init__(self, path: Path, snapshot: Callable[[], ManagerStats]) -> None:
        self.path: Final = path
        self._snapshot = snapshot
        self._owner = os.getpid()
        self._socket = socket.socket(socket.AF_UNIX)
        try:
            self._socket.bind(str(path))
            path.chmod(0o600)  # nobody can connect before `listen`
            self._socket.listen()
        except OSError:
            self._socket.close()
            raise
        self._thread = threading.Thread(target=self._serve, name=f"stats at {path.name}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop, and remove the socket's file. Safe to repeat."""
        if self._socket.fileno() < 0:
            return
        if self._owner == os.getpid():
            self._socket.shutdown(socket.SHUT_RDWR)  # wakes `accept`
            self._thread.join()
            self.path.unlink(missing_ok=True)
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:  # closed
                return
            with peer:
                if user_of(peer) == os.geteuid():
                    self._tell(peer)

    def _tell(self, peer: socket.socket) -> None:
        peer.settimeout(_PATIENCE)
        try:
            peer.sendall(as_line(self._snapshot()))
        except OSError:  # it did not wait for the answer, or would not read it
            return


def user_of(peer: socket.socket) -> int:
    """Ask the kernel whose process is at the other end."""
    credentials = peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    user: int = _CREDENTIALS.unpack(credentials)[1]
    return user


def as_line(stats: ManagerStats) -> bytes:
    """Write a snapshot as JSON, without the pools' configs: those hold proxies and their passwords."""
    told = attrs.asdict(stats, filter=lambda field, _: field.name != "config")
    return json.dumps(told).encode() + b"\n"
