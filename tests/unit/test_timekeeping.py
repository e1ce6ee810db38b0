"""The thread that does what falls due while nobody is there: in time, and no longer there than needed."""

from __future__ import annotations

import gc
import math
import threading
import time
from collections.abc import Callable

from pool_manager.runtimes.on_threads.timekeeping import Timekeeper

PATIENCE = 5.0


class Owner:
    """What has something fall due."""

    def __init__(self) -> None:
        self.due = math.inf
        self.rings: list[str] = []
        self.timekeeper = Timekeeper(self.ring, time.monotonic)

    def ring(self) -> float:
        """Do what is due; note in which thread."""
        if time.monotonic() >= self.due:
            self.due = math.inf
            self.rings.append(threading.current_thread().name)
        return self.due

    def set(self, seconds: float) -> None:
        """Have something fall due."""
        self.due = time.monotonic() + seconds
        if self.due < self.timekeeper.looks:
            self.timekeeper.hurry()


def keepers() -> list[threading.Thread]:
    """Give the threads that keep time."""
    return [thread for thread in threading.enumerate() if thread.name == "pool_manager: keeps time"]


def wait_for(condition: Callable[[], bool]) -> None:
    """Wait until *condition* holds."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.001)


def test_it_does_what_is_due_and_ends() -> None:
    """What falls due is done in a thread, which ends when there is nothing more; and begins again."""
    owner = Owner()
    for count in (1, 2):
        owner.set(0.02)
        wait_for(lambda: not keepers())
        assert owner.rings == ["pool_manager: keeps time"] * count
        assert owner.timekeeper.looks == math.inf


def test_it_looks_sooner_if_something_falls_due_before() -> None:
    """A thread that sleeps for long is woken for what is due sooner; there is only the one."""
    owner = Owner()
    owner.set(1000)
    wait_for(lambda: owner.timekeeper.looks < math.inf)
    before = keepers()
    owner.set(0.02)
    wait_for(lambda: len(owner.rings) == 1)
    assert len(before) == 1
    wait_for(lambda: not keepers())


def test_it_is_not_woken_for_every_trifle() -> None:
    """Where it looks soon anyway it sleeps on: queues are looked at every 25 ms by those that stand there."""
    owner = Owner()
    owner.set(0.1)
    wait_for(lambda: owner.timekeeper.looks < math.inf)
    looks = owner.timekeeper.looks
    owner.set(0.05)
    assert owner.timekeeper.looks == looks
    wait_for(lambda: len(owner.rings) == 1)


def test_it_ends_when_told_that_nothing_is_left() -> None:
    """What was due is taken back: it looks, and goes."""
    owner = Owner()
    owner.set(1000)
    wait_for(lambda: owner.timekeeper.looks < math.inf)
    owner.due = math.inf
    owner.timekeeper.stop()
    wait_for(lambda: not keepers())
    assert owner.rings == []


def test_it_keeps_nobody_alive() -> None:
    """The thread does not hold on to whose time it keeps."""
    owner = Owner()
    owner.set(1000)
    timekeeper = owner.timekeeper
    wait_for(lambda: timekeeper.looks < math.inf)
    del owner
    gc.collect()
    timekeeper.stop()
    wait_for(lambda: not keepers())
