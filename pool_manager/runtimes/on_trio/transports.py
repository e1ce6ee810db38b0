"""A connected socket on trio, with the manners of asyncio's transports."""

from __future__ import annotations

import contextlib
import functools
import socket
from collections import deque
from typing import Any, Final

import trio

from pool_manager.runtimes.encrypting import Encryption
from pool_manager.runtimes.in_loops.port import Listener
from pool_manager.runtimes.on_trio.futures import TrioFuture
from pool_manager.runtimes.on_trio.loop import TrioLoop

# Bytes that are read at once, and those that are kept, as asyncio has it: its listener is told when there
# are more than the second, and when there are no more than the third.
SIZE: Final = 256 * 1024
HIGH_WATER: Final = 64 * 1024
LOW_WATER: Final = 16 * 1024


class SocketTransport:
    """
    Reads in a system task of its own, from `start` on. Writes at once; a second task sends what was kept.

    The port's `Transport`: `in_loops/port.py` says what each method promises.
    """

    def __init__(
        self, loop: TrioLoop, sock: socket.socket, encryption: Encryption | None, listener: Listener
    ) -> None:
        self._loop, self._socket, self._encryption = loop, sock, encryption
        self._listener = listener
        self._kept: deque[memoryview] = deque()
        self._size = 0  # of what is kept
        self._is_writing = self._is_full = False
        self._resumed: TrioFuture | None = None  # what the reader awaits while it may not read
        self._is_paused = self._is_closing = self._is_closed = False
        self._info: dict[str, Any] = {"socket": sock}
        with contextlib.suppress(OSError):  # the peer is gone already
            self._info |= {"sockname": sock.getsockname(), "peername": sock.getpeername()}
        if encryption is not None:
            self._info |= {"ssl_object": encryption.tls, "sslcontext": encryption.context}

    def start(self) -> None:
        """Begin to read."""
        if not self._loop.spawn(self._read):
            self.abort()

    def set_protocol(self, listener: Listener) -> None:
        """Call *listener* from now on."""
        self._listener = listener

    def get_extra_info(self, name: str) -> Any:  # noqa: ANN401 - as asyncio
        """Give what the port names."""
        return self._info.get(name)

    # Reading

    def pause_reading(self) -> None:
        """Read no more for now."""
        self._is_paused = True

    def resume_reading(self) -> None:
        """Read again."""
        self._is_paused = False
        resumed, self._resumed = self._resumed, None
        if resumed is not None:
            resumed.set_result(None)

    async def _read(self) -> None:
        try:
            if self._encryption is not None:
                self._take(None)  # what came together with the end of the handshake
            while not self._is_closing:
                if self._is_paused:
                    self._resumed = TrioFuture()
                    await self._resumed
                    continue
                await trio.lowlevel.wait_readable(self._socket)
                self._take_more()
        except trio.ClosedResourceError:  # by `abort`
            pass
        except Exception as error:  # noqa: BLE001 - OSError, or a defect: an exception would end the run
            self._close(error)

    def _take_more(self) -> None:
        if self._is_paused or self._is_closing:
            return
        try:
            data = self._socket.recv(SIZE)
        except BlockingIOError:
            return
        self._take(data)

    def _take(self, data: bytes | None) -> None:
        """Pass on what was received; None if nothing was."""
        encryption = self._encryption
        if encryption is None:
            ended = not data
        else:
            data = encryption.decrypt(data)
            self._send(encryption.to_send())
            ended = encryption.ended
        if data:
            self._listener.data_received(data)
        if ended and not self._is_closing:
            self._listener.eof_received()
            self.close()

    # Writing

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Send *data*, and keep what the socket does not take."""
        if self._is_closing:
            return
        try:
            self._send(data if self._encryption is None else self._encryption.encrypt(data))
        except OSError as error:  # ssl.SSLError is one
            self._close(error)

    def _send(self, data: bytes | bytearray | memoryview) -> None:
        rest = memoryview(data)
        if not self._kept:
            rest = rest[self._send_now(rest) :]
        if rest:
            self._keep(rest)

    def _send_now(self, data: memoryview) -> int:
        if not data:
            return 0
        try:
            return self._socket.send(data)
        except BlockingIOError:
            return 0

    def _keep(self, rest: memoryview) -> None:
        self._kept.append(rest)
        self._size += len(rest)
        if not self._is_writing:
            self._is_writing = self._loop.spawn(self._write)
        if self._size > HIGH_WATER and not self._is_full:
            self._is_full = True
            self._listener.pause_writing()

    async def _write(self) -> None:
        try:
            while self._kept:
                await trio.lowlevel.wait_writable(self._socket)
                self._send_kept()
        except trio.ClosedResourceError:  # by `abort`
            pass
        except Exception as error:  # noqa: BLE001 - as above
            self._close(error)
        finally:
            self._is_writing = False

    def _send_kept(self) -> None:
        sent = self._send_now(self._kept[0])
        self._size -= sent
        self._kept[0] = self._kept[0][sent:]
        if not self._kept[0]:
            self._kept.popleft()
        if self._is_full and self._size <= LOW_WATER:
            self._is_full = False
            self._listener.resume_writing()
        if self._is_closing and not self._kept:
            self._close(None)

    # The end

    def close(self) -> None:
        """Close when all that is kept was sent."""
        if self._is_closing:
            return
        if self._encryption is not None:
            with contextlib.suppress(OSError):  # the socket is broken
                self._send(self._encryption.goodbye())
        self._is_closing = True
        if not self._kept:
            self._close(None)

    def abort(self) -> None:
        """Close at once, also where the run is over."""
        self._close(None)

    def _close(self, error: Exception | None) -> None:
        if self._is_closed:
            return
        self._is_closed = self._is_closing = True
        self._kept.clear()
        with contextlib.suppress(RuntimeError):  # no run, and nobody who waits
            trio.lowlevel.notify_closing(self._socket)
        self._socket.close()
        self.resume_reading()
        self._loop.call_soon(functools.partial(self._tell, error))

    def _tell(self, error: Exception | None) -> None:
        self._listener.connection_lost(error)
