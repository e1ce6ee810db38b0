"""A connection that is no longer HTTP: after a 101, or a tunnel. WebSocket libraries talk through it."""

from __future__ import annotations

import threading
import time
from typing import Any, cast

from pool_manager.core.messages import TransportFailure
from pool_manager.runtimes.on_threads.carriers import broken
from pool_manager.runtimes.on_threads.exchanges import Exchange
from pool_manager.runtimes.on_threads.http1 import Http1Carrier
from pool_manager.runtimes.on_threads.wires import WRITABLE
from pool_manager.runtimes.upgrading import Upgraded


class UpgradedStream(Upgraded):
    """
    What httpcore gives as ``response.extensions["network_stream"]``, on the exchange that was upgraded.

    One thread may read while another writes.
    """

    def __init__(self, exchange: Exchange) -> None:
        super().__init__()
        self._exchange = exchange
        self._held = b""
        self._writing = threading.Lock()  # what was encrypted first is sent first

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """
        Wait for bytes, *max_bytes* at most; none at the end of the stream.

        Raises:
            Exception: "ReadTimeout" after *timeout* seconds, "ReadError" where it broke.
        """
        if not self._held:
            with self.translated():
                self._held = self._exchange.read(timeout) or b""
        data, self._held = self._held[:max_bytes], self._held[max_bytes:]
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """
        Send *buffer*, and wait until the socket has taken it.

        Raises:
            Exception: "WriteTimeout" after *timeout* seconds, "WriteError" where it broke.
        """
        until = None if timeout is None else time.monotonic() + timeout
        with self.translated():
            if not self._writing.acquire(
                timeout=-1 if timeout is None else min(max(0.0, timeout), threading.TIMEOUT_MAX)
            ):
                raise _too_slow(timeout)
            try:
                self._write(buffer, timeout, until)
            finally:
                self._writing.release()

    def _write(self, buffer: bytes, timeout: float | None, until: float | None) -> None:
        carrier = cast(Http1Carrier, self._exchange.carrier)
        carrier.is_written = True
        try:
            if self._exchange.left or carrier.is_lost:
                raise TransportFailure("WriteError", "the connection is closed")
            left = memoryview(carrier.wire.encode(buffer))
            while left := left[carrier.wire.send_now(left) :]:
                if not carrier.wire.wait(WRITABLE, None if until is None else until - time.monotonic()):
                    raise _too_slow(timeout)
        except OSError as error:
            raise broken(error, "WriteError") from error
        finally:
            carrier.is_written = False
            carrier.close_if_unused()

    def close(self) -> None:
        """Close the connection."""
        self._exchange.close()

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - as httpcore
        """Give "ssl_object", "client_addr", "server_addr", "socket"."""
        return self._exchange.carrier.info.get_extra_info(info)


def _too_slow(timeout: float | None) -> TransportFailure:
    return TransportFailure("WriteTimeout", f"the peer took nothing for {timeout} s")
