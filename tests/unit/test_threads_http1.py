"""One HTTP/1.1 connection that threads hand to one another."""

from __future__ import annotations

import threading
from typing import Any, cast

from pool_manager.core.messages import Request
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
