"""What a forked child does to its parent's sockets."""

from __future__ import annotations

import contextlib
import os

from pool_manager.runtimes.in_loops.port import Transport


def park(transport: Transport) -> None:
    """
    Put /dev/null in the socket's place. Never raises.

    For a forked child: the parent's socket is let go without a byte on the wire,
    and whoever still holds the number closes /dev/null, not a stranger's file.
    """
    with contextlib.suppress(Exception):
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, transport.get_extra_info("socket").fileno(), inheritable=False)
        os.close(null)
