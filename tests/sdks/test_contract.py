"""
What every SDK may rely on, whoever generated or wrote it.

Each test takes an SDK by its description (`families`) and counts at the server. Which test
holds for which SDK is said in `table.CHECKS`, and the table for the README is made of the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import importlib
import inspect
import weakref
from collections.abc import Iterator
from importlib.metadata import version
from typing import Any

import attrs
import httpx
import httpx2
import pytest

from pool_manager import PoolManager
from tests.sdks.conftest import GROUP
from tests.sdks.describing import Case, Colour, Respond, Stream
from tests.sdks.families import CASES
from tests.sdks.table import CHECKS, pins
from tests.support.counted import CountedRequest
from tests.support.counting_server import CountingServer

# SDKs warn of what they, and not their users, have to change. A ResourceWarning stays an error.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::UserWarning"),
]

# Each environment tests all that its dependency group installs.
INSTALLED = [case for case in CASES if case.group == GROUP]

# What a client is told where its own setting is to hold.
DEFAULTS = (None, httpx.USE_CLIENT_DEFAULT, httpx2.USE_CLIENT_DEFAULT)


def each(check: str) -> pytest.MarkDecorator:
    """Have a test run with every SDK and face that the table says it holds for."""
    holds = CHECKS[check]
    cases = [(case, colour) for case in INSTALLED for colour in case.colours if holds(case, colour)]
    return pytest.mark.parametrize(
        ("case", "colour"), cases, ids=[f"{case.name}-{colour}" for case, colour in cases]
    )


class Run:
    """Waits for what is awaitable, on one loop, and gives the rest as it is."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()

    def __call__(self, value: object) -> Any:
        """Give *value*, or what it comes to."""
        return self._runner.run(_wait(value)) if inspect.isawaitable(value) else value

    def close(self) -> None:
        """End the loop."""
        self._runner.close()


async def _wait(value: Any) -> object:
    return await value


@pytest.fixture
def run() -> Iterator[Run]:
    """Give a loop for async SDKs."""
    with contextlib.closing(Run()) as opened:
        yield opened


@contextlib.contextmanager
def made(case: Case, colour: Colour, manager: PoolManager, url: str, run: Run) -> Iterator[Any]:
    """Give an SDK, made where its requests will run, and let it go as its description says."""
    with contextlib.ExitStack() as stack:
        pool = stack.enter_context(manager.lease(name=case.name)) if case.held_by == "lease" else manager
        sdk = run(_made(case, colour, pool, url)) if colour == "async" else case.make(colour, pool, url)
        # Nobody else is to hold on to one that is let go by being lost.
        yield weakref.proxy(sdk) if case.held_by in {"with", "collector"} else sdk
        if case.held_by == "close":
            run(case.close(sdk))
        elif case.held_by == "with":
            run((sdk.__aexit__ if colour == "async" else sdk.__exit__)(None, None, None))
        del sdk
        gc.collect()


async def _made(case: Case, colour: Colour, pool: Any, url: str) -> Any:
    sdk = case.make(colour, pool, url)
    return await sdk if inspect.isawaitable(sdk) else sdk


def leases_out(manager: PoolManager) -> int:
    """Count the leases that nobody has given back."""
    stats = manager.stats()
    return stats.leases_taken - stats.leases_returned


def asked(case: Case, colour: Colour, sdk: Any, run: Run) -> object:
    """Call, and give what is to be looked at."""
    call = case.call_of(colour)
    given = call.ask(sdk)
    assert inspect.isawaitable(given) == (colour == "async"), "the call of another face was described"
    return call.read(run(given))


def streamed(case: Case, colour: Colour, sdk: Any, run: Run) -> str:
    """Give the text of a stream."""
    stream = case.stream_of(colour)
    assert stream is not None
    events = run(stream.ask(sdk))
    if colour == "async":
        return run(_text(stream, events))
    return "".join(stream.read(event) or "" for event in events)


async def _text(stream: Stream, events: Any) -> str:
    return "".join([stream.read(event) or "" async for event in events])


@pytest.mark.parametrize("name", sorted({case.name for case in INSTALLED}))
def test_the_version_is_the_tables(name: str) -> None:
    """What is installed is what the table names."""
    assert version(name) == pins(GROUP)[name]


@each("shared")
def test_two_instances_share_one_connection(
    case: Case, colour: Colour, manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """Two of them ask in turn: one connection, each call answered, and sent once."""
    call = case.call_of(colour)
    counting_server.respond = call.respond
    with (
        made(case, colour, manager, counting_server.url, run) as one,
        made(case, colour, manager, counting_server.url, run) as two,
    ):
        before = counting_server.processed(call.method)  # some ask something when they are made
        answers = [asked(case, colour, sdk, run) for sdk in (one, two, one)]
        sent = counting_server.processed(call.method) - before
    assert answers == [call.gives] * 3
    assert counting_server.connections == 1
    assert sent == 3 * call.requests


@each("loops")
def test_one_instance_through_three_loops(
    case: Case, colour: Colour, manager: PoolManager, counting_server: CountingServer
) -> None:
    """One instance in three `asyncio.run` calls: each call answered, and sent once."""
    call = case.call_of(colour)
    counting_server.respond = call.respond
    runs = [Run(), Run(), Run()]
    with made(case, colour, manager, counting_server.url, runs[0]) as sdk:
        before = counting_server.processed(call.method)
        answers = []
        for run in runs:
            answers.append(asked(case, colour, sdk, run))
            if run is not runs[0]:  # that one makes and closes the SDK
                run.close()
        sent = counting_server.processed(call.method) - before
    runs[0].close()
    assert answers == [call.gives] * 3
    assert sent == 3 * call.requests


class Unpooled:
    """Makes an SDK as its authors do."""

    def pooled(self, sdk_class: type, **options: object) -> object:
        """Make one."""
        return sdk_class(**options)


@attrs.frozen
class Sent:
    """What an SDK asks its httpx client for, the values of headers aside: some are new each time."""

    method: str
    url: str
    headers: tuple[str, ...]
    timeouts: object
    follows_redirects: object


def spy_on(library: Any, colour: Colour, respond: Respond, patch: pytest.MonkeyPatch) -> list[Sent]:
    """Note what clients of *library* send, and answer it without a connection."""
    kind = library.Client if colour == "sync" else library.AsyncClient
    sent: list[Sent] = []

    def answer(client: Any, request: Any, follow_redirects: Any) -> object:
        follows = client.follow_redirects if follow_redirects in DEFAULTS else follow_redirects
        names = tuple(sorted(request.headers))
        sent.append(Sent(request.method, str(request.url), names, request.extensions["timeout"], follows))
        asked = CountedRequest(
            connection=1, method=request.method, path=request.url.path, headers=(), body=b""
        )
        told = respond(asked)
        return library.Response(told.status, headers=told.headers, content=told.body, request=request)

    def send(client: Any, request: Any, *, follow_redirects: Any = None, **_: object) -> object:
        return answer(client, request, follow_redirects)

    async def send_async(client: Any, request: Any, *, follow_redirects: Any = None, **_: object) -> object:
        return answer(client, request, follow_redirects)

    patch.setattr(kind, "send", send if colour == "sync" else send_async)
    return sent


@each("settings")
def test_it_asks_for_what_it_would_ask_for_unpooled(
    case: Case, colour: Colour, manager: PoolManager, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A pooled SDK's requests have the headers, timeouts and redirects of one without the pool."""
    call = case.call_of(colour)
    library = importlib.import_module(case.library)
    sent = spy_on(library, colour, call.respond, monkeypatch)
    with made(case, colour, manager, "http://127.0.0.1:9", run) as sdk:
        assert asked(case, colour, sdk, run) == call.gives
    pooled = sent.copy()
    sent.clear()
    plain = run(_made(case, colour, Unpooled(), "http://127.0.0.1:9"))
    assert asked(case, colour, plain, run) == call.gives
    assert pooled == sent
    assert len(sent) == 1


@each("closed")
def test_it_gives_its_lease_back(
    case: Case, colour: Colour, manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """Let go as its row says, an SDK leaves no lease, no pool and no connection."""
    call = case.call_of(colour)
    counting_server.respond = call.respond
    with made(case, colour, manager, counting_server.url, run) as sdk:
        assert asked(case, colour, sdk, run) == call.gives
        assert leases_out(manager) > 0
    assert (leases_out(manager), manager.stats().pools) == (0, ())
    run(asyncio.sleep(0))  # asyncio closes sockets one turn later
    counting_server.wait_for(lambda server: server.open_connections() == 0)


@each("copies")
def test_copies_live_on_the_same_pool(
    case: Case, colour: Colour, manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """`with_options` and `copy` give an SDK on the same connection, and take no lease more."""
    call = case.call_of(colour)
    counting_server.respond = call.respond
    with made(case, colour, manager, counting_server.url, run) as sdk:
        before = leases_out(manager)
        answers = [asked(case, colour, copy(sdk), run) for copy in case.copies.values()]
        assert leases_out(manager) == before
    assert answers == [call.gives] * len(case.copies)
    assert counting_server.connections == 1
    assert leases_out(manager) == 0


@each("streams")
def test_streams_are_read_to_their_end(
    case: Case, colour: Colour, manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """A streamed call brings all of it, is sent once, and leaves its connection to the next one."""
    stream, call = case.stream_of(colour), case.call_of(colour)
    assert stream is not None
    with made(case, colour, manager, counting_server.url, run) as sdk:
        counting_server.respond = lambda _: stream.answer
        assert [streamed(case, colour, sdk, run) for _ in range(2)] == [stream.gives] * 2
        counting_server.respond = call.respond
        assert asked(case, colour, sdk, run) == call.gives
    assert counting_server.processed("POST") == 3
    assert counting_server.connections == 1
