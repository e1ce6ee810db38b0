"""
One stream: what was promised of its request and its answer, and how far both are (RFC 9113, 5 and 8.1).

A stream is known from its HEADERS until both sides have ended it, or one has reset it.
"""

from __future__ import annotations

from typing import Final, final

from pool_manager.core.http2_answers import MAX_LIST, Fields
from pool_manager.core.http2_events import Event, StreamEnd, StreamHead, StreamInformational
from pool_manager.core.http2_frames import (
    ENHANCE_YOUR_CALM,
    PROTOCOL_ERROR,
    STREAM_CLOSED,
    StreamFault,
)

# As .NET and Go: what one long line to a far place needs (pool-rules, "next in line").
STREAM_WINDOW: Final = 4 * 1024 * 1024


@final
class Stream:
    """
    A request and its answer.

    Attributes:
        number: The number on the wire.

        started: Frames that had come when its HEADERS were made.

        asked: The request is complete.

        to_send: Bytes of the request that its head promised and that are not sent; None if nothing was said.

        credit: The window of the request, less the initial one, which a server may change at any time.

        begun: The head of the answer has come.

        answered: The answer is complete.

        window: Bytes of the answer that the server may still send.

        consumed: Bytes that the caller has done with, and that the server has not been told of.
    """

    __slots__ = (
        "_left",
        "_method",
        "_room",
        "answered",
        "asked",
        "begun",
        "consumed",
        "credit",
        "number",
        "started",
        "to_send",
        "window",
    )

    def __init__(self, number: int, method: str, to_send: int | None, started: int) -> None:
        self.number = number
        self.started = started
        self.asked = False
        self.to_send = to_send
        self.credit = 0
        self.answered = False
        self.window = STREAM_WINDOW
        self.consumed = 0
        self._method = method
        self.begun = False
        self._left: int | None = None  # bytes of the answer's body; None if that is not known
        self._room = MAX_LIST  # for headers; informational ones count too, or they could come for ever

    def take_fields(self, fields: Fields, events: list[Event], *, last: bool) -> None:
        """
        Take a header block: an informational head, the head, or trailers.

        Raises:
            StreamFault: It is not fit to be the next one.
        """
        if self.answered:
            raise StreamFault(STREAM_CLOSED, "headers behind the end of the answer")
        if fields.fault is not None:
            raise StreamFault(PROTOCOL_ERROR, fields.fault)
        self._room -= fields.size
        if self._room < 0:
            raise StreamFault(ENHANCE_YOUR_CALM, f"headers longer than {MAX_LIST} bytes")
        if self.begun:
            self._take_trailers(fields, events, last=last)
        elif not fields.status:
            raise StreamFault(PROTOCOL_ERROR, "an answer without :status")
        elif fields.status < 200:  # noqa: PLR2004
            if last or fields.status == 101:  # noqa: PLR2004 - RFC 9113, 8.1 and 8.6
                raise StreamFault(PROTOCOL_ERROR, f"{fields.status} cannot be the answer")
            events.append(StreamInformational(self.number, fields.status, fields.headers.copy()))
        else:
            self.begun = True
            self._left = self._length_of(fields)
            events.append(StreamHead(self.number, fields.status, fields.headers.copy()))
            if last:
                self.end(events)

    def _length_of(self, fields: Fields) -> int | None:
        """Tell how long the body is to be (RFC 9110, 6.4.1 and 8.6)."""
        if self._method == "HEAD" or fields.status in (204, 304):
            return 0
        if self._method == "CONNECT" and fields.status < 300:  # noqa: PLR2004 - RFC 9110, 9.3.6
            return None
        return fields.length

    def _take_trailers(self, fields: Fields, events: list[Event], *, last: bool) -> None:
        if fields.status:
            raise StreamFault(PROTOCOL_ERROR, ":status in trailers, or a second head")
        if not last:
            raise StreamFault(PROTOCOL_ERROR, "trailers that do not end the answer")
        self.end(events, tuple(fields.headers))

    def take_body(self, size: int) -> None:
        """
        Count a part of the body.

        Raises:
            StreamFault: There is to be none now.
        """
        if self.answered:
            raise StreamFault(STREAM_CLOSED, "data behind the end of the answer")
        if not self.begun:
            raise StreamFault(PROTOCOL_ERROR, "data before the head of the answer")
        if self._left is not None:
            self._left -= size
            if self._left < 0:
                raise StreamFault(PROTOCOL_ERROR, "more data than content-length says, or than there may be")

    def end(self, events: list[Event], trailers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        """
        Take the end of the answer.

        Raises:
            StreamFault: It is too early.
        """
        if self._left:
            raise StreamFault(PROTOCOL_ERROR, f"the answer ends {self._left} bytes before its content-length")
        self.answered = True
        events.append(StreamEnd(self.number, trailers))
