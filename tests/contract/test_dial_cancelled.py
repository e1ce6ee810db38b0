"""A dial may be cancelled at any moment, and leaves nothing: no socket, no transport, no task, no timer."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import os
import weakref
from collections.abc import Coroutine, Generator
from pathlib import Path
from typing import Any

import pytest

from pool_manager.core.messages import TransportFailure
from pool_manager.runtimes.addresses import Address
from tests.support.certificates import Certificates
from tests.support.dialing import ON_BOTH_LOOPS, Run, Wire, dialer, found, known_names, refusing
from tests.support.leaks import open_sockets, pending_tasks
from tests.support.listener import PATIENCE, Listener, hang_up, say_http, wait

pytestmark = ON_BOTH_LOOPS


class Stepped:
    """Awaits a coroutine, and cancels the task at the coroutine's *k*-th suspension, as *how* says."""

    def __init__(self, coroutine: Coroutine[Any, Any, Any], k: int, how: str) -> None:
        self._coroutine = coroutine
        self._k = k
        self._how = how

    def __await__(self) -> Generator[Any, Any, Any]:
        """Step through the coroutine."""
        steps = self._coroutine.__await__()
        value: Any = None
        error: BaseException | None = None
        for step in itertools.count(1):
            try:
                future = steps.send(value) if error is None else steps.throw(error)
            except StopIteration as stop:
                return stop.value
            if step == self._k:
                self._cancel(future)
            value, error = None, None
            try:
                value = yield future
            except BaseException as raised:  # noqa: BLE001 - the coroutine gets it
                error = raised
        return None

    def _cancel(self, future: asyncio.Future[Any] | None) -> None:
        task = asyncio.current_task()
        assert task is not None
        if self._how == "at once" or future is None:
            task.cancel()
        elif self._how == "a turn later":
            asyncio.get_running_loop().call_soon(task.cancel)
        else:  # when what was waited for has come, and the coroutine does not know yet
            future.add_done_callback(lambda _: task.cancel())


async def gone_soon(before: set[str]) -> None:
    """Wait until this process has no more sockets than *before*, those of servers included, nor tasks."""
    deadline = asyncio.get_running_loop().time() + 1.0  # less than a goodbye or a handshake would take
    while left := (set(open_sockets()) - before) or (pending_tasks() - {asyncio.current_task()}):
        assert asyncio.get_running_loop().time() < deadline, left
        await asyncio.sleep(0.001)
    for _ in range(5):  # what is called soon, when all is done
        await asyncio.sleep(0)


class Makes:
    """Makes protocols, and knows of them without holding on to them."""

    def __init__(self) -> None:
        self._made: list[weakref.ref[Wire]] = []

    def __call__(self) -> Wire:
        """Make one."""
        wire = Wire()
        self._made.append(weakref.ref(wire))
        return wire

    def left(self) -> list[Wire]:
        """Give those that are held by anybody."""
        gc.collect()
        return [wire for made in self._made if (wire := made()) is not None]


KINDS = ["plain", "tls", "plain unix", "tls unix", "plain names", "tls names", "tls built"]
HOW = ["at once", "a turn later", "when it is ready"]


@pytest.mark.parametrize("how", HOW)
@pytest.mark.parametrize("kind", KINDS)
def test_cancelled_at_every_await(
    run: Run,
    kind: str,
    how: str,
    *,
    certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Wherever a dial is cancelled it ends so, and leaves no socket, task or transport, at once."""
    names = known_names(monkeypatch)
    context = certificates.server_context() if "tls" in kind else None
    path = tmp_path / "socket" if "unix" in kind else None
    verify = str(certificates.ca_file) if "built" in kind else certificates.client_context()

    async def main(address: Address) -> int:
        before, make = set(open_sockets()), Makes()
        for k in itertools.count(1):
            ours = dialer(verify=verify, uds=path and str(path))
            dial = asyncio.ensure_future(stepped(ours.dial(address, make), k, how))
            await asyncio.wait([dial])
            if not dial.cancelled():
                await dial.result().abort()
                return k
            del dial
            await gone_soon(before)
            assert make.left() == []
        raise AssertionError

    with refusing("::1") as dead, Listener(context, path=path) as server:
        names["both.example"] = found(("::1", dead), ("127.0.0.1", server.port))
        host = "both.example" if "names" in kind else "127.0.0.1"
        address = Address("http" if context is None else "https", host, server.port, "localhost")
        assert run(lambda: main(address)) >= (2 if "unix" in kind else 3)


async def stepped(coroutine: Coroutine[Any, Any, Wire], k: int, how: str) -> Wire:
    """Be cancelled at the *k*-th suspension of *coroutine*."""
    wire: Wire = await Stepped(coroutine, k, how)
    return wire


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("turns", [0, 1, 2, 3, 50])
def test_cancelled_before_a_server_shakes_hands(
    run: Run, certificates: Certificates, turns: int, times: int
) -> None:
    """A server takes the connection and says nothing: a dial, cancelled once or twice, hangs up at once."""

    async def main(server: Listener) -> None:
        before, make = set(open_sockets()), Makes()
        address = Address("https", "127.0.0.1", server.port)
        dial = asyncio.ensure_future(dialer(certificates).dial(address, make))
        while server.guests.empty():
            await asyncio.sleep(0)
        for _ in range(turns):
            await asyncio.sleep(0)
        assert not dial.done()
        for _ in range(times):
            dial.cancel()
            await asyncio.sleep(0)
        await asyncio.wait([dial])
        assert dial.cancelled()
        del dial
        await gone_soon(before)
        server.gone.get(timeout=PATIENCE)
        assert make.left() == []

    with Listener(serve=wait) as server:
        run(lambda: main(server))


def test_nothing_waits_for_a_year(run: Run, certificates: Certificates) -> None:
    """The timer for a handshake, which we set far away, goes with the handshake, however that ends."""

    async def main(servers: list[Listener]) -> None:
        ours, make = dialer(certificates), Makes()
        for server in servers:
            with contextlib.suppress(TransportFailure):
                wire = await ours.dial(Address("https", "127.0.0.1", server.port), make)
                await wire.abort()
                del wire
        for _ in range(5):
            await asyncio.sleep(0)
        assert make.left() == []

    with (
        Listener(certificates.server_context()) as one,
        Listener(serve=hang_up) as two,
        Listener(serve=say_http) as three,
    ):
        run(lambda: main([one, two, three]))


def test_a_descriptor_is_closed_once(run: Run, certificates: Certificates) -> None:
    """After cancelled dials no descriptor is closed again, when it is somebody else's already."""

    async def main(server: Listener) -> None:
        address = Address("https", "127.0.0.1", server.port)
        for turn in range(12):
            dial = asyncio.ensure_future(dialer(certificates).dial(address, Wire))
            for _ in range(turn):
                await asyncio.sleep(0)
            dial.cancel()
            await asyncio.wait([dial])
            files = [os.open(os.devnull, os.O_RDONLY) for _ in range(10)]
            del dial
            gc.collect()
            for _ in range(5):
                await asyncio.sleep(0)
            for file in files:
                os.close(file)  # EBADF, if somebody has closed it

    with Listener(serve=wait) as server:
        run(lambda: main(server))
