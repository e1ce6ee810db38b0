"""What a `CountingServer` counts, answers, and holds of each connection."""

from __future__ import annotations

import socket
from typing import Literal

import attrs
import h11

Close = Literal["never", "after", "instead", "halfway"]


@attrs.frozen(kw_only=True)
class CountedRequest:
    """
    One request that arrived in full.

    Attributes:
        connection: The number of its connection; the first is 1.
    """

    connection: int
    method: str
    path: str
    headers: tuple[tuple[str, str], ...]
    body: bytes


@attrs.frozen(kw_only=True)
class Answer:
    """
    What to answer.

    Attributes:
        delay: Seconds to wait before it is sent.

        close:
            "never": keep the connection. "after": send all, then close, without
            a word about it in the headers. "instead": close, send nothing.
            "halfway": close after half of the body.
    """

    status: int = 200
    body: bytes = b'{"ok": true}'
    headers: tuple[tuple[str, str], ...] = (("content-type", "application/json"),)
    delay: float = 0.0
    close: Close = "never"


@attrs.define(eq=False)
class Peer:
    """One connection, as the server holds it."""

    number: int
    socket: socket.socket
    parser: h11.Connection = attrs.field(factory=lambda: h11.Connection(h11.SERVER))
    request: h11.Request | None = None
    body: bytearray = attrs.field(factory=bytearray)
    busy: bool = False  # a request came, its answer has not gone out
    unsent: bytearray = attrs.field(factory=bytearray)
    close_when_sent: bool = False
    gone: bool = False

    def counted(self) -> CountedRequest:
        """Give the request that has just arrived in full."""
        assert self.request is not None
        return CountedRequest(
            connection=self.number,
            method=self.request.method.decode(),
            path=self.request.target.decode(),
            headers=tuple((name.decode(), value.decode("latin-1")) for name, value in self.request.headers),
            body=bytes(self.body),
        )

    def wire_form(self, answer: Answer) -> bytes:
        """Write an answer as this connection's state wants it."""
        length = ("content-length", str(len(answer.body)))
        head = h11.Response(status_code=answer.status, headers=[*answer.headers, length])
        sent = self.parser.send(head) or b""
        if answer.close == "halfway":
            return sent + answer.body[: len(answer.body) // 2]
        if self.request is not None and self.request.method != b"HEAD":
            sent += self.parser.send(h11.Data(answer.body)) or b""
        return sent + (self.parser.send(h11.EndOfMessage()) or b"")
