"""A name that leads to several servers, or elsewhere in time: on every runtime, straight and by a proxy."""

from __future__ import annotations

import asyncio
import contextlib
import errno
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import attrs
import pytest

from pool_manager import Lane, Limits, PoolConfig, PoolManager
from tests.support.resolver import Resolver
from tests.support.scripted import Gate, ScriptedServer, until
from tests.support.scripted_http1 import ScriptedHttp1
from tests.support.scripted_http2 import ScriptedHttp2
from tests.support.worlds import PATIENCE, World

HERE, THERE = "127.0.0.1", "127.0.0.2"
ATTEMPTS = 20  # at a port that is free at one of the addresses, and may be taken at the other
LANES = ("other", "third")
AGE = 0.2  # seconds


@attrs.define
class Site:
    """
    Two servers at the same port of two addresses, and a name that leads to them.

    Attributes:
        base: The URL that clients ask for.
    """

    resolver: Resolver
    config: PoolConfig
    base: str
    here: ScriptedServer[Any]
    there: ScriptedServer[Any]

    def play(self, world: World, main: Callable[[Story], Awaitable[None]], **limits: Any) -> None:
        """Tell a story with a client of that name, which leads to the first address in the beginning."""
        self.resolver.addresses = [HERE]

        async def everything() -> None:
            lanes = [Lane(name) for name in LANES]
            manager = PoolManager(self.config, limits=Limits(**limits), lanes=lanes)
            async with (
                asyncio.timeout(PATIENCE),
                manager,
                world.client(manager, base_url=self.base, timeout=10) as client,
            ):
                await main(Story(self, manager, client))

        world.tell(everything())


@attrs.define
class Story:
    """What a story has: the servers, the manager and a client."""

    site: Site
    manager: PoolManager
    client: Any

    async def get(self, lane: str = "default") -> None:
        """Have a request answered."""
        answer = await self.client.get("/", extensions={"pool_manager": {"lane": lane}})
        assert 200 == answer.status_code

    @contextlib.asynccontextmanager
    async def held(self, at: ScriptedServer[Any]) -> AsyncIterator[None]:
        """Have a request under way to a server, whose body ends with this; then it must be answered."""
        end, before = Gate(), len(at.requests)

        async def parts() -> AsyncIterator[bytes]:
            yield b"begin"
            await end.opened()
            yield b"end"

        post = asyncio.create_task(self.client.post("/", content=parts()))
        try:
            await until(lambda: len(at.requests) > before)
            yield
        finally:
            end.open()
        assert 200 == (await post).status_code

    async def here_is_left(self) -> None:
        """Wait until the client has closed all its connections to the first address."""
        await until(lambda: {peer.ended for peer in self.site.here.peers} <= {"FIN", "RST"})

    def counts(self) -> tuple[int, int]:
        """Count the connections to the one and to the other."""
        return self.site.here.connections, self.site.there.connections


@contextlib.contextmanager
def both(
    make: Callable[..., ScriptedServer[Any]],
) -> Iterator[tuple[ScriptedServer[Any], ScriptedServer[Any]]]:
    """Have servers at one port of two addresses."""
    for attempt in range(ATTEMPTS):
        with make(host=HERE) as here:
            try:
                there = make(host=THERE, port=here.port)
            except OSError as error:
                if error.errno != errno.EADDRINUSE or attempt == ATTEMPTS - 1:
                    raise
                continue
            with there:
                yield here, there
            return


@pytest.fixture(params=["http1", "http2", "proxy"])
def site(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Give servers of HTTP/1.1 and of HTTP/2, and such as may be taken for proxies."""
    is_http2, by_proxy = request.param == "http2", request.param == "proxy"
    with both(ScriptedHttp2 if is_http2 else ScriptedHttp1) as (here, there):
        named = f"http://service.example:{here.port}"
        config = PoolConfig(
            http1=not is_http2, http2=is_http2, trust_env=False, proxy=named if by_proxy else None
        )
        base = "http://target.example" if by_proxy else named
        yield Site(Resolver(monkeypatch), config, base, here, there)


def test_an_idle_connection_ages(world: World, site: Site) -> None:
    """It goes by itself, and the next dial asks where the name leads to by then."""

    async def main(story: Story) -> None:
        await story.get()
        site.resolver.addresses = [THERE]
        await story.here_is_left()
        await story.get()
        assert (1, 1) == story.counts()

    site.play(world, main, max_connection_age=AGE)
    assert ["service.example"] * 2 == site.resolver.asked


def test_a_busy_connection_that_ages_drains(world: World, site: Site) -> None:
    """What is under way on it ends well; who comes after goes where the name leads to by then."""

    async def main(story: Story) -> None:
        async with story.held(at=site.here):
            site.resolver.addresses = [THERE]
            while not site.there.requests:
                await story.get()
            assert "not" == site.here.peers[0].ended
        await story.here_is_left()

    site.play(world, main, max_connection_age=AGE)


def test_connections_are_spread_over_addresses(world: World, site: Site) -> None:
    """Each further connection goes where the fewest lead to."""

    async def main(story: Story) -> None:
        site.resolver.addresses = [HERE, THERE]
        for lane in ("default", *LANES):
            await story.get(lane)
        assert (2, 1) == story.counts()

    site.play(world, main)


def test_an_address_where_nobody_is(world: World, site: Site) -> None:
    """It is passed over, and then tried last: who comes next is not sent there first."""

    async def main(story: Story) -> None:
        site.resolver.addresses = [THERE, HERE]
        for lane in ("default", *LANES):
            await story.get(lane)
        assert (3, 0) == story.counts()

    site.there.stop()
    site.play(world, main)


@pytest.mark.usefixtures("at_once")
def test_connections_to_an_address_that_left_drain(world: World, site: Site) -> None:
    """A dial that finds the name leading elsewhere: idle connections go, busy ones finish first."""

    async def main(story: Story) -> None:
        await story.get("third")
        async with story.held(at=site.here):
            site.resolver.addresses = [THERE]
            await story.get("other")
            await until(lambda: 1 == site.here.open_connections)  # the idle one is closed
            await story.get()
            await story.get("third")
            assert (2, 3) == story.counts()
            assert "not" in {peer.ended for peer in site.here.peers}
        await story.here_is_left()

    site.play(world, main)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have addresses be gone as soon as an answer lacks them."""
    monkeypatch.setattr("pool_manager.core.endpoints._Name.patience", 0.0)


def test_an_address_that_was_absent_once(world: World, site: Site) -> None:
    """Connections stay: some resolvers name a few of many addresses, each time others."""

    async def main(story: Story) -> None:
        await story.get()
        site.resolver.addresses = [THERE]
        await story.get("other")
        await story.get()
        assert (1, 1) == story.counts()

    site.play(world, main)


def test_a_reset(world: World, site: Site) -> None:
    """No connection of before is used again; what is under way ends well."""

    async def main(story: Story) -> None:
        await story.get("other")
        async with story.held(at=site.here):
            story.manager.reset()
            site.resolver.addresses = [THERE]
            await story.get()
            await story.get("other")
            assert (2, 2) == story.counts()
        await story.here_is_left()

    site.play(world, main)
