"""What is sent for a request: h2 reads it as it was meant, or nothing is sent."""

from __future__ import annotations

import pytest
from hpack import Decoder, NeverIndexedHeaderTuple
from hypothesis import example, given
from hypothesis import strategies as st

from pool_manager.core.http2 import Http2Connection
from pool_manager.core.http2_requests import request_block
from pool_manager.core.messages import Headers, Request, TransportFailure
from tests.support.http2 import Server, connected, exchange, request

PSEUDO = [(b":method", b"GET"), (b":scheme", b"https"), (b":authority", b"example.org"), (b":path", b"/")]


def read(asked: Request) -> Headers:
    """Give what a server reads."""
    return [
        (bytes(name), bytes(value))
        for name, value in Decoder(2**20).decode(request_block(asked).data, raw=True)
    ]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (request(), PSEUDO),
        (request(scheme="http"), [PSEUDO[0], (b":scheme", b"http"), *PSEUDO[2:]]),
        (request(scheme="ws"), [PSEUDO[0], (b":scheme", b"http"), *PSEUDO[2:]]),
        (request(scheme="wss"), PSEUDO),
        (request(method="POST"), [(b":method", b"POST"), *PSEUDO[1:]]),
        (request(method="get"), [(b":method", b"get"), *PSEUDO[1:]]),
        (request(method="OPTIONS", target=b"*"), [(b":method", b"OPTIONS"), *PSEUDO[1:3], (b":path", b"*")]),
        (request(target=b"/index.html"), [*PSEUDO[:3], (b":path", b"/index.html")]),
        (request(target=b"/a?b=c%20d#e"), [*PSEUDO[:3], (b":path", b"/a?b=c%20d#e")]),
        (request(target=b"//x/\\^`{}|"), [*PSEUDO[:3], (b":path", b"//x/\\^`{}|")]),
        (request(host=b"[::1]:8443"), [*PSEUDO[:2], (b":authority", b"[::1]:8443"), PSEUDO[3]]),
        (
            request(method="CONNECT", target=b"example.net:443"),
            [(b":method", b"CONNECT"), (b":authority", b"example.net:443")],
        ),
    ],
)
def test_what_begins_a_request(asked: Request, expected: Headers) -> None:
    """Method, scheme, authority and path, as RFC 9113, 8.3.1 and 8.5 have them."""
    assert expected == read(asked)


def test_headers_keep_their_order_and_lose_their_capitals() -> None:
    """Names are lower case on the wire (8.2.1), values as they are."""
    asked = request("GET", (b"X-b", b"1"), (b"x-A", b""), (b"X-B", b"2, 3"), (b"Accept", b"*/*"))

    assert [(b"x-b", b"1"), (b"x-a", b""), (b"x-b", b"2, 3"), (b"accept", b"*/*")] == read(asked)[4:]


def test_what_only_http1_has_is_left_out() -> None:
    """Headers about a connection of HTTP/1.1 are dropped (8.2.2), `te: trailers` is not."""
    dropped = [
        (b"Connection", b"keep-alive, Upgrade, HTTP2-Settings"),
        (b"Keep-Alive", b"timeout=5"),
        (b"Proxy-Connection", b"keep-alive"),
        (b"Upgrade", b"h2c"),
        (b"HTTP2-Settings", b"AAMAAABkAAQAAP__"),
        (b"Transfer-Encoding", b"chunked"),
        (b"TE", b"gzip"),
    ]

    assert read(request("POST", *dropped, (b"TE", b"trailers"))) == [
        (b":method", b"POST"),
        *PSEUDO[1:],
        (b"te", b"trailers"),
    ]


@pytest.mark.parametrize(
    "name",
    [
        b"Authorization",
        b"Cookie",
        b"Proxy-Authorization",
        b"X-Api-Key",
        b"API-Key",
        b"X-Amz-Security-Token",
        b"X-Client-Secret",
    ],
)
@pytest.mark.parametrize("value", [b"s3cret", b"", b"x" * 1_000])
def test_secrets_are_in_no_table(name: bytes, value: bytes) -> None:
    """Headers with secrets are never indexed, by anyone on the way (RFC 7541, 7.1.3)."""
    decoder = Decoder()
    *_, secret = decoder.decode(request_block(request("GET", (name, value))).data, raw=True)

    assert (name.lower(), value) == secret
    assert isinstance(secret, NeverIndexedHeaderTuple)


def test_a_block_needs_no_memory() -> None:
    """The same request is the same bytes on every connection, and leaves no table changed."""
    decoder = Decoder()
    blocks = {request_block(request("GET", (b"A", b"b"), (b"Accept", b"*/*"))).data for _ in range(2)}
    decoder.decode(blocks.copy().pop(), raw=True)

    assert len(blocks) == 1
    assert not decoder.header_table.dynamic_entries


def test_what_the_static_table_has_is_a_byte() -> None:
    """A common request is short."""
    asked = request("GET", (b"Accept-Encoding", b"gzip, deflate"))

    assert b"\x82\x87\x01\x0bexample.org\x84\x90" == request_block(asked).data


def test_lengths() -> None:
    """Content-Length is promised and sent; chunked and silence promise nothing."""
    length = (b"Content-Length", b"5")
    assert request_block(request("POST", length)).length == 5
    assert read(request("POST", length))[-1] == (b"content-length", b"5")
    assert request_block(request("POST", (b"Transfer-Encoding", b"chunked"))).length is None
    assert request_block(request("POST")).length is None


BAD = [
    (request(method=""), "Illegal method"),
    (request(method="GE T"), "Illegal method"),
    (request(method="GET\r\n"), "Illegal method"),
    (request(method="G\xcbT"), "Illegal method"),
    (request(method="G\udce9T"), "Illegal method"),
    (request(target=b""), "The target is empty"),
    (request(target=b"/a b"), "Illegal target"),
    (request(target=b"/a\r\nb"), "Illegal target"),
    (request(target=b"/\xe4"), "Illegal target"),
    (request(target=b"/\x7f"), "Illegal target"),
    (request(target=b"http://example.org/"), "begin with a slash"),
    (request(target=b"*"), "begin with a slash"),
    (request(method="CONNECT", target=b"a b"), "Illegal target"),
    (request(scheme="ftp"), "Illegal scheme"),
    (request(host=None), "Missing mandatory Host"),
    (request("GET", (b"host", b"example.net")), "Found multiple Host"),
    (request(host=b"a\r\nb"), "Illegal header value of b'Host'"),
    (request(host=b" a"), "Illegal header value of b'Host'"),
    (request("GET", (b"", b"x")), "Illegal header name"),
    (request("GET", (b":path", b"x")), "Illegal header name"),
    (request("GET", (b"a b", b"x")), "Illegal header name"),
    (request("GET", (b"a\n", b"x")), "Illegal header name"),
    (request("GET", (b"\xe4", b"x")), "Illegal header name"),
    *(
        (request("GET", (name, b"s3cr" + bad + b"et")), f"Illegal header value of {name!r}")
        for name in (b"A", b"Authorization", b"Connection", b"Keep-Alive", b"TE", b"Upgrade")
        for bad in (b"\r\n", b"\n", b"\r", b"\0", b"\v", b"\f")
    ),
    *(
        (request("GET", (name, value)), f"Illegal header value of {name!r}")
        for name in (b"A", b"Cookie", b"Connection")
        for value in (b" s3cret", b"s3cret\t", b"s3cret\n", b"x" * 300 + b"\n")
    ),
    (request("POST", (b"Content-Length", b"5"), (b"Content-Length", b"5")), "one of them, and once"),
    (request("POST", (b"Content-Length", b"5"), (b"Transfer-Encoding", b"chunked")), "one of them, and once"),
    (request("POST", (b"Content-Length", b"+5")), "bad Content-Length"),
    (request("POST", (b"Content-Length", b"")), "bad Content-Length"),
    (request("POST", (b"Transfer-Encoding", b"gzip")), "Only Transfer-Encoding: chunked"),
]


@pytest.mark.parametrize(("asked", "words"), BAD, ids=lambda each: each if isinstance(each, str) else "")
def test_an_unfit_request_changes_nothing(asked: Request, words: str) -> None:
    """It is refused as HTTP/1.1 refuses it, its secrets not told; nothing is queued and no number used."""
    connection = connected()
    for _ in range(2):  # what is remembered of a refusal is nothing
        with pytest.raises(TransportFailure) as caught:
            connection.start(asked, end=True)
        assert "LocalProtocolError" == caught.value.kind
        assert words in str(caught.value)
        assert "s3cr" not in str(caught.value)

    assert not connection.has_data_to_send
    assert connection.open_streams == 0
    assert connection.start(request(), end=True) == 1


NAMES = st.text("abcXYZ019-_.!", min_size=1, max_size=200).map(str.encode)
VALUES = st.binary(max_size=400).map(lambda value: value.translate(None, b"\0\n\v\f\r").strip())
KNOWN = {b"host", b"connection", b"upgrade", b"te"}


@given(fields=st.lists(st.tuples(NAMES.filter(lambda name: name.lower() not in KNOWN), VALUES), max_size=20))
@example(fields=[(b"a" * size, b"b" * size) for size in (126, 127, 128, 254, 255, 256, 16_510, 16_511)])
@example(fields=[(name, b"x") for name in (b"Accept-Charset", b"Vary", b"WWW-Authenticate", b"Age")])
def test_h2_reads_what_was_meant(fields: Headers) -> None:
    """Any names and values come through as they are."""
    connection, server = Http2Connection(), Server()
    server.h2.decoder.max_header_list_size = 2**20
    connection.initiate()
    stream = connection.start(request("GET", *fields), end=True)
    exchange(connection, server)

    assert [*PSEUDO, *((name.lower(), value) for name, value in fields)] == server.requests[stream]
    assert stream in server.complete
