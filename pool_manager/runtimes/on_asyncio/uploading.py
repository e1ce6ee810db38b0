"""The body of a request on its way out."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Final

from pool_manager.core.leftovers import refuses_the_rest
from pool_manager.core.messages import TransportFailure
from pool_manager.runtimes.on_asyncio.exchanges import Exchange

# What is handed to the transport at once: it keeps a copy of what the socket does not take.
SLICE: Final = 256 * 1024


async def upload(exchange: Exchange) -> None:
    """
    Send the body of a request to its end, or until the answer makes that needless (RFC 9112, 9.3).

    Raises:
        TransportFailure: It does not fit what the head said, or nobody took it in time.

        Exception: What the caller's iterator raises.
    """
    body = exchange.request.body
    if isinstance(body, bytes):
        await _send(exchange, body)
    elif isinstance(body, Iterable):
        for part in body:
            if not await _send(exchange, part):
                break
    else:
        parts: AsyncIterator[bytes] = aiter(body)
        async for part in parts:
            if not await _send(exchange, part):
                break
    if not is_needless(exchange):
        exchange.carrier.end_request(exchange)


def is_needless(exchange: Exchange) -> bool:
    """Tell whether nobody waits for the rest: the answer is there, or an error is on its way."""
    return exchange.is_over or exchange.left or refuses_the_rest(exchange.status)


async def _send(exchange: Exchange, part: bytes) -> bool:
    """Send one part, as fast as it is taken; False if the rest is needless."""
    if not isinstance(part, bytes | bytearray | memoryview):
        raise TransportFailure(
            "LocalProtocolError", f"a part of the body must be bytes, not {type(part).__name__}"
        )
    carrier, left = exchange.carrier, memoryview(part)
    while left:
        if is_needless(exchange):
            return False
        taken = 0 if carrier.is_full else carrier.send(exchange, left[:SLICE])
        left = left[taken:]
        if not taken and not is_needless(exchange):
            await exchange.wait_to_write()
    return not is_needless(exchange)
