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
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import h2.config
import h2.connection
import httpx

if TYPE_CHECKING:
    import httpcore

_CALLED = (
    "acknowledge_received_data",
    "close_connection",
    "data_to_send",
    "end_stream",
    "get_next_available_stream_id",
    "increment_flow_control_window",
    "initiate_connection",
    "local_flow_control_window",
    "receive_data",
    "send_data",
    "send_headers",
)


class _LockedH2(h2.connection.H2Connection):
    """An HTTP/2 state whose methods, those that httpcore calls, exclude one another."""

    def __init__(self, config: h2.config.H2Configuration) -> None:
        self.lock = threading.RLock()  # some call others
        super().__init__(config)


def _locked(name: str) -> Callable[..., Any]:
    method = getattr(h2.connection.H2Connection, name)

    def call(self: _LockedH2, *args: Any, **kwargs: Any) -> Any:
        with self.lock:
            return method(self, *args, **kwargs)

    return call


for _name in _CALLED:
    setattr(_LockedH2, _name, _locked(_name))

NetworkStream: TypeAlias = Any  # httpcore's, of any backend


def is_open(stream: NetworkStream) -> bool:
    """Whether the socket is still there."""
    sock = stream.get_extra_info("socket")
    return sock is not None and sock.fileno() != -1


def _http2_connections(transport: Any) -> Iterator[Any]:
    for connection in transport._pool.connections:
        inner = connection
        # A connection through a proxy, and one whose protocol ALPN chose, wrap another.
        while (below := getattr(inner, "_connection", None)) is not None:
            inner = below
        if hasattr(inner, "_h2_state"):
            yield inner


def connect_by(transport: httpx.HTTPTransport, backend: httpcore.NetworkBackend) -> None:
    """Have a transport connect by *backend*: httpcore takes one, httpx does not pass it on."""
    cast(Any, transport)._pool._network_backend = backend


def streams_allowed(transport: Any) -> float:
    """How many streams the peer of an HTTP/2 connection allows at once; no limit where it has not said."""
    for connection in _http2_connections(transport):
        return float(connection._h2_state.remote_settings.max_concurrent_streams)
    return math.inf


def lock_http2(transport: Any) -> None:
    """
    Put a lock around the HTTP/2 state of connections that have sent nothing yet.

    Among threads httpcore changes it from reading and sending at once, and frames get lost.
    """
    for connection in _http2_connections(transport):
        if not connection._sent_connection_init and not isinstance(connection._h2_state, _LockedH2):
            connection._h2_state = _LockedH2(connection.CONFIG)
            _share_flow(connection, connection._h2_state)


def _share_flow(connection: Any, state: _LockedH2) -> None:
    """Have threads that upload at once share the flow control window without losing count or a wake-up."""
    waiting = threading.local()
    wait, read = connection._wait_for_outgoing_flow, connection._read_incoming_data

    def send_stream_data(request: Any, stream_id: int, data: bytes) -> None:
        while data:
            with state.lock:  # what is allowed now must still be allowed when it is sent
                allowed = min(state.local_flow_control_window(stream_id), state.max_outbound_frame_size)
                if allowed > 0:
                    state.send_data(stream_id, data[:allowed])
                    data = data[allowed:]
            if allowed > 0:
                connection._write_outgoing_data(request)
            else:
                waiting.stream_id = stream_id
                try:
                    wait(request, stream_id)
                finally:
                    del waiting.stream_id

    def read_incoming_data(request: Any) -> Any:
        # Called with httpcore's lock for reading: whoever had it before may have read what we wait for.
        stream_id = getattr(waiting, "stream_id", None)
        if stream_id is not None and state.local_flow_control_window(stream_id) > 0:
            return []
        return read(request)

    connection._send_stream_data = send_stream_data
    connection._read_incoming_data = read_incoming_data


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
        stream.get_extra_info("socket").shutdown(socket.SHUT_RDWR)


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
