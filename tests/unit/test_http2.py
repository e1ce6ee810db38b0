"""One HTTP/2 connection: what it promises, with h2 as the server."""

from __future__ import annotations

from pool_manager.core.http2 import Http2Connection
from pool_manager.core.http2_events import StreamData, StreamEnd, StreamHead, Writable
from tests.support.http2 import Server, exchange, request


def test_a_get_is_answered() -> None:
    """A request without a body reaches h2 as it was meant, and its answer comes back."""
    connection, server = Http2Connection(), Server()
    connection.initiate()
    stream = connection.start(request("GET", (b"Accept", b"*/*"), target=b"/a?b"), end=True)
    exchange(connection, server)
    server.h2.send_headers(stream, [(b":status", b"200"), (b"content-length", b"5")])
    server.h2.send_data(stream, b"hello", end_stream=True)

    assert [
        StreamHead(1, 200, [(b"content-length", b"5")]),
        StreamData(1, b"hello", 5),
        StreamEnd(1),
    ] == exchange(connection, server)
    assert [
        (b":method", b"GET"),
        (b":scheme", b"https"),
        (b":authority", b"example.org"),
        (b":path", b"/a?b"),
        (b"accept", b"*/*"),
    ] == server.requests[stream]
    assert connection.open_streams == 0


def test_a_body_is_sent_as_windows_open() -> None:
    """A body larger than every window arrives whole; `Writable` says when to go on."""
    connection, server = Http2Connection(), Server()
    connection.initiate()
    body = bytes(range(256)) * 1_000
    stream = connection.start(request("POST", (b"Content-Length", b"%d" % len(body))), end=False)
    at = connection.send_body(stream, body, end=True)

    assert at == 65_535
    while at < len(body):
        assert Writable(0) in exchange(connection, server)
        at += connection.send_body(stream, body[at:], end=True)
    exchange(connection, server)
    assert (body, {stream}) == (bytes(server.bodies[stream]), server.complete)
