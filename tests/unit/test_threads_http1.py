"""One HTTP/1.1 connection that threads hand to one another."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from typing import Any, cast

import pytest

from pool_manager.core.messages import Request, TransportFailure
from pool_manager.runtimes.on_threads.exchanges import Exchange
from pool_manager.runtimes.on_threads.http1 import Http1Carrier

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


def exchange_for(target: bytes) -> Exchange:
    """Make an exchange for a GET."""
    return Exchange(
        Request(
            method="GET", scheme="https", host="a", port=None, target=target, headers=[(b"Host", b"a")],
            body=b"", timeouts={}, lane="default", lease="x", extensions={},
        )
    )  # fmt: skip


class BusyWire:
    """
    A wire whose second send lasts until it is told to end; TLS always has something to say.

    Attributes:
        sent: What was sent, in order.

        is_sending: The second send has begun.

        may_end: It may end.
    """

    ended = False
    has_reply = True

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.is_sending, self.may_end = threading.Event(), threading.Event()

    def encode(self, data: bytes) -> bytes:
        """Encrypt nothing."""
        return data

    def decode(self, received: bytes) -> bytes:
        """Decrypt nothing."""
        return received

    def send_now(self, data: bytes) -> int:
        """Send all of it."""
        if data:
            self.sent.append(bytes(data))
        if len(self.sent) == 2:
            self.is_sending.set()
            assert self.may_end.wait(10)
        return len(data)

    def receive(self, seconds: float | None) -> bytes:  # noqa: ARG002 - it is there
        """Give the whole answer."""
        return ANSWER


class Owner:
    """Gives the connection to another thread as soon as it is given back."""

    def __init__(self, wire: BusyWire) -> None:
        self._wire = wire
        self.carrier: Http1Carrier | None = None
        self.other: threading.Thread | None = None

    def leave(self, exchange: Exchange, **_: object) -> None:
        """Take the connection back, and hand it out."""
        exchange.left = True
        assert self.carrier is not None
        self.other = threading.Thread(target=self.carrier.begin, args=(exchange_for(b"/second"),))
        self.other.start()
        assert self._wire.is_sending.wait(10)


def test_who_has_its_answer_leaves_the_connection_alone() -> None:
    """
    With the end of an answer a connection may be another thread's, that is sending on it just then.

    What TLS has to say to the server is said before. Said after, it took along what that thread was
    sending: the server read that twice, and hung up.
    """
    wire = BusyWire()
    owner = Owner(wire)
    owner.carrier = Http1Carrier(cast(Any, owner), cast(Any, None), cast(Any, None), cast(Any, wire))
    first = exchange_for(b"/first")
    owner.carrier.begin(first)
    assert owner.carrier.pull(first, 5)
    assert first.ended
    sent = [*wire.sent]
    wire.may_end.set()
    assert owner.other is not None
    owner.other.join()
    assert [data.split()[1] for data in sent] == [b"/first", b"/second"]


class LeftWire:
    """A wire whose server has hung up behind its answer, in which TLS asks for new keys."""

    def __init__(self) -> None:
        self._reads = [ANSWER[:-2], b"o", b"k"]
        self.has_reply = self.ended = False

    def encode(self, data: bytes) -> bytes:
        """Encrypt nothing, and say what TLS has to say."""
        self.has_reply = False
        return data or b"new keys"

    def decode(self, received: bytes) -> bytes:
        """Decrypt nothing; with the first part of the body new keys are asked for."""
        self.has_reply = received == b"o"
        return received

    def send_now(self, data: bytes) -> int:
        """Send the request, and fail after that."""
        if data == b"new keys":
            raise BrokenPipeError
        return len(data)

    def receive(self, seconds: float | None = None) -> bytes:  # noqa: ARG002 - it is there
        """Give what is there."""
        return self._reads.pop(0)

    receive_now = receive


def test_an_answer_is_whole_though_tls_cannot_reply() -> None:
    """A server may hang up while TLS has something to say: what was read stays in its order."""
    owner = cast(Any, type("Owner", (), {"leave": lambda *_, **__: None})())
    carrier = Http1Carrier(owner, cast(Any, None), cast(Any, None), cast(Any, LeftWire()))
    exchange = exchange_for(b"/")
    carrier.begin(exchange)
    exchange.wait_for_head()
    assert b"".join(exchange) == b"ok"


class SharedWire:
    """
    A wire on which something else happens while a thread is in a call on it.

    Attributes:
        reads: What the calls give, in order.

        meanwhile: What happens in the next call, in another thread.

        is_cut: The socket was shut down.

        is_closed: It was closed.
    """

    ended = has_reply = is_cut = is_closed = False

    def __init__(self, *reads: bytes) -> None:
        self.reads = [*reads]
        self.meanwhile: Callable[[], object] | None = None

    def encode(self, data: bytes) -> bytes:
        """Encrypt nothing."""
        return data

    def decode(self, received: bytes) -> bytes:
        """Decrypt nothing."""
        return received

    def send_now(self, data: bytes) -> int:
        """Send all of it."""
        return len(data)

    def receive(self, seconds: float | None = None) -> bytes | None:  # noqa: ARG002 - it is there
        """Give what is there, after something else has happened."""
        meanwhile, self.meanwhile = self.meanwhile, None
        if meanwhile is not None:
            thread = threading.Thread(target=meanwhile)
            thread.start()
            thread.join(10)
            assert not thread.is_alive()
        assert not self.is_closed
        return self.reads.pop(0) if self.reads else None

    receive_now = receive

    def wait(self, events: int, seconds: float | None) -> int:  # noqa: ARG002 - it knows
        """Tell whether there is something."""
        return events if self.reads else 0

    def goodbye(self) -> bytes:
        """Say nothing."""
        return b""

    def cut(self) -> None:
        """Shut the socket down."""
        self.is_cut = True

    def close(self) -> None:
        """Close it."""
        self.is_closed = True


class Keeper:
    """
    Takes a connection back; one that cannot be used again is closed.

    Attributes:
        left: Whether each was of further use.
    """

    def __init__(self, wire: SharedWire) -> None:
        self.left: list[bool] = []
        self.carrier = Http1Carrier(cast(Any, self), cast(Any, None), cast(Any, None), cast(Any, wire))

    def leave(self, exchange: Exchange, *, reusable: bool, **_: object) -> None:
        """Take it back, once."""
        if not exchange.left:
            exchange.left = True
            self.left.append(reusable)
            if not reusable:
                self.carrier.close()

    def parted(self, _: object) -> None:
        """Know that the socket is closed."""

    def tell(self, *_: object) -> None:
        """Make no move: there is no book."""

    def now(self) -> float:
        """Tell some time."""
        return 0.0


HEAD, MORE, LAST = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n",
    b"1\r\nb\r\n",
    b"0\r\n\r\n",
)


def begun(wire: SharedWire) -> tuple[Keeper, Exchange]:
    """Have a request answered, and the first part of the answer read."""
    keeper, exchange = Keeper(wire), exchange_for(b"/")
    keeper.carrier.begin(exchange)
    assert exchange.read(5) == b"a"
    return keeper, exchange


def test_who_comes_to_read_while_the_answer_is_closed_reads_nothing() -> None:
    """Another thread looks for the end of the answer: what comes is its business alone."""
    wire = SharedWire(HEAD, MORE, LAST)
    keeper, exchange = begun(wire)
    outcome: list[object] = []

    def read_on() -> None:
        with pytest.raises(TransportFailure, match="the answer was closed"):
            exchange.read(5)
        outcome.append([*wire.reads])

    wire.meanwhile = read_on
    exchange.close()
    assert outcome == [[MORE, LAST]]
    assert keeper.left == [True]
    assert not wire.is_closed
    wire.reads.append(ANSWER)
    following = exchange_for(b"/next")
    keeper.carrier.begin(following)
    assert [following.read(5), following.read(5)] == [b"ok", None]


@pytest.mark.parametrize("then", [MORE, LAST, b""], ids=["more", "the end", "nothing"])
def test_an_answer_closed_by_another_thread_is_left_to_who_reads_it(then: bytes) -> None:
    """Who closes does not touch what another thread reads from; that one closes it, and learns why."""
    wire = SharedWire(HEAD, then)
    keeper, exchange = begun(wire)

    def close() -> None:
        exchange.close()
        assert wire.is_cut
        assert not wire.is_closed

    wire.meanwhile = close
    with pytest.raises(TransportFailure, match="the answer was closed"):
        list(exchange)
    assert keeper.left == [False]
    assert wire.is_closed


def test_who_has_said_that_it_reads_is_left_alone() -> None:
    """It may look whether it still may, or be about to read: who closes takes nothing off the socket."""
    wire = SharedWire(HEAD, LAST)
    keeper, exchange = begun(wire)
    exchange.is_read = True
    exchange.close()
    assert wire.reads == [LAST]
    assert keeper.left == [False]


class Emptied(deque[bytes]):
    """Parts that are there when it is looked, and gone when they are taken."""

    def __init__(self, close: Callable[[], object]) -> None:
        super().__init__([b"part"])
        self._close = close

    def popleft(self) -> bytes:
        """Come too late."""
        self._close()
        return super().popleft()


def test_an_answer_that_is_closed_between_a_look_and_the_next_step() -> None:
    """Where threads run at the same time, another one may empty what was looked at."""
    exchange = exchange_for(b"/")
    exchange._parts = Emptied(exchange.close)  # noqa: SLF001 - what a second thread does
    with pytest.raises(TransportFailure, match="the answer was closed"):
        exchange.read(5)
