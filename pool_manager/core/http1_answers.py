"""
The head of an answer, parsed (RFC 9112, 4 and 5), and what it says of the connection.

Rule 1: a parser is given one whole head and nothing else. Where a head ends and how a body is framed is
decided by us, so that no parser has to know the method of the request.
Rule 2: h11 is the judge, and errors are in the words that users of httpcore know. Another parser may be
faster with heads that are beyond doubt, and hands the others over.
Rule 3: RFC 9112 is the law where h11 is lenient: no two framings.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from itertools import compress
from typing import Final, TypeAlias

import attrs
import h11

from pool_manager.core.http1_events import Head, remote_error
from pool_manager.core.http1_requests import options_of
from pool_manager.core.messages import Headers, names_of

ParseHead: TypeAlias = Callable[[bytes], Head]
"""Takes one head, blank line included; raises `TransportFailure` ("RemoteProtocolError")."""

# As node.js has it (http.maxHeadersCount); the 100 of http.client and hyper is too few for some who set
# many cookies, and the size of a head is limited anyway.
MAX_HEADERS: Final = 2_000

# A line break is CRLF, and may be LF alone (RFC 9112, 2.2).
BLANK_LINE: Final = re.compile(rb"\n\r?\n")

_TIMEOUT: Final = re.compile(rb"(?:^|[,;\s])timeout\s*=\s*([0-9]{1,9})(?![0-9])", re.IGNORECASE)
_ASKS_TO_SWITCH: Final = h11.Request(method="GET", target="/", headers=[("host", ""), ("upgrade", "any")])


# What h11 lets pass in no line of a head; and runs of blanks, for which it takes the square of their length
# where one of those follows: 100 KiB would stop a loop for a minute. It refuses them with one blank, too.
_FORBIDDEN: Final = re.compile(rb"[\0\v\f]|\r(?!\n)")
_BLANKS: Final = re.compile(rb"[ \t]{2,}")


def parse_with_h11(head: bytes) -> Head:
    """Parse *head* with h11."""
    if _FORBIDDEN.search(head):
        head = _BLANKS.sub(b" ", head)
    parser = h11.Connection(h11.CLIENT)
    if head[9:10] == b"1":  # h11 takes a 1xx only after a request, and a 101 only if that asked for it.
        parser.send(_ASKS_TO_SWITCH)
    parser.receive_data(head)
    try:
        event = parser.next_event()
    except h11.RemoteProtocolError as error:
        raise remote_error(str(error)) from None
    assert isinstance(event, h11.Response | h11.InformationalResponse)
    version = b"HTTP/" + event.http_version
    return Head(event.status_code, event.reason, event.headers.raw_items(), version)


@attrs.define
class Facts:
    """
    What the headers of an answer say of its body and of the connection.

    Attributes:
        length: Content-Length, if there is one.

        chunked: Transfer-Encoding is there, and is chunked.

        close: The server will close the connection.

        keep_alive: The server says that it will not, as HTTP/1.0 has to.

        timeout: Seconds for which it keeps an idle connection, if it says so.
    """

    length: int | None = None
    chunked: bool = False
    close: bool = False
    keep_alive: bool = False
    timeout: float | None = None


def facts_of(headers: Headers) -> Facts:
    """
    Read the headers that concern the connection.

    Raises:
        TransportFailure: "RemoteProtocolError": there are too many, or a transfer coding is unknown.
    """
    if len(headers) > MAX_HEADERS:
        raise remote_error(f"more than {MAX_HEADERS} headers")
    facts = Facts()
    # Answers have many headers and few of these: the others cost no step of Python's.
    for name, value in compress(headers, map(_NOTES.__contains__, names_of(headers))):
        _NOTES[name.lower()](facts, value)
    return facts


def _note_length(facts: Facts, value: bytes) -> None:
    facts.length = int(value)  # Both parsers let digits pass, and one value.


def _note_encoding(facts: Facts, value: bytes) -> None:
    if facts.chunked:
        raise remote_error("multiple Transfer-Encoding headers")
    if value.lower() != b"chunked":
        raise remote_error("Only Transfer-Encoding: chunked is supported")
    facts.chunked = True


def _note_connection(facts: Facts, value: bytes) -> None:
    options = options_of(value)
    if b"close" in options:
        facts.close = True
    if b"keep-alive" in options:
        facts.keep_alive = True


def _note_keep_alive(facts: Facts, value: bytes) -> None:
    found = _TIMEOUT.search(value)
    if found is not None:
        facts.timeout = float(found[1])


_NOTES: Final[dict[bytes, Callable[[Facts, bytes], None]]] = {
    b"content-length": _note_length,
    b"transfer-encoding": _note_encoding,
    b"connection": _note_connection,
    b"keep-alive": _note_keep_alive,
}
