"""Happy eyeballs: the first address that answers wins, and the sockets of all others are closed."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from pool_manager.core.endpoints import AddressInfo, interleaved
from pool_manager.runtimes import racing
from pool_manager.runtimes.racing import first_to_connect

ERRORS = {"refuses": ConnectionRefusedError, "breaks": RuntimeError}
V4, V6 = socket.AF_INET, socket.AF_INET6


def info(name: str, family: int = V4) -> AddressInfo:
    """Make an address."""
    return (family, socket.SOCK_STREAM, 0, "", (name, 80))


class Net:
    """Addresses that answer, refuse or wait, as the test says."""

    def __init__(self, **fates: str) -> None:
        self.fates = fates
        self.tried: list[str] = []
        self.sockets: dict[str, socket.socket] = {}
        self.answers: dict[str, asyncio.Event] = {}

    async def connect(self, address: AddressInfo) -> socket.socket:
        """Try one address."""
        name = address[4][0]
        self.tried.append(name)
        self.answers[name] = asyncio.Event()
        connection = self.sockets[name] = socket.socket()
        try:
            if self.fates[name] == "waits":
                await self.answers[name].wait()
            self._fail(name)
        except BaseException:
            connection.close()
            raise
        return connection

    def _fail(self, name: str) -> None:
        if self.fates[name] in ERRORS:
            raise ERRORS[self.fates[name]](111, name)

    def open(self) -> list[str]:
        """Name the addresses whose sockets are open."""
        return [name for name, connection in self.sockets.items() if connection.fileno() >= 0]

    async def race(self) -> str:
        """Race all, close the winner, and name it."""
        winner = await first_to_connect([info(name) for name in self.fates], self.connect)
        await turns()
        (name,) = self.open()
        assert self.sockets[name] is winner
        winner.close()
        return name


async def turns(count: int = 5) -> None:
    """Let whatever is ready run."""
    for _ in range(count):
        await asyncio.sleep(0)


# When a task begins: in the loop's next turn or, from Python 3.12 on, at once if one likes.
TASKS: dict[str, Callable[..., Any] | None] = {"later": None}
if sys.version_info >= (3, 12):
    TASKS["eager"] = asyncio.eager_task_factory


@pytest.fixture(params=TASKS)
def run(request: pytest.FixtureRequest) -> Callable[[Coroutine[Any, Any, Any]], Any]:
    """Give what runs a coroutine, with tasks that begin in each way there is."""

    def run(main: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner() as runner:
            runner.get_loop().set_task_factory(TASKS[request.param])
            return runner.run(main)

    return run


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an address have all the time it wants."""
    monkeypatch.setattr(racing, "STAGGER", 3600.0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the next address be tried in the loop's next turn."""
    monkeypatch.setattr(racing, "STAGGER", 0.0)


Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.mark.usefixtures("patient")
def test_the_first_address_has_its_time(run: Run) -> None:
    """While the first address may still answer in time, no other is tried."""
    net = Net(a="answers", b="answers")
    assert run(net.race()) == "a"
    assert net.tried == ["a"]


@pytest.mark.usefixtures("patient")
def test_a_refusal_brings_the_next_at_once(run: Run) -> None:
    """An address that refuses is followed by the next one without a wait."""
    net = Net(a="refuses", b="refuses", c="answers", d="answers")
    assert run(net.race()) == "c"
    assert net.tried == ["a", "b", "c"]


@pytest.mark.usefixtures("impatient")
def test_silence_brings_the_next_in_time(run: Run) -> None:
    """An address that says nothing is raced by the next ones, and left when one of them answers."""
    net = Net(a="waits", b="waits", c="answers")
    assert run(net.race()) == "c"


def test_the_wait_is_250_ms() -> None:
    """A silent address delays the next one by 250 ms (RFC 8305, 8)."""
    net = Net(a="waits", b="answers")

    async def main() -> None:
        clock = asyncio.get_running_loop().time
        begun = clock()
        assert await net.race() == "b"
        assert 0.24 < clock() - begun < 2.0  # the clock of the loop is coarse, the machine may be busy

    asyncio.run(main())


@pytest.mark.usefixtures("impatient")
def test_a_slow_address_may_still_win(run: Run) -> None:
    """The first address answers after the second was tried: it wins, and the second is left."""
    net = Net(a="waits", b="waits")

    async def main() -> None:
        race = asyncio.ensure_future(net.race())
        while len(net.tried) < 2:
            await asyncio.sleep(0)
        net.answers["a"].set()
        assert await race == "a"

    run(main())


@pytest.mark.usefixtures("impatient")
def test_of_two_winners_one_is_closed(run: Run) -> None:
    """Two addresses answer in the same turn of the loop: one socket is given, the other closed."""
    net = Net(a="waits", b="waits")

    async def main() -> None:
        race = asyncio.ensure_future(net.race())
        while len(net.tried) < 2:
            await asyncio.sleep(0)
        for answer in net.answers.values():
            answer.set()
        assert await race == "a"

    run(main())
    assert net.open() == []


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("count", [1, 2, 5])
def test_all_errors_are_told(run: Run, count: int) -> None:
    """When all addresses fail, each one's error is there, in order."""
    names = "abcde"[:count]
    net = Net(**dict.fromkeys(names, "refuses"))

    async def main() -> None:
        with pytest.raises(ExceptionGroup) as caught:
            await net.race()
        assert [error.strerror for error in caught.value.exceptions if isinstance(error, OSError)] == [*names]

    run(main())


@pytest.mark.usefixtures("impatient")
def test_a_defect_is_no_refusal(run: Run) -> None:
    """What is no `OSError` is raised as it is; the attempts that run are stopped."""
    net = Net(a="waits", b="breaks", c="answers")

    async def main() -> None:
        with pytest.raises(RuntimeError, match="b"):
            await net.race()
        await turns()
        assert net.open() == []

    run(main())


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("ready", [True, False])
def test_cancellation_stops_every_attempt(run: Run, *, ready: bool) -> None:
    """A race that is cancelled, even while two have just answered, leaves no socket and is cancelled."""
    net = Net(a="waits", b="waits", c="waits")

    async def main() -> None:
        race = asyncio.ensure_future(net.race())
        while len(net.tried) < 3:
            await asyncio.sleep(0)
        if ready:
            net.answers["a"].set()
            net.answers["c"].set()
            await turns(1)  # the attempts are done, the race has not seen it
        race.cancel()
        with pytest.raises(asyncio.CancelledError):
            await race
        await turns()
        assert net.open() == []

    run(main())


def test_the_two_ip_versions_take_turns() -> None:
    """Addresses alternate between IPv6 and IPv4, the system's first choice first, none twice."""
    given = [info("a", V6), info("b", V6), info("b", V6), info("c", V6), info("x"), info("y")]
    assert [entry[4][0] for entry in interleaved(given)] == ["a", "x", "b", "y", "c"]
    assert [entry[4][0] for entry in interleaved(reversed(given))] == ["y", "c", "x", "b", "a"]
    assert interleaved([]) == []
