"""Turns and timers on trio: what asyncio's loops promise, and no more."""

from __future__ import annotations

import contextvars
import functools

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from pool_manager.runtimes.on_trio.loop import TrioLoop


def fail() -> None:
    """Be a defect."""
    raise ZeroDivisionError


def test_calls_are_made_in_order_and_in_turns() -> None:
    """What is called soon is called in order; what that calls soon has to wait for the next turn."""
    calls: list[int] = []

    async def main() -> None:
        loop = TrioLoop()

        def first() -> None:
            calls.append(1)
            loop.call_soon(lambda: calls.append(3))

        loop.call_soon(first)
        loop.call_soon(lambda: calls.append(2))
        assert [] == calls
        await trio.testing.wait_all_tasks_blocked()

    trio.run(main)
    assert [1, 2, 3] == calls


def test_timers_fire_in_time_unless_cancelled() -> None:
    """Timers fire by the run's clock, in the order of their times; one that another cancels does not."""
    calls: list[tuple[int, float]] = []

    async def main() -> None:
        loop = TrioLoop()
        began = loop.time()

        def call(number: int) -> None:
            calls.append((number, round(loop.time() - began, 3)))
            cancelled.cancel()

        loop.call_later(20, functools.partial(call, 2))
        loop.call_later(10, functools.partial(call, 1))  # sooner than what is slept for already
        cancelled = loop.call_at(began + 10, functools.partial(call, 3))
        await trio.sleep(30)

    trio.run(main, clock=MockClock(autojump_threshold=0))
    assert [(1, 10), (2, 20)] == calls


def test_a_defect_is_logged_and_ends_no_run(caplog: pytest.LogCaptureFixture) -> None:
    """An exception in a call or a task is logged; who comes next is called."""
    calls: list[int] = []

    async def main() -> None:
        async def task() -> None:
            await trio.lowlevel.checkpoint()
            fail()

        loop = TrioLoop()
        loop.call_soon(fail)
        loop.call_soon(lambda: calls.append(1))
        loop.create_task(task(), context=contextvars.Context())
        await trio.testing.wait_all_tasks_blocked()

    trio.run(main)
    assert ([1], 2) == (calls, len(caplog.records))


def test_cancelled_timers_do_not_pile_up() -> None:
    """A thousand timers that were cancelled long before their time leave no thousand entries."""

    async def main() -> None:
        loop = TrioLoop()
        kept = loop.call_later(1, fail)
        for _ in range(1000):
            loop.call_later(3600, fail).cancel()
        assert len(loop._timers) < 100  # noqa: SLF001 - what piles up is seen nowhere else
        kept.cancel()

    trio.run(main)


def test_what_was_to_be_called_is_called_when_the_run_ends() -> None:
    """A call of the last moment is made; later ones are not, and raise nothing."""
    calls: list[int] = []
    loops: list[TrioLoop] = []

    async def main() -> None:
        loop = TrioLoop()
        loops.append(loop)
        loop.call_later(3600, fail)
        await trio.testing.wait_all_tasks_blocked()
        loop.call_soon(lambda: calls.append(1))

    trio.run(main)
    (loop,) = loops
    assert loop.is_closed()
    loop.call_soon(fail)
    assert [1] == calls
