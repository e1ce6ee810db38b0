"""
The sockets below a borrowed transport, and three ways to let go of one.

This is where private names of httpcore, anyio and asyncio are touched; it
goes with the borrowed engines.
"""

from __future__ import annotations

import contextlib
import math
import os
import socket
from typing import Any, TypeAlias

NetworkStream: TypeAlias = Any  # httpcore's, of any backend


def is_open(stream: NetworkStream) -> bool:
    """Whether the socket is still there."""
    sock = stream.get_extra_info("socket")
    return sock is not None and sock.fileno() != -1


def streams_allowed(transport: Any) -> float:
    """How many streams the peer of an HTTP/2 connection allows at once; no limit where it has not said."""
    for connection in transport._pool.connections:
        inner = connection
        # A connection through a proxy, and one whose protocol ALPN chose, wrap another.
        while (below := getattr(inner, "_connection", None)) is not None:
            inner = below
        state = getattr(inner, "_h2_state", None)
        if state is not None:
            return float(state.remote_settings.max_concurrent_streams)
    return math.inf


def _bottom(stream: NetworkStream) -> Any:
    """The anyio or trio stream below TLS; in a thread, None."""
    inner = getattr(stream, "_stream", None)
    while (below := getattr(inner, "transport_stream", None)) is not None:
        inner = below
    return inner


def sever(stream: NetworkStream) -> None:
    """Close the socket at once and without the loop's help if the loop is over. Never raises."""
    with contextlib.suppress(Exception):
        transport = getattr(_bottom(stream), "_transport", None)
        if transport is None:
            stream.get_extra_info("socket").close()
            return
        try:
            transport.abort()
        except RuntimeError:
            # The loop is closed: asyncio has set the transport aside but can call nothing back.
            sock, transport._sock = transport._sock, None
            sock.close()


def shut(stream: NetworkStream) -> None:
    """Wake a thread that reads from the socket; closing alone would not. Never raises."""
    with contextlib.suppress(OSError):
        # Not SSLSocket.shutdown, which takes the TLS object from under the reader.
        socket.socket.shutdown(stream.get_extra_info("socket"), socket.SHUT_RDWR)


def park(stream: NetworkStream) -> None:
    """
    Put /dev/null in the socket's place. Never raises.

    For a forked child: the parent's socket is let go without a byte on the wire,
    and whoever still holds the number closes /dev/null, not a stranger's file.
    """
    with contextlib.suppress(Exception):
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, stream.get_extra_info("socket").fileno(), inheritable=False)
        os.close(null)
