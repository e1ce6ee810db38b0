"""Connections that the scheduler has asked for: each is opened in a thread of its own (rule 4)."""

from __future__ import annotations

import functools
import sys
import threading
from _thread import LockType, allocate_lock
from collections.abc import Callable, Hashable, Sequence
from typing import TypeAlias, final

from pool_manager.core.endpoints import AddressInfo
from pool_manager.core.messages import TransportFailure
from pool_manager.core.origins import Connection, Phase
from pool_manager.core.scheduler import Scheduler
from pool_manager.runtimes.addresses import Address, Guide
from pool_manager.runtimes.on_threads.carriers import Books, Carrier
from pool_manager.runtimes.on_threads.dialing import Dialer, DialGivenUp
from pool_manager.runtimes.on_threads.wires import Wire

MakeCarrier: TypeAlias = Callable[[Wire, Scheduler, Connection], Carrier]


@final
class Opening:
    """
    The dials that are under way.

    Args:
        books: Who is told what becomes of them.

        dialer: Opens sockets.

        make_carrier: Makes of an open socket what carries requests.
    """

    def __init__(self, books: Books, dialer: Dialer, make_carrier: MakeCarrier) -> None:
        self._books, self._dialer, self._make_carrier = books, dialer, make_carrier
        self._dials: dict[Connection, LockType] = {}  # each with a lock that is taken by who dials

    def begin(self, book: Scheduler, connection: Connection) -> None:
        """
        Dial in a thread: a dial belongs to the pool, and goes on without who caused it (rule 4).

        Safe to repeat, also where it was broken off.
        """
        if connection.phase is not Phase.DIALING:
            return
        turn = self._dials.setdefault(connection, allocate_lock())
        if turn.locked():
            return
        host = connection.origin.key.host
        dial = functools.partial(self._dial, book, connection, turn)
        if sys.is_finalizing():  # no thread begins any more, and Python 3.11 would wait for it
            dial()
            return
        try:
            threading.Thread(target=dial, name=f"pool_manager: dials {host}", daemon=True).start()
        except RuntimeError:  # there are too many
            dial()

    def give_up(self, connection: Connection) -> None:
        """Have the dial of *connection* end, if it is under way: it finds out by itself."""
        self._dials.pop(connection, None)

    def _dial(self, book: Scheduler, connection: Connection, turn: LockType) -> None:
        """Open *connection*; whether somebody still wants it is for the scheduler to say."""
        if not turn.acquire(blocking=False):  # who started this was interrupted, and has started another
            return
        scheme, host, port, server_name, _ = connection.origin.key
        failure = TransportFailure("ConnectError", f"{host}:{port} closed the connection at once")
        carrier, books = None, self._books

        def check() -> None:
            if connection not in self._dials:
                raise DialGivenUp(host, port)
            if books.now() >= book.deadlines.next:
                books.tell(book, Scheduler.tick, books.now())

        try:
            guide = self._guide(book, connection)
            wire = self._dialer.dial(Address(scheme, host, port, server_name), check, guide)
            carrier = self._make_carrier(wire, book, connection)
        except TransportFailure as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - whatever it is, who waits must hear of it
            failure = TransportFailure("ConnectError", f"cannot connect to {host}:{port}: {error!r}")
            failure.__cause__ = error
        finally:
            self._ended(book, connection, carrier, failure)
            self._dials.pop(connection, None)

    def _guide(self, book: Scheduler, connection: Connection) -> Guide:
        books = self._books

        def resolved(name: Hashable, found: Sequence[AddressInfo]) -> Sequence[AddressInfo]:
            order = books.decide(book, Scheduler.resolved, connection, name, found, books.now())
            if order is None:
                raise DialGivenUp(connection.origin.key.host, connection.origin.key.port)
            return order

        def reached(name: Hashable, tried: Sequence[AddressInfo], address: Hashable) -> None:
            books.tell(book, Scheduler.reached, connection, name, tried, address, books.now())

        return Guide(resolved, reached)

    def _ended(
        self, book: Scheduler, connection: Connection, carrier: Carrier | None, failure: TransportFailure
    ) -> None:
        tell, now = self._books.tell, self._books.now()
        if carrier is None:
            tell(book, Scheduler.dial_failed, connection, now, failure)
            return
        connection.carrier = carrier
        if carrier.is_usable:
            dialed = functools.partial(Scheduler.dialed, multiplexed=carrier.http_version == b"HTTP/2")
            tell(book, dialed, connection, now)
        else:
            tell(book, Scheduler.dial_failed, connection, now, failure)
        if connection.phase in {Phase.DIALING, Phase.CLOSED}:  # it was not wanted, or `book` is given up
            carrier.close()
