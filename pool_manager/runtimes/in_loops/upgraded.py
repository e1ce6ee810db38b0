"""A connection that is no longer HTTP: after a 101, or a tunnel. WebSocket libraries talk through it."""

from __future__ import annotations

from typing import Any

from pool_manager.core.messages import TransportFailure
from pool_manager.runtimes.in_loops.exchanges import Exchange
from pool_manager.runtimes.in_loops.sleeping import Sleeper
from pool_manager.runtimes.upgrading import Upgraded


class UpgradedStream(Upgraded):
    """What httpcore gives as ``response.extensions["network_stream"]``, on the exchange that was upgraded."""

    def __init__(self, exchange: Exchange, writer: Sleeper) -> None:
        super().__init__()
        self._exchange, self._writer = exchange, writer
        self._held = b""

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ASYNC109 - as httpcore
        """
        Wait for bytes, *max_bytes* at most; none at the end of the stream.

        Raises:
            Exception: "ReadTimeout" after *timeout* seconds, "ReadError" where it broke or was closed.
        """
        if not self._held:
            with self.translated():
                self._held = await self._exchange.read(timeout) or b""
        data, self._held = self._held[:max_bytes], self._held[max_bytes:]
        return data

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ASYNC109 - as above
        """
        Send *buffer*, and wait until the socket has taken most of it.

        Raises:
            Exception: "WriteTimeout" after *timeout* seconds, "WriteError" where it broke or was closed.
        """
        carrier = self._exchange.carrier
        with self.translated():
            if buffer and not carrier.is_lost:
                carrier.transport.write(buffer)
            while carrier.is_full and not carrier.is_lost:
                carrier.writer = self._writer
                await self._writer.sleep(timeout)
                if self._writer.overslept:
                    raise TransportFailure("WriteTimeout", f"the peer took nothing for {timeout} s")
            if carrier.is_lost:
                raise TransportFailure("WriteError", "the connection is closed")

    async def aclose(self) -> None:
        """Close the connection."""
        self._exchange.abandon()

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - as httpcore
        """Give "ssl_object", "client_addr", "server_addr", "socket"."""
        return self._exchange.carrier.info.get_extra_info(info)
