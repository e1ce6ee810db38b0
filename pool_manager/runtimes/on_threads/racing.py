"""Happy eyeballs in one thread: of several addresses, the first that answers (RFC 8305)."""

from __future__ import annotations

import errno
import os
import socket
import time
from collections import deque
from collections.abc import Callable, Sequence

from pool_manager.core.endpoints import AddressInfo
from pool_manager.runtimes.on_threads.wires import WRITABLE, Wait, ready
from pool_manager.runtimes.racing import STAGGER

_ON_ITS_WAY = {errno.EINPROGRESS, errno.EWOULDBLOCK, errno.EALREADY}


def first_to_connect(
    addresses: Sequence[AddressInfo],
    prepare: Callable[[AddressInfo], socket.socket],
    wait: Wait = ready,
) -> socket.socket:
    """
    Give the first socket that connects; the next address is tried when one has failed, or after 250 ms.

    All sockets but the one given are closed, also if *wait* raises.

    Args:
        addresses: Where to, in order.

        prepare: Makes a socket that does not block.

        wait: Waits for them.

    Raises:
        ExceptionGroup: Each address failed; one `OSError` for each, in order.
    """
    todo = deque(addresses)
    running: dict[socket.socket, AddressInfo] = {}
    errors: dict[AddressInfo, OSError] = {}
    winner: socket.socket | None = None
    begun = 0.0
    try:
        while winner is None and (todo or running):
            if todo and (not running or time.monotonic() - begun >= STAGGER):
                info, begun = todo.popleft(), time.monotonic()
                try:
                    running[_begun(prepare(info), info)] = info
                except OSError as error:
                    errors[info], begun = error, 0.0
                    continue
            left = None if not todo else max(0.0, begun + STAGGER - time.monotonic())
            for sock, _ in wait([*running], WRITABLE, left):
                number = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
                if not number:
                    winner = sock
                    break
                info = running.pop(sock)
                sock.close()
                errors[info] = OSError(number, os.strerror(number))
                begun = 0.0
    finally:
        for sock in running:
            if sock is not winner:
                sock.close()
    if winner is None:
        raise ExceptionGroup("no address could be connected to", [errors[info] for info in addresses])
    return winner


def _begun(sock: socket.socket, info: AddressInfo) -> socket.socket:
    """Begin to connect; give the socket."""
    number = sock.connect_ex(info[4])
    if number and number not in _ON_ITS_WAY:
        sock.close()
        raise OSError(number, os.strerror(number))
    return sock
