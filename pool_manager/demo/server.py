"""
A TLS server of HTTP/2 and HTTP/1.1 that counts, on loopback: ``python -m pool_manager.demo.server``.

It says where it listens and which file of CAs to trust, then its counts, which
only grow, whenever the parent asks: over a pipe, since a request would count.
"""

# pyright: reportUnknownVariableType=false
# hypercorn types its applications in part.

from __future__ import annotations

import asyncio
import json
import socket
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias, cast

import attrs
import certifi
import trustme
from hypercorn.asyncio import serve
from hypercorn.config import Config, Sockets
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Framework, Scope

from pool_manager.demo import children

ADDRESS = "127.0.0.1"

_Answer: TypeAlias = Mapping[str, object]

_TIME = 1_760_000_000  # any second will do
_CHAT: _Answer = {
    "id": "chatcmpl-demo",
    "object": "chat.completion",
    "created": _TIME,
    "model": "demo",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hello."}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 2, "completion_tokens": 2, "total_tokens": 4},
}
_MESSAGE: _Answer = {
    "id": "msg_demo",
    "type": "message",
    "role": "assistant",
    "model": "demo",
    "content": [{"type": "text", "text": "Hello."}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 2, "output_tokens": 2},
}
_DEVBOX: _Answer = {
    "id": "demo",
    "status": "running",
    "capabilities": [],
    "create_time_ms": _TIME * 1000,
    "launch_parameters": {},
    "metadata": {},
    "state_transitions": [],
}
# By how the path ends; each complete enough for the SDKs that ask for it.
_ANSWERS = {"/chat/completions": _CHAT, "/messages": _MESSAGE, "/devboxes/demo": _DEVBOX}


@attrs.define
class Counts:
    """What the server saw since it started."""

    connections: int = 0
    handshakes: int = 0
    requests: int = 0


class DemoConfig(Config):
    """hypercorn's settings, with a socket and a TLS context that count."""

    def __init__(self, counts: Counts, folder: Path) -> None:
        super().__init__()
        self._counts = counts
        self.certfile, self.keyfile = str(folder / "server.pem"), str(folder / "server.key")
        self.errorlog = None
        self.backlog = 1024  # clients come all at once
        # What hypercorn closes of itself is not what is compared: busy clients reconnect for neither reason.
        self.keep_alive_max_requests = 1_000_000
        self.keep_alive_timeout = 300.0
        self.listener = _listener(counts)

    def create_sockets(self) -> Sockets:
        """Serve TLS on the counting socket, and nothing else."""
        return Sockets([self.listener], [], [])

    def create_ssl_context(self) -> ssl.SSLContext | None:
        """Count handshakes when they are complete."""
        counts, context = self._counts, super().create_ssl_context()
        assert context is not None, "a certificate is set"

        class CountingTLS(ssl.SSLObject):
            def do_handshake(self) -> None:
                super().do_handshake()  # raises for as long as it is not complete
                counts.handshakes += 1

        context.sslobject_class = CountingTLS
        return context


def _listener(counts: Counts) -> socket.socket:
    class CountingSocket(socket.socket):
        def accept(self) -> tuple[socket.socket, tuple[str, int]]:
            accepted = super().accept()
            counts.connections += 1
            return accepted

    listener = CountingSocket(socket.AF_INET, socket.SOCK_STREAM)
    # What it accepts inherits this; asyncio sets it only where the socket names its protocol.
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    listener.bind((ADDRESS, 0))
    return listener


class App:
    """Gives canned answers, at once."""

    def __init__(self, counts: Counts) -> None:
        self._counts = counts

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Serve one request, or the life of the server."""
        if scope["type"] == "lifespan":
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["type"] == "http":
            while (await receive()).get("more_body"):
                pass
            self._counts.requests += 1
            await _answer(scope["path"], send)


async def _answer(path: str, send: ASGISendCallable) -> None:
    answer = next((answer for end, answer in _ANSWERS.items() if path.endswith(end)), {"hello": "demo"})
    body = json.dumps(answer).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers, "trailers": False})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def write_certificates(folder: Path) -> Path:
    """
    Write a certificate for this server into *folder*; give the file of CAs that clients are to trust.

    The usual CAs are in it, too: reading them is most of what an ordinary client costs.
    """
    authority = trustme.CA()
    issued = authority.issue_cert(ADDRESS)
    issued.private_key_pem.write_to_path(folder / "server.key")
    for blob in issued.cert_chain_pems:
        blob.write_to_path(folder / "server.pem", append=True)
    trusted = folder / "trusted.pem"
    trusted.write_bytes(Path(certifi.where()).read_bytes())
    authority.cert_pem.write_to_path(trusted, append=True)
    return trusted


def main() -> None:
    """Serve until the parent lets go."""
    folder = tempfile.TemporaryDirectory(prefix="pool-manager-demo-")
    counts = Counts()
    trusted = write_certificates(Path(folder.name))
    config = DemoConfig(counts, Path(folder.name))
    children.follow_parent(lambda: children.say(**attrs.asdict(counts)), tidy_up=folder.cleanup)
    port: int = config.listener.getsockname()[1]
    config.listener.listen(config.backlog)  # from here on nobody who connects is refused
    children.say(url=f"https://{ADDRESS}:{port}", trusted=str(trusted))
    asyncio.run(serve(cast("Framework", App(counts)), config))


if __name__ == "__main__":
    main()
