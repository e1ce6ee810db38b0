"""The body of a request on its way out."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from typing import Final

from pool_manager.core.leftovers import refuses_the_rest
from pool_manager.core.messages import TransportFailure
from pool_manager.runtimes.in_loops.exchanges import Exchange
from pool_manager.runtimes.in_loops.sleeping import pause

# Bytes after which other tasks have a turn, though the socket takes more: a fast peer would else have the
# whole loop for itself.
TURN: Final = 1024 * 1024


async def upload(exchange: Exchange) -> None:
    """
    Send the body of a request to its end, or until the answer makes that needless (RFC 9112, 9.3).

    Raises:
        TransportFailure: It does not fit what the head said, or nobody took it in time.

        Exception: What the caller's iterator raises.
    """
    body, way = exchange.request.body, _Way(exchange)
    if isinstance(body, bytes):
        await way.send(body)
    elif isinstance(body, AsyncIterable):  # of what can be iterated both ways, one may be a stub: a wrapper's
        await _send_parts(aiter(body), way)
    else:
        for part in body:
            if not await way.send(part):
                break
    while exchange.carrier.is_full and not is_needless(exchange):
        await exchange.wait_to_write()  # what a transport holds on to is not sent
    if exchange.carrier.has_all_of(exchange) or not is_needless(exchange):
        exchange.carrier.end_request(exchange)


async def _send_parts(parts: AsyncIterator[bytes], way: _Way) -> None:
    """Send what *parts* gives; one that is left half-way is closed, and not left to the collector."""
    try:
        async for part in parts:
            if not await way.send(part):
                break
    finally:
        if isinstance(parts, AsyncGenerator):
            await parts.aclose()


def is_needless(exchange: Exchange) -> bool:
    """Tell whether nobody waits for the rest: the answer is there, or an error is on its way."""
    return exchange.is_over or exchange.left or refuses_the_rest(exchange.status)


class _Way:
    """Where the parts of one body go."""

    __slots__ = ("_exchange", "_turn")

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._turn = TURN  # bytes until others have theirs

    async def send(self, part: bytes) -> bool:
        """Send one part, as fast as it is taken; False if the rest is needless."""
        if not isinstance(part, bytes | bytearray | memoryview):
            raise TransportFailure(
                "LocalProtocolError", f"a part of the body must be bytes, not {type(part).__name__}"
            )
        exchange, carrier = self._exchange, self._exchange.carrier
        # A buffer that may be filled anew is copied: transports hold on to what the socket does not take.
        left = memoryview(part if type(part) is bytes else bytes(part))
        while left:
            if is_needless(exchange):
                return False
            taken = 0 if carrier.is_full else carrier.send(exchange, left)
            left = left[taken:]
            self._turn -= taken
            if not taken and not is_needless(exchange):
                await exchange.wait_to_write()
            elif self._turn <= 0:
                await pause(carrier.owner.loop, 0)
                self._turn = TURN
        return not is_needless(exchange)
