"""What is written for a request: a server reads it as it was meant, or nothing is written."""

from __future__ import annotations

import h11
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from pool_manager.core.http1 import Http1Connection
from pool_manager.core.http1_requests import LINES, MAX_KEPT, MAX_LINES
from pool_manager.core.messages import Headers, Request, TransportFailure

HOST = (b"Host", b"example.org")
CHUNKED = (b"Transfer-Encoding", b"chunked")
FIVE = (b"Content-Length", b"5")


def request(*headers: tuple[bytes, bytes], method: str = "GET", target: bytes = b"/") -> Request:
    """Make a request with these headers and no other."""
    return Request(
        method=method,
        scheme="http",
        host="example.org",
        port=None,
        target=target,
        headers=list(headers),
        body=(),
        timeouts={},
        lane="default",
        lease="test",
        extensions={},
    )


def started(*headers: tuple[bytes, bytes]) -> Http1Connection:
    """Give a connection whose request has these headers."""
    connection = Http1Connection()
    connection.start(request(HOST, *headers, method="POST"))
    return connection


def written(asked: Request, *parts: bytes) -> bytes:
    """Give all that is written for a request."""
    connection = Http1Connection()
    buffers = [connection.start(asked)]
    for part in parts:
        buffers += connection.send_body(part)
    return b"".join([*buffers, connection.end_of_body()])


# The head


def test_heads_keep_order_and_spelling() -> None:
    """Headers are written as the caller has them."""
    asked = request(HOST, (b"X-b", b"1"), (b"x-A", b""), (b"X-B", b"2, 3"), target=b"/a?b=c%20d")

    wire = written(asked)

    assert wire == b"GET /a?b=c%20d HTTP/1.1\r\nHost: example.org\r\nX-b: 1\r\nx-A: \r\nX-B: 2, 3\r\n\r\n"


def test_host_comes_first() -> None:
    """Host is written first, as servers like it."""
    wire = written(request((b"A", b"b"), HOST))

    assert wire == b"GET / HTTP/1.1\r\nHost: example.org\r\nA: b\r\n\r\n"


@pytest.mark.parametrize("target", [b"*", b"http://example.org/", b"example.org:443", b"//x", b"/\\^`{}"])
def test_targets_of_any_form(target: bytes) -> None:
    """A target is written byte for byte, whatever its form."""
    assert written(request(HOST, target=target)).startswith(b"GET " + target + b" HTTP/1.1\r\n")


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (request(HOST, method=""), "Illegal method"),
        (request(HOST, method="GE T"), "Illegal method"),
        (request(HOST, method="GET / HTTP/1.1\r\nA:"), "Illegal method"),
        (request(HOST, method="GÉT"), "Illegal method"),
        (request(HOST, method="\ud800"), "Illegal method"),
        (request(HOST, target=b""), "target is empty"),
        (request(HOST, target=b"/ HTTP/1.1\r\nA: b"), "Illegal target"),
        (request(HOST, target=b"/a b"), "Illegal target"),
        (request(HOST, target=b"/\0"), "Illegal target"),
        (request(HOST, target=b"/\x7f"), "Illegal target"),
        (request(HOST, target=b"/\xe4"), "Illegal target"),
        (request(HOST, (b"", b"x")), "Illegal header name b''"),
        (request(HOST, (b"A b", b"x")), "Illegal header name b'A b'"),
        (request(HOST, (b"A:", b"x")), "Illegal header name b'A:'"),
        (request(HOST, (b"A\r\nB", b"x")), "Illegal header name"),
        (request(HOST, (b"\xc4", b"x")), "Illegal header name"),
        (request(HOST, (b"A", b"x\r\nB: y")), "Illegal header value of b'A'"),
        (request(HOST, (b"A", b"x\ny")), "Illegal header value of b'A'"),
        (request(HOST, (b"A", b"x\ry")), "Illegal header value of b'A'"),
        (request(HOST, (b"B", b"x"), (b"A", b"x\0y")), "Illegal header value of b'A'"),
        (request(HOST, (b"A", b" x")), "Illegal header value of b'A': whitespace"),
        (request(HOST, (b"A", b"x\t")), "Illegal header value of b'A': whitespace"),
        (request(), "Missing mandatory Host"),
        (request(HOST, (b"host", b"example.org")), "multiple Host"),
        (request(HOST, FIVE, CHUNKED), "one of them, and once"),
        (request(HOST, FIVE, FIVE), "one of them, and once"),
        (request(HOST, CHUNKED, CHUNKED), "one of them, and once"),
        (request(HOST, (b"Content-Length", b"")), "bad Content-Length"),
        (request(HOST, (b"Content-Length", b"-1")), "bad Content-Length"),
        (request(HOST, (b"Content-Length", b"5, 5")), "bad Content-Length"),
        (request(HOST, (b"Content-Length", b"\xb2")), "bad Content-Length"),
        (request(HOST, (b"Content-Length", b"1" * 21)), "bad Content-Length"),
        (request(HOST, (b"Transfer-Encoding", b"gzip, chunked")), "Only Transfer-Encoding: chunked"),
    ],
)
def test_unfit_requests_are_refused(asked: Request, message: str) -> None:
    """What could be read in two ways is refused, by name; the connection is unharmed."""
    connection = Http1Connection()

    with pytest.raises(TransportFailure, match=message) as caught:
        connection.start(asked)

    assert caught.value.kind == "LocalProtocolError"
    assert connection.is_idle
    assert connection.start(request(HOST))


@pytest.mark.parametrize("value", [b"Bearer secret\n", b"Bearer secret\nx", b" Bearer secret"])
def test_errors_keep_secrets(value: bytes) -> None:
    """An error about a key with a line break in it does not show the key."""
    with pytest.raises(TransportFailure, match="Authorization") as caught:
        Http1Connection().start(request(HOST, (b"Authorization", value)))

    assert "secret" not in str(caught.value)


def test_lines_are_kept() -> None:
    """What was found fit is not looked at again; what was not is refused again."""
    header, unfit = (b"X-Kept", b"a"), (b"X-Kept", b"a ")
    written(request(HOST, header))
    kept = LINES[header]
    assert written(request(HOST, header)).endswith(b"\r\nX-Kept: a\r\n\r\n")
    assert LINES[header] is kept
    for _ in range(2):
        with pytest.raises(TransportFailure, match="whitespace"):
            written(request(HOST, unfit))
    assert unfit not in LINES


@pytest.mark.parametrize(
    "name", [b"Authorization", b"COOKIE", b"x-api-key", b"X-Amz-Security-Token", b"Proxy-Authorization"]
)
def test_secrets_are_not_kept(name: bytes) -> None:
    """What opens doors is in no table, nor is its line."""
    assert b": not to be kept\r\n" in written(request(HOST, (name, b"not to be kept")))
    assert all(b"not to be kept" not in value + line for (_, value), (line, _) in LINES.items())


def test_few_lines_are_kept() -> None:
    """However many different headers are sent, no more are kept than the limit, and no long ones."""
    long = (b"X-Long", b"x" * (MAX_KEPT + 1))
    written(request(HOST, long))
    assert long not in LINES
    for number in range(MAX_LINES + 10):
        assert written(request(HOST, (b"X-Number", b"%d" % number)))
        assert len(LINES) <= MAX_LINES


# The body


def test_bodies_of_a_told_length_are_not_touched() -> None:
    """A part of a body is given back as it is."""
    connection = started(FIVE)
    part = b"hell"

    (buffer,) = connection.send_body(part)

    assert part is buffer
    assert connection.send_body(b"") == ()
    assert connection.send_body(b"o") == (b"o",)
    assert connection.end_of_body() == b""
    assert connection.request_written


def test_chunks_are_not_copied() -> None:
    """A chunk is its size, the part as it is, and a line break."""
    connection = started((b"transfer-encoding", b"Chunked"))
    part = bytes(300)

    size, content, end = connection.send_body(part)

    assert (size, end) == (b"12c\r\n", b"\r\n")
    assert part is content
    assert connection.send_body(b"") == ()
    assert not connection.request_written
    assert connection.end_of_body() == b"0\r\n\r\n"
    assert connection.request_written


def test_no_framing_is_no_body() -> None:
    """A request that announces no body has none; a part of one would be read as the next request."""
    connection = started()
    assert connection.send_body(b"") == ()
    with pytest.raises(TransportFailure, match="Too much data for declared Content-Length") as caught:
        connection.send_body(b"GET")

    assert caught.value.kind == "LocalProtocolError"
    assert not connection.is_reusable


def test_too_much_is_refused() -> None:
    """A part that goes beyond the length is not written, and the connection is of no further use."""
    connection = started(FIVE)
    connection.send_body(b"hell")
    with pytest.raises(TransportFailure, match="Too much data for declared Content-Length"):
        connection.send_body(b"o!")

    connection.receive(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
    assert not connection.is_idle


def test_too_little_is_refused() -> None:
    """A body that ends before its length is not a request, and the connection is of no further use."""
    connection = started(FIVE)
    connection.send_body(b"hell")
    with pytest.raises(TransportFailure, match="Too little data for declared Content-Length"):
        connection.end_of_body()

    assert not connection.request_written
    assert not connection.is_reusable


@pytest.mark.parametrize("framing", [FIVE, CHUNKED])
def test_a_body_ends_once(framing: tuple[bytes, bytes]) -> None:
    """Ending a body again writes nothing, and no part may follow."""
    connection = started(framing)
    connection.send_body(b"hello")
    connection.end_of_body()

    assert connection.end_of_body() == b""
    with pytest.raises(TransportFailure, match="the body has ended"):
        connection.send_body(b"!")
    assert not connection.is_reusable


# As h11 reads it

TOKENS = st.text("!#$%&'*+-.^_`|~0123456789ABCXYZabcxyz", min_size=1, max_size=12)
FRAMING = {b"host", b"content-length", b"transfer-encoding"}
ANY_NAME = TOKENS.map(str.encode) | st.binary(max_size=4)
NAMES = ANY_NAME.filter(lambda name: name.lower() not in FRAMING)
HEADERS = st.lists(st.tuples(NAMES, st.binary(max_size=20)), max_size=4)
TARGETS = st.binary(max_size=8) | TOKENS.map(str.encode)


@given(method=TOKENS | st.text(max_size=3), target=TARGETS, headers=HEADERS)
@example(method="GET", target=b"/", headers=[(b"A", b"\x1c")])
@example(method="GET", target=b"/", headers=[(b"A", b"\x85\xa0")])
def test_takes_what_h11_takes(method: str, target: bytes, headers: Headers) -> None:
    """A head is written if h11 would write it, and then as h11 would."""
    asked = request(HOST, *headers, method=method, target=target)
    try:
        raw = method.encode("utf-8", "surrogatepass")
        event = h11.Request(method=raw, target=target, headers=asked.headers)
        expected = h11.Connection(h11.CLIENT).send(event)
    except h11.LocalProtocolError:
        with pytest.raises(TransportFailure):
            Http1Connection().start(asked)
    else:
        assert expected == Http1Connection().start(asked)


@given(
    method=TOKENS.filter(lambda method: method != "CONNECT"),
    target=st.text("/abc?=&%#[]", min_size=1).map(str.encode),
    parts=st.lists(st.binary(max_size=50), max_size=6),
    chunked=st.booleans(),
)
def test_h11_reads_what_was_meant(method: str, target: bytes, parts: list[bytes], chunked: bool) -> None:
    """A request comes out of h11 as a server as it went in."""
    body = b"".join(parts)
    framing = CHUNKED if chunked else (b"Content-Length", b"%d" % len(body))
    server = h11.Connection(h11.SERVER)

    server.receive_data(written(request(HOST, framing, method=method, target=target), *parts))

    head = server.next_event()
    assert isinstance(head, h11.Request)
    expected = (method.encode(), target, [HOST, framing])
    assert expected == (head.method, head.target, head.headers.raw_items())
    received = b""
    while isinstance(event := server.next_event(), h11.Data):
        received += bytes(event.data)
    assert body == received
    assert isinstance(event, h11.EndOfMessage)
    assert server.trailing_data == (b"", False)
