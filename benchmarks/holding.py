"""
What waits behind nginx: answers ``/hold?MS`` after that many milliseconds.

    python -m benchmarks.holding SOCKET CORE

Not a framework's server: a thousand requests wait here at once, and what they
cost would be taken from nginx, which shares the core.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import signal
import sys
from typing import cast

from benchmarks.pinning import pin
from benchmarks.servers import BACKLOG, BODY

HEAD = b"HTTP/1.0 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n"
ANSWER = HEAD % len(BODY) + BODY


class Holder(asyncio.Protocol):
    """One request of nginx's, which opens a connection for each."""

    def __init__(self) -> None:
        self._read = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what to answer on."""
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """Answer a request that is complete, later."""
        self._read += data
        if b"\r\n\r\n" not in self._read:
            return
        asked = re.search(rb"\?(\d+)", self._read)
        asyncio.get_running_loop().call_later(int(asked[1]) / 1000 if asked else 0, self._answer)

    def _answer(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(ANSWER)
            self._transport.close()


async def main(path: str) -> None:
    """Serve until told to end."""
    loop = asyncio.get_running_loop()
    server = await loop.create_unix_server(Holder, path, backlog=BACKLOG)
    told = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, told.set)
    with contextlib.closing(server):
        await told.wait()


if __name__ == "__main__":
    pin(int(sys.argv[2]) if sys.argv[2].isdecimal() else None)
    asyncio.run(main(sys.argv[1]))
