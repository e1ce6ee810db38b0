"""What every test server has in common: where it is, and what it saw."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import attrs

from tests.support.certificates import Certificates

if TYPE_CHECKING:
    import ssl

POLL = 0.01  # seconds between two looks at a server
START_TIMEOUT = 15.0  # a loaded machine may need far more than the usual 0.5 s


@attrs.frozen(kw_only=True)
class SeenRequest:
    """
    One request, as the server saw it.

    Attributes:
        path: The request target, with its query.

        http_version: "1.0", "1.1" or "2".

        client: "host:port" of the peer: it tells connections apart.

        headers: Names in lower case. A server that reads a log knows only some.

        body_sha256: In hex; empty where the body was not read to its end.
    """

    method: str
    path: str
    http_version: str
    client: str
    headers: tuple[tuple[str, str], ...] = ()
    body_sha256: str = ""

    def header(self, name: str) -> str | None:
        """Give the first value of a header, or None."""
        return next((value for key, value in self.headers if key == name.lower()), None)


@attrs.frozen(kw_only=True)
class Seen:
    """
    What a server saw since it started, or since its last `reset`.

    Attributes:
        connections: TCP connections accepted, those without a request too.

        handshakes: TLS handshakes that came to their end.

        requests: In order of arrival.

        open: Connections that are open now (not since `reset`).
    """

    connections: int
    handshakes: int
    requests: tuple[SeenRequest, ...]
    open: int

    @property
    def per_client(self) -> Counter[str]:
        """How many requests came on each connection."""
        return Counter(request.client for request in self.requests)


class Server(ABC):
    """
    A server in another process.

    Attributes:
        port: Where it listens, on 127.0.0.1.

        url: "https://localhost:PORT", or "http://127.0.0.1:PORT" in the clear.
    """

    def __init__(self, certificates: Certificates, port: int, *, tls: bool) -> None:
        self._certificates = certificates
        self.port = port
        self.url = f"https://localhost:{port}" if tls else f"http://127.0.0.1:{port}"

    @property
    def ca_file(self) -> Path:
        """The certificate to trust."""
        return self._certificates.ca_file

    def client_context(self) -> ssl.SSLContext:
        """Make a fresh context that trusts this server and no other."""
        return self._certificates.client_context()

    @abstractmethod
    def seen(self) -> Seen:
        """
        Tell what the server saw.

        Whatever a client finished before this call is in the answer: each
        connection it opened, and each request whose answer it has read. What
        only the server can know of (that a connection has ended, that it has
        read the last flight of a handshake) may be a moment late: `wait_for` it.
        """

    @abstractmethod
    def reset(self) -> None:
        """Count from zero. Connections stay open."""

    @abstractmethod
    def stop(self) -> None:
        """End the server, and with it every connection. Safe to repeat."""

    def wait_for(self, condition: Callable[[Seen], bool], timeout: float = 2.0) -> Seen:
        """
        Give the first `Seen` of which *condition* is true.

        Raises:
            TimeoutError: It never was; the message has the last one.
        """
        deadline = time.monotonic() + timeout
        while not condition(seen := self.seen()):
            if time.monotonic() > deadline:
                msg = f"not seen within {timeout} s; the last that was seen: {seen}"
                raise TimeoutError(msg)
            time.sleep(POLL)
        return seen

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
