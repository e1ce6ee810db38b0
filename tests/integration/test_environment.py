"""Proxies: what the environment, `proxy=`, `mounts=` and `trust_env=` say holds as in a plain client."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import ssl
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any, Final, TypeAlias, cast
from unittest import mock

import attrs
import httpx
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_manager import PoolConfig, PoolManager
from tests.support.certificates import Certificates
from tests.support.hypercorn_server import HypercornServer
from tests.support.proxy_server import ProxyServer, basic

Environment: TypeAlias = Mapping[str, str]

LIBRARIES: Final = (httpx, httpx2)
CONTEXT: Final = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # spares each client 20 ms of loading CAs
NAMES: Final = [
    name.lower() if lower else name
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR")
    for lower in (False, True)
]
PROXIES: Final[Environment] = {"HTTP_PROXY": "http://one:1", "HTTPS_PROXY": "http://two:2"}

ENVIRONMENTS: Final[list[Environment]] = [
    {},
    {"HTTP_PROXY": "http://one:1"}, {"HTTPS_PROXY": "http://one:1"}, {"ALL_PROXY": "http://one:1"},
    {"http_proxy": "http://one:1"}, {"https_proxy": "http://one:1"}, {"all_proxy": "http://one:1"},
    {"http_proxy": "http://low:1", "HTTP_PROXY": "http://up:2"},
    {"http_proxy": "", "HTTP_PROXY": "http://up:2"}, {"HTTP_PROXY": ""},
    {"HTTP_PROXY": "one:1"}, {"HTTP_PROXY": "one"}, {"HTTPS_PROXY": "127.0.0.1:3128"},
    {"ALL_PROXY": "socks5://one:1080"}, {"ALL_PROXY": "socks5h://user:word@one:1080"},
    {"HTTPS_PROXY": "https://one:443"}, {"ALL_PROXY": "http://[::1]:3128"},
    {"HTTP_PROXY": "http://user:word@one:1"}, {"HTTP_PROXY": "http://us%20er:p%40ss@one:1"},
    {"HTTP_PROXY": "http://user@one:1"}, {"HTTP_PROXY": "http://@one:1"}, {"HTTP_PROXY": "http://:w@one:1"},
    {"HTTP_PROXY": "http://one:80/"}, {"HTTP_PROXY": "HTTP://ONE:1"},
    {**PROXIES, "ALL_PROXY": "http://three:3"}, {**PROXIES, "REQUEST_METHOD": "GET"},
    {"HTTP_PROXY": "ftp://one:1"}, {"HTTP_PROXY": "http://one:port"},
    {**PROXIES, "no_proxy": "example.org"},
    {**PROXIES, "no_proxy": "example.org", "NO_PROXY": "localhost"},
    {"ALL_PROXY": "http://one:1", "NO_PROXY": "https://example.org,10.0.0.0/8"},
    *[{**PROXIES, "NO_PROXY": hosts} for hosts in (
        "*", "a.org,*", " , ,", "localhost", "LOCALHOST", "example.org", ".example.org", "*.example.org",
        "EXAMPLE.org", "example.org:8080", "localhost:8080", ".org", "api.example.org,example.net", "org",
        " example.org , example.net ", "127.0.0.1", "127.0.0.1:8080", "127.0.0.0/8", "10.0.0.0/8,10.1.2.3",
        "192.168.1.0/24", "192.168.1.77/24", "::1", "[::1]", "[::1]:8080", "http://example.org", "0.0.0.0/0",
        "https://example.org:8443", "https://", "http://*", "all://example.org", "fd00::/8", "::/0",
        "exa mple", "example.org/x", "10.0.0.0/33", "bücher.example", "xn--bcher-kva.example", "u@org",
    )],
]  # fmt: skip
URLS: Final = [f"{scheme}://{host}/path" for scheme in ("http", "https") for host in (
    "example.org", "example.org:8080", "example.org:8443", "api.example.org", "a.api.example.org", "org",
    "EXAMPLE.ORG", "notexample.org", "localhost", "localhost:8080", "127.0.0.1", "127.0.0.1:8080",
    "127.1.2.3", "example.net", "10.1.2.3", "10.0.0.0", "192.168.1.0", "192.168.1.5", "192.168.2.5",
    "[::1]", "[::1]:8080", "[fd00::1]", "[fd00::]", "bücher.example", "example.org.", "[::ffff:10.1.2.3]",
)]  # fmt: skip


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test begin without a word of this machine's environment."""
    for name in NAMES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def trusting(certificates: Certificates) -> PoolConfig:
    """Trust the test servers, and listen to the environment."""
    return PoolConfig(verify=certificates.client_context())


@pytest.fixture
def manager(trusting: PoolConfig) -> Iterator[PoolManager]:
    """Give a manager of that config."""
    with PoolManager(trusting) as manager:
        yield manager


@pytest.fixture
def servers(plain_server: HypercornServer, h2_server: HypercornServer) -> list[str]:
    """Give the URLs of a server in the clear and of one that speaks TLS."""
    return [plain_server.url, h2_server.url]


# The same choice as a plain client's, without a request


@functools.cache
def plain_client(library: ModuleType) -> type[httpx.Client]:
    """Make the library's client, but for one thing: its transports of proxies say which."""

    class ToProxy(library.BaseTransport):  # type: ignore[misc,name-defined]
        def __init__(self, proxy: httpx.Proxy) -> None:
            self.proxy = proxy

    class Plain(library.Client):  # type: ignore[misc,name-defined]
        def _init_proxy_transport(self, proxy: httpx.Proxy, **_: object) -> ToProxy:
            return ToProxy(proxy)

    return Plain


def choices(client: httpx.Client, urls: list[str], mounts: Mapping[str, Any]) -> dict[str, str]:
    """Ask a client, plain or pooled, how each URL would go: directly, by a mount or by which proxy."""
    chosen: dict[str, str] = {}
    for text in urls:
        url = client._merge_url(text)  # noqa: SLF001 - a URL of the client's library
        transport: Any = client._transport_for_url(url)  # noqa: SLF001 - what the promise is about
        if transport in mounts.values():
            chosen[text] = f"mount {list(mounts.values()).index(transport)}"
        elif hasattr(transport, "_share_for"):
            proxy = transport._share_for(url).config.proxy  # noqa: SLF001 - as above
            chosen[text] = "direct" if proxy is None else f"{httpx.URL(proxy.url)} {proxy.auth}"
        elif hasattr(transport, "proxy"):
            chosen[text] = f"{transport.proxy.url} {transport.proxy.raw_auth}"
        else:
            chosen[text] = "direct"
    return chosen


def agree(library: ModuleType, environment: Environment, urls: list[str], **kwargs: Any) -> None:
    """Assert that a pooled client goes where a plain one does, and refuses what that refuses."""
    mounts = cast("Mapping[str, Any]", kwargs.get("mounts", {}))
    clean = {name: value for name, value in os.environ.items() if name not in NAMES}
    with mock.patch.dict(os.environ, {**clean, **environment}, clear=True), PoolManager() as manager:
        try:
            plain = plain_client(library)(verify=CONTEXT, **cast(Any, kwargs))
        except Exception as error:  # noqa: BLE001 - whatever it is, the other must raise it too
            with pytest.raises(type(error)):
                manager.client(library.Client, verify=CONTEXT, **kwargs).close()
            return
        with plain, manager.client(library.Client, verify=CONTEXT, **kwargs) as pooled:
            expected = choices(plain, urls, mounts)
            assert choices(pooled, urls, mounts) == expected
            if not kwargs:
                with library.Client(transport=manager.transport(library), trust_env=False) as bare:
                    assert choices(bare, urls, mounts) == expected


@pytest.mark.parametrize("environment", ENVIRONMENTS, ids=str)
@pytest.mark.parametrize("library", LIBRARIES)
def test_the_environment_is_read_as_the_library_reads_it(
    library: ModuleType, environment: Environment
) -> None:
    """Every URL goes by the proxy that a plain client of this library would use, or directly."""
    agree(library, environment, URLS)


labels = st.sampled_from(["a", "b", "ab", "org", "localhost"])
addresses = st.sampled_from(["10.0.0.1", "10.0.0.2", "10.0.1.1", "::1", "fd00::1"])
names = st.lists(labels, min_size=1, max_size=3).map(".".join)
ports = st.sampled_from(["", ":80", ":443", ":8080"])
networks = st.builds("{}/{}".format, addresses, st.integers(0, 33))
literals = addresses.map(lambda address: f"[{address}]" if ":" in address else address)
excluded = st.one_of(
    st.builds("{}{}{}".format, st.sampled_from(["", ".", "*.", "*", "http://", "all://"]), names, ports),
    st.builds("{}{}".format, literals, ports),
    addresses,
    networks,
    st.text(st.sampled_from("ab.*:/@[]% "), max_size=5),
)
schemes = st.sampled_from(["http", "https"])
targets = st.builds("{}://{}{}/".format, schemes, st.one_of(names, literals), ports)


@given(
    library=st.sampled_from(LIBRARIES),
    proxies=st.dictionaries(st.sampled_from(NAMES[:6]), st.sampled_from(["http://p:1", "q", "http://u:w@r"])),
    no_proxy=st.lists(excluded, max_size=3).map(",".join),
    urls=st.lists(targets, min_size=1, max_size=8),
)
def test_any_environment_is_read_as_the_library_reads_it(
    library: ModuleType, proxies: dict[str, str], no_proxy: str, urls: list[str]
) -> None:
    """Whatever `NO_PROXY` holds, a pooled client goes where a plain one of this library does."""
    agree(library, {**proxies, "NO_PROXY": no_proxy}, urls)


@pytest.mark.parametrize("pattern", ["all://", "http://", "https://example.org", "all://*.org"])
@pytest.mark.parametrize("mounted", [True, False], ids=["transport", "None"])
@pytest.mark.parametrize("environment", [{}, PROXIES, {**PROXIES, "NO_PROXY": "example.org"}], ids=str)
@pytest.mark.parametrize("kwargs", [{}, {"proxy": "http://explicit:9"}, {"trust_env": False}], ids=str)
@pytest.mark.parametrize("library", LIBRARIES)
def test_mounts_stand_among_proxies(
    library: ModuleType, kwargs: dict[str, Any], environment: Environment, pattern: str, *, mounted: bool
) -> None:
    """`mounts=` takes the URLs that it does in a plain client, and leaves the rest to the same proxies."""
    mount = library.MockTransport(lambda _: library.Response(200)) if mounted else None
    agree(library, environment, URLS, mounts={pattern: mount}, **kwargs)


@pytest.mark.parametrize("environment", [{}, PROXIES, {**PROXIES, "NO_PROXY": "example.org"}], ids=str)
@pytest.mark.parametrize("kwargs", [{"proxy": "http://explicit:9"}, {"trust_env": False}], ids=str)
@pytest.mark.parametrize("library", LIBRARIES)
def test_arguments_win_over_the_environment(
    library: ModuleType, environment: Environment, kwargs: dict[str, Any]
) -> None:
    """`proxy=` takes every URL, `NO_PROXY` or not, and `trust_env=False` leaves none to a proxy."""
    agree(library, environment, URLS, **kwargs)
    agree(library, environment, URLS, **{"trust_env": False, "proxy": "http://u:w@explicit:9", **kwargs})


# On the wire

WAYS: Final = [
    pytest.param((library, kind, way), id=f"{library.__name__}-{kind}-{way}")
    for library in LIBRARIES
    for kind in ("Client", "AsyncClient")
    for way in ("client", "transport")
]


class Fetcher:
    """Sends requests in one of the ways that there are, each time by a new client."""

    def __init__(self, manager: PoolManager, way: tuple[ModuleType, str, str]) -> None:
        self.library, self._kind, self._way = way
        self.manager = manager

    def __call__(self, *urls: str, config: PoolConfig | None = None, **kwargs: Any) -> list[Any]:
        """GET all *urls*; give the responses."""
        if self._kind == "Client":
            with self._client(config, kwargs) as client:
                return [client.get(url) for url in urls]
        return asyncio.run(self._fetch(urls, config, kwargs))

    async def _fetch(
        self, urls: tuple[str, ...], config: PoolConfig | None, kwargs: dict[str, Any]
    ) -> list[Any]:
        async with self._client(config, kwargs) as client:
            return [await client.get(url) for url in urls]

    def _client(self, config: PoolConfig | None, kwargs: dict[str, Any]) -> Any:
        factory = getattr(self.library, self._kind)
        if self._way == "client":
            return self.manager.client(factory, config=config, **kwargs)
        return factory(transport=self.manager.transport(self.library, config=config), **kwargs)


@pytest.fixture(params=WAYS)
def fetch(request: pytest.FixtureRequest, manager: PoolManager) -> Fetcher:
    """Give each way to send a request in turn."""
    return Fetcher(manager, request.param)


def test_plain_requests_are_forwarded(
    fetch: Fetcher, proxy: ProxyServer, plain_server: HypercornServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `HTTP_PROXY` an http:// request is passed on by the proxy, and only an http:// one."""
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    (response,) = fetch(f"{plain_server.url}/echo?q=1")
    assert response.json()["query"] == "q=1"
    assert [(seen.method, seen.target) for seen in proxy.seen()] == [("GET", f"{plain_server.url}/echo?q=1")]
    assert len(plain_server.seen().requests) == 1


def test_tls_requests_are_tunnelled(
    fetch: Fetcher, proxy: ProxyServer, h2_server: HypercornServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `HTTPS_PROXY` an https:// request goes through a tunnel, HTTP/2 inside, and so does the next."""
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    responses = fetch(f"{h2_server.url}/echo", f"{h2_server.url}/echo")
    assert [response.http_version for response in responses] == ["HTTP/2", "HTTP/2"]
    assert [(seen.method, seen.target) for seen in proxy.seen()] == [
        ("CONNECT", f"localhost:{h2_server.port}")
    ]


def test_credentials_of_the_environment_arrive(
    fetch: Fetcher, plain_server: HypercornServer, h2_server: HypercornServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """User and password in `HTTP_PROXY` and `HTTPS_PROXY` reach the proxy, and the proxy alone."""
    with ProxyServer(credentials=("us er", "p@ss:w")) as proxy:
        for name in ("HTTP_PROXY", "https_proxy"):
            monkeypatch.setenv(name, proxy.url.replace("://", "://us%20er:p%40ss%3Aw@"))
        responses = fetch(plain_server.url, h2_server.url)
        assert [response.status_code for response in responses] == [200, 200]
        assert {seen.proxy_authorization for seen in proxy.seen()} == {basic("us er", "p@ss:w")}
    arrived = [*plain_server.seen().requests, *h2_server.seen().requests]
    assert [request.header("proxy-authorization") for request in arrived] == [None, None]


def test_a_proxy_that_refuses_is_the_librarys_error(
    fetch: Fetcher, servers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its credentials a proxy's 407 is the answer, or for a tunnel the library's `ProxyError`."""
    with ProxyServer(credentials=("user", "word")) as proxy:
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        assert fetch(servers[0])[0].status_code == 407
        with pytest.raises(fetch.library.ProxyError, match="407"):
            fetch(servers[1])


@pytest.mark.parametrize("no_proxy", ["*", "localhost,127.0.0.1"])
def test_no_proxy_goes_direct(
    fetch: Fetcher, proxy: ProxyServer, servers: list[str], monkeypatch: pytest.MonkeyPatch, no_proxy: str
) -> None:
    """A host in `NO_PROXY` is reached without the proxy."""
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert [response.status_code for response in fetch(*servers)] == [200, 200]
    assert (proxy.connections, proxy.seen()) == (0, ())


def test_trust_env_false_goes_direct(
    fetch: Fetcher,
    proxy: ProxyServer,
    servers: list[str],
    monkeypatch: pytest.MonkeyPatch,
    trusting: PoolConfig,
) -> None:
    """A config with `trust_env=False` does not hear of the environment's proxies."""
    monkeypatch.setenv("ALL_PROXY", proxy.url)
    fetch(*servers, config=attrs.evolve(trusting, trust_env=False))
    assert proxy.connections == 0


def test_an_explicit_proxy_wins(
    fetch: Fetcher,
    proxy: ProxyServer,
    servers: list[str],
    monkeypatch: pytest.MonkeyPatch,
    trusting: PoolConfig,
) -> None:
    """A proxy in the config takes what the environment leaves to another, or to none."""
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    fetch(*servers, config=attrs.evolve(trusting, proxy=cast(Any, proxy.url)))
    assert [seen.method for seen in proxy.seen()] == ["GET", "CONNECT"]


def test_the_environment_is_that_of_the_making(
    manager: PoolManager, proxy: ProxyServer, servers: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a plain client, the environment is read when the client is made, and by each anew."""
    with manager.client() as early:
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        with manager.client() as late:
            assert [early.get(url).status_code for url in servers] == [200, 200]
            assert proxy.connections == 0
            assert [late.get(url).status_code for url in servers] == [200, 200]
            assert len(proxy.seen()) == 2


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_mount_of_the_users_is_used(
    library: ModuleType, manager: PoolManager, plain_server: HypercornServer
) -> None:
    """A transport in `mounts=` answers for its URLs, and the pool for all others."""
    mount = library.MockTransport(lambda _: library.Response(418))
    with manager.client(library.Client, mounts={"all://teapot.example": mount}) as client:
        assert client.get("https://teapot.example/").status_code == 418
        assert client.get(plain_server.url).extensions["pool_manager"].connection_id == 1


def test_proxies_tell_pools_apart(
    fetch: Fetcher, proxy: ProxyServer, servers: list[str], trusting: PoolConfig
) -> None:
    """Clients with no proxy, with one, and with other credentials for it share no connection to anybody."""
    given = [None, proxy.url, *(proxy.url.replace("://", f"://{user}@") for user in ("a:1", "a:2", "b:1"))]
    with contextlib.ExitStack() as leases:
        for value in given:
            config = attrs.evolve(trusting, proxy=cast(Any, value))
            leases.enter_context(fetch.manager.lease(config=config))  # keeps the pools for threads
            fetch(*servers, *servers, config=config)
    spoken = {(seen.client, seen.proxy_authorization) for seen in proxy.seen()}
    wanted = [None, *(basic(*pair) for pair in (("a", "1"), ("a", "2"), ("b", "1")))]
    assert sorted(str(who) for _, who in spoken) == sorted(str(who) for who in wanted * 2)
    assert len({client for client, _ in spoken}) == 8, "a forwarding connection and a tunnel for each"


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_proxy_may_speak_tls(
    library: ModuleType, manager: PoolManager, servers: list[str], certificates: Certificates
) -> None:
    """A proxy of the library's own kind, with TLS to itself, credentials and headers, is used as it says."""
    with ProxyServer(credentials=("user", "word"), certificates=certificates) as proxy:
        told = library.Proxy(
            proxy.url,
            ssl_context=certificates.client_context(),
            auth=("user", "word"),
            headers={"X-Tenant": "a"},
        )
        with manager.client(library.Client, proxy=told) as client:
            assert [client.get(url).status_code for url in servers] == [200, 200]
        assert [dict(seen.headers)["x-tenant"] for seen in proxy.seen()] == ["a", "a"]
