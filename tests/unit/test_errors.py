"""What leaves the package: errors and what they say, secrets that they keep, and pickles."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import pickle
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any, Final, cast

import httpx
import httpx2
import pytest

import pool_manager
from pool_manager import (
    ConfigError,
    Lane,
    LeaseClosed,
    Limits,
    PoolClosed,
    PoolConfig,
    PoolError,
    PoolManager,
    PoolOverloaded,
    PoolTimeout,
    Proxy,
)
from tests.support.counting_server import CountingServer
from tests.support.sdks import answer_at_length

LIBRARIES: Final = (httpx, httpx2)
SECRET: Final = "hunter2"  # noqa: S105 - nobody's
HERE: Final = __file__  # a file that exists
NOWHERE: Final = "http://127.0.0.1:1"  # nobody listens there
ERRORS: Final = (PoolError, PoolTimeout, PoolOverloaded, PoolClosed, LeaseClosed, ConfigError)


@pytest.fixture(params=LIBRARIES)
def library(request: pytest.FixtureRequest) -> ModuleType:
    """Give each library in turn."""
    return cast(ModuleType, request.param)


@pytest.fixture
def tight() -> Iterator[PoolManager]:
    """Give a manager with one connection, for which one request may wait."""
    limits = Limits(max_connections=1, max_pending=1)
    with PoolManager(PoolConfig(trust_env=False), limits=limits, name="tight") as manager:
        yield manager


def error_of(function: Callable[[], object], expected: type[Exception] = Exception) -> Exception:
    """Give what *function* raises."""
    with pytest.raises(expected) as caught:
        function()
    return caught.value


def refusal(make: Callable[..., object], **kwargs: object) -> str:
    """Give the message of the `ConfigError` that *make* raises."""
    return str(error_of(lambda: make(**kwargs), ConfigError))


def timed_out(manager: PoolManager, library: ModuleType, server: CountingServer) -> Exception:
    """Give what a request raises that waits in vain, while "holder" has the only connection."""
    answer_at_length(server)
    url = server.url
    waiting = {"timeout": library.Timeout(5, pool=0.02), "name": "waiter"}
    with (
        manager.client(library.Client, name="holder") as holder,
        manager.client(library.Client, **waiting) as waiter,
        holder.stream("GET", url),
    ):
        return error_of(lambda: waiter.get(url, params={"key": SECRET}))


def config_of(**kwargs: object) -> PoolConfig:
    """Make a config of values whose types the test has chosen."""
    return PoolConfig(**cast(Any, kwargs))


# Kinds


def test_errors_have_one_base() -> None:
    """What requests raise of ours is a `PoolError`; a bad setting is a `ValueError`."""
    for error in (PoolTimeout, PoolOverloaded, PoolClosed, LeaseClosed):
        assert issubclass(error, PoolError)
    assert issubclass(LeaseClosed, RuntimeError)
    assert issubclass(ConfigError, ValueError)
    assert not issubclass(ConfigError, PoolError)


@pytest.mark.parametrize("error", ERRORS)
def test_a_traceback_says_where_to_import_from(error: type[Exception]) -> None:
    """An error is called in a traceback what a user can import."""
    assert f"{error.__module__}.{error.__qualname__}" == f"pool_manager.{error.__name__}"
    assert getattr(pool_manager, error.__name__) is error


def test_a_pool_timeout_is_the_librarys_too(
    tight: PoolManager, library: ModuleType, counting_server: CountingServer
) -> None:
    """Who catches the library's `PoolTimeout` catches ours, with the request that waited."""
    error = timed_out(tight, library, counting_server)
    assert isinstance(error, PoolTimeout)
    assert isinstance(error, library.PoolTimeout)
    assert cast(Any, error).request.url.params["key"] == SECRET


def test_a_closed_manager_is_a_connect_error(library: ModuleType) -> None:
    """A request after the manager's close is `PoolClosed`, and the library's `ConnectError`."""
    manager = PoolManager(name="gone")
    with manager.client(library.Client) as client:
        manager.close()
        error = error_of(lambda: client.get(NOWHERE))
    assert isinstance(error, PoolClosed)
    assert isinstance(error, library.ConnectError)
    assert "'gone' is closed" in str(error)
    assert "'gone' is closed" in str(error_of(manager.client, PoolClosed))


def test_a_closed_lease_is_the_callers_bug(library: ModuleType) -> None:
    """A request on a lease given back is `LeaseClosed`, which no retry of the library catches."""
    with PoolManager() as manager:
        with manager.lease(name="billing") as lease:
            client = lease.client(library.Client)
        error = error_of(lambda: client.get(NOWHERE), LeaseClosed)
    assert not isinstance(error, library.TransportError)
    assert str(error).startswith(f"lease 'billing', taken at {HERE}:")


def test_an_overloaded_pool_turns_away(
    tight: PoolManager, library: ModuleType, counting_server: CountingServer
) -> None:
    """A request too many is `PoolOverloaded` at once, and the library's `PoolTimeout`."""
    answer_at_length(counting_server)
    short = f"{counting_server.url}/short"

    async def crowd() -> Exception:
        async with tight.client(library.AsyncClient, timeout=None) as client:
            async with client.stream("GET", counting_server.url):
                waiting = asyncio.create_task(client.get(short))
                while not any(pool.waiting for pool in tight.stats().pools):
                    await asyncio.sleep(0)
                with pytest.raises(PoolOverloaded, match=r"Limits\.max_pending") as caught:
                    await client.get(short)
            assert (await waiting).status_code == 200
        return caught.value

    assert isinstance(asyncio.run(crowd()), library.PoolTimeout)
    assert len(counting_server.requests) == 2


@pytest.mark.parametrize("client_type", ["Client", "AsyncClient"])
def test_a_failed_request_is_the_librarys_error(library: ModuleType, client_type: str) -> None:
    """What goes wrong on the wire is exactly the library's own error, told as the library would or better."""
    with PoolManager(PoolConfig(trust_env=False)) as manager:
        if client_type == "Client":
            with manager.client(library.Client) as client, library.Client(trust_env=False) as plain:
                ours, theirs = (error_of(functools.partial(c.get, NOWHERE)) for c in (client, plain))
        else:
            ours = asyncio.run(_async_error(manager.client(library.AsyncClient)))
            theirs = asyncio.run(_async_error(library.AsyncClient(trust_env=False)))
    assert type(ours) is library.ConnectError
    # The native engine says more: which host, which address, and why.
    assert str(theirs) in str(ours)
    assert cast(Any, ours).request.url == NOWHERE


async def _async_error(client: Any) -> Exception:
    async with client:
        with pytest.raises(Exception) as caught:  # noqa: PT011 - the caller looks at its type
            await client.get(NOWHERE)
    return caught.value


# What a PoolTimeout says


def test_a_pool_timeout_says_how_the_pool_stood(
    tight: PoolManager, library: ModuleType, counting_server: CountingServer
) -> None:
    """A `PoolTimeout` tells how long it waited, the pool's numbers and who held it, and has them all."""
    error = timed_out(tight, library, counting_server)
    assert isinstance(error, PoolTimeout)
    assert str(error) == f"no connection came free in 0.02 s: {error.stats}"
    assert error.stats is not None
    assert re.fullmatch(
        r"threads pool: connections: 1 open \(1 active\); requests: 2 in flight, 1 waiting"
        r" \(for up to 0\.. s\); held by holder, waiter",
        str(error.stats),
    )
    (origin,) = error.stats.origins
    assert (origin.active, origin.streams, origin.given_up) == (1, 1, 1)
    assert error.stats.oldest_wait >= 0.02


def test_a_queue_timeout_says_so_too(library: ModuleType, counting_server: CountingServer) -> None:
    """Where a client would wait for ever, `Limits.queue_timeout` ends it, and the error has that time."""
    answer_at_length(counting_server)
    limits = Limits(max_connections=1, queue_timeout=0.03)
    with (
        PoolManager(PoolConfig(trust_env=False), limits=limits) as manager,
        manager.client(library.Client, timeout=None) as client,
        client.stream("GET", counting_server.url),
    ):
        error = error_of(lambda: client.get(counting_server.url), PoolTimeout)
    assert "no connection came free in 0.03 s" in str(error)


def test_limits_are_the_clients(library: ModuleType, counting_server: CountingServer) -> None:
    """`limits=` given to `client` bounds its pool, which clients of other limits do not share."""
    answer_at_length(counting_server)
    limits, timeout = library.Limits(max_connections=1), library.Timeout(5, pool=0.01)
    with (
        PoolManager(PoolConfig(trust_env=False)) as manager,
        manager.client(library.Client, limits=limits, timeout=timeout) as bounded,
        manager.client(library.Client) as free,
        bounded.stream("GET", counting_server.url),
    ):
        with pytest.raises(PoolTimeout):
            bounded.get(counting_server.url)
        assert free.get(counting_server.url).status_code == 200
    assert counting_server.connections == 2


# Pickles of errors


def test_request_errors_pickle(
    tight: PoolManager, library: ModuleType, counting_server: CountingServer
) -> None:
    """Errors of requests come out of a pickle as the same error with the same words."""
    errors = [timed_out(tight, library, counting_server)]
    with tight.client(library.Client) as client:
        errors.append(error_of(lambda: client.get(NOWHERE)))
        with tight.lease() as lease:
            leased = lease.client(library.Client)
        errors.append(error_of(lambda: leased.get(NOWHERE)))
        tight.close()
        errors.append(error_of(lambda: client.get(NOWHERE)))
    copies = [pickle.loads(pickle.dumps(error)) for error in errors]  # noqa: S301 - our own
    for kind, error, copy in zip(
        (PoolTimeout, library.ConnectError, LeaseClosed, PoolClosed), errors, copies, strict=True
    ):
        assert isinstance(error, kind)
        assert type(copy) is kind
        assert (str(copy), copy.args) == (str(error), error.args)


@pytest.mark.parametrize("kind", ERRORS)
def test_every_error_pickles(kind: type[Exception]) -> None:
    """Each error of ours comes out of a pickle as it went in."""
    copy = pickle.loads(pickle.dumps(kind("why")))  # noqa: S301 - our own
    assert (type(copy), copy.args) == (kind, ("why",))


# Secrets

URLS_WITH_SECRETS: Final = (
    f"user:{SECRET}@proxy:3128",
    f"//user:{SECRET}@proxy:3128",
    f"ftp://user:{SECRET}@proxy:3128",
    f"http://user:{SECRET}@",
    f"http://user:{SECRET}@[::1",
    f"http://user:{SECRET}@proxy:port",
    f"http://user:a@{SECRET}@proxy:99999",
    f"http:/user:{SECRET}@proxy",
    f"http://user:{SECRET}/x@proxy:3128",
)


@pytest.mark.parametrize("url", URLS_WITH_SECRETS)
def test_an_error_keeps_the_password(url: str) -> None:
    """A proxy URL that is refused appears without its password."""
    assert SECRET not in refusal(PoolConfig, proxy=url)


@pytest.mark.parametrize(
    "config",
    [
        pytest.param(PoolConfig(proxy=Proxy.parse(f"http://user:{SECRET}@proxy")), id="url"),
        pytest.param(config_of(proxy=f"socks5://user:{SECRET}@proxy"), id="socks"),
        pytest.param(config_of(proxy=httpx.Proxy("http://proxy", auth=("user", SECRET))), id="httpx"),
        pytest.param(config_of(proxy=httpx2.Proxy("http://proxy", headers={"X-Key": SECRET})), id="headers"),
        pytest.param(config_of(proxy=httpx.URL(f"http://user:{SECRET}@proxy")), id="httpx.URL"),
        pytest.param(PoolConfig(cert=(HERE, HERE, SECRET)), id="cert"),
    ],
)
def test_a_repr_keeps_the_password(config: PoolConfig) -> None:
    """Neither a config nor its proxy shows a password when it is printed."""
    assert SECRET not in f"{config!r} {config} {config.proxy!r} {config.proxy}"


@pytest.mark.parametrize("cert", [("/no/such", HERE, SECRET), (HERE, "/no/such", SECRET), (HERE, 5, SECRET)])
def test_a_refused_cert_keeps_its_password(cert: object) -> None:
    """A client certificate that is refused appears without its password."""
    assert SECRET not in refusal(PoolConfig, cert=cert)


def test_socks_needs_socksio(monkeypatch: pytest.MonkeyPatch) -> None:
    """A SOCKS proxy without `socksio` is refused when the config is made, with what to install."""
    assert PoolConfig(proxy=Proxy.parse("socks5://proxy:1080")).proxy is not None
    find = importlib.util.find_spec

    def without_socksio(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == "socksio" else find(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without_socksio)
    message = refusal(PoolConfig, proxy=f"socks5h://user:{SECRET}@proxy:1080")
    assert "httpx[socks]" in message
    assert SECRET not in message


def test_an_error_of_a_request_keeps_the_query(
    tight: PoolManager, library: ModuleType, counting_server: CountingServer
) -> None:
    """A key in a query, or in a header, is not in what a `PoolTimeout` says."""
    assert SECRET not in str(timed_out(tight, library, counting_server))


def test_statistics_keep_the_password() -> None:
    """Statistics of a pool whose proxy has a password are printed without it."""
    config = PoolConfig(proxy=Proxy.parse(f"http://user:{SECRET}@proxy"))
    with PoolManager(config) as manager, manager.client(cert=(HERE, HERE, SECRET)):
        stats = manager.stats()
    assert stats.pools
    assert SECRET not in f"{stats!r} {stats} {stats.pools[0]}"


# Pickles

SETTINGS: Final = """[
    PoolConfig(trust_store="system", uds="/run/x.sock"),
    PoolConfig(http2=False, proxy=Proxy.parse("http://user:word@proxy")),
    Limits(max_connections=3, queue_timeout=5),
    Lane("uploads", paths=("/files",), max_in_flight=2),
]"""
COMPARE: Final = f"""
import pickle, sys
from pool_manager import Lane, Limits, PoolConfig, Proxy
came, made = pickle.load(sys.stdin.buffer), {SETTINGS}
assert came == made
assert [hash(settings) for settings in came] == [hash(settings) for settings in made]
"""


def test_settings_travel() -> None:
    """Pickled settings are the same keys in another process, where strings hash differently."""
    settings = eval(SETTINGS)  # noqa: S307 - the same text here and there
    assert len(set(settings)) == 4  # which makes each keep its hash: it must not travel along
    command = [sys.executable, "-c", COMPARE]
    subprocess.run(command, input=pickle.dumps(settings), check=True)


def test_a_manager_pickles_as_its_configuration() -> None:
    """A manager comes out of a pickle with its settings, and with pools and leases of its own."""
    config = PoolConfig(http2=False, trust_env=False)
    limits = Limits(max_connections=3)
    lanes = (Lane("uploads", paths=("/files",), max_in_flight=2),)
    with (
        PoolManager(config, limits=limits, lanes=lanes, name="billing") as manager,
        manager.client(),
    ):
        copy = pickle.loads(pickle.dumps(manager))  # noqa: S301 - our own
        for made in (manager, copy):
            maker = made._maker  # noqa: SLF001 - there is no public word
            assert (maker.config, maker.limits, maker.registry.lanes.all) == (config, limits, lanes)
        assert (copy.name, copy.stats().pools, copy.stats().leases_taken) == ("billing", (), 0)
    with copy, copy.client(lane="uploads"):  # its closing is its own, too
        assert [pool.config for pool in copy.stats().pools] == [config]
