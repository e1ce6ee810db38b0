"""Happy eyeballs on trio: of several addresses, the first that answers (RFC 8305)."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Sequence

import trio

from pool_manager.core.endpoints import AddressInfo
from pool_manager.runtimes.racing import STAGGER


async def first_to_connect(
    addresses: Sequence[AddressInfo], attempt: Callable[[AddressInfo], Awaitable[socket.socket]]
) -> socket.socket:
    """
    Give the first socket that *attempt* connects; an attempt closes its own when it fails or is cancelled.

    The next address is tried when one has failed, or after 250 ms. All sockets but the one given are closed.

    Raises:
        ExceptionGroup: Each address failed; one `OSError` for each, in order.
    """
    connected: list[socket.socket] = []
    errors: dict[AddressInfo, OSError] = {}

    async def one(address: AddressInfo, failed: trio.Event) -> None:
        try:
            connected.append(await attempt(address))
            nursery.cancel_scope.cancel()
        except OSError as error:
            errors[address] = error
            failed.set()

    try:
        async with trio.open_nursery() as nursery:
            for address in addresses:
                failed = trio.Event()
                nursery.start_soon(one, address, failed)
                with trio.move_on_after(STAGGER):
                    await failed.wait()
    except BaseException:
        _close(connected)
        raise
    _close(connected[1:])
    if not connected:
        ordered = [errors[address] for address in addresses]
        raise ExceptionGroup("no address could be connected to", ordered)
    return connected[0]


def _close(sockets: Sequence[socket.socket]) -> None:
    for connection in sockets:
        connection.close()
