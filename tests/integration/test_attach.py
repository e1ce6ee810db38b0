"""`attach` and `detach`: a client that exists joins the pool, and is afterwards what it was before."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
from collections.abc import Callable, Iterator
from types import ModuleType, SimpleNamespace
from typing import Any, Final, TypeAlias, cast

import httpx
import httpx2
import pytest

from pool_manager import ConfigError, PoolConfig, PoolManager
from tests.support.certificates import Certificates
from tests.support.counting_server import Answer, CountingServer
from tests.support.hypercorn_server import HypercornServer
from tests.support.proxy_server import ProxyServer

Make: TypeAlias = Callable[[ModuleType, Certificates], dict[str, Any]]

LIBRARIES: Final = (httpx, httpx2)
VARIABLES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
BUSY: Final = 503
SDK: Final = SimpleNamespace(_client=None)  # holds a client, and is none


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test begin without a word of this machine's environment."""
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> ModuleType:
    """Give each library in turn."""
    return cast(ModuleType, request.param)


@pytest.fixture
def manager() -> Iterator[PoolManager]:
    """Give a manager of the default config."""
    with PoolManager(name="test") as manager:
        yield manager


@pytest.fixture
def client(library: ModuleType) -> Iterator[httpx.Client]:
    """Give a client of the library's own."""
    with cast("httpx.Client", library.Client()) as client:
        yield client


def insides(client: object) -> list[object]:
    """Give what a client, its transport and its mounts are made of: for comparison by identity."""
    state = vars(client)
    return [*state.keys(), *map(id, state.values()), *map(id, vars(state["_transport"]).values()),
            *state["_mounts"], *map(id, state["_mounts"].values())]  # fmt: skip


def is_pooled(response: httpx.Response) -> bool:
    """Tell whether a response came by a pool."""
    return "pool_manager" in response.extensions


def retrying(library: ModuleType, inner: Any) -> Any:
    """Wrap a transport in one that asks again after a 503."""

    class Retrying(library.BaseTransport, library.AsyncBaseTransport):  # type: ignore[misc,name-defined]
        def __init__(self) -> None:
            self.wrapped = inner
            self.name = "beside a transport"

        def handle_request(self, request: httpx.Request) -> object:
            response = self.wrapped.handle_request(request)
            if response.status_code != BUSY:
                return response
            response.close()
            return self.wrapped.handle_request(request)

        async def handle_async_request(self, request: httpx.Request) -> object:
            response = await self.wrapped.handle_async_request(request)
            if response.status_code != BUSY:
                return response
            await response.aclose()
            return await self.wrapped.handle_async_request(request)

        def close(self) -> None:
            self.wrapped.close()

        async def aclose(self) -> None:
            await self.wrapped.aclose()

    return Retrying()


# There and back


def test_an_attached_client_shares(
    client: httpx.Client, manager: PoolManager, counting_server: CountingServer
) -> None:
    """An attached client is the same object, and uses the connections of pooled clients."""
    with manager.client(httpx.Client, name="other") as other:
        assert not is_pooled(client.get(counting_server.url))
        assert manager.attach(client) is client
        record = client.get(counting_server.url).extensions["pool_manager"]
        assert other.get(counting_server.url).extensions["pool_manager"].connection_id == record.connection_id
        assert counting_server.connections == 2, "its own, and the pool's"
        (pool,) = manager.stats().pools
        assert (pool.lease_names, pool.requests, pool.reused) == (("other", "Client"), 2, 1)
    manager.detach(client)


def test_a_detached_client_is_as_before(
    client: httpx.Client, manager: PoolManager, counting_server: CountingServer
) -> None:
    """After `detach` everything in a client is the very object that it was, its connection included."""
    client.get(counting_server.url)
    before = insides(client)
    for _ in range(2):
        manager.attach(client)
        assert insides(client) != before
        client.get(counting_server.url)
        assert manager.detach(client) is client
        assert insides(client) == before
        assert manager.stats().pools == ()
    assert not is_pooled(client.get(counting_server.url))
    assert dict(counting_server.per_connection()) == {1: 2, 2: 1, 3: 1}


def test_an_async_client_goes_there_and_back(
    library: ModuleType, manager: PoolManager, counting_server: CountingServer
) -> None:
    """An async client is attached, used in one loop, and detached as it was before."""

    async def there_and_back() -> None:
        async with library.AsyncClient() as client:
            assert not is_pooled(await client.get(counting_server.url))
            before = insides(client)
            manager.attach(client)
            assert is_pooled(await client.get(counting_server.url))
            assert manager.detach(client) is client
            assert insides(client) == before
            assert not is_pooled(await client.get(counting_server.url))

    asyncio.run(there_and_back())
    assert dict(counting_server.per_connection()) == {1: 2, 2: 1}


@pytest.mark.parametrize("kind", ["Client", "AsyncClient"])
@pytest.mark.parametrize("depth", [1, 3])
def test_wrappers_stay(
    library: ModuleType, kind: str, depth: int, manager: PoolManager, counting_server: CountingServer
) -> None:
    """Wrappers around the transport go on doing their work on the pool, and hold what they held."""
    innermost = outermost = getattr(library, kind.replace("Client", "HTTPTransport"))()
    for _ in range(depth):
        outermost = retrying(library, outermost)
    client = getattr(library, kind)(transport=outermost)
    counting_server.respond = lambda request: Answer(status=BUSY if request.path == "/busy" else 200)

    async def get(path: str) -> httpx.Response:
        response = client.get(counting_server.url + path)
        return cast(httpx.Response, response if kind == "Client" else await response)

    async def check(*, pooled: bool) -> None:
        assert (await get("/busy")).status_code == BUSY
        assert is_pooled(await get("/fine")) is pooled
        holder = client
        for _ in range(depth):
            holder = holder._transport if holder is client else holder.wrapped  # noqa: SLF001
            assert type(holder).__name__ == "Retrying"
        assert holder.wrapped is innermost

    async def there_and_back() -> None:
        manager.attach(client)
        await check(pooled=True)
        manager.detach(client)
        await check(pooled=False)
        await client.aclose() if kind == "AsyncClient" else client.close()

    asyncio.run(there_and_back())
    assert len(counting_server.requests) == 2 * (2**depth + 1)


def test_a_wrapper_that_came_later_stays(
    library: ModuleType, client: httpx.Client, manager: PoolManager, counting_server: CountingServer
) -> None:
    """A wrapper put around the pooled transport is still there after `detach`, around the old one."""
    inside: Any = vars(client)
    own = inside["_transport"]
    manager.attach(client)
    inside["_transport"] = wrapper = retrying(library, inside["_transport"])
    assert is_pooled(client.get(counting_server.url))
    manager.detach(client)
    assert (inside["_transport"], wrapper.wrapped) == (wrapper, own)
    assert not is_pooled(client.get(counting_server.url))


# What would change


def _context(name: str, value: object) -> Make:
    def make(library: ModuleType, _: Certificates) -> dict[str, Any]:
        context: ssl.SSLContext = library.create_ssl_context()
        setattr(context, name, value)
        return {"verify": context}

    return make


def _transport(**kwargs: object) -> Make:
    return lambda library, _: {"transport": library.HTTPTransport(**kwargs)}


# Named by what the error has to say, the arguments of a client that differs from its library's defaults.
DIFFERENCES: Final[list[tuple[str, Make]]] = [
    ("verify", lambda *_: {"verify": False}),
    ("verify", _context("check_hostname", value=False)),
    ("CAs", lambda _, certificates: {"verify": certificates.client_context()}),
    ("TLS versions", _context("minimum_version", ssl.TLSVersion.TLSv1_3)),
    ("proxy", lambda *_: {"proxy": "http://proxy:3128"}),
    ("proxy", _transport(proxy="http://proxy:3128")),
    ("proxy", _transport(proxy="socks5://proxy:1080")),
    ("mounts", lambda library, _: {"mounts": {"all://a.example": library.HTTPTransport()}}),
    ("mounts", lambda *_: {"mounts": {"all://a.example": None}}),
    ("uds", _transport(uds="/run/x.sock")),
    ("local_address", _transport(local_address="127.0.0.1")),
    ("http1=False", _transport(http1=False, http2=True)),
    ("socket option: .*65536", _transport(socket_options=[(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)])),
]


@pytest.mark.parametrize(("named", "make"), DIFFERENCES)
def test_a_difference_is_named(
    library: ModuleType, *, named: str, make: Make, certificates: Certificates, manager: PoolManager,
    counting_server: CountingServer,
) -> None:  # fmt: skip
    """A client whose settings would be lost is refused with what differs, unless `config=` is given."""
    with library.Client(**make(library, certificates)) as client:
        before = insides(client)
        with pytest.raises(ConfigError, match=rf"(?s){re.escape(repr(client))}.*{named}.*config="):
            manager.attach(client)
        assert insides(client) == before
        assert manager.stats().leases_taken == manager.stats().leases_returned
        config = PoolConfig(http2=False, trust_env=False)
        manager.attach(client, config=config)
        assert is_pooled(client.get(counting_server.url))
        assert [pool.config for pool in manager.stats().pools] == [config]
        manager.detach(client)
        assert insides(client) == before


@pytest.mark.parametrize("kwargs", [{}, {"http2": True}, {"timeout": None}, {"trust_env": False}], ids=str)
def test_defaults_are_no_difference(
    library: ModuleType, kwargs: dict[str, Any], manager: PoolManager, certificates: Certificates,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A client of its library's defaults is attached without a word, whatever CAs the environment names."""
    for value in ("", str(certificates.ca_file), ""):
        monkeypatch.setenv("SSL_CERT_FILE", value if kwargs.get("trust_env", True) else "")
        with library.Client(**kwargs) as client:
            manager.detach(manager.attach(client))


def test_keepalive_is_no_difference(library: ModuleType, manager: PoolManager) -> None:
    """Connections of the pool are probed, too: what SDKs ask for so is no reason to refuse them."""
    options = [(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 5)]
    with library.Client(transport=library.HTTPTransport(socket_options=options)) as client:
        manager.detach(manager.attach(client))


def test_proxies_of_the_environment_are_kept(
    library: ModuleType, manager: PoolManager, proxy: ProxyServer, counting_server: CountingServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A proxy of the environment is no difference: an attached client uses it as before, and as after."""
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", "direct.example")
    with library.Client() as client:
        before = insides(client)
        manager.attach(client)
        assert is_pooled(client.get(counting_server.url))
        assert len(proxy.seen()) == 1
        manager.detach(client)
        assert insides(client) == before
        client.get(counting_server.url)
        assert len(proxy.seen()) == 2


def test_a_proxy_is_a_difference_beside_the_environments(
    library: ModuleType, manager: PoolManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client's own proxy is named also where the environment has another for the same URLs."""
    monkeypatch.setenv("ALL_PROXY", "http://environment:1")
    with library.Client(proxy="http://own:2") as client, pytest.raises(ConfigError, match="proxy"):
        manager.attach(client)


def test_not_trusting_the_environment_is_a_difference(
    library: ModuleType, manager: PoolManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that ignores the environment's proxies is not sent to them without a word."""
    monkeypatch.setenv("ALL_PROXY", "http://environment:1")
    with library.Client(trust_env=False) as client:
        with pytest.raises(ConfigError, match=r"environment|trust_env"):
            manager.attach(client)
        manager.detach(manager.attach(client, config=PoolConfig(trust_env=False)))


# What cannot be attached or detached


@pytest.mark.parametrize("thing", [5, None, "client", SDK, httpx.Client, httpx2.AsyncClient, httpx], ids=repr)
def test_only_clients_are_attached(thing: object, manager: PoolManager) -> None:
    """What is no client can be neither attached nor detached, and the error says so."""
    with pytest.raises(ConfigError, match="httpx or httpx2 client"):
        manager.attach(thing)
    with pytest.raises(ConfigError, match="not attached"):
        manager.detach(thing)


def test_a_client_is_attached_once(client: httpx.Client, manager: PoolManager) -> None:
    """A client on a pool is not attached again, neither here nor elsewhere, and stays where it is."""
    manager.attach(client)
    pooled = insides(client)
    with PoolManager(name="another") as another:
        for attaching in (manager, another):
            with pytest.raises(ConfigError, match="on a pool already"):
                attaching.attach(client)
        with pytest.raises(ConfigError, match=r"not attached to .*'another'"):
            another.detach(client)
    assert insides(client) == pooled
    manager.detach(client)
    with pytest.raises(ConfigError, match="not attached"):
        manager.detach(client)
    with manager.client() as born_pooled, pytest.raises(ConfigError, match="on a pool already"):
        manager.attach(born_pooled)


@pytest.mark.parametrize("config", [None, PoolConfig()], ids=["", "config"])
def test_a_mock_is_refused(library: ModuleType, config: PoolConfig | None, manager: PoolManager) -> None:
    """A client that ends in a mock is refused, `config=` or not, and holds no lease."""
    mock = library.MockTransport(lambda _: library.Response(200))
    for transport in (mock, retrying(library, mock)):
        with library.Client(transport=transport) as client:
            with pytest.raises(ConfigError, match="ends in a MockTransport"):
                manager.attach(client, config=config)
            assert client.get("http://x").status_code == 200
    assert manager.stats().leases_taken == manager.stats().leases_returned


@pytest.mark.parametrize("kwargs", [{}, {"config": PoolConfig()}], ids=str)
def test_a_closed_client_is_refused(
    client: httpx.Client, kwargs: dict[str, Any], manager: PoolManager
) -> None:
    """A closed client cannot be attached: it would hold a lease that nobody gives back."""
    client.close()
    with pytest.raises(ConfigError, match="closed"):
        manager.attach(client, **kwargs)


# Closing


@pytest.mark.parametrize("kind", ["Client", "AsyncClient"])
def test_closing_gives_the_lease_back(
    library: ModuleType, kind: str, manager: PoolManager, counting_server: CountingServer
) -> None:
    """Closing an attached client gives its lease back, and leaves no connection, pooled or its own."""
    client = getattr(library, kind)()

    async def in_loop() -> None:
        async with client:
            await client.get(counting_server.url)
            await manager.attach(client).get(counting_server.url)

    if kind == "AsyncClient":
        asyncio.run(in_loop())
    else:
        with client:
            client.get(counting_server.url)
            manager.attach(client).get(counting_server.url)
    assert (manager.stats().pools, manager.stats().leases_returned) == ((), 1)
    counting_server.wait_for(lambda server: server.open_connections() == 0, timeout=1)


@pytest.mark.parametrize("step", ["attach", "detach"])
def test_open_responses_finish(
    step: str, client: httpx.Client, manager: PoolManager, plain_server: HypercornServer
) -> None:
    """A response that is open while its client is attached or detached is read to its end."""
    if step == "detach":
        manager.attach(client)
    with client.stream("GET", f"{plain_server.url}/stream/5/1") as response:
        lines = response.iter_lines()
        first = next(lines)
        getattr(manager, step)(client)
        assert is_pooled(client.get(plain_server.url)) is (step == "attach")
        assert [first, *lines] == [f"chunk {number}" for number in range(5)]
    if step == "attach":
        manager.detach(client)
    assert manager.stats().pools == ()
