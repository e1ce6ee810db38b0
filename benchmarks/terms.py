"""What a scenario asks of a client, and how it uses it."""

from __future__ import annotations

import ssl
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeAlias

import attrs

from benchmarks.servers import BODY
from pool_manager import Lane

OK = 200
TIMEOUT = 60.0
KEEPALIVE = 60.0  # seconds; where connections are counted, none shall expire


@attrs.frozen(kw_only=True)
class Terms:
    """
    What a scenario asks of a client.

    Attributes:
        http2: Speak HTTP/2; HTTP/1.1 alone if not.

        tls: Whom to trust; the client's own way of finding that out if None.

        ca_file: The same, for who takes no context.

        connections: How many there may be, and may be kept; the contender's own default if None.

        lanes: Lanes, for who has such a thing.
    """

    http2: bool = False
    tls: ssl.SSLContext | None = None
    ca_file: str | None = None
    connections: int | None = None
    lanes: tuple[Lane, ...] = ()


class UnexpectedError(Exception):
    """An answer that is not what the server sends."""


class Http(Protocol):
    """A client as the scenarios use it."""

    async def get(self, url: str) -> int:
        """Read the whole answer; give its size."""
        ...

    async def post(self, url: str, body: bytes) -> int:
        """Send *body*, read the whole answer; give its size."""
        ...

    async def version(self, url: str) -> str:
        """Tell what is spoken there: "HTTP/1.1" or "HTTP/2"."""
        ...


Opened: TypeAlias = AbstractAsyncContextManager[Http]


def size(status: int, body: bytes) -> int:
    """
    Give the size of a body.

    Raises:
        UnexpectedError: The answer is none of the server's.
    """
    if status != OK:
        raise UnexpectedError(f"HTTP {status}")
    return len(body)


def check_small(status: int, body: bytes) -> None:
    """
    See that an answer is the small one.

    Raises:
        UnexpectedError: It is not.
    """
    if size(status, body) != len(BODY):
        raise UnexpectedError(f"{len(body)} bytes")
