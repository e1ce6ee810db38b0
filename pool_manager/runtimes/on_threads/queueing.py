"""Threads that wait for a connection: for how long, and which of them does what falls due meanwhile."""

from __future__ import annotations

from typing import Final, cast, final

from pool_manager.core.origins import Origin, Ticket
from pool_manager.core.scheduler import Scheduler
from pool_manager.core.waits import too_late, wait_of
from pool_manager.runtimes.on_threads.carriers import Books, Carrier
from pool_manager.runtimes.on_threads.exchanges import Exchange
from pool_manager.runtimes.on_threads.tracing import Tracer
from pool_manager.runtimes.on_threads.waiting import Waiter

# Seconds after which who waits for a place on an HTTP/2 connection looks whether anybody reads from it: the
# first of those who wait, and all others.
_GLANCE: Final = 0.05
_SELDOM: Final = 1.0

# Rule 13: what falls due together is done together, and nobody is woken for each. Queues are looked at every
# 25 ms (rule 9).
_SHORTEST_NAP: Final = 0.01


@final
class Queueing:
    """
    Who waits for a connection.

    Args:
        books: Who decides.
    """

    def __init__(self, books: Books) -> None:
        self._books = books
        self._waiters: dict[Waiter, None] = {}
        self._keeper: Waiter | None = None  # who of them does what is due meanwhile

    def wait(self, exchange: Exchange, tracer: Tracer | None) -> bool:
        """
        Wait for the connection of a ticket: by the pool timeout, else by that to connect.

        False if all has changed, and it has to be asked for anew.

        Raises:
            TransportFailure: There is none, or not in time.

            PoolError: The pool was closed.
        """
        waiter = cast(Waiter, exchange.waiter)
        book = cast(Scheduler, exchange.book)
        ticket = cast(Ticket, exchange.ticket)
        if tracer is not None:
            tracer.waiting()
        try:
            while ticket.connection is None:
                if ticket.error is not None:
                    raise ticket.error
                seconds = self._books.decide(book, self._judge, exchange)
                if seconds is None:
                    return False
                if ticket.origin.usable_shared:
                    seconds = min(_GLANCE if self._keeper is waiter else _SELDOM, seconds)
                    _read_for_nobody(ticket.origin)
                if seconds > 0:
                    waiter.sleep(seconds)
        finally:
            self.leave(waiter)
        exchange.queued_for = self._books.now() - ticket.asked
        if tracer is not None:
            tracer.connected(ticket)
        return True

    def leave(self, waiter: Waiter) -> None:
        """
        Wait no longer; somebody else keeps the time now, who came last: he will be here for longest.

        Safe to repeat, also where it was broken off.
        """
        self._waiters.pop(waiter, None)
        if self._keeper is None or self._keeper is waiter:
            self._keeper = None
            for other in reversed([*self._waiters][-1:]):
                other.wake()

    def wake_all(self) -> None:
        """Have everybody look again."""
        for waiter in [*self._waiters]:
            waiter.wake()

    def _judge(self, book: Scheduler, exchange: Exchange) -> float:
        """Give for how long to sleep; raises if that was long enough. A move: under the lock."""
        ticket, request, now = cast(Ticket, exchange.ticket), exchange.request, self._books.now()
        due = book.deadlines.next
        if now >= due:
            book.tick(now)
            due = book.deadlines.next
        if ticket.connection is not None or ticket.error is not None:
            return 0.0
        wait = wait_of(ticket, book.dial_begun(ticket), request.timeouts, now)
        if wait.is_over:
            book.leave(ticket, now, dial_too_slow=wait.dialing)
            raise too_late(request, wait)
        left = wait.seconds
        waiter = cast(Waiter, exchange.waiter)
        self._waiters[waiter] = None
        if self._keeper is None or self._keeper is waiter:
            self._keeper = waiter
            left = min(left, max(due - now, _SHORTEST_NAP))
        return left


def _read_for_nobody(origin: Origin) -> None:
    """Read what servers say on connections whose streams nobody reads just now: it may free a place."""
    for connection in [*origin.connections]:
        if connection.multiplexed and connection.carrier is not None:
            carrier: Carrier = connection.carrier
            carrier.glance()
