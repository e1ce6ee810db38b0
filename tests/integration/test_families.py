"""`pooled` with the families of generated SDKs: what is the SDK's own stays, and leases come back."""

from __future__ import annotations

import asyncio
import gc
import importlib.metadata
import inspect
import logging
import pickle
import warnings
from collections.abc import Callable, Iterator
from typing import Any, Final

import httpx
import httpx2
import pytest

import pool_manager
from pool_manager import ConfigError, PoolManager, adapting
from pool_manager.adapters import speakeasy
from tests.support.counting_server import Answer, CountedRequest, CountingServer
from tests.support.ferny.client import TIMEOUT, AsyncFerny, Ferny, Session, Tenants
from tests.support.ferny.core.client_wrapper import SyncClientWrapper
from tests.support.sdks import Run, leases_out
from tests.support.speaky.sdk import SDKConfiguration, Speaky

FERNS: Final = (Ferny, AsyncFerny, Session, Tenants)

every_fern = pytest.mark.parametrize("sdk_class", FERNS)


@pytest.fixture
def moved(counting_server: CountingServer) -> CountingServer:
    """Give a server whose /old is elsewhere."""

    def respond(request: CountedRequest) -> Answer:
        return Answer(status=307, headers=(("location", "/new"),)) if request.path == "/old" else Answer()

    counting_server.respond = respond
    return counting_server


@pytest.fixture
def fresh_adapters() -> Iterator[None]:
    """Have the adapters looked for in this test, and again after it."""
    adapting.adapters.cache_clear()
    yield
    adapting.adapters.cache_clear()


def fern_client(sdk: Any) -> Any:
    """Give the httpx client inside one of Fern's."""
    wrapper = vars(vars(sdk).get("_api", sdk))["_client_wrapper"]
    return wrapper.httpx_client.httpx_client


# Fern


@every_fern
def test_fern_keeps_timeouts_and_redirects(
    sdk_class: type[Any], manager: PoolManager, moved: CountingServer, run: Run
) -> None:
    """An SDK of Fern's follows redirects and waits as long as without us, on a connection that is shared."""
    sdks = [manager.pooled(sdk_class, base_url=moved.url) for _ in range(2)]
    answers: list[Any] = [run(sdk.ask("GET", "/old")) for sdk in sdks]
    assert [answer.status_code for answer in answers] == [200, 200]
    waits = [answer.request.extensions["timeout"] for answer in answers]
    assert waits == [dict.fromkeys(("connect", "read", "write", "pool"), TIMEOUT)] * 2
    assert (moved.connections, leases_out(manager)) == (1, 2)
    assert manager.stats().pools[0].lease_names == (sdk_class.__name__,) * 2


@pytest.mark.parametrize("sdk_class", [Ferny, AsyncFerny, Session])
def test_fern_does_as_it_is_told(
    sdk_class: type[Any], manager: PoolManager, moved: CountingServer, run: Run
) -> None:
    """A timeout and a word on redirects that the caller gives are the caller's."""
    for told, status in ((False, 307), (None, 307), (True, 200)):
        sdk = manager.pooled(sdk_class, base_url=moved.url, timeout=7.0, follow_redirects=told)
        answer: Any = run(sdk.ask("GET", "/old"))
        assert (answer.status_code, answer.request.extensions["timeout"]["read"]) == (status, 7.0)
        assert fern_client(sdk).timeout == httpx.Timeout(7.0)


@every_fern
def test_fern_gives_back_when_collected(
    sdk_class: type[Any], manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """Nobody can close such an SDK: its first request takes the lease, its end gives it back, unheard."""
    sdk: Any = manager.pooled(sdk_class, base_url=counting_server.url)
    assert manager.stats().leases_taken == 0
    run(sdk.ask())
    assert leases_out(manager) == 1
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        del sdk
        gc.collect()
        run(asyncio.sleep(0))
    assert told == []
    stats = manager.stats()
    assert (stats.leases_taken, stats.leases_returned, stats.leases_leaked, stats.pools) == (1, 1, 0, ())
    counting_server.wait_for(lambda server: server.open_connections() == 0)


def test_fern_gives_back_what_has_travelled(counting_server: CountingServer) -> None:
    """A client of such an SDK that went to another process as a pickle is lost there unheard, too."""
    sdk = pool_manager.pooled(Ferny, base_url=counting_server.url)
    transport = pickle.loads(pickle.dumps(vars(fern_client(sdk))["_transport"]))  # noqa: S301 - our own
    before = pool_manager.stats()
    assert httpx.Client(transport=transport).get(counting_server.url).status_code == 200
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        del transport
        gc.collect()
    since = pool_manager.stats().since(before)
    assert (told, since.leases_taken, since.leases_returned, since.leases_leaked) == ([], 1, 1, 0)


def test_fern_gives_back_when_closed(manager: PoolManager, counting_server: CountingServer) -> None:
    """Where such an SDK closes its client, the lease goes back at once."""
    with manager.pooled(Ferny, base_url=counting_server.url) as sdk:
        sdk.ask()
        assert leases_out(manager) == 1
    assert (leases_out(manager), manager.stats().pools) == (0, ())


def test_fern_through_loops(manager: PoolManager, counting_server: CountingServer) -> None:
    """One object in three loops: each call is one POST at the server."""
    sdk = manager.pooled(AsyncFerny, base_url=counting_server.url)
    for _ in range(3):
        asyncio.run(sdk.ask())  # type: ignore[arg-type]
    assert counting_server.processed("POST") == 3


# Speakeasy


def test_speakeasy_keeps_redirects(manager: PoolManager, moved: CountingServer) -> None:
    """Both clients of a Speakeasy SDK follow redirects as its own do, and share connections."""
    one, two = (manager.pooled(Speaky, moved.url) for _ in range(2))
    assert [sdk.part.ask("GET", "/old").status_code for sdk in (one, two, one)] == [200] * 3
    assert moved.connections == 1

    async def ask() -> list[int]:
        return [(await sdk.part.ask_async("GET", "/old")).status_code for sdk in (one, two, one)]

    assert asyncio.run(ask()) == asyncio.run(ask()) == [200] * 3
    assert moved.connections == 3
    assert isinstance(one.sdk_configuration.client, httpx2.Client)


def test_speakeasy_gives_back_in_with(manager: PoolManager, counting_server: CountingServer) -> None:
    """Leaving `with` gives the lease of threads back, leaving `async with` that of loops."""
    sdk = manager.pooled(Speaky, counting_server.url)
    assert manager.stats().leases_taken == 0
    with sdk:
        sdk.part.ask()
        assert leases_out(manager) == 1
    assert (leases_out(manager), manager.stats().pools) == (0, ())

    async def ask() -> int:
        async with sdk:
            await sdk.part.ask_async()
            return leases_out(manager)

    assert asyncio.run(ask()) == 1
    assert (leases_out(manager), manager.stats().pools) == (0, ())


def test_speakeasy_gives_back_when_collected(manager: PoolManager, counting_server: CountingServer) -> None:
    """Without `with` the leases go back when the SDK is collected, and nobody is told; no loop is begun."""
    sdk: Any = manager.pooled(Speaky, counting_server.url)
    sdk.part.ask()
    asyncio.run(sdk.part.ask_async())
    assert leases_out(manager) == 2
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        del sdk
        gc.collect()
    assert told == []
    stats = manager.stats()
    assert (leases_out(manager), stats.leases_leaked, stats.pools) == (0, 0, ())


def test_speakeasy_takes_a_client_of_the_callers(
    manager: PoolManager, counting_server: CountingServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that the caller gives is used as it is, and stays open; the other one is pooled."""
    with httpx2.Client() as mine:
        with (
            caplog.at_level(logging.WARNING),
            manager.pooled(Speaky, counting_server.url, client=mine) as sdk,
        ):  # type: ignore[arg-type]
            assert "pool_manager" not in sdk.part.ask().extensions
            assert "pool_manager" in asyncio.run(sdk.part.ask_async()).extensions
        assert not mine.is_closed
    assert [record.getMessage() for record in caplog.records] == [
        "Speaky has a client of its own and is not pooled"
    ]


# Who is served, and who is told what to do


def test_fern_takes_a_client_of_the_callers(
    manager: PoolManager, counting_server: CountingServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A client that the caller gives is used as it is."""
    with httpx.Client() as mine, caplog.at_level(logging.WARNING):
        sdk = manager.pooled(Ferny, base_url=counting_server.url, httpx_client=mine)
        assert fern_client(sdk) is mine
        assert "pool_manager" not in sdk.ask().extensions
    assert manager.stats().leases_taken == 0
    assert "Ferny has a httpx_client of its own" in caplog.text


class MyFerny(Ferny):
    """Somebody's own."""


class MySpeaky(Speaky):
    """Somebody's own."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)


class Closed(Ferny):
    """Somebody's own, which takes no client."""

    def __init__(self, base_url: str) -> None:
        super().__init__(base_url=base_url)


class Plain:
    """An SDK written by hand, whose argument has the name of Fern's."""

    def __init__(self, *, httpx_client: httpx.AsyncClient | None = None) -> None:
        self.client = httpx_client


class Transported:
    """An SDK written by hand, which takes a transport."""

    def __init__(self, url: str, transport: httpx2.BaseTransport | None = None) -> None:
        self.url, self.transport = url, transport


def test_subclasses_are_served(manager: PoolManager, counting_server: CountingServer) -> None:
    """A user's subclass is pooled by the rule of its base."""
    one, two = (
        manager.pooled(MyFerny, base_url=counting_server.url),
        manager.pooled(MySpeaky, server_url=counting_server.url),
    )
    for answer in (one.ask(), two.part.ask()):
        assert "pool_manager" in answer.extensions
    assert counting_server.connections == 1


def test_what_an_sdk_of_speakeasys_shares_is_no_sdk() -> None:
    """The configuration that holds the clients of one takes them by the same names, and is not served."""
    assert speakeasy.ADAPTER.serves(Speaky)
    assert not speakeasy.ADAPTER.serves(SDKConfiguration)


@pytest.mark.parametrize(
    ("sdk_class", "recipe"),
    [
        (Closed, r"manager\.client\(.*manager\.attach\(.*manager\.install\("),
        (Plain, r"Plain\(httpx_client=manager\.client\(httpx\.AsyncClient\), \.\.\.\)"),
        (SyncClientWrapper, r"SyncClientWrapper\(httpx_client=manager\.client\(httpx\.Client\), \.\.\.\)"),
        (SDKConfiguration, r"manager\.client\("),
        (Transported, r"Transported\(transport=manager\.transport\(httpx2\), \.\.\.\)"),
        (httpx2.AsyncClient, r"manager\.client\(AsyncClient, \.\.\.\)"),
        (inspect.Signature.empty, r"manager\.attach\("),
        (type, r"manager\.attach\("),
    ],
    ids=str,
)
def test_the_recipe_is_named(sdk_class: type, recipe: str, manager: PoolManager) -> None:
    """A class that no rule serves is refused with what to do, read from its own arguments."""
    with pytest.raises(ConfigError, match=rf"no adapter serves \S+{sdk_class.__name__}: .*{recipe}"):
        manager.pooled(sdk_class)
    assert manager.stats().leases_taken == 0


@pytest.mark.parametrize("make", [lambda m: m.pooled(Ferny, base=1), lambda m: m.pooled(Speaky)])
def test_what_cannot_be_made_takes_nothing(
    make: Callable[[PoolManager], object], manager: PoolManager
) -> None:
    """Arguments that the SDK refuses are its own error, and no lease is out."""
    with pytest.raises(TypeError, match="__init__"):
        make(manager)
    assert leases_out(manager) == 0


# Adapters of others


class Theirs:
    """An adapter that an SDK ships."""

    def serves(self, sdk_class: type) -> bool:
        """Whether it is theirs."""
        return sdk_class in {Ferny, Plain}

    def make(
        self,
        client: adapting.ClientMaker,
        sdk_class: type,
        args: tuple[object, ...],
        kwargs: dict[str, object],
    ) -> object:
        """Make one with a timeout of theirs."""
        return sdk_class(*args, httpx_client=client(httpx.Client, timeout=3), **kwargs)


THEIRS = Theirs()


@pytest.mark.usefixtures("fresh_adapters")
def test_an_sdk_ships_its_own(
    manager: PoolManager, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """An adapter by entry point goes before our rules; one that cannot be loaded is told and passed over."""
    points = [
        importlib.metadata.EntryPoint("broken", "tests.no_such_module:ADAPTER", "pool_manager.adapters"),
        importlib.metadata.EntryPoint("theirs", f"{__name__}:THEIRS", "pool_manager.adapters"),
    ]
    found = importlib.metadata.EntryPoints(points)
    monkeypatch.setattr(importlib.metadata, "entry_points", found.select)
    plain, ferny = manager.pooled(Plain), manager.pooled(Ferny, base_url="")
    for client in (plain.client, fern_client(ferny)):
        assert client.timeout == httpx.Timeout(3)
        client.close()
    assert [name for name, _ in adapting.adapters()] == ["theirs", "stainless", "speakeasy", "fern"]
    assert "'broken' (tests.no_such_module:ADAPTER) cannot be loaded" in caplog.text
