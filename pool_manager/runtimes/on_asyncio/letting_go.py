"""How to let go of a socket without its loop. Private names of asyncio are touched here alone."""

from __future__ import annotations

import contextlib
from typing import Any


def sever(transport: Any) -> None:  # noqa: ANN401 - asyncio's or uvloop's, and what is within
    """Close the socket at once, and without the loop's help if the loop is over. Never raises."""
    with contextlib.suppress(Exception):
        try:
            transport.abort()
        except RuntimeError:
            # The loop is closed: asyncio has set the transport aside but can call nothing back.
            inner = getattr(transport, "_ssl_protocol", None)
            bottom = transport if inner is None else inner._transport  # noqa: SLF001
            sock, bottom._sock = bottom._sock, None  # noqa: SLF001 - no public way closes it
            sock.close()
