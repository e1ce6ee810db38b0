"""`install`: every client is pooled, and nothing else about it has changed."""

from __future__ import annotations

import asyncio
import gc
import inspect
import os
import ssl
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from types import ModuleType
from typing import Any, Final, TypeAlias, cast

import httpx
import httpx2
import pytest

import pool_manager
from pool_manager import ConfigError, Limits, PoolConfig, PoolManager
from tests.support.certificates import Certificates
from tests.support.counting_server import Answer, CountedRequest, CountingServer
from tests.support.proxy_server import ProxyServer
from tests.support.sdks import Run, all_of, close, leases_out
from tests.support.server import Server

LIBRARIES: Final = (httpx, httpx2)
KINDS: Final = tuple(kind for library in LIBRARIES for kind in (library.Client, library.AsyncClient))
HOOKED: Final = ("_init_transport", "_init_proxy_transport")

every_library = pytest.mark.parametrize("library", LIBRARIES, ids=lambda library: library.__name__)
every_kind = pytest.mark.parametrize("kind", KINDS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")

# What somebody does with a client: gets it, where the server is, and how to wait; gives what was seen.
Deed: TypeAlias = Callable[[Any, str, Run], object]


def is_pooled(client: object) -> bool:
    """Tell whether a client has a pooled transport."""
    return type(vars(client)["_transport"]).__name__ == "PoolTransport"


@pytest.fixture
def manager() -> Iterator[PoolManager]:
    """Give a manager of the default config, without what this machine's environment says."""
    with PoolManager(PoolConfig(trust_env=False), name="test") as made:
        yield made


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test begin without proxies, CAs and the kill switch."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "SSL_CERT_FILE", "SSL_CERT_DIR"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.delenv("POOL_MANAGER_DISABLED", raising=False)


@pytest.fixture(autouse=True)
def nothing_is_left_installed() -> Iterator[None]:
    """Fail a test that leaves a hook in a library."""
    before = [kind.__dict__[name] for kind in KINDS for name in HOOKED]
    yield
    assert [kind.__dict__[name] for kind in KINDS for name in HOOKED] == before


# What is pooled


@every_kind
def test_clients_share(
    kind: type[Any], manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """Clients made in the ordinary way share a connection, and give their leases back when closed."""
    with manager.install():
        clients = [kind(), kind()]
    for client in clients:
        assert run(client.get(counting_server.url)).status_code == 200  # type: ignore[attr-defined]
    assert (counting_server.connections, leases_out(manager)) == (1, 2)
    for client in clients:
        run(close(client))
    assert (leases_out(manager), manager.stats().pools) == (0, ())


@every_library
def test_top_level_functions_share(
    library: ModuleType, manager: PoolManager, counting_server: CountingServer
) -> None:
    """`httpx.get`, `post`, `stream` ... use the pool; their leases are back when they return."""
    with manager.install(), manager.client(http2=False) as kept:
        kept.get(counting_server.url)
        # With trust_env=True they would have another config.
        assert library.get(counting_server.url, trust_env=False).extensions["pool_manager"].reused
        assert library.post(counting_server.url, json={}).extensions["pool_manager"].reused
        with library.stream("GET", counting_server.url) as response:
            response.read()
    assert counting_server.per_connection() == {1: 4}
    assert leases_out(manager) == 0


def test_subclasses_are_pooled(manager: PoolManager) -> None:
    """A subclass is pooled, unless it makes a transport of its own."""

    class Mine(httpx.Client):
        """Somebody's own."""

    class Its(httpx.Client):
        """Somebody's who knows better."""

        def _init_transport(self, **_: object) -> httpx.BaseTransport:
            return httpx.MockTransport(lambda _: httpx.Response(204))

    with manager.install(), Mine() as mine, Its() as its:
        assert is_pooled(mine)
        assert its.get("http://nobody.example").status_code == 204


@every_library
def test_a_transport_of_its_own_stays(library: ModuleType, manager: PoolManager) -> None:
    """A client that is given a transport uses it."""
    own = library.MockTransport(lambda _: library.Response(204))
    with manager.install(), library.Client(transport=own) as client:
        assert client.get("http://nobody.example").status_code == 204
    assert manager.stats().leases_taken == 0


def test_http2_is_for_who_asks(manager: PoolManager, h2_server: Server, certificates: Certificates) -> None:
    """A client gets HTTP/2 if it says so, or if `config` allows it to all; by itself httpx's HTTP/1.1."""
    verify = certificates.client_context()
    with (
        manager.install(),
        httpx.Client(verify=verify) as one,
        httpx.Client(verify=verify, http2=True) as two,
    ):
        versions = [client.get(h2_server.url).http_version for client in (one, two)]
    with manager.install(config=PoolConfig(verify=verify)), httpx.Client() as three:
        versions.append(three.get(h2_server.url).http_version)
    assert versions == ["HTTP/1.1", "HTTP/2", "HTTP/2"]


def test_what_a_client_says_is_its_config(certificates: Certificates) -> None:
    """`verify`, `trust_env`, `http2` and `limits`, where they are said, become part of the sharing key."""
    context = certificates.client_context()
    said: Mapping[str, dict[str, Any]] = {
        "verify": {"verify": context}, "trust_env": {"trust_env": False}, "http2": {"http2": True},
        "nothing": {},
        "nothing more": {"limits": httpx.Limits(max_connections=100, max_keepalive_connections=20)},
    }  # fmt: skip
    base = PoolConfig(http2=False)
    with PoolManager() as plain, plain.install():
        clients = {name: httpx.Client(**kwargs) for name, kwargs in said.items()}
        limited = httpx.Client(limits=httpx.Limits(max_connections=3))
        configs = [pool.config for pool in plain.stats().pools]
        for client in [*clients.values(), limited]:
            client.close()
    assert configs == [
        PoolConfig(http2=False, verify=context),
        PoolConfig(http2=False, trust_env=False),
        PoolConfig(http2=True),
        base,  # both of those who said nothing new
        base,
    ]


@every_library
def test_limits_hold(library: ModuleType, manager: PoolManager, counting_server: CountingServer) -> None:
    """A client with `limits` has no more connections than they allow."""

    async def ask() -> None:
        limits = library.Limits(max_connections=2)
        with manager.install():
            client = library.AsyncClient(limits=limits)
        async with client:
            await asyncio.gather(*(client.get(counting_server.url) for _ in range(10)))

    asyncio.run(ask())
    assert counting_server.connections <= 2


@every_library
def test_proxies_are_used(
    library: ModuleType, manager: PoolManager, proxy: ProxyServer, counting_server: CountingServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """A proxy, be it an argument or the environment's, is used, and its connections are shared."""
    with manager.install():
        clients = [library.Client(proxy=proxy.url) for _ in range(2)]
        monkeypatch.setenv("ALL_PROXY", proxy.url)
        clients.append(library.Client())
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        clients.append(library.Client())
    for client in clients:
        assert "pool_manager" in client.get(counting_server.url).extensions
    for client in clients:
        client.close()
    assert len(proxy.seen()) == 3
    assert leases_out(manager) == 0


# Installing and undoing


def test_uninstall_undoes(manager: PoolManager, counting_server: CountingServer) -> None:
    """After `uninstall` clients are made as before; those made meanwhile stay pooled."""
    before = [kind.__dict__[name] for kind in KINDS for name in HOOKED]
    handle = manager.install()
    client = httpx.Client()
    assert handle.active
    handle.uninstall()
    handle.uninstall()
    assert not handle.active
    assert [kind.__dict__[name] for kind in KINDS for name in HOOKED] == before
    with httpx.Client() as plain:
        assert not is_pooled(plain)
    assert "pool_manager" in client.get(counting_server.url).extensions
    client.close()


def test_installed_twice_is_installed_once(manager: PoolManager) -> None:
    """Each `install` holds until it is undone itself, in any order; of those that hold the last decides."""
    with PoolManager(name="other") as other:
        first, second = manager.install(), other.install()
        hook = httpx.Client.__dict__["_init_transport"]
        assert not hasattr(hook.__wrapped__, "__wrapped__")
        with httpx.Client():
            assert (leases_out(manager), leases_out(other)) == (0, 1)
        first.uninstall()
        with httpx.Client():
            assert (leases_out(manager), leases_out(other)) == (0, 1)
        with manager.install():
            pass
        assert second.active
        second.uninstall()
    with httpx.Client() as client:
        assert not is_pooled(client)


def test_installing_from_many_threads(manager: PoolManager) -> None:
    """Threads that install, make clients and undo at once leave the libraries as they were."""
    begin = threading.Barrier(8)
    pooled: list[bool] = []

    def work() -> None:
        begin.wait()
        for _ in range(20):
            with manager.install(), httpx.Client(verify=context) as client:
                pooled.append(is_pooled(client))

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert pooled == [True] * 160
    assert leases_out(manager) == 0


def test_the_module_function_installs_the_default_manager() -> None:
    """`pool_manager.install` uses the manager of the process."""
    taken = pool_manager.stats().leases_taken
    with pool_manager.install(), httpx.Client() as client:
        assert is_pooled(client)
    assert pool_manager.stats().leases_taken == taken + 1


@pytest.mark.parametrize("value", ["1", "true", "yes"])
def test_the_kill_switch(value: str, manager: PoolManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """With POOL_MANAGER_DISABLED in the environment nothing is installed."""
    monkeypatch.setenv("POOL_MANAGER_DISABLED", value)
    with manager.install() as handle, httpx.Client() as client:
        assert (handle.active, is_pooled(client)) == (False, False)
    monkeypatch.setenv("POOL_MANAGER_DISABLED", "0")
    with manager.install() as handle, httpx.Client() as client:
        assert (handle.active, is_pooled(client)) == (True, True)


def test_a_bad_config_is_refused(manager: PoolManager) -> None:
    """What is no config is refused at once, and nothing is installed."""
    with pytest.raises(ConfigError, match="config must be a PoolConfig"):
        manager.install(config=cast("PoolConfig", object()))


def test_a_closed_manager_pools_nothing(counting_server: CountingServer) -> None:
    """Where the manager is closed, clients are the library's own, and work."""
    with PoolManager(name="closed") as manager:
        handle = manager.install()
    with handle, httpx.Client() as client:
        assert client.get(counting_server.url).status_code == 200
        assert not is_pooled(client)


def test_an_alias_is_no_third_library(manager: PoolManager, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where `import httpx` gives httpx2, its clients are pooled once, as clients of httpx2."""
    import sys  # noqa: PLC0415 - this test alone

    monkeypatch.setitem(sys.modules, "httpx", httpx2)
    with manager.install(), httpx2.Client() as client, httpx.Client() as other:
        assert isinstance(vars(client)["_transport"], httpx2.BaseTransport)
        assert isinstance(vars(other)["_transport"], httpx.BaseTransport)


# Nothing else has changed


def _answers(request: CountedRequest) -> Answer:
    path = request.path.partition("?")[0]
    if path == "/redirect":
        return Answer(status=307, headers=(("location", "/final"), ("set-cookie", "seen=yes")))
    if path == "/slow":
        return Answer(delay=0.5)
    if path == "/broken":
        return Answer(close="halfway")
    if path == "/gone":
        return Answer(close="instead")
    if path == "/error":
        return Answer(status=503, headers=(("x-why", "busy"), ("X-Why", "very")))
    body = b"".join(
        f"{name}: {value}\n".encode() for name, value in sorted(request.headers) if name != "host"
    )
    return Answer(body=request.method.encode() + b"\n" + body + request.body)


def _told(response: Any) -> object:
    """What a user sees of a response."""
    extensions = {key for key in response.extensions if key != "pool_manager"}
    return (
        response.status_code, response.reason_phrase, response.http_version, response.headers.raw,
        response.content, response.is_closed, response.is_stream_consumed, response.num_bytes_downloaded,
        [past.status_code for past in response.history], str(response.url.path), dict(response.cookies),
        extensions, isinstance(response, type(response).__mro__[-2]), response.elapsed.total_seconds() > 0,
        repr(response),
    )  # fmt: skip


def _raised(deed: Callable[[], object]) -> object:
    """What a user sees of an error."""
    try:
        deed()
    except Exception as error:  # noqa: BLE001 - whatever it is, it is to be the same
        kinds = [kind.__name__ for kind in type(error).__mro__ if kind.__module__.startswith("http")]
        return kinds, type(getattr(error, "request", None)).__name__
    return None


def _deed_get(client: Any, url: str, run: Run) -> object:
    return _told(run(client.get(f"{url}/x?y=1", headers={"x-a": "b"}, cookies=None)))


BODIES: Final[list[dict[str, Any]]] = [
    {"json": {"a": 1}}, {"data": {"a": "b"}}, {"content": b"bytes"},
    {"files": {"f": ("name", b"")}, "headers": {"content-type": "multipart/form-data; boundary=x"}},
]  # fmt: skip


def _deed_post(client: Any, url: str, run: Run) -> object:
    return [_told(run(client.post(url, **body))) for body in BODIES]


def _deed_redirect(client: Any, url: str, run: Run) -> object:
    stays = _told(run(client.get(f"{url}/redirect")))
    return stays, _told(run(client.get(f"{url}/redirect", follow_redirects=True))), dict(client.cookies)


def _deed_errors(client: Any, url: str, run: Run) -> object:
    failing = (f"{url}/broken", f"{url}/gone", "http://127.0.0.1:9/", "ftp://x/", "http://", "/relative")
    errors = [_raised(lambda target=target: run(client.get(target))) for target in failing]
    status = run(client.get(f"{url}/error"))
    return errors, _told(status), _raised(cast("Any", status).raise_for_status)


def _deed_timeout(client: Any, url: str, run: Run) -> object:
    return client.timeout, _raised(lambda: run(client.get(f"{url}/slow", timeout=0.05)))


def _deed_stream(client: Any, url: str, run: Run) -> object:
    response: Any = run(client.send(client.build_request("GET", url), stream=True))
    before = response.is_closed, response.is_stream_consumed, _raised(lambda: response.content)
    parts = run(_parts(response)) if hasattr(client, "aclose") else list(response.iter_raw())
    again = _raised(lambda: run(response.aread() if hasattr(client, "aclose") else response.read()))
    return before, b"".join(cast("list[bytes]", parts)), response.is_closed, again


async def _parts(response: Any) -> list[bytes]:
    return [part async for part in response.aiter_raw()]


def _deed_hooks(client: Any, url: str, run: Run) -> object:
    seen: list[object] = []

    async def later(thing: object) -> None:
        seen.append(type(thing).__name__)

    is_async = hasattr(client, "aclose")
    hook = later if is_async else lambda thing: seen.append(type(thing).__name__)
    client.event_hooks = {"request": [hook], "response": [hook]}
    run(client.get(f"{url}/redirect", follow_redirects=True))
    return seen


def _deed_life(client: Any, url: str, run: Run) -> object:
    fresh = client.is_closed, sorted(vars(client)), [str(key) for key in client._mounts]  # noqa: SLF001
    run(client.get(url))
    run(close(client))
    closed = client.is_closed, _raised(lambda: run(client.get(url)))
    run(close(client))
    return fresh, closed, client.is_closed


def _deed_with(client: Any, url: str, run: Run) -> object:
    run(client.__aenter__() if hasattr(client, "aclose") else client.__enter__())
    again = _raised(lambda: run(client.__aenter__() if hasattr(client, "aclose") else client.__enter__()))
    told = _told(run(client.get(url)))
    run(client.__aexit__() if hasattr(client, "aclose") else client.__exit__())
    return again, told, client.is_closed


DEEDS: Final[list[Deed]] = [
    _deed_get, _deed_post, _deed_redirect, _deed_errors, _deed_timeout, _deed_stream, _deed_hooks, _deed_life,
    _deed_with,
]  # fmt: skip


@every_kind
@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__.removeprefix("_deed_"))
def test_nothing_else_has_changed(
    kind: type[Any], deed: Deed, manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """Whatever is done with a client, its user sees the same as without the pool."""
    counting_server.respond = _answers
    plain = kind()
    expected = deed(plain, counting_server.url, run)
    run(close(plain))
    with manager.install():
        client = kind()
    assert is_pooled(client)
    found = deed(client, counting_server.url, run)
    run(close(client))
    assert found == expected
    assert leases_out(manager) == 0


REFUSED: Final[list[dict[str, Any]]] = [
    {"verify": "/no/such/file.pem"}, {"cert": "/no/such/file.pem"}, {"proxy": "ftp://x"},
    {"proxy": "nothing"}, {"http1": False}, {"proxy": "http://127.0.0.1:9", "http1": False},
    {"verify": "", "http2": True},
]  # fmt: skip


@every_kind
@pytest.mark.parametrize("kwargs", REFUSED, ids=str)
def test_what_the_pool_refuses_is_the_librarys(
    kind: type[Any], kwargs: dict[str, Any], manager: PoolManager, run: Run
) -> None:
    """Arguments that no pool takes do what they do without it: the library's own errors, or a client."""

    def make() -> object:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            run(close(kind(**kwargs)))
        return None

    expected = _raised(make), _text(make)
    with manager.install():
        assert (_raised(make), _text(make)) == expected
    assert leases_out(manager) == 0


def _text(deed: Callable[[], object]) -> str:
    try:
        deed()
    except Exception as error:  # noqa: BLE001 - as in `_raised`
        return f"{type(error)}: {error}"
    return ""


@every_kind
def test_a_lost_client_is_no_warning(
    kind: type[Any], manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """A client that is never closed says no more than it does without the pool, and gives its lease back."""
    with manager.install():
        client = kind()
    run(client.get(counting_server.url))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del client
        gc.collect()
    run(run.turn())
    assert leases_out(manager) == 0
    assert counting_server.open_connections() == 0


def test_who_waits_for_ever_may(counting_server: CountingServer) -> None:
    """A client without a pool timeout waits as long as httpx would, whatever the manager's own limits say."""
    limits = Limits(max_connections_per_origin=1, queue_timeout=0.01)
    with PoolManager(PoolConfig(trust_env=False), limits=limits) as manager:

        async def ask() -> list[int]:
            with manager.install():
                client = httpx.AsyncClient(timeout=None)  # noqa: S113 - what this is about
            async with client:
                counting_server.hold()
                first = [asyncio.ensure_future(client.get(counting_server.url)) for _ in range(3)]
                await asyncio.to_thread(counting_server.wait_for, lambda server: len(server.requests) == 1)
                await asyncio.sleep(0.05)  # longer than the manager's own cap
                counting_server.release()
                return [answer.status_code for answer in await asyncio.gather(*first)]

        assert asyncio.run(ask()) == [200] * 3


def test_signatures_stay(manager: PoolManager) -> None:
    """The hooked methods look as they did, to whoever inspects them."""
    before = [str(inspect.signature(kind.__dict__[name])) for kind in KINDS for name in HOOKED]
    with manager.install():
        after = [str(inspect.signature(kind.__dict__[name])) for kind in KINDS for name in HOOKED]
    assert after == before


async def _fetch(kind: Any, url: str) -> None:
    async with kind() as client:
        assert (await client.get(url)).status_code == 200


@every_library
def test_one_installation_many_loops(
    library: ModuleType, manager: PoolManager, counting_server: CountingServer
) -> None:
    """A client made before any loop serves one `asyncio.run` after another, each request sent once."""
    with manager.install():
        client = library.AsyncClient()

    async def ask() -> int:
        return cast(int, (await client.post(counting_server.url)).status_code)

    assert [asyncio.run(ask()) for _ in range(3)] == [200] * 3
    asyncio.run(client.aclose())
    assert counting_server.processed("POST") == 3
    with manager.install():
        asyncio.run(all_of([lambda: _fetch(library.AsyncClient, counting_server.url)] * 5))
    assert (leases_out(manager), manager.stats().pools) == (0, ())


def test_a_forked_child_is_installed_too(manager: PoolManager, counting_server: CountingServer) -> None:
    """What is installed is so in a forked child, on connections of its own."""
    with manager.install(), httpx.Client() as client:
        client.get(counting_server.url)
        if (child := os.fork()) == 0:
            try:
                with httpx.Client() as own:
                    fine = is_pooled(own) and own.get(counting_server.url).status_code == 200
                    os._exit(0 if fine and client.get(counting_server.url).status_code == 200 else 1)
            finally:
                os._exit(2)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        assert client.get(counting_server.url).extensions["pool_manager"].reused
