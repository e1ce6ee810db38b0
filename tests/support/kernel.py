"""
What the kernel knows of a server's sockets, for servers that do not tell.

Read from /proc, so on Linux alone. What a client has just closed may be open for
a moment still: `Server.wait_for` it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path

from tests.support.server import POLL, START_TIMEOUT

ESTABLISHED, LISTEN = "01", "0A"


def established(port: int) -> int:
    """Count the connections to *port* that neither side has closed."""
    # By inode: while sockets come and go the kernel may list one twice.
    return len({inode for local, state, inode in _sockets() if local == port and state == ESTABLISHED})


def wait_for_port(pid: int) -> int:
    """
    Give the port that a process listens on as soon as it does.

    Raises:
        RuntimeError: It never did.

        FileNotFoundError: It is gone.
    """
    deadline = time.monotonic() + START_TIMEOUT
    while (port := _listening_port(pid)) is None:
        if time.monotonic() > deadline:
            msg = f"process {pid} does not listen"
            raise RuntimeError(msg)
        time.sleep(POLL)
    return port


def _listening_port(pid: int) -> int | None:
    own = set(_descriptors(pid))
    listening = (port for port, state, inode in _sockets() if state == LISTEN and f"socket:[{inode}]" in own)
    return next(listening, None)


def _descriptors(pid: int) -> Iterator[str]:
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # that of this very listing, or one just closed
            yield str(entry.readlink())


def _sockets() -> Iterator[tuple[int, str, str]]:
    """Give the local port, the state and the inode of each TCP socket over IPv4."""
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        yield int(fields[1].partition(":")[2], 16), fields[3], fields[9]
