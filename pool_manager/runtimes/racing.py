"""
Happy eyeballs: of several addresses, the first that answers (RFC 8305).

Written here, for what `aiohappyeyeballs` does not do: a cancellation that comes
while the losers are being stopped is not lost, and each address keeps its error.
"""

from __future__ import annotations

import asyncio
import socket
from collections import deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final, TypeAlias

from pool_manager.core.endpoints import AddressInfo

Attempt: TypeAlias = Callable[[AddressInfo], Coroutine[Any, Any, socket.socket]]
_Task: TypeAlias = asyncio.Task[socket.socket]

STAGGER: Final = 0.25  # seconds an address may take before the next is tried beside it (RFC 8305, 8)


async def first_to_connect(addresses: Sequence[AddressInfo], attempt: Attempt) -> socket.socket:
    """
    Give the first socket that *attempt* connects.

    The next address is tried when one has failed, or after 250 ms. All sockets but
    the one given are closed, also when this is cancelled; an attempt closes its own
    when it fails or is cancelled.

    Raises:
        ExceptionGroup: Each address failed; one `OSError` for each, in order.
    """
    if len(addresses) == 1:
        return await _only_one(addresses[0], attempt)
    loop = asyncio.get_running_loop()
    todo = deque(addresses)
    tasks: list[_Task] = []
    winner: _Task | None = None
    try:
        while (winner := _winner(tasks)) is None and (todo or _running(tasks)):
            if todo:
                tasks.append(loop.create_task(attempt(todo.popleft())))
                if tasks[-1].done():
                    continue  # a factory of eager tasks has run it
            timeout = STAGGER if todo else None
            await asyncio.wait(_running(tasks), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            if task is not winner:
                _stop(task)
    if winner is None:
        raise _all_failed([error for task in tasks if isinstance(error := task.exception(), OSError)])
    return winner.result()


async def _only_one(address: AddressInfo, attempt: Attempt) -> socket.socket:
    try:
        return await attempt(address)
    except OSError as error:
        raise _all_failed([error]) from None


def _all_failed(errors: list[OSError]) -> ExceptionGroup[OSError]:
    return ExceptionGroup("no address could be connected to", errors)


def _running(tasks: list[_Task]) -> list[_Task]:
    return [task for task in tasks if not task.done()]


def _winner(tasks: list[_Task]) -> _Task | None:
    """Find a task that has connected; what is no `OSError` is a defect, and is raised."""
    for task in tasks:
        if task.done():
            error = task.exception()
            if error is None:
                return task
            if not isinstance(error, OSError):
                raise error
    return None


def _stop(task: _Task) -> None:
    """End an attempt, and close what it has connected, or connects in spite of it."""
    task.cancel()
    if task.done():
        _close(task)
    else:
        task.add_done_callback(_close)


def _close(task: _Task) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()
