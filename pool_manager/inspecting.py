"""What a manager tells of itself: numbers, events, and all there is for people."""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TextIO

from pool_manager import dumping
from pool_manager.errors import ConfigError
from pool_manager.events import Listener, Listening
from pool_manager.observe.serving import StatsServer
from pool_manager.registry import Registry
from pool_manager.stats import ManagerStats


class Inspected:
    """The part of a `PoolManager` that tells what goes on."""

    _registry: Registry

    @property
    def name(self) -> str:
        """What logs call it."""
        return self._registry.name

    def stats(self) -> ManagerStats:
        """Give a snapshot of every pool and of the leases."""
        return self._registry.stats()

    def dump(self, file: TextIO | None = None) -> None:
        """
        Print pools, connections, who holds them and who waits: for people, who wonder why nothing goes on.

        Of requests it tells method, URL without the query, and lease; of leases, where they were taken.

        Args:
            file: Where to; the standard error stream if None.
        """
        for line in dumping.lines(self._registry):
            print(line, file=sys.stderr if file is None else file)

    def dump_on(self, signal_number: int) -> None:
        """
        Have a signal print what `dump` prints, to the standard error stream: `signal.SIGUSR1`, say.

        It takes the place of the signal's handler. To be called in the main thread, as `signal.signal` is.

        Args:
            signal_number: Which signal.

        Raises:
            ValueError: This is not the main thread, or there is no such signal.
        """

        def handle(*_: object) -> None:
            dumping.write("".join(f"{line}\n" for line in dumping.lines(self._registry)))

        signal.signal(signal_number, handle)

    def listen(self, listener: Listener) -> Listening:
        """
        Have *listener* told what happens in the pools: connections, waits, requests, retries.

        Its methods are called where things happen, in any thread and loop, and outside of every lock. They
        are to be quick. What they raise is logged once, and harms no request.

        Args:
            listener: Of a class below `Listener`.

        Returns:
            What ends it: by its `close`, or as a context manager.

        Raises:
            ConfigError: It is no `Listener`.
        """
        if not isinstance(listener, Listener):
            raise ConfigError(f"listener must be a pool_manager.Listener, not {listener!r}")
        return Listening(self._registry.audience, listener)

    def serve_stats(self, path: str | Path) -> StatsServer:
        """
        Give snapshots to ``python -m pool_manager watch PATH``, or any HTTP client, on a thread. On Linux.

        ``/stats`` is JSON, ``/metrics`` what Prometheus scrapes (extra: `prometheus`). A socket that a
        process left when it crashed is replaced.

        Args:
            path: Where to make the Unix socket, of mode 0600. Other users are refused, root included.

        Returns:
            What ends it: by its `close`, or as a context manager. The manager lives as long.

        Raises:
            OSError: The socket cannot be made, or there is a file at *path*.
        """
        return StatsServer(Path(path), self)
