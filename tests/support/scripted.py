"""
Servers that do what a story says, and remember what the client did.

A story is a function that speaks for the server on one connection, in a thread of its own:

    def hang_up_on_the_second(peer: Http1Peer) -> None:
        peer.read_request()
        peer.answer()
        peer.read_request()
        peer.close()

    with ScriptedHttp1(hang_up_on_the_second) as server: ...

The first connection gets the first story, the second the second, and so on. Where no story is left, and
after a story that has not closed its connection, the server behaves: it answers whatever it is asked.

Rule 1: what a client did before a question is in the answer. `settle` waits for that, nobody sleeps.
Rule 2: a story waits for the client (`read_...`) or for the test (`wait` for a `Gate`), never for a time.
Rule 3: `stop` ends every wait and every thread, and raises what a story raised.

`scripted_http1` and `scripted_http2` have the peers.
"""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Generic, Self, TypeVar

from tests.support.certificates import Certificates
from tests.support.scripted_peer import (
    MOMENT,
    PATIENCE,
    Accepted,
    Gate,
    Over,
    Peer,
    Request,
    is_readable,
    until,
)

__all__ = ["MOMENT", "Accepted", "Gate", "Over", "Peer", "Request", "ScriptedServer", "until"]

P = TypeVar("P", bound=Peer)


class ScriptedServer(ABC, Generic[P]):
    """
    A server in threads of this process; a context manager.

    Args:
        stories: One for each connection, in the order in which they are accepted.

        certificates: If given, it speaks TLS.

        host: The address that it listens on.

        port: The port; 0 for any.

    Attributes:
        url: "http://127.0.0.1:PORT", or "https://localhost:PORT".
    """

    ALPN: tuple[str, ...] = ()

    def __init__(
        self,
        *stories: Callable[[P], None],
        certificates: Certificates | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
    ) -> None:
        self._stories = list(stories)
        self.certificates = certificates
        self._context = None if certificates is None else certificates.server_context()
        if self._context is not None:
            self._context.set_alpn_protocols(list(self.ALPN))
        self._listener = socket.create_server((host, port), backlog=1024)
        self._listener.settimeout(0)
        self._stopping, self._waker = socket.socketpair()
        self._accepting = threading.Lock()  # held from the accept until the connection is in `peers`
        self._threads: list[threading.Thread] = []
        self._failures: list[Exception] = []
        self._requests: list[Request] = []
        self._peers: list[P] = []
        self.port: int = self._listener.getsockname()[1]
        plain, encrypted = f"http://{host}:{self.port}", f"https://localhost:{self.port}"
        self.url = plain if certificates is None else encrypted
        self._acceptor = threading.Thread(target=self._accept_all, name="scripted-server", daemon=True)
        self._acceptor.start()

    @abstractmethod
    def make_peer(self, accepted: Accepted) -> P:
        """Make the server's side of a new connection."""

    # Questions

    @property
    def peers(self) -> tuple[P, ...]:
        """Every connection so far, with what is noted of it, in the order in which they were accepted."""
        self.settle()
        return tuple(self._peers)

    @property
    def connections(self) -> int:
        """Connections accepted since the start."""
        return len(self.peers)

    @property
    def open_connections(self) -> int:
        """Connections that neither side has closed."""
        return sum(peer.ended == "not" for peer in self.peers)

    @property
    def requests(self) -> tuple[Request, ...]:
        """Every request so far, in the order of their heads."""
        self.settle()
        return tuple(self._requests)

    def processed(self, method: str) -> int:
        """Count the requests of one method that arrived in full and were not disowned: they were charged."""
        return sum(
            request.method == method and request.is_complete and not request.is_disowned
            for request in self.requests
        )

    def per_connection(self) -> Counter[int]:
        """Count the requests that came on each connection."""
        return Counter(request.connection for request in self.requests)

    def settle(self) -> None:
        """
        Return when all that clients did before the call is noted.

        Raises:
            TimeoutError: A story never came to a wait.
        """
        deadline = time.monotonic() + PATIENCE
        while not self._is_quiet():
            if time.monotonic() > deadline:
                msg = f"no rest within {PATIENCE} s on {[peer.number for peer in self._peers]}"
                raise TimeoutError(msg)
            time.sleep(MOMENT / 5)

    def _is_quiet(self) -> bool:
        with self._accepting:
            if self._listener.fileno() >= 0 and is_readable(self._listener):
                return False
        return all(peer.is_quiet for peer in self._peers)

    # Life

    def stop(self) -> None:
        """
        Note what clients did, then close every connection and end every thread. Safe to repeat.

        Raises:
            Exception: What a story raised.

            TimeoutError: A story never came to a wait.

            RuntimeError: A thread did not end.
        """
        if self._listener.fileno() >= 0:
            try:
                self.settle()
            finally:
                self._end()
        if stuck := [thread.name for thread in self._threads if thread.is_alive()]:
            msg = f"threads that do not end: {stuck}"
            raise RuntimeError(msg)
        failures, self._failures = self._failures, []
        if len(failures) > 1:
            msg = "stories failed"
            raise ExceptionGroup(msg, failures)
        if failures:
            raise failures[0]

    def _end(self) -> None:
        self._waker.close()  # its other end is readable from now on
        for thread in (self._acceptor, *self._threads):
            thread.join(PATIENCE)
        self._listener.close()
        self._stopping.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop()
        except Exception as failure:
            if error is None:
                raise
            error.add_note(f"and in a story of the server: {failure!r}")

    # From here on: the threads.

    def _accept_all(self) -> None:
        while True:
            ready, _, _ = select.select([self._listener, self._stopping], [], [])
            if self._stopping in ready:
                return
            with self._accepting, contextlib.suppress(OSError):  # a client that left before it was let in
                self._accept()

    def _accept(self) -> None:
        accepted, _ = self._listener.accept()
        accepted.settimeout(0)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        number = len(self._peers) + 1
        peer = self.make_peer(Accepted(number, accepted, self._stopping, self._requests))
        self._peers.append(peer)
        name = f"scripted-server-{number}"
        thread = threading.Thread(target=self._attend, args=(peer,), name=name, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _attend(self, peer: P) -> None:
        story = self._stories[peer.number - 1] if peer.number <= len(self._stories) else lambda _: None
        try:
            peer.play(story, self._context)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the test that is told
            self._failures.append(error)
