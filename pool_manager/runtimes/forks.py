"""
A fork waits for the handshakes of other threads.

OpenSSL locks what connections of one context share (its CAs, the algorithms it has
fetched) while a handshake computes. A child inherits such a lock as it was at the
fork: taken, by a thread that the child does not have. Its own first handshake would
then wait for ever. So whoever computes within OpenSSL says so, and a fork lets them
come to the end of their step, which is a matter of a millisecond or two.
"""

from __future__ import annotations

import codecs
import os
import ssl
import threading
from typing import Final

# Seconds. Whoever forks from within a handshake (in a callback, in `__del__`) waits for itself.
PATIENCE: Final = 1.0

# `ssl` and `socket` use it first in some thread's first dial, and import it there: an import is
# locked as well, and a child that is forked meanwhile would wait for it for ever.
codecs.lookup("idna")


class Gate:
    """Entered, by `with`, for as long as no other thread may fork. Reentrant."""

    def __init__(self) -> None:
        self._renew()

    def _renew(self) -> None:
        self._changed = threading.Condition()  # reentrant: a collection may strike while it is held
        self._inside = 0

    def __enter__(self) -> None:
        with self._changed:
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._changed:
            self._inside -= 1
            if not self._inside:
                self._changed.notify_all()

    def shut(self) -> None:
        """Wait until nobody is inside, and let nobody enter: before a fork."""
        self._changed.acquire()
        self._changed.wait_for(lambda: not self._inside, PATIENCE)

    def reopen(self) -> None:
        """Let others enter again: after it, in the parent."""
        self._changed.release()

    def start_anew(self) -> None:
        """Forget whoever was inside: after it, in the child, where they do not exist."""
        self._renew()


COMPUTING: Final = Gate()

if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=COMPUTING.shut, after_in_parent=COMPUTING.reopen, after_in_child=COMPUTING.start_anew
    )


class Connection(ssl.SSLObject):
    """A TLS connection in memory whose handshake no fork cuts in two."""

    def do_handshake(self) -> None:
        """Go on with the handshake."""
        with COMPUTING:
            super().do_handshake()
