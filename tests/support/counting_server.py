"""
A small HTTP/1.1 server in a thread that counts, waits and fails as it is told.

One thread, one selector, plain sockets; it starts in a millisecond. A question
(`connections`, `open_connections`, `requests` ...) is answered by that thread
after it has done all the I/O that is ready, so what a client did before the
question is in the answer: no sleeping in tests.

A request is counted when its last byte has arrived; from then on a real server
would have acted on it, whether or not the answer arrives. So `processed("POST")`
is the number of times that money was charged.
"""

from __future__ import annotations

import heapq
import itertools
import queue
import selectors
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Self, TypeVar, cast

import h11

from tests.support.counted import Answer, Close, CountedRequest, Peer
from tests.support.server import POLL

__all__ = ["Answer", "Close", "CountedRequest", "CountingServer"]

T = TypeVar("T")

RECEIVE = 65536
BACKLOG = 1024
PATIENCE = 10.0  # seconds; longer means that the thread is stuck


class CountingServer:
    """
    Counts connections and requests; a context manager.

    Attributes:
        respond: Decides what to answer; called in the server's thread.
    """

    def __init__(self, respond: Callable[[CountedRequest], Answer] = lambda _: Answer()) -> None:
        self.respond = respond
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=BACKLOG)
        self._listener.settimeout(0)
        self._alarm, self._waker = socket.socketpair()
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._selector.register(self._alarm, selectors.EVENT_READ)
        self._errands: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._peers: dict[int, Peer] = {}  # by connection number, the open ones
        self._connections = 0
        self._requests: list[CountedRequest] = []
        self._due: list[tuple[float, int, Peer, Answer]] = []  # a heap: answers that wait
        self._ticks = itertools.count()
        self._held: list[tuple[Peer, Answer]] | None = None
        self._running = True
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._thread = threading.Thread(target=self._run, name="counting-server", daemon=True)
        self._thread.start()

    # Questions

    @property
    def connections(self) -> int:
        """Connections accepted since the start."""
        return self._ask(lambda: self._connections)

    @property
    def requests(self) -> tuple[CountedRequest, ...]:
        """Requests that arrived in full, in that order."""
        return self._ask(lambda: tuple(self._requests))

    def processed(self, method: str) -> int:
        """Count the requests of one method that arrived in full."""
        return sum(request.method == method for request in self.requests)

    def per_connection(self) -> Counter[int]:
        """Count the requests that came on each connection."""
        return Counter(request.connection for request in self.requests)

    def open_connections(self) -> int:
        """Count the connections that neither side has closed."""
        return self._ask(lambda: len(self._peers))

    def wait_for(self, condition: Callable[[Self], bool], timeout: float = 5.0) -> None:
        """
        Return as soon as *condition* of this server is true.

        Raises:
            TimeoutError: It never was.
        """
        deadline = time.monotonic() + timeout
        while not condition(self):
            if time.monotonic() > deadline:
                msg = f"not so within {timeout} s: {self.connections} connections, {self.requests}"
                raise TimeoutError(msg)
            time.sleep(POLL / 5)

    # Orders

    def hold(self) -> None:
        """Answer nothing until `release`; requests are still read and counted."""
        self._ask(self._start_holding)

    def release(self) -> None:
        """Send what was held."""
        self._ask(self._stop_holding)

    def close_idle(self) -> int:
        """Close the connections on which no answer is owed; give their number."""
        return self._ask(lambda: self._close_where(lambda peer: not peer.busy))

    def close_all(self) -> int:
        """Close every connection, in the middle of whatever it does."""
        return self._ask(lambda: self._close_where(lambda _: True))

    def stop(self) -> None:
        """Close everything and end the thread. Safe to repeat."""
        if self._running:
            self._ask(self._stop_running)
            self._thread.join(PATIENCE)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _ask(self, errand: Callable[[], T]) -> T:
        """Have the thread do *errand* when no I/O is left to do."""
        result: queue.SimpleQueue[T] = queue.SimpleQueue()
        self._errands.put(lambda: result.put(errand()))
        self._waker.send(b"!")
        return result.get(timeout=PATIENCE)

    # From here on: the thread.

    def _run(self) -> None:
        while self._running:
            self._send_due()
            ready = self._selector.select(self._time_left())
            self._do_io(ready)
            if any(key.fileobj is self._alarm for key, _ in ready):
                self._do_errand()
        for peer in list(self._peers.values()):
            self._close(peer)
        self._selector.close()
        for endpoint in (self._listener, self._alarm, self._waker):
            endpoint.close()

    def _do_errand(self) -> None:
        self._alarm.recv(1)
        while events := [event for event in self._selector.select(0) if event[0].fileobj is not self._alarm]:
            self._do_io(events)
        self._errands.get()()

    def _do_io(self, events: list[tuple[selectors.SelectorKey, int]]) -> None:
        for key, mask in events:
            if key.fileobj is self._listener:
                self._accept()
            elif key.fileobj is not self._alarm:
                self._attend(cast("Peer", key.data), mask)

    def _accept(self) -> None:
        accepted, _ = self._listener.accept()
        accepted.settimeout(0)
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections += 1
        peer = self._peers[self._connections] = Peer(self._connections, accepted)
        self._selector.register(accepted, selectors.EVENT_READ, peer)

    def _attend(self, peer: Peer, mask: int) -> None:
        try:
            if mask & selectors.EVENT_WRITE:
                self._flush(peer)
            if mask & selectors.EVENT_READ and not peer.gone:
                self._receive(peer)
        except (OSError, h11.RemoteProtocolError):
            self._close(peer)

    def _receive(self, peer: Peer) -> None:
        data = peer.socket.recv(RECEIVE)
        if not data:
            self._close(peer)
            return
        peer.parser.receive_data(data)
        self._parse(peer)

    def _parse(self, peer: Peer) -> None:
        while not peer.busy and not peer.gone:
            event = peer.parser.next_event()
            if isinstance(event, h11.Request):
                peer.request = event
                peer.body.clear()
            elif isinstance(event, h11.Data):
                peer.body += event.data
            elif isinstance(event, h11.EndOfMessage):
                self._arrived(peer)
            else:
                return

    def _arrived(self, peer: Peer) -> None:
        peer.busy = True
        request = peer.counted()
        self._requests.append(request)
        answer = self.respond(request)
        if self._held is not None:
            self._held.append((peer, answer))
        elif answer.delay:
            due = time.monotonic() + answer.delay
            heapq.heappush(self._due, (due, next(self._ticks), peer, answer))
        else:
            self._answer(peer, answer)

    def _answer(self, peer: Peer, answer: Answer) -> None:
        if peer.gone:
            return
        if answer.close == "instead":
            self._close(peer)
            return
        peer.unsent += peer.wire_form(answer)
        peer.close_when_sent = answer.close != "never" or peer.parser.our_state is h11.MUST_CLOSE
        peer.busy = False
        if peer.parser.our_state is h11.DONE and peer.parser.their_state is h11.DONE:
            peer.parser.start_next_cycle()
        self._flush(peer)
        self._parse(peer)  # the next request may have come along with this one

    def _flush(self, peer: Peer) -> None:
        try:
            sent = peer.socket.send(peer.unsent)
            del peer.unsent[:sent]
        except BlockingIOError:
            pass
        except OSError:
            self._close(peer)
            return
        if not peer.unsent and peer.close_when_sent:
            self._close(peer)
            return
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if peer.unsent else 0)
        self._selector.modify(peer.socket, wanted, peer)

    def _close(self, peer: Peer) -> None:
        if not peer.gone:
            peer.gone = True
            del self._peers[peer.number]
            self._selector.unregister(peer.socket)
            peer.socket.close()

    def _close_where(self, condition: Callable[[Peer], bool]) -> int:
        chosen = [peer for peer in self._peers.values() if condition(peer)]
        for peer in chosen:
            self._close(peer)
        return len(chosen)

    def _send_due(self) -> None:
        while self._due and self._due[0][0] <= time.monotonic():
            _, _, peer, answer = heapq.heappop(self._due)
            self._answer(peer, answer)

    def _time_left(self) -> float | None:
        return max(0.0, self._due[0][0] - time.monotonic()) if self._due else None

    def _start_holding(self) -> None:
        self._held = self._held or []

    def _stop_holding(self) -> None:
        held, self._held = self._held or [], None
        for peer, answer in held:
            self._answer(peer, answer)

    def _stop_running(self) -> None:
        self._running = False
