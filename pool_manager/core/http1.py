"""
One HTTP/1.1 connection as its client sees it: bytes in, events out, and no I/O (RFC 9112).

    connection.start(request)       -> bytes to write
    connection.send_body(part)      -> buffers to write, none of them copied
    connection.end_of_body()        -> bytes to write
    connection.receive(data)        -> events: Informational..., Head, bytes..., End; or Head, Switched
    connection.receive_eof()        -> events

Rule 1: a byte is part of the answer that is awaited, or the connection is of no further use. What comes
before a request or behind an answer is dropped, and never given to the next request (9.2 and 11.2): a
408 from a server that is tired of waiting as well as an answer that somebody has smuggled in.
Rule 2: reuse needs every sign in its favour: the request written to its end, the answer read to its end,
neither side asking to close, the end of the body not told by closing (9.3).
Rule 3: after a `TransportFailure` from `send_body`, `end_of_body`, `receive` or `receive_eof` the
connection must be closed. One from `start` harms nothing: no byte was made.
Rule 4: the answer may come before the request is written; the request may still be written to its end.
Rule 5: a body that breaks the rules takes nothing with it that came before, though it came in one piece:
that is reported first, and the `TransportFailure` as the last event. So what a caller sees is no matter of
how the bytes were cut.

What was given out counts as written: whether a socket took it is known to those who write.
"""

from __future__ import annotations

import enum
from typing import Final, final

from pool_manager.core.http1_answers import BLANK_LINE, Facts, ParseHead, facts_of
from pool_manager.core.http1_bodies import Body, Chunked, Counted, UntilClose
from pool_manager.core.http1_events import (
    END,
    End,
    Event,
    Head,
    Informational,
    Switched,
    local_error,
    remote_error,
)
from pool_manager.core.http1_requests import request_head
from pool_manager.core.messages import Request, TransportFailure

try:
    from pool_manager.core.http1_httptools import parse_with_httptools as parse_head
except ImportError:  # pragma: no cover - PyPy, and wherever httptools has no wheel
    from pool_manager.core.http1_answers import parse_with_h11 as parse_head

__all__ = [
    "MAX_HEAD",
    "End",
    "Event",
    "Head",
    "Http1Connection",
    "Informational",
    "Switched",
    "parse_head",
]

# As httpcore (MAX_INCOMPLETE_EVENT_SIZE). The informational heads before an answer count as well, as in
# Go: nobody may send them for ever.
MAX_HEAD: Final = 100 * 1024

_VERSION: Final = b"HTTP/1."


class _Phase(enum.Enum):
    HEAD = enum.auto()
    BODY = enum.auto()
    DONE = enum.auto()  # the answer is complete, or nothing was asked yet; the request may not be written
    SWITCHED = enum.auto()
    BROKEN = enum.auto()


# A member of an enum costs more to look up than a name of the module, and these are on every path.
_HEAD, _BODY, _DONE, _SWITCHED, _BROKEN = _Phase


@final
class Http1Connection:
    """
    The exchanges of one connection, one after the other.

    Attributes:
        request_written: The whole request was given out, if there was one.

        keep_alive_timeout: Seconds for which the server said, last, that it keeps an idle connection.
    """

    __slots__ = (
        "_body",
        "_held",
        "_keep",
        "_method",
        "_parse",
        "_phase",
        "_room",
        "_to_send",
        "_upgrade",
        "keep_alive_timeout",
        "request_written",
    )

    def __init__(self, parse: ParseHead = parse_head) -> None:
        self._parse = parse
        self._phase = _DONE
        self._keep = True
        self._method = ""
        self._upgrade = False
        self._to_send: int | None = 0  # bytes of the body; None if it is chunked
        self._held = b""  # the beginning of a head
        self._room = MAX_HEAD
        self._body: Body | None = None
        self.request_written = True
        self.keep_alive_timeout: float | None = None

    @property
    def is_idle(self) -> bool:
        """Tell whether a request may be started now."""
        return self._phase is _DONE and self.request_written and self._keep

    @property
    def is_reusable(self) -> bool:
        """
        Tell whether there is nothing against another exchange.

        During an exchange: nothing so far, so that it may be worth reading to its end. After it: nothing.
        """
        return self._keep and (self.request_written or self._phase is not _DONE)

    @property
    def has_whole_body(self) -> bool:
        """Tell whether as many bytes of the request's body were handed over as its head announced."""
        return self._to_send == 0

    @property
    def body_left(self) -> int | None:
        """Bytes of the answer's body still to come, if that is known."""
        return self._body.left if self._body is not None else None

    # The request

    def start(self, request: Request) -> bytes:
        """
        Begin an exchange; give the head.

        Raises:
            TransportFailure: "LocalProtocolError": *request* is not fit to be sent, or `is_idle` is false.
        """
        if not self.is_idle:
            raise local_error("the connection is not idle")
        head = request_head(request)
        self._phase = _HEAD
        self._keep = not head.close
        self._method = request.method
        self._upgrade = head.upgrade
        self._to_send = head.length
        self._room = MAX_HEAD
        self.request_written = False
        self.keep_alive_timeout = None
        return head.data

    def send_body(self, data: bytes | memoryview) -> tuple[bytes | memoryview, ...]:
        """
        Frame a part of the body; give the buffers to write, in order.

        Raises:
            TransportFailure: "LocalProtocolError": it is more than the head said.
        """
        if not data:
            return ()  # An empty chunk would be the last one.
        if self.request_written:
            raise self._refuse("Too much data: the body has ended")
        if self._to_send is None:
            return (b"%x\r\n" % len(data), data, b"\r\n")
        if len(data) > self._to_send:
            raise self._refuse("Too much data for declared Content-Length")
        self._to_send -= len(data)
        return (data,)

    def end_of_body(self) -> bytes:
        """
        End the request, with a body or without; give what is to be written.

        Raises:
            TransportFailure: "LocalProtocolError": the body is shorter than the head said.
        """
        if self._to_send:
            raise self._refuse("Too little data for declared Content-Length")
        last = b"0\r\n\r\n" if self._to_send is None and not self.request_written else b""
        self.request_written = True
        return last

    def _refuse(self, message: str) -> TransportFailure:
        self._keep = False
        return local_error(message)

    # The answer

    def receive(self, data: bytes) -> list[Event]:
        """
        Take what came; give what it means. The last event may be a `TransportFailure` (rule 5).

        Raises:
            TransportFailure: "RemoteProtocolError": the server broke the rules.
        """
        events: list[Event] = []
        rest: bytes | None = data
        try:
            while rest:
                if self._phase is _HEAD:
                    rest = self._take_head(rest, events)
                elif self._body is not None:
                    rest = self._body.feed(rest, events)
                    if rest is not None:
                        self._phase, self._body = _DONE, None
                else:
                    self._take_stray(rest, events)
                    break
        except TransportFailure as failure:
            in_body = self._phase is _BODY
            self._give_up(_BROKEN)
            if not (in_body and events):
                raise
            events.append(failure)
        return events

    def receive_eof(self) -> list[Event]:
        """
        Take the news that the server closed its side; give what that means.

        Raises:
            TransportFailure: "RemoteProtocolError": an answer is missing, or a part of it.
        """
        phase, body = self._phase, self._body
        self._give_up(_DONE if phase in (_BODY, _DONE) else _BROKEN)
        if phase is _HEAD:
            raise remote_error("Server disconnected without sending a response.")
        if phase is not _BODY or body is None:
            return []
        body.feed_eof()
        return [END]

    def _give_up(self, phase: _Phase) -> None:
        self._phase = phase
        self._keep = False
        self._held = b""
        self._body = None

    def _take_stray(self, data: bytes, events: list[Event]) -> None:
        if self._phase is _SWITCHED:
            events.append(data)
        self._keep = False  # Rule 1.

    def _take_head(self, data: bytes, events: list[Event]) -> bytes | None:
        searched = 0
        if self._held:
            searched = max(0, len(self._held) - 2)
            data = self._held + data  # Copies no more than MAX_HEAD, and heads come in one piece.
            self._held = b""
        if not (data.startswith(_VERSION) or _VERSION.startswith(data)):
            raise remote_error("illegal status line: it does not begin with HTTP/1")
        end = BLANK_LINE.search(data, searched)
        size = end.end() if end else len(data)
        if size > self._room:
            raise remote_error(f"headers longer than {MAX_HEAD} bytes")
        if end is None:
            self._held = data
            return None
        self._room -= size
        return self._begin(self._parse(data[:size]), data[size:], events)

    def _begin(self, head: Head, rest: bytes, events: list[Event]) -> bytes | None:
        """Tell what kind of answer *head* begins; give *rest* back, or hand it over."""
        status, facts = head.status, facts_of(head.headers)
        if status < 200 and status != 101:  # noqa: PLR2004
            events.append(Informational(head))
            return rest
        events.append(head)
        if status == 101 or (self._method == "CONNECT" and status < 300):  # noqa: PLR2004
            if status == 101 and not self._upgrade:  # noqa: PLR2004 - RFC 9110, 7.8
                raise remote_error("101 Switching Protocols, which was not asked for")
            self._give_up(_SWITCHED)
            events.append(Switched(rest))  # RFC 9110, 9.3.6: whatever framing it claims
            return None
        self.keep_alive_timeout = facts.timeout
        if facts.close or (head.http_version == b"HTTP/1.0" and (facts.chunked or not facts.keep_alive)):
            self._keep = False  # RFC 9112, 9.3 and 6.1
        self._body = self._body_of(status, facts)
        if self._body is None:
            self._phase = _DONE
            events.append(END)
        else:
            self._phase = _BODY
        return rest

    def _body_of(self, status: int, facts: Facts) -> Body | None:
        """Choose the framing, or None where there is no body (RFC 9112, 6.3)."""
        if facts.chunked and facts.length is not None:
            raise remote_error("both Content-Length and Transfer-Encoding")
        if status == 204:  # noqa: PLR2004
            # RFC 9110, 8.6: it may not even claim a body. If one follows, it comes when nobody looks.
            self._keep = self._keep and not (facts.chunked or facts.length)
            return None
        if status == 304 or self._method == "HEAD":  # noqa: PLR2004
            return None
        if facts.chunked:
            return Chunked(self._parse, MAX_HEAD)
        if facts.length is None:
            self._keep = False
            return UntilClose()
        return Counted(facts.length) if facts.length else None
