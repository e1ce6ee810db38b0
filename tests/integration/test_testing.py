"""`pool_manager.testing`: what users' tests use."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx
import httpx2
import openai
import pytest
import trio

import pool_manager
from pool_manager import ConfigError, Limits, PoolClosed, PoolConfig, Retries, client, default_manager
from pool_manager.testing import LeakError, isolated
from pool_manager.testing import no_leaks as watched
from tests.support.counting_server import CountingServer

every_library = pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda library: library.__name__)


def echo(request: httpx.Request) -> httpx.Response:
    """Answer with what was asked."""
    return httpx.Response(
        201, json={"method": request.method, "url": str(request.url), "body": request.content.decode()},
        headers={"x-seen": request.headers.get("x-team", "")},
    )  # fmt: skip


async def async_echo(request: httpx.Request) -> httpx.Response:
    """Answer with what was asked, later."""
    await asyncio.sleep(0)
    return echo(request)


# isolated


def test_the_functions_of_the_package_use_it(counting_server: CountingServer) -> None:
    """Within, every way to the default manager leads to the new one; after, to the old one."""
    before = pool_manager.stats()
    with isolated(PoolConfig(http2=False)) as manager:
        for make in (pool_manager.client, client, default_manager().client):
            with make() as one:
                assert one.get(counting_server.url).status_code == 200
        assert pool_manager.stats().leases_taken == manager.stats().leases_taken == 3
        assert default_manager().name == "isolated"
    assert pool_manager.stats() == before
    assert default_manager().name == "default"


def test_all_is_closed_after(counting_server: CountingServer) -> None:
    """What was made within is closed at the end; what was made before lives on."""
    with client() as old:
        with isolated():
            new = pool_manager.client()
            new.get(counting_server.url)
            assert old.get(counting_server.url).status_code == 200
        with pytest.raises(PoolClosed):
            new.get(counting_server.url)
        assert old.get(counting_server.url).extensions["pool_manager"].reused
        new.close()


def test_loops_are_closed_within_the_with(counting_server: CountingServer) -> None:
    """`async with` has closed what is on the running loop when it ends."""

    async def ask() -> int:
        async with isolated():
            one = pool_manager.client(httpx.AsyncClient)
            await one.get(counting_server.url)
        open_now = counting_server.wait_for(lambda server: server.open_connections() == 0)
        await one.aclose()
        return 0 if open_now is None else int(counting_server.open_connections())

    assert asyncio.run(ask()) == 0


def test_one_within_another() -> None:
    """They nest."""
    with isolated() as outer, outer.client():
        with isolated() as inner:
            assert default_manager().stats().leases_taken == inner.stats().leases_taken == 0
        assert default_manager().stats().leases_taken == 1


def test_it_is_undone_by_an_error() -> None:
    """An error within goes out, and the old default manager is back; a bad argument changes nothing."""
    with pytest.raises(KeyError), isolated():
        raise KeyError
    with pytest.raises(ConfigError), isolated(limits=Limits(), config=object()):  # type: ignore[arg-type]
        pass
    assert default_manager().name == "default"


def test_what_it_installs_is_undone() -> None:
    """`install` within ends with it."""
    before = httpx.Client.__dict__["_init_transport"]
    with isolated(server=echo):
        handle = pool_manager.install()
        assert httpx.get("http://nobody.example").status_code == 201
    assert not handle.active
    assert httpx.Client.__dict__["_init_transport"] is before


# The server in memory


@every_library
def test_sync_clients_are_answered(library: ModuleType) -> None:
    """A function answers a sync client of either library, at any host, with what was sent to it."""
    with isolated(server=echo), pool_manager.client(library.Client, headers={"x-team": "a"}) as one:
        answers = [one.post("https://api.example.com/v1?q=1", json={"a": 1}) for _ in range(2)]
    assert answers[0].status_code == 201
    assert answers[0].headers["x-seen"] == "a"
    assert answers[0].json() == {
        "method": "POST", "url": "https://api.example.com/v1?q=1", "body": '{"a":1}'
    }  # fmt: skip
    assert isinstance(answers[0], library.Response)
    records = [answer.extensions["pool_manager"] for answer in answers]
    assert [(record.reused, record.http_version) for record in records] == [
        (False, "HTTP/2"), (True, "HTTP/2"),
    ]  # fmt: skip
    assert answers[0].http_version == "HTTP/2"


@every_library
@pytest.mark.parametrize("runner", [asyncio.run, trio.run], ids=["asyncio", "trio"])
@pytest.mark.parametrize("handler", [echo, async_echo], ids=["sync", "async"])
def test_async_clients_are_answered(
    library: ModuleType, runner: Callable[..., Any], handler: Callable[..., Any]
) -> None:
    """A function, async or not, answers async clients, on asyncio and (if it can itself) on trio."""
    if runner is trio.run:
        handler = echo

    async def ask() -> Any:
        async with pool_manager.client(library.AsyncClient) as one:
            return runner is trio.run, await one.post("http://x.example", content=_parts())

    async def outer() -> Any:
        return (await ask())[1]

    with isolated(server=handler):
        answer = runner(outer) if runner is trio.run else runner(outer())
    assert (answer.status_code, answer.json()["body"]) == (201, "one two")
    assert answer.http_version == "HTTP/1.1"


async def _parts() -> AsyncIterator[bytes]:
    yield b"one "
    yield b"two"


@every_library
def test_errors_are_the_clients_own(library: ModuleType) -> None:
    """A transport error that a handler raises is the client's library's; any other error is as it was."""
    errors = iter([httpx.ReadTimeout("slow"), KeyError("a bug")])

    def fail(_: httpx.Request) -> httpx.Response:
        raise next(errors)

    with isolated(server=fail) as manager, manager.client(library.Client) as one:
        with pytest.raises(library.ReadTimeout, match="slow"):
            one.get("http://x.example")
        with pytest.raises(KeyError, match="a bug"):
            one.get("http://x.example")
        assert manager.stats().pools[0].in_flight == 0


def test_retries_are_tested_without_a_network() -> None:
    """Our retries, and an SDK's own, meet the handler as they would meet a server."""
    seen: list[str] = []

    def flaky(request: httpx.Request) -> httpx.Response:
        seen.append(request.url.path)
        if len(seen) % 2:
            return httpx.Response(503, headers={"retry-after": "0", "retry-after-ms": "1"})
        return httpx.Response(200, json={"object": "list", "data": []})

    with isolated(server=flaky):
        with pool_manager.client(retries=Retries(attempts=2, initial=0.001)) as one:
            assert one.get("https://x.example/own").extensions["pool_manager"].retries == 1
        sdk = pool_manager.pooled(openai.OpenAI, api_key="k", base_url="https://x.example/v1")
        assert sdk.models.list().data == []
        sdk.close()
    assert seen == ["/own"] * 2 + ["/v1/models"] * 2


def test_streams(no_leaks: None) -> None:  # noqa: ARG001 - our own suite's
    """A body may come in parts; an error in the middle is the client's own."""

    def parts() -> Iterator[bytes]:
        yield b"one "
        raise httpx.ReadError("gone")

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, content=parts())

    with (
        isolated(server=answer),
        pool_manager.client(httpx2.Client) as one,
        one.stream("GET", "http://x.example") as response,
    ):
        found = response.iter_raw()
        assert next(found) == b"one "
        with pytest.raises(httpx2.ReadError, match="gone"):
            next(found)


def test_apps_are_servers() -> None:
    """An ASGI app answers async clients, and a WSGI app sync ones; the other colour is told."""

    async def asgi(_scope: Any, _receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        await send({"type": "http.response.start", "status": 202, "headers": [(b"x-app", b"asgi")]})
        await send({"type": "http.response.body", "body": b"hello"})

    def wsgi(_environ: Any, start: Callable[..., object]) -> list[bytes]:
        start("202 Accepted", [("x-app", "wsgi")])
        return [b"hello"]

    async def ask() -> httpx.Response:
        async with pool_manager.client(httpx.AsyncClient) as one:
            return await one.get("http://x.example")

    with isolated(server=httpx.ASGITransport(asgi)), pool_manager.client() as one:
        answers = [asyncio.run(ask())]
        with pytest.raises(TypeError, match="async clients alone"):
            one.get("http://x.example")
    with isolated(server=httpx.WSGITransport(wsgi)), pool_manager.client() as one:
        answers.append(one.get("http://x.example"))
        with pytest.raises(TypeError, match="sync clients alone"):
            asyncio.run(ask())
    assert [(answer.status_code, answer.text, answer.headers["x-app"]) for answer in answers] == [
        (202, "hello", "asgi"), (202, "hello", "wsgi"),
    ]  # fmt: skip


# no_leaks

HERE = Path(__file__).name


def test_what_is_closed_is_no_leak(counting_server: CountingServer) -> None:
    """Clients and responses that are closed leave nothing; what was open before may stay open."""
    with client() as old:
        with watched():
            old.get(counting_server.url)
            with client() as one, one.stream("GET", counting_server.url):
                pass
        with old.stream("GET", counting_server.url), watched():
            old.get(counting_server.url)


def test_an_open_lease_is_named(counting_server: CountingServer) -> None:
    """A client that is still open is named, with the line that made it; so is one that made no request."""
    with pytest.raises(LeakError) as told, watched():  # noqa: PT012 - the block is what is looked at
        kept = [client(name="billing"), client(httpx.AsyncClient, name="unused")]
        kept[0].get(counting_server.url)
    assert f"open lease 'billing', taken at {__file__}:" in str(told.value)
    assert "open lease 'unused'" in str(told.value)
    kept[0].close()
    asyncio.run(kept[1].aclose())  # type: ignore[attr-defined]


def test_a_lost_lease_is_named() -> None:
    """A client that was collected unclosed is named, in a circle or not."""
    lost = pytest.raises(LeakError, match="unclosed lease 'lost'")
    with lost as told, watched(), pytest.warns(ResourceWarning, match="unclosed lease"):
        client(name="lost")
    assert HERE in str(told.value)
    circled = pytest.raises(LeakError, match="unclosed lease 'circle'")
    with circled, pytest.warns(ResourceWarning, match="circle"), watched():
        circle: list[object] = [client(name="circle")]
        circle.append(circle)
        del circle


def test_an_open_response_is_named(counting_server: CountingServer) -> None:
    """A response that is neither read nor closed is named, with its request and the line that sent it."""
    with client(name="mine") as one:
        with pytest.raises(LeakError) as told, watched():
            response = one.send(one.build_request("GET", f"{counting_server.url}/x?key=1"), stream=True)
        response.close()
    line = str(told.value).splitlines()[1]
    assert line.startswith(f"  open response to GET {counting_server.url}/x")
    assert f"taken at {__file__}:" in line
    assert "key=1" not in line


def test_connections_that_nobody_holds_are_named(counting_server: CountingServer) -> None:
    """Connections that linger after their last lease are named."""

    async def ask() -> str:
        async with pool_manager.PoolManager(limits=Limits(linger=60)) as manager:
            with pytest.raises(LeakError) as told:
                await linger(manager)
        return str(told.value)

    async def linger(manager: pool_manager.PoolManager) -> None:
        with watched():
            async with manager.client(httpx.AsyncClient) as one:
                await one.get(counting_server.url)

    assert "open connections: asyncio pool: connections: 1 open" in asyncio.run(ask())


def test_an_error_is_not_covered() -> None:
    """A block that raises raises its own error."""
    kept: list[httpx.Client] = []
    with pytest.raises(KeyError), watched():  # noqa: PT012 - as above
        kept.append(client())
        raise KeyError
    kept[0].close()


# The plugin

TESTS = """
import httpx, pool_manager, pytest

KEPT = []

def test_leaky(no_leaks):
    KEPT.append(pool_manager.client(name="forgotten"))

def test_clean(no_leaks):
    with pool_manager.client():
        pass

def test_failing(no_leaks):
    KEPT.append(pool_manager.client())
    assert False, "its own"

def test_isolated(isolated_manager):
    KEPT.append(pool_manager.client())
    assert isolated_manager.stats().leases_taken == 1

def test_over():
    assert pool_manager.default_manager().name == "default"
    for client in KEPT:
        client.close()
"""


PLUGINS = ("-p", "pool_manager.testing.plugin", "-p", "no:cacheprovider")


def run_pytest(folder: Path, text: str, *more: str) -> str:
    """Run pytest on a file of tests, with the plugin; give what it says."""
    (folder / "test_it.py").write_text(text)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *PLUGINS, "-q", ".", *more],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    return done.stdout + done.stderr


ASYNC_TESTS = """
import httpx, pool_manager, pytest

pytestmark = [pytest.mark.anyio, pytest.mark.usefixtures("no_leaks")]
KEPT = []

@pytest.fixture(params=["asyncio", "trio"])
def anyio_backend(request):
    return request.param

@pytest.fixture
async def client():
    server = lambda request: httpx.Response(204)
    async with pool_manager.testing.isolated(server=server), pool_manager.client(httpx.AsyncClient) as client:
        yield client

async def test_clean(client):
    assert (await client.get("https://x.example")).status_code == 204

async def test_leaky():
    KEPT.append(pool_manager.client(httpx.AsyncClient, name="forgotten"))
"""


def test_the_plugin_in_async_tests_and_processes(tmp_path: Path) -> None:
    """The fixtures do their work in async tests, on asyncio and trio, and in the processes of xdist."""
    said = run_pytest(tmp_path, f"import pool_manager.testing\n{ASYNC_TESTS}", "-n", "2")
    assert "4 passed, 2 errors" in said
    for backend in ("asyncio", "trio"):
        assert f"ERROR test_it.py::test_leaky[{backend}] - pool_manager.testing.leaks.LeakError" in said


def test_the_plugin(tmp_path: Path) -> None:
    """`no_leaks` fails the test that leaks, and names what and where; a failed test is left alone."""
    said = run_pytest(tmp_path, TESTS)
    assert "1 failed, 4 passed, 1 error" in said
    assert "ERROR test_it.py::test_leaky - pool_manager.testing.leaks.LeakError" in said
    assert "open lease 'forgotten', taken at" in said
    assert "test_it.py:7" in said
