"""
A connected socket, with TLS or without, and how to wait for it.

The kernel does the waiting where it can (SO_RCVTIMEO): one system call for an answer, where looking first and
reading then takes two, and each of them passes the interpreter on to another thread and has to get it back.
What is sent, and what is read before a connection is handed out, never waits.

TLS goes through buffers in memory, so that one thread may read from the socket while another sends; only
what encrypts and decrypts excludes one another.
"""

from __future__ import annotations

import contextlib
import functools
import os
import select
import socket
import ssl
import struct
import sys
import threading
from _thread import get_ident
from collections.abc import Callable, Sequence
from typing import Any, Final, TypeAlias

from pool_manager.runtimes.encrypting import Encryption

# Waits until one of some sockets is ready, for so many seconds; raises where that is no longer of use.
Wait: TypeAlias = Callable[[Sequence[socket.socket], int, float | None], Sequence[tuple[socket.socket, int]]]

# What is read at once.
SIZE: Final = 64 * 1024

READABLE: Final = 1
WRITABLE: Final = 2

# Where a timeout of the kernel's is a `struct timeval` of two longs, and a call can be told not to wait.
_KERNEL_WAITS: Final = sys.platform in {"linux", "darwin"} and struct.calcsize("l") == 8  # noqa: PLR2004 - 64 bits
_NOT_NOW: Final = getattr(socket, "MSG_DONTWAIT", 0) if _KERNEL_WAITS else 0
_MILLION: Final = 1_000_000

# What Linux tells of a connection without letting go of the interpreter, as every other look at a socket
# does: among many threads that is most of its cost. (struct tcp_info of linux/tcp.h: its first byte, and
# tcpi_bytes_received, which is there since Linux 4.1.)
_TCP_INFO: Final[int | None] = getattr(socket, "TCP_INFO", None) if sys.platform == "linux" else None
_STATE_AND_BYTES: Final = struct.Struct("=B127xQ")
_ESTABLISHED: Final = 1


def takes_signals() -> bool:
    """
    Tell whether the handlers of signals run in this thread.

    A signal ends a call; Python makes it again (PEP 475), and the kernel's time begins anew. Whoever gets
    signals all the time would wait for ever. Where Python waits (`Wire.wait`), it waits for what is left.
    """
    return get_ident() == _main_thread


_main_thread = threading.main_thread().ident


def _note_main_thread() -> None:
    global _main_thread  # noqa: PLW0603 - there is one in a process, and to ask each time takes three calls
    _main_thread = threading.main_thread().ident


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_note_main_thread)


class Wire:
    """
    One connected socket.

    Attributes:
        sock: The socket. To be closed by `close` alone.

        tls: What encrypts, if anything does.

        alpn: The protocol that was agreed upon, if any.

        ended: The peer will send no more.
    """

    alpn: str | None = None

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.tls: ssl.SSLObject | None = None
        self.ended = False
        self._patience: float | None = None  # what the kernel was told
        self._taken = 0  # bytes that were read
        self._unknown = 0  # bytes that had come by then, and were read elsewhere
        self._ask_kernel: Callable[[], bytes] | None = None
        if _TCP_INFO is not None and sock.family in {socket.AF_INET, socket.AF_INET6}:
            tell: Callable[..., bytes] = sock.getsockopt
            self._ask_kernel = functools.partial(tell, socket.IPPROTO_TCP, _TCP_INFO, _STATE_AND_BYTES.size)
        sock.settimeout(None if _KERNEL_WAITS else 0)

    # Bytes as the peer sees them

    def receive(self, seconds: float | None) -> bytes | None:
        """
        Wait for bytes, for so many *seconds*; none at the end, None if time is over.

        Raises:
            OSError: The connection is broken.
        """
        if not _KERNEL_WAITS or (seconds is not None and (seconds <= 0 or takes_signals())):
            return self.receive_now() if self.wait(READABLE, seconds) else None
        if seconds != self._patience:
            self._be_patient(seconds)
        try:
            received = self.sock.recv(SIZE)
        except BlockingIOError:
            return None
        self._taken += len(received)
        return received

    def receive_now(self) -> bytes | None:
        """Give what is there: none at the end, None if there is nothing yet; raises OSError."""
        try:
            received = self.sock.recv(SIZE, _NOT_NOW)
        except BlockingIOError:
            return None
        self._taken += len(received)
        return received

    def receive_unasked(self) -> bytes | None:
        """As `receive_now`, and cheaper where there is nothing: for who expects that."""
        if self._ask_kernel is None:
            return self.receive_now()
        # In this order: what comes between the two calls is not taken for read.
        told = self._ask_kernel()
        if len(told) < _STATE_AND_BYTES.size:  # an old kernel
            return self.receive_now()
        state, came = _STATE_AND_BYTES.unpack(told)
        if state == _ESTABLISHED and came == self._unknown + self._taken:
            return None
        received = self.receive_now()
        if received is None:
            self._unknown = came - self._taken
        return received

    def send_now(self, data: bytes | bytearray | memoryview) -> int:
        """Send as much as the socket takes; raises OSError."""
        try:
            return self.sock.send(data, _NOT_NOW)
        except BlockingIOError:
            return 0

    def wait(self, events: int, seconds: float | None) -> int:
        """Wait until the socket is `READABLE` or `WRITABLE`, as asked; 0 if time is over."""
        if self.sock.fileno() == -1:  # it was closed
            return events
        found = ready((self.sock,), events, seconds)
        return found[0][1] if found else 0

    def _be_patient(self, seconds: float | None) -> None:
        micros = 0 if seconds is None else max(1, int(min(seconds, _MILLION) * _MILLION))
        value = struct.pack("ll", micros // _MILLION, micros % _MILLION)
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, value)
        self._patience = seconds

    # Bytes as HTTP sees them

    def encode(self, data: bytes | memoryview) -> bytes | memoryview:
        """Make of *data* what is sent."""
        return data

    def decode(self, received: bytes) -> bytes:
        """
        Make of what was received what it means; `ended` may be set by it.

        Raises:
            ssl.SSLError: The connection is broken.
        """
        if not received:
            self.ended = True
        return received

    @property
    def has_reply(self) -> bool:
        """Tell whether `decode` has left something to be sent: `encode` of nothing gives it."""
        return False

    # The end

    def close(self) -> None:
        """Close the socket; nobody else may be using it. Safe to repeat."""
        self.sock.close()

    def goodbye(self) -> bytes:
        """Give what is to be sent before the socket closes."""
        return b""

    def cut(self) -> None:
        """Wake whoever reads or sends, for good. From any thread; never raises."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def park(self) -> None:
        """
        Put /dev/null in the socket's place. Never raises.

        For a forked child: the parent's socket is let go without a byte on the wire,
        and whoever still holds the number closes /dev/null, not a stranger's file.
        """
        with contextlib.suppress(Exception):
            null = os.open(os.devnull, os.O_RDWR)
            os.dup2(null, self.sock.fileno(), inheritable=False)
            os.close(null)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - as httpcore
        """Give what httpcore gives: "ssl_object", "client_addr", "server_addr", "socket", "is_readable"."""
        match info:
            case "ssl_object":
                return self.tls
            case "socket":
                return self.sock
            case "client_addr":
                return self.sock.getsockname()
            case "server_addr":
                return self.sock.getpeername()
            case "is_readable":
                return self.sock.fileno() == -1 or bool(self.wait(READABLE, 0))
            case _:
                return None


class TlsWire(Wire):
    """A socket with TLS above it, whose handshake is done."""

    def __init__(self, sock: socket.socket, encryption: Encryption) -> None:
        super().__init__(sock)
        self.tls, self._encryption = encryption.tls, encryption
        self.alpn = encryption.tls.selected_alpn_protocol()
        self._state = threading.Lock()  # around `_encryption`; never held while waiting

    def encode(self, data: bytes | memoryview) -> bytes | memoryview:
        """Encrypt *data*."""
        with self._state:
            return self._encryption.encrypt(data)

    def decode(self, received: bytes) -> bytes:
        """Decrypt what was received."""
        with self._state:
            data = self._encryption.decrypt(received)
            self.ended = self._encryption.ended
            return data

    @property
    def has_reply(self) -> bool:
        """Tell whether there is something to be sent: new keys, or a certificate that was asked for late."""
        return self._encryption.has_to_send

    def goodbye(self) -> bytes:
        """Give the close_notify."""
        with self._state:
            return self._encryption.goodbye()


def ready(
    socks: Sequence[socket.socket], events: int, seconds: float | None
) -> Sequence[tuple[socket.socket, int]]:
    """Wait for one of *socks* to be `READABLE` or `WRITABLE`, as asked; give those that are, or broken."""
    return _ready(socks, events, None if seconds is None else max(0.0, seconds))


def _ready_by_poll(
    socks: Sequence[socket.socket], events: int, seconds: float | None
) -> Sequence[tuple[socket.socket, int]]:
    poll = select.poll()
    mask = (select.POLLIN if events & READABLE else 0) | (select.POLLOUT if events & WRITABLE else 0)
    by_number = {sock.fileno(): sock for sock in socks}
    for number in by_number:
        poll.register(number, mask)
    found = poll.poll(None if seconds is None else seconds * 1000)
    return [(by_number[number], _meaning(happened) & events) for number, happened in found]


def _meaning(happened: int) -> int:
    if happened & (select.POLLERR | select.POLLHUP | select.POLLNVAL):
        return READABLE | WRITABLE
    return (READABLE if happened & select.POLLIN else 0) | (WRITABLE if happened & select.POLLOUT else 0)


def _ready_by_select(
    socks: Sequence[socket.socket], events: int, seconds: float | None
) -> Sequence[tuple[socket.socket, int]]:
    reading, writing = socks if events & READABLE else (), socks if events & WRITABLE else ()
    can_read, can_write, broken = select.select(reading, writing, socks, seconds)
    return [
        (sock, events if sock in broken else READABLE * (sock in can_read) | WRITABLE * (sock in can_write))
        for sock in {*can_read, *can_write, *broken}
    ]


_ready = _ready_by_poll if hasattr(select, "poll") else _ready_by_select
