"""
The head of an answer, parsed by httptools: eight times as fast as h11, where httptools is installed.

It takes what is beyond doubt. Whatever llhttp refuses, or takes though h11 may not, h11 is asked about: so
both parsers accept the same, report the same, and refuse in the same words.
"""

from __future__ import annotations

from typing import Final

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from pool_manager.core.http1_answers import parse_with_h11
from pool_manager.core.http1_events import Head
from pool_manager.core.messages import Headers

_LENGTH_OF_ENCODING: Final = len(b"transfer-encoding")
_PLAIN: Final = bytes(range(0x20, 0x7F))


class _Collected:
    """What httptools calls back. Nothing here may raise: it would surface as an error of the parser."""

    __slots__ = ("complete", "headers", "reason")

    def __init__(self) -> None:
        self.headers: Headers = []
        self.reason = b""
        self.complete = False

    def on_status(self, reason: bytes) -> None:
        self.reason = reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(name) == _LENGTH_OF_ENCODING and name.lower() == b"transfer-encoding":
            value = value.lower()  # as h11 shows it
        self.headers.append((name, value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        self.complete = True


def parse_with_httptools(head: bytes) -> Head:
    """Parse *head* with httptools, or with h11 where there is the least doubt."""
    got = _Collected()
    parser = HttpResponseParser(got)
    try:
        parser.feed_data(head)
    except (HttpParserError, HttpParserUpgrade):
        return parse_with_h11(head)
    status = parser.get_status_code()
    # llhttp takes any byte in a reason, and numbers below 100.
    if not got.complete or status < 100 or got.reason.translate(None, _PLAIN):  # noqa: PLR2004
        return parse_with_h11(head)
    return Head(status, got.reason, got.headers, head[:8])
