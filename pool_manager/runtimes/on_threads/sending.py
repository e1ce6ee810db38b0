"""How the threads on one HTTP/2 connection send (rule 3 of `http2.py`), and how it ends."""

from __future__ import annotations

import contextlib
from _thread import get_ident
from collections import deque
from typing import Final

from pool_manager.core.messages import TransportFailure
from pool_manager.core.origins import Connection
from pool_manager.core.scheduler import Scheduler
from pool_manager.runtimes.on_threads.carriers import Owner
from pool_manager.runtimes.on_threads.hearing import Hearing
from pool_manager.runtimes.on_threads.waiting import Waiter
from pool_manager.runtimes.on_threads.wires import Wire

# Seconds after which who waits for its turn looks whether it can send, though nobody has told.
GLANCE: Final = 0.05


class Sending(Hearing):
    """
    A connection that sends HTTP/2.

    Attributes:
        sender: The thread that sends just now.

        out: What the socket has not taken.

        queue: Threads that wait for the sender to be done. Whoever is woken sends, or wakes the next.

        is_mute: Nothing can be sent any more.
    """

    def __init__(self, owner: Owner, book: Scheduler, connection: Connection, wire: Wire) -> None:
        super().__init__(owner, book, connection, wire)
        self.sender = 0
        self.out: bytes | memoryview = b""
        self.queue: deque[Waiter] = deque()
        self.is_mute = False

    def flush(self) -> None:
        """Send what is to be sent, of all threads, as far as the socket takes it."""
        try:
            while self._has_to_send and self._send_once():
                pass
        except BaseException:
            if self.sender == get_ident():  # nobody knows how much was sent
                self.step(self.give_up_interrupted)
            elif self._has_to_send:  # others may have left theirs to this thread
                self.flush()
            raise

    @property
    def _has_to_send(self) -> bool:
        return (bool(self.out) or self.http.has_data_to_send) and not self.sender

    def _send_once(self) -> bool:
        """Send what there is; False if there is no use in going on."""
        data = self.step(self._begin_to_send)
        if not data:
            return False
        sent = self._send(data)
        self.step(self._sent, sent)
        return sent == len(data)

    def _begin_to_send(self) -> bytes | memoryview:
        if self.sender:
            return b""
        if self.is_mute or self.is_lost:
            self.http.data_to_send()
            self.out = b""
        elif self.http.has_data_to_send:
            buffers = self.http.data_to_send()
            encoded = self.wire.encode(buffers[0] if len(buffers) == 1 else b"".join(buffers))
            self.out = b"".join((self.out, encoded)) if self.out else encoded
        if self.out:
            self.sender = get_ident()
        return self.out

    def _send(self, data: bytes | memoryview) -> int:
        try:
            return self.wire.send_now(data)
        except OSError:
            # Whoever reads will hear why, and perhaps an answer before.
            self.is_mute = True
            return len(data)

    def _sent(self, size: int) -> None:
        self.sender = 0
        self.out = memoryview(self.out)[size:] if size < len(self.out) else b""
        self.wake_next()
        self.close_if_unused()

    def sleep_until_sent(self, seconds: float) -> bool:
        """Wait until it is this thread's turn to send; False if it is not within *seconds*, or a while."""
        waiter, has_turn = Waiter(), False
        try:
            has_turn = not self.step(self._queue_up, waiter) or waiter.sleep(min(seconds, GLANCE))
        finally:
            if not has_turn:
                self.step(self._leave_queue, waiter)
        return has_turn

    def _queue_up(self, waiter: Waiter) -> bool:
        if self.sender:
            self.queue.append(waiter)
        return self.sender != 0

    def _leave_queue(self, waiter: Waiter) -> None:
        if waiter in self.queue:
            self.queue.remove(waiter)
        else:  # it was woken, and has not heard of it
            self.wake_next()

    def wake_next(self) -> None:
        """Give the turn to who waits longest."""
        if self.queue:
            self.queue.popleft().wake()

    def say_last_words(self) -> None:
        """Send the GOAWAY that says what was wrong, if the socket takes it at once."""
        words = self.wire.encode(b"".join(self.http.data_to_send()))
        if not (self.sender or self.out):
            with contextlib.suppress(OSError):
                self.wire.send_now(words)

    # The end

    @property
    def is_used(self) -> bool:
        """A thread is in the middle of a call on the socket: its number must not become somebody else's."""
        return self.readers.are_there or self.sender != 0

    def close_if_unused(self) -> None:
        """Close the socket of a connection that is lost; else whoever uses it comes by here."""
        if self.is_lost and not self.is_used:
            self.reports.append(self.part)

    def give_up(self, failure: TransportFailure) -> None:
        """The connection cannot go on."""
        if not self.is_lost:
            self._lose(failure)

    def give_up_interrupted(self) -> None:
        """
        This thread was interrupted in a step, or while it sent or read: it does no more on the socket.

        It may have been about to give the connection up, or to close it: that is done from its beginning.
        """
        self.readers.quit(None)
        if self.sender == get_ident():
            self.sender = 0
        self._lose(TransportFailure("ReadError", "a thread was interrupted on the connection"))

    def _lose(self, failure: TransportFailure) -> None:
        self.is_lost = True
        self.tell(Scheduler.lost)
        self.fail_all(failure)
        while self.queue:
            self.wake_next()
        if self.is_used:
            self.wire.cut()
        self.close_if_unused()
