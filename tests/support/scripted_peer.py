"""One connection of a scripted server: its bytes, its waits and its end. See `scripted`."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import select
import socket
import ssl
import struct
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Final, Literal, NoReturn, Self

import attrs

RECEIVE: Final = 65536
PATIENCE: Final = 5.0  # seconds; longer means that somebody is stuck
MOMENT: Final = 0.001  # seconds between two looks

# How a connection ended: by the client's FIN, by its RST, or by the story.
Ending = Literal["not", "FIN", "RST", "by us"]


class Over(Exception):
    """The connection is over, or the server is; nothing is left for a story to do."""


class Gate:
    """Shut until somebody opens it: so a story waits for a test, and a test for a story."""

    def __init__(self) -> None:
        self._event = threading.Event()

    @property
    def is_open(self) -> bool:
        """Tell whether somebody has opened it."""
        return self._event.is_set()

    def open(self) -> None:
        """Let everybody pass, now and later."""
        self._event.set()

    async def opened(self) -> None:
        """Wait until it is open."""
        await until(lambda: self.is_open)


async def until(condition: Callable[[], bool]) -> None:
    """
    Let the loop run until *condition* is true, and until it has noticed what had arrived by then.

    Raises:
        TimeoutError: It never was.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            msg = f"not so within {PATIENCE} s"
            raise TimeoutError(msg)
        await asyncio.sleep(MOMENT)
    await asyncio.sleep(MOMENT)


@attrs.define(eq=False, kw_only=True)
class Request:
    """
    One request, as far as it has come.

    Attributes:
        connection: The number of its connection; the first is 1.

        headers: Names in lower case, no pseudo-headers.

        body: What has come of it, without its framing.

        is_complete: It is all there. From now on a real server might act on it.

        is_disowned: The server said that it did nothing with it, and will not.
    """

    connection: int
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytearray = attrs.field(factory=bytearray)
    is_complete: bool = False
    is_disowned: bool = False

    def header(self, name: str) -> str | None:
        """Give the first value of a header, or None."""
        return next((value for key, value in self.headers if key == name.lower()), None)


@attrs.frozen
class Accepted:
    """A new connection, what becomes readable when the server stops, and where requests are noted."""

    number: int
    connection: socket.socket
    stopping: socket.socket
    requests: list[Request]


class Peer(ABC):
    """
    One connection, from the server's side. Its methods are for its story, its attributes for all.

    Attributes:
        number: The number of the connection; the first is 1.

        ended: How the connection ended; "not" while it is open.
    """

    def __init__(self, accepted: Accepted) -> None:
        self.number = accepted.number
        self.ended: Ending = "not"
        self._socket = accepted.connection
        self._stopping = accepted.stopping  # readable as soon as the server is to stop
        self._log = accepted.requests
        # What the thread waits for. None: for nothing, it is at work.
        self._waits_for: Literal["bytes", "room"] | Gate | None = None

    @abstractmethod
    def serve(self) -> None:
        """Answer whatever comes, until the client has left."""

    # What a story does

    def send(self, data: bytes) -> None:
        """Send *data*, as it is."""
        rest = memoryview(data)
        while rest:
            try:
                sent = self._socket.send(rest)
            except (BlockingIOError, ssl.SSLWantWriteError):
                self._until_ready("room")
            except OSError as error:
                raise self._lost(error) from None
            else:
                rest = rest[sent:]

    def trickle(self, data: bytes) -> None:
        """Send *data* byte by byte, each in a segment of its own."""
        for byte in data:
            self.send(bytes([byte]))
            time.sleep(MOMENT / 5)  # so that most of them are also read one by one; nothing rests on it

    def receive(self) -> bytes:
        """
        Give what comes next.

        Raises:
            Over: The client has left.
        """
        while True:
            try:
                data = self._socket.recv(RECEIVE)
            except (BlockingIOError, ssl.SSLWantReadError):
                self._until_ready("bytes")
            except OSError as error:
                raise self._lost(error) from None
            else:
                if not data:
                    self._end("FIN")
                    raise Over
                return data

    def receive_within(self, timeout: float) -> bytes:
        """
        Give what comes within *timeout* seconds, or nothing.

        Raises:
            Over: The client has left.
        """
        if not is_readable(self._socket) and not self._until_ready("bytes", timeout):
            return b""
        return self.receive()

    def wait(self, gate: Gate) -> None:
        """Read nothing and write nothing until *gate* is open."""
        self._waits_for = gate
        while not gate.is_open:
            self._select("nothing", MOMENT)
        self._waits_for = None

    def half_close(self) -> None:
        """Send FIN, and go on reading."""
        try:
            # Not the method of an SSLSocket: that one forgets how to decrypt.
            socket.socket.shutdown(self._socket, socket.SHUT_WR)
        except OSError as error:
            raise self._lost(error) from None

    def close(self) -> NoReturn:
        """
        Close both sides; what is left unread is read first, so that the client sees FIN and no RST.

        Raises:
            Over: Always. It is the end of the story.
        """
        with contextlib.suppress(OSError):
            while self._socket.recv(RECEIVE):
                pass
        self._end("by us")
        raise Over

    def reset(self) -> NoReturn:
        """
        Send RST.

        Raises:
            Over: Always. It is the end of the story.
        """
        # To linger for no time at all is to forget what is unsent, and to say so.
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._end("by us")
        raise Over

    # What the server does

    @property
    def is_quiet(self) -> bool:
        """Tell whether all that the client did so far is noted, or left unread by its story."""
        if self.ended != "not":
            return True
        unread = is_readable(self._socket)  # first this: what comes from here on came after the question
        waits_for = self._waits_for
        if isinstance(waits_for, Gate):
            return not waits_for.is_open
        return waits_for == "room" or (waits_for == "bytes" and not unread)

    def play(self, story: Callable[[Self], None], context: ssl.SSLContext | None) -> None:
        """Run *story* from the handshake to the end of the connection."""
        try:
            if context is not None:
                self._encrypt(context)
            story(self)
            self.serve()
        except Over:
            pass
        finally:
            self._end("by us")

    def _encrypt(self, context: ssl.SSLContext) -> None:
        plain = self._socket
        self._socket = encrypted = context.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        while True:
            try:
                encrypted.do_handshake()
            except ssl.SSLWantReadError:
                self._until_ready("bytes")
            except OSError as error:
                raise self._lost(error) from None
            else:
                return

    def _until_ready(self, what: Literal["bytes", "room"], timeout: float | None = None) -> bool:
        self._waits_for = what
        is_ready = self._select(what, timeout)
        self._waits_for = None
        return is_ready

    def _select(self, what: Literal["bytes", "room", "nothing"], timeout: float | None) -> bool:
        """Wait for the socket; tell whether it is ready. Raises `Over` when the server is to stop."""
        readers = [self._stopping, *[self._socket][: what == "bytes"]]
        ready, writable, _ = select.select(readers, [self._socket][: what == "room"], [], timeout)
        if self._stopping in ready:
            raise Over
        return bool(ready or writable)

    def _lost(self, error: OSError) -> Over:
        # A broken pipe is what a second write to a connection that was reset gives.
        self._end("RST" if error.errno in {errno.ECONNRESET, errno.EPIPE} else "FIN")
        return Over()

    def _end(self, ending: Ending) -> None:
        self._socket.close()
        if self.ended == "not":
            self.ended = ending


def is_readable(connection: socket.socket) -> bool:
    """Tell whether there is something to read, or to accept."""
    try:
        return bool(select.select([connection], [], [], 0)[0])
    except (OSError, ValueError):  # it was closed just now
        return False
