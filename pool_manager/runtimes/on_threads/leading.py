"""
Which of the threads on one HTTP/2 connection reads for all.

Nothing here is locked or waits: each call is part of a step of the connection's.
"""

from __future__ import annotations

import enum
from _thread import get_ident
from typing import final

from pool_manager.runtimes.on_threads.exchanges import Exchange
from pool_manager.runtimes.on_threads.waiting import Waiter


class Role(enum.Enum):
    """What a thread does that waits for news."""

    LEADS = enum.auto()
    SLEEPS = enum.auto()
    NONE = enum.auto()  # there is news


@final
class Readers:
    """
    One thread leads, others sleep until there is news for them, or until it is their turn to lead.

    If nobody leads and some sleep, one of them was woken to lead. Whoever finds that nobody does, having had
    something better to do, wakes the next.

    Attributes:
        leader: Who leads: an exchange, or whoever has come to read what is there.

        leader_thread: The thread that does.
    """

    def __init__(self) -> None:
        self.leader: object = None
        self.leader_thread = 0
        self._sleepers: dict[object, Exchange] = {}
        self._pollers: set[int] = set()  # threads that wait for the socket to take more

    @property
    def are_there(self) -> bool:
        """A thread is, or may be, in the middle of a call on the socket."""
        return self.leader is not None or bool(self._pollers)

    def concern(self, somebody: object) -> bool:
        """Tell whether *somebody* who goes away has to `resign`: also if nobody leads of those who wait."""
        sleepers = self._sleepers
        return self.leader is somebody or somebody in sleepers or (self.leader is None and bool(sleepers))

    def misses(self, somebody: object) -> bool:
        """Tell whether *somebody* who is gone, in this thread, has to `quit`."""
        return self.leader_thread == get_ident() or (self.leader is not somebody and self.concern(somebody))

    def lead(self, somebody: object) -> bool:
        """Lead, unless another does."""
        if self.leader is not None:
            return False
        self.leader, self.leader_thread = somebody, get_ident()
        return True

    def join(self, exchange: Exchange) -> Role:
        """Lead, or sleep while another does."""
        if self.leader is exchange or self.lead(exchange):
            return Role.LEADS
        if exchange.waiter is None:
            exchange.waiter = Waiter()
        self._sleepers[exchange] = exchange
        return Role.SLEEPS

    def wake(self, exchange: Exchange) -> None:
        """There is news for *exchange*."""
        if exchange in self._sleepers:
            if exchange.waiter is not None:
                exchange.waiter.wake()  # first: an interrupt that strikes between must not lose it
            self._sleepers.pop(exchange, None)

    def wake_all(self) -> None:
        """Have all look for themselves how things stand."""
        for sleeper in [*self._sleepers.values()]:
            self.wake(sleeper)

    def resign(self, somebody: object) -> None:
        """Lead no more, and wait no more; the next leads."""
        self._sleepers.pop(somebody, None)
        if self.leader is somebody:
            self.leader, self.leader_thread = None, 0
        if self.leader is None and self._sleepers:
            self.wake(next(iter(self._sleepers.values())))

    def quit(self, somebody: object) -> None:
        """Do nothing of all this any more, in this thread: it may have been interrupted anywhere."""
        me = get_ident()
        self._pollers.discard(me)
        if self.leader is not somebody or self.leader_thread == me:  # else another thread reads, and will
            self.resign(somebody)
        if self.leader_thread == me:
            self.resign(self.leader)

    def poll(self, somebody: object) -> bool:
        """Wait for the socket to take more; tell whether to lead besides."""
        self._pollers.add(get_ident())
        return self.lead(somebody)

    def poll_no_more(self) -> None:
        """Wait for the socket no longer."""
        self._pollers.discard(get_ident())
