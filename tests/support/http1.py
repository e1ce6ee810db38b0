"""What servers send over HTTP/1.1, and what is to be made of it: one table for every parser."""

from __future__ import annotations

from collections.abc import Sequence

import attrs

from pool_manager.core.http1 import End, Event, Head, Informational
from pool_manager.core.messages import Request

NO_ANSWER = "Server disconnected without sending a response."
CUT_SHORT = "peer closed connection without sending complete message body "


def request(method: str = "GET", *headers: tuple[bytes, bytes]) -> Request:
    """Make a request that asks for something small."""
    return Request(
        method=method,
        scheme="http",
        host="example.org",
        port=None,
        target=b"/",
        headers=[(b"Host", b"example.org"), *headers],
        body=(),
        timeouts={},
        lane="default",
        lease="test",
        extensions={},
    )


def head(status: int = 200, *headers: tuple[bytes, bytes], reason: bytes = b"OK", minor: int = 1) -> Head:
    """Make the head that is expected."""
    return Head(status, reason, list(headers), b"HTTP/1.%d" % minor)


@attrs.frozen(kw_only=True)
class Case:
    """
    What a server sends, and what is to be made of it.

    Attributes:
        events: What is reported, with the parts of the body in one.

        error: What is said instead.

        reusable: Another request may follow.

        eof: The server closes after its bytes.
    """

    promise: str
    wire: bytes
    events: Sequence[Event] = ()
    error: str | None = None
    reusable: bool = False
    eof: bool = False
    method: str = "GET"
    asking: tuple[tuple[bytes, bytes], ...] = ()


OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = (b"Transfer-Encoding", b"chunked")
CHUNKED_OK = OK + b"Transfer-Encoding: chunked\r\n\r\n"
UPGRADE = ((b"Connection", b"Upgrade"), (b"Upgrade", b"websocket"))


def length(count: int) -> tuple[bytes, bytes]:
    """Make a Content-Length."""
    return (b"Content-Length", b"%d" % count)


ANSWERS = [
    Case(
        promise="a body of a told length ends there",
        wire=OK + b"Content-Length: 5\r\n\r\nhello",
        events=[head(200, length(5)), b"hello", End()],
        reusable=True,
    ),
    Case(
        promise="an empty body ends with the head",
        wire=OK + b"Content-Length: 0\r\n\r\n",
        events=[head(200, length(0)), End()],
        reusable=True,
    ),
    Case(
        promise="names keep the spelling of the server, values lose the space around them",
        wire=OK + b"content-LENGTH: 0\r\nSet-Cookie:a=1\r\nX-e: \r\nset-cookie:\t b=2 ; x \t\r\n\r\n",
        events=[
            head(
                200,
                (b"content-LENGTH", b"0"),
                (b"Set-Cookie", b"a=1"),
                (b"X-e", b""),
                (b"set-cookie", b"b=2 ; x"),
            ),
            End(),
        ],
        reusable=True,
    ),
    Case(
        promise="a reason may be missing",
        wire=b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",
        events=[head(200, length(0), reason=b""), End()],
        reusable=True,
    ),
    Case(
        promise="a reason may be empty",
        wire=b"HTTP/1.1 599 \r\nContent-Length: 0\r\n\r\n",
        events=[head(599, length(0), reason=b""), End()],
        reusable=True,
    ),
    Case(
        promise="a reason may hold spaces and bytes that are not ASCII",
        wire=b"HTTP/1.1 404 Nicht  gef\xfcnden\r\nContent-Length: 0\r\n\r\n",
        events=[head(404, length(0), reason=b"Nicht  gef\xfcnden"), End()],
        reusable=True,
    ),
    Case(
        promise="values may hold bytes that are not ASCII, and control characters as some cookies do",
        wire=OK + b"Content-Length: 0\r\nSet-Cookie: \xe4\x01\x7f\r\n\r\n",
        events=[head(200, length(0), (b"Set-Cookie", b"\xe4\x01\x7f")), End()],
        reusable=True,
    ),
    Case(
        promise="a line of the head may end with LF alone",
        wire=b"HTTP/1.1 200 OK\nContent-Length: 2\nX: y\n\nok",
        events=[head(200, length(2), (b"X", b"y")), b"ok", End()],
        reusable=True,
    ),
    Case(
        promise="what is folded over lines is one value, with a space for each break (RFC 9112, 5.2)",
        wire=OK + b"X: y\r\n z\r\n\t  w \r\nContent-Length:\r\n 2\r\n\r\nok",
        events=[head(200, (b"X", b"y z w"), length(2)), b"ok", End()],
        reusable=True,
    ),
    Case(
        promise="equal lengths are one length",
        wire=OK + b"Content-Length: 2\r\nContent-Length: 2\r\n\r\nok",
        events=[head(200, length(2)), b"ok", End()],
        reusable=True,
    ),
    Case(
        promise="a list of equal lengths is one length",
        wire=OK + b"Content-Length: 2, 2\r\n\r\nok",
        events=[head(200, length(2)), b"ok", End()],
        reusable=True,
    ),
    Case(
        promise="a later minor version is read as HTTP/1.1",
        wire=b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n",
        events=[head(200, length(0), minor=2), End()],
        reusable=True,
    ),
    Case(
        promise="chunks are one body",
        wire=CHUNKED_OK + b"5\r\nhello\r\n1\r\n \r\n0000A\r\nworld\r\n\0\xff!\r\n0\r\n\r\n",
        events=[head(200, CHUNKED), b"hello world\r\n\0\xff!", End()],
        reusable=True,
    ),
    Case(
        promise="no chunks are an empty body",
        wire=CHUNKED_OK + b"0\r\n\r\n",
        events=[head(200, CHUNKED), End()],
        reusable=True,
    ),
    Case(
        promise="the name of a coding has no case",
        wire=OK + b"transfer-encoding: Chunked\r\n\r\n0\r\n\r\n",
        events=[head(200, (b"transfer-encoding", b"chunked")), End()],
        reusable=True,
    ),
    Case(
        promise="extensions of chunks, and spaces before them, are skipped",
        wire=CHUNKED_OK + b'2;a=b;c="d"\r\nok\r\n1 ;x\r\n!\r\n2 \r\n??\r\n0;end\r\n\r\n',
        events=[head(200, CHUNKED), b"ok!??", End()],
        reusable=True,
    ),
    Case(
        promise="trailers come with the end",
        wire=CHUNKED_OK + b"2\r\nok\r\n0\r\nDigest: abc\r\nX-Rest:\r\n\r\n",
        events=[head(200, CHUNKED), b"ok", End(((b"Digest", b"abc"), (b"X-Rest", b"")))],
        reusable=True,
    ),
    Case(
        promise="a body without framing ends with the connection, which is its end",
        wire=OK + b"\r\nall there is",
        eof=True,
        events=[head(), b"all there is", End()],
    ),
    Case(
        promise="an empty body without framing does as well",
        wire=OK + b"\r\n",
        eof=True,
        events=[head(), End()],
    ),
    Case(
        promise="the answer to HEAD has no body, whatever its length says",
        wire=OK + b"Content-Length: 5\r\n\r\n",
        method="HEAD",
        events=[head(200, length(5)), End()],
        reusable=True,
    ),
    Case(
        promise="the answer to HEAD has no chunks",
        wire=CHUNKED_OK,
        method="HEAD",
        events=[head(200, CHUNKED), End()],
        reusable=True,
    ),
    Case(
        promise="the answer to HEAD does not last until the connection closes",
        wire=OK + b"\r\n",
        method="HEAD",
        events=[head(), End()],
        reusable=True,
    ),
    Case(
        promise="a 304 has no body, whatever its length says",
        wire=b"HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
        events=[head(304, length(5), reason=b"Not Modified"), End()],
        reusable=True,
    ),
    Case(
        promise="a 204 has no body",
        wire=b"HTTP/1.1 204 No Content\r\n\r\n",
        events=[head(204, reason=b"No Content"), End()],
        reusable=True,
    ),
    Case(
        promise="a 204 that claims a body leaves a doubt",
        wire=b"HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
        events=[head(204, length(5), reason=b"No Content"), End()],
    ),
    Case(
        promise="informational answers come before the final one",
        wire=b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n"
        + OK
        + b"Content-Length: 2\r\n\r\nok",
        events=[
            Informational(head(100, reason=b"Continue")),
            Informational(head(103, (b"Link", b"</a>"), reason=b"Early Hints")),
            head(200, length(2)),
            b"ok",
            End(),
        ],
        reusable=True,
    ),
    Case(
        promise="a server that says close is not asked again",
        wire=OK + b"Content-Length: 0\r\nConnection: close\r\n\r\n",
        events=[head(200, length(0), (b"Connection", b"close")), End()],
    ),
    Case(
        promise="close is found in a list, in a second header and in any case",
        wire=OK + b"Content-Length: 0\r\nconnection: x\r\nCONNECTION: Foo ,\tCLOSE, bar\r\n\r\n",
        events=[
            head(200, length(0), (b"connection", b"x"), (b"CONNECTION", b"Foo ,\tCLOSE, bar")),
            End(),
        ],
    ),
    Case(
        promise="an option that only begins like close is another one",
        wire=OK + b"Content-Length: 0\r\nConnection: close-ish\r\n\r\n",
        events=[head(200, length(0), (b"Connection", b"close-ish")), End()],
        reusable=True,
    ),
    Case(
        promise="HTTP/1.0 closes",
        wire=b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        events=[head(200, length(0), minor=0), End()],
    ),
    Case(
        promise="HTTP/1.0 stays if it says so",
        wire=b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\nConnection: Keep-Alive\r\n\r\n",
        events=[head(200, length(0), (b"Connection", b"Keep-Alive"), minor=0), End()],
        reusable=True,
    ),
    Case(
        promise="HTTP/1.0 with chunks is read, and then closed",
        wire=b"HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        events=[head(200, (b"Connection", b"keep-alive"), CHUNKED, minor=0), End()],
    ),
    Case(
        promise="a request that says close is the last one",
        wire=OK + b"Content-Length: 0\r\n\r\n",
        asking=((b"Connection", b"Close"),),
        events=[head(200, length(0)), End()],
    ),
    Case(
        promise="bytes behind a complete answer go to nobody",
        wire=OK + b"Content-Length: 2\r\n\r\nok" + OK + b"Content-Length: 6\r\n\r\npoison",
        events=[head(200, length(2)), b"ok", End()],
    ),
    Case(
        promise="bytes behind the last chunk go to nobody",
        wire=CHUNKED_OK + b"0\r\n\r\n\n",
        events=[head(200, CHUNKED), End()],
    ),
    Case(
        promise="a body behind a head that has none goes to nobody",
        wire=OK + b"Content-Length: 2\r\n\r\nok",
        method="HEAD",
        events=[head(200, length(2)), End()],
    ),
    Case(
        promise="a complete answer stands though the server then closes",
        wire=OK + b"Content-Length: 2\r\n\r\nok",
        eof=True,
        events=[head(200, length(2)), b"ok", End()],
    ),
    Case(
        promise="an upgrade hands over what came with it",
        wire=b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n\x81\0\r\n",
        asking=UPGRADE,
        events=[head(101, *UPGRADE, reason=b"Switching"), b"\x81\0\r\n"],
    ),
    Case(
        promise="an upgrade without further words is one, too",
        wire=b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        asking=UPGRADE,
        eof=True,
        events=[head(101, reason=b"Switching Protocols"), b""],
    ),
    Case(
        promise="a refused upgrade is an answer",
        wire=b"HTTP/1.1 200 OK\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: 2\r\n\r\nok",
        asking=UPGRADE,
        events=[head(200, (b"Connection", b"Upgrade"), (b"Upgrade", b"h2c"), length(2)), b"ok", End()],
        reusable=True,
    ),
    Case(
        promise="a tunnel hands over what came with it, whatever framing it claims",
        wire=OK + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n\x16\x03\x01",
        method="CONNECT",
        events=[head(200, length(3), CHUNKED), b"\x16\x03\x01"],
    ),
    Case(
        promise="a redirected tunnel is none",
        wire=b"HTTP/1.1 300 No\r\nContent-Length: 2\r\n\r\nok",
        method="CONNECT",
        events=[head(300, length(2), reason=b"No"), b"ok", End()],
        reusable=True,
    ),
    Case(
        promise="a refused tunnel is an answer",
        wire=b"HTTP/1.1 407 No\r\nContent-Length: 2\r\n\r\nok",
        method="CONNECT",
        events=[head(407, length(2), reason=b"No"), b"ok", End()],
        reusable=True,
    ),
]


def bad(promise: str, wire: bytes, error: str, *, method: str = "GET", eof: bool = False) -> Case:
    """Make a case that ends in an error."""
    return Case(promise=promise, wire=wire, error=error, method=method, eof=eof)


FAILURES = [
    bad("a server that closes has not answered", b"", NO_ANSWER, eof=True),
    bad("a server that closes in its head has not answered", OK + b"Content-", NO_ANSWER, eof=True),
    bad("nor has one that was only going to", b"HTTP/1.1 100 Continue\r\n\r\n", NO_ANSWER, eof=True),
    bad(
        "a body that is cut short is an error that counts",
        OK + b"Content-Length: 5\r\n\r\nhel",
        CUT_SHORT + "(received 3 bytes, expected 5)",
        eof=True,
    ),
    bad(
        "chunks without a last one are an error",
        CHUNKED_OK + b"5\r\nhello\r\n",
        CUT_SHORT + "(incomplete chunked read)",
        eof=True,
    ),
    bad(
        "so are trailers without an end",
        CHUNKED_OK + b"0\r\nDigest: abc\r\n",
        CUT_SHORT + "(incomplete chunked read)",
        eof=True,
    ),
    bad("TLS is no HTTP", b"\x15\x03\x01\0\x02\x02F", "illegal status line"),
    bad("SSH is no HTTP", b"SSH-2.0-OpenSSH_9.2", "illegal status line"),
    bad("HTTP/2 is another protocol", b"HTTP/2.0 200 OK\r\n\r\n", "illegal status line"),
    bad("a blank line is no status line", b"\r\n" + OK, "illegal status line"),
    bad("versions have a case", b"http/1.1 200 OK\r\n\r\n", "illegal status line"),
    bad("a status has three digits, not two", b"HTTP/1.1 20 OK\r\n\r\n", "illegal status line"),
    bad("a status has three digits, not four", b"HTTP/1.1 2000 OK\r\n\r\n", "illegal status line"),
    bad("a status is a number", b"HTTP/1.1 abc OK\r\n\r\n", "illegal status line"),
    bad("a status has no sign", b"HTTP/1.1 -20 OK\r\n\r\n", "illegal status line"),
    bad("a status is 100 or more", b"HTTP/1.1 099 OK\r\n\r\n", "status_code should be in range"),
    bad("two spaces are one too many", b"HTTP/1.1  200 OK\r\n\r\n", "illegal status line"),
    bad("NUL is not in a reason", b"HTTP/1.1 200 O\0K\r\n\r\n", "illegal status line"),
    bad("NUL is not in a header", OK + b"A: b\0\r\n\r\n", "illegal header line"),
    bad("CR alone is not in a header", OK + b"A: b\rc\r\n\r\n", "illegal header line"),
    bad("a name is not empty", OK + b": b\r\n\r\n", "illegal header line"),
    bad("a name ends before its colon", OK + b"A : b\r\n\r\n", "illegal header line"),
    bad("a name has no brackets", OK + b"A(b): c\r\n\r\n", "illegal header line"),
    bad("a header has a colon", OK + b"no colon\r\n\r\n", "illegal header line"),
    bad("the first line is not folded", OK + b"\tA: b\r\n\r\n", "continuation line at start"),
    bad("lengths do not differ", OK + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", "conflicting"),
    bad("nor in a list", OK + b"Content-Length: 5, 6\r\n\r\n", "conflicting Content-Length"),
    bad("a length is not negative", OK + b"Content-Length: -1\r\n\r\n", "bad Content-Length"),
    bad("a length has no sign", OK + b"Content-Length: +1\r\n\r\n", "bad Content-Length"),
    bad("a length is decimal", OK + b"Content-Length: 0x5\r\n\r\n", "bad Content-Length"),
    bad("a length is there", OK + b"Content-Length:\r\n\r\n", "bad Content-Length"),
    bad("a length has an end", OK + b"Content-Length: " + b"9" * 21 + b"\r\n\r\n", "bad Content-Length"),
    bad(
        "a body has one framing",
        OK + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "both Content-Length and Transfer-Encoding",
    ),
    bad("codings other than chunked were not asked for", OK + b"Transfer-Encoding: gzip\r\n\r\n", "Only Tr"),
    bad("nor in a list", OK + b"Transfer-Encoding: gzip, chunked\r\n\r\n", "Only Transfer-Encoding"),
    bad("nor nothing", OK + b"Transfer-Encoding:\r\n\r\n", "Only Transfer-Encoding"),
    bad(
        "chunked is said once",
        OK + b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
        "multiple Transfer-Encoding",
    ),
    bad("a size is hexadecimal", CHUNKED_OK + b"xyz\r\n", "illegal chunk header"),
    bad("a size has no prefix", CHUNKED_OK + b"0x5\r\nhello\r\n", "illegal chunk header"),
    bad("a size is not negative", CHUNKED_OK + b"-5\r\n", "illegal chunk header"),
    bad("a size has no space before it", CHUNKED_OK + b" 5\r\n", "illegal chunk header"),
    bad("a size has no underscore in it", CHUNKED_OK + b"1_0\r\n", "illegal chunk header"),
    bad("a size is there", CHUNKED_OK + b"\r\n5\r\nhello\r\n", "illegal chunk header"),
    bad("a size has an end", CHUNKED_OK + b"f" * 21 + b"\r\n", "illegal chunk header"),
    bad("a size ends with CRLF", CHUNKED_OK + b"5\nhello\r\n0\r\n\r\n", "illegal chunk header"),
    bad("an extension has no line break", CHUNKED_OK + b"5;a\nb\r\nhello\r\n", "illegal chunk header"),
    bad("nor has it CR alone", CHUNKED_OK + b"5;a\rb\r\nhello\r\n", "illegal chunk header"),
    bad("a chunk ends where it says", CHUNKED_OK + b"4\r\nhello\r\n", "malformed chunk footer"),
    bad("a chunk ends with CRLF", CHUNKED_OK + b"5\r\nhello\n0\r\n\r\n", "malformed chunk footer"),
    bad("a chunk does not end with CR alone", CHUNKED_OK + b"5\r\nhello\r0", "malformed chunk footer"),
    bad("trailers are headers", CHUNKED_OK + b"0\r\nno colon\r\n\r\n", "illegal header line"),
    bad("nor is the first of trailers", CHUNKED_OK + b"0\r\n a: b\r\n\r\n", "continuation line at start"),
    bad("trailers tell no length", CHUNKED_OK + b"0\r\nContent-Length: 5\r\n\r\n", "framing"),
    bad("trailers tell no coding", CHUNKED_OK + b"0\r\nTransfer-Encoding: chunked\r\n\r\n", "framing"),
    bad("a switch was asked for", b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n", "not asked for"),
]

CASES = ANSWERS + FAILURES
