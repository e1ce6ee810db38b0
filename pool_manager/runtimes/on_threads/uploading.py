"""The body of a request on its way out."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pool_manager.core.leftovers import refuses_the_rest
from pool_manager.core.messages import TransportFailure
from pool_manager.runtimes.on_threads.exchanges import Exchange

# What is framed, and encrypted, at once.
SLICE: Final = 256 * 1024


def upload(exchange: Exchange) -> None:
    """
    Send the body of a request to its end, or until the answer makes that needless (RFC 9112, 9.3).

    Raises:
        TransportFailure: It does not fit what the head said, or nobody took it in time.

        Exception: What the caller's iterator raises.
    """
    body = exchange.request.body
    if isinstance(body, bytes):
        _send(exchange, memoryview(body)[exchange.sent :])
    elif isinstance(body, Iterable):
        for part in body:
            exchange.carrier.look(exchange)
            if not _send(exchange, part):
                break
    else:
        raise TransportFailure("LocalProtocolError", "a thread cannot send a body that only a loop can read")
    if exchange.carrier.has_all_of(exchange) or not is_needless(exchange):
        exchange.carrier.end_request(exchange)


def is_needless(exchange: Exchange) -> bool:
    """Tell whether nobody waits for the rest: the answer is there, or an error is on its way."""
    return exchange.is_over or exchange.left or refuses_the_rest(exchange.status)


def _send(exchange: Exchange, part: bytes | memoryview) -> bool:
    """Send one part, as fast as it is taken; False if the rest is needless."""
    if not isinstance(part, bytes | bytearray | memoryview):
        raise TransportFailure(
            "LocalProtocolError", f"a part of the body must be bytes, not {type(part).__name__}"
        )
    carrier, left = exchange.carrier, memoryview(part)
    while left and not is_needless(exchange):
        taken = carrier.send(exchange, left[:SLICE])
        left = left[taken:]
        if not taken and not is_needless(exchange):
            wait_to_send(exchange)
    return not is_needless(exchange)


def wait_to_send(exchange: Exchange) -> None:
    """
    Wait until the connection takes more, or the answer makes it needless.

    Raises:
        TransportFailure: "WriteTimeout": neither came in time.
    """
    seconds = exchange.request.timeouts.get("write")
    if not exchange.carrier.wait_to_send(exchange, seconds):
        raise TransportFailure("WriteTimeout", f"{exchange.request.host} took nothing for {seconds} s")
