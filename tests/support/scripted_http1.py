"""A server that speaks HTTP/1.1 as a story says, over raw bytes. See `scripted`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from tests.support.scripted import Accepted, Peer, Request, ScriptedServer

__all__ = ["CONTINUE", "OK", "Http1Peer", "Http1Story", "ScriptedHttp1", "response"]

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"


def response(body: bytes = b"ok", *headers: bytes, status: bytes = b"200 OK") -> bytes:
    """Write an answer as it is on the wire, with its length."""
    lines = [b"HTTP/1.1 " + status, b"content-length: %d" % len(body), *headers]
    return b"\r\n".join([*lines, b"", body])


OK: Final = response()


class Http1Peer(Peer):
    """
    One connection, from the server's side.

    Attributes:
        requests: What has come on it, requests in the middle of their body too.
    """

    def __init__(self, accepted: Accepted) -> None:
        super().__init__(accepted)
        self.requests: list[Request] = []
        self._unread = b""

    def read_request(self) -> Request:
        """Read the next request to its end."""
        return self.read_body(self.read_head())

    def read_head(self) -> Request:
        """Read the head of the next request, and leave its body."""
        line, *headers = self._until(b"\r\n\r\n").decode("latin-1").split("\r\n")
        method, target, version = line.split(" ")
        assert version == "HTTP/1.1", line
        pairs = (header.partition(":") for header in headers if header)
        request = Request(
            connection=self.number,
            method=method,
            target=target,
            headers=tuple((name.lower(), value.strip()) for name, _, value in pairs),
        )
        self.requests.append(request)
        self._log.append(request)
        return request

    def read_body(self, request: Request) -> Request:
        """Read the body of *request* to its end."""
        if request.header("transfer-encoding") == "chunked":
            while size := int(self._until(b"\r\n"), 16):
                request.body += self.read_exactly(size)
                self._until(b"\r\n")
            while self._until(b"\r\n") != b"\r\n":
                pass
        else:
            request.body += self.read_exactly(int(request.header("content-length") or 0))
        request.is_complete = True
        return request

    def read_exactly(self, count: int) -> bytes:
        """Read *count* bytes, whatever they are."""
        parts = [self._unread]
        while (missing := count - sum(map(len, parts))) > 0:
            parts.append(self.receive())
        data = b"".join(parts)
        self._unread = data[len(data) + missing :]
        return data[:count]

    def answer(self, body: bytes = b"ok", *headers: bytes, status: bytes = b"200 OK") -> None:
        """Answer the request that came last."""
        answer = response(body, *headers, status=status)
        self.send(answer[: -len(body)] if body and self.requests[-1].method == "HEAD" else answer)

    def listen(self) -> None:
        """Read and note all that comes, and answer nothing, until the client has left."""
        while True:
            self.read_request()

    def serve(self) -> None:
        """Answer whatever comes, until the client has left."""
        while True:
            self.read_request()
            self.answer()

    def _until(self, end: bytes) -> bytes:
        """Read up to *end*, and that."""
        while end not in self._unread:
            self._unread += self.receive()
        data, _, self._unread = self._unread.partition(end)
        return data + end


Http1Story: TypeAlias = Callable[[Http1Peer], None]


class ScriptedHttp1(ScriptedServer[Http1Peer]):
    """HTTP/1.1 as the stories say; see `ScriptedServer`."""

    ALPN = ("http/1.1",)

    def make_peer(self, accepted: Accepted) -> Http1Peer:
        """Make the server's side of a new connection."""
        return Http1Peer(accepted)
