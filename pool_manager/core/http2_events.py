"""What an HTTP/2 connection reports. All but `Allowed`, `Drain` and `Pong` are about one stream."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from pool_manager.core.messages import Headers, TransportFailure


@attrs.define
class StreamHead:
    """
    The head of the final answer.

    Attributes:
        stream: The stream's number.

        status: Three digits, from 200 on.

        headers: Raw pairs without pseudo-headers, names in lower case.
    """

    stream: int
    status: int
    headers: Headers = attrs.field(repr=False)  # cookies, for one


@attrs.define
class StreamInformational:
    """An answer before the answer: 100, 102, 103 (RFC 9110, 15.2). The final one follows."""

    stream: int
    status: int
    headers: Headers = attrs.field(repr=False)  # cookies, for one


@attrs.define
class StreamData:
    """
    A part of the body.

    Attributes:
        size: Bytes of the stream's window that it took, padding included: what `credit` is to give back.
    """

    stream: int
    data: bytes = attrs.field(repr=False)
    size: int


@attrs.define
class StreamEnd:
    """The answer is complete. The request may not be: then its caller ends or resets the stream."""

    stream: int
    trailers: tuple[tuple[bytes, bytes], ...] = attrs.field(default=(), repr=False)


@attrs.define
class StreamFailed:
    """
    The stream is over before its answer was complete; nothing more is said of it.

    Attributes:
        unprocessed: The server says that it did nothing with the request (rules 10 and 11b of the pool:
            REFUSED_STREAM, or above the last stream of a GOAWAY): any method may be sent again.

        refused: It was REFUSED_STREAM.
    """

    stream: int
    failure: TransportFailure
    unprocessed: bool = False
    refused: bool = False


@attrs.define
class StopSending:
    """The server wants no more of the request; its answer, complete by now, stands (RFC 9113, 8.1)."""

    stream: int


@attrs.define
class Writable:
    """The window opened: `send_body` would take something. Stream 0: perhaps of every stream."""

    stream: int


@attrs.define
class SlotFreed:
    """A stream that `reset` said to hold its place has left it: the server is known to have heard."""

    stream: int


@attrs.define
class Allowed:
    """The server changed how many streams it allows at once."""

    streams: int


@attrs.define
class Drain:
    """
    GOAWAY: no new stream; those that run go on.

    Attributes:
        code: The error code, 0 for a graceful end.

        debug: What the server said to it.
    """

    code: int
    debug: bytes


@attrs.define
class Pong:
    """The answer to a `ping` of ours."""


Event: TypeAlias = (
    StreamHead
    | StreamInformational
    | StreamData
    | StreamEnd
    | StreamFailed
    | StopSending
    | Writable
    | SlotFreed
    | Allowed
    | Drain
    | Pong
)
