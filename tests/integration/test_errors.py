"""Errors of the pool are errors of the library in use, so that the retry code of SDKs works."""

from __future__ import annotations

import socket

import pytest

import pool_manager
from pool_manager import Limits, PoolConfig, PoolManager
from tests.support.counting_server import Answer, CountingServer
from tests.support.sdks import (
    CLIENTS,
    FLAVOURS,
    Flavour,
    HttpClient,
    Run,
    answer_at_length,
    called,
    close,
    close_answer,
    echo,
    inner,
    library_of,
    open_answer,
    post,
)

every_flavour = pytest.mark.parametrize("flavour", FLAVOURS, ids=str)
every_client = pytest.mark.parametrize("kind", CLIENTS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")


@pytest.fixture
def retrying(flavour: Flavour, monkeypatch: pytest.MonkeyPatch) -> Flavour:
    """Give the flavour with the SDK's pause before a retry cut from half a second to a hundredth."""
    monkeypatch.setattr(f"{flavour.sdk.__name__}._base_client.INITIAL_RETRY_DELAY", 0.01)
    return flavour


@every_flavour
def test_an_sdk_retries_a_stalled_server(
    retrying: Flavour, manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """A server that stalls is asked as often as the SDK retries, then it is the SDK's `APITimeoutError`."""
    counting_server.hold()
    sdk = retrying.pooled(manager, counting_server.url, timeout=0.3, max_retries=1)
    with pytest.raises(retrying.sdk.APITimeoutError) as caught:
        run(post(sdk))
    assert type(caught.value.__cause__) is retrying.library.ReadTimeout
    assert counting_server.processed("POST") == 2
    counting_server.release()
    assert run(post(sdk)) == {"ok": True}
    run(sdk.close())


@every_flavour
def test_an_sdk_retries_a_server_that_hangs_up(
    retrying: Flavour, manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """A server that hangs up is asked as often as the SDK retries, then it is its `APIConnectionError`."""
    counting_server.respond = lambda _: Answer(close="instead")
    sdk = retrying.pooled(manager, counting_server.url, max_retries=1)
    with pytest.raises(retrying.sdk.APIConnectionError) as caught:
        run(post(sdk))
    assert type(caught.value.__cause__) is retrying.library.RemoteProtocolError
    assert counting_server.processed("POST") == 2
    counting_server.respond = lambda _: Answer()
    assert run(post(sdk)) == {"ok": True}
    run(sdk.close())


@every_flavour
def test_nobody_is_there(flavour: Flavour, manager: PoolManager, run: Run) -> None:
    """Where nobody listens an SDK raises its own connection error, caused by the library's."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        sdk = flavour.pooled(manager, f"http://127.0.0.1:{taken.getsockname()[1]}", max_retries=0)
        with pytest.raises(flavour.sdk.APIConnectionError) as caught:
            run(post(sdk))
        run(sdk.close())
    assert type(caught.value.__cause__) is flavour.library.ConnectError


@every_flavour
def test_pool_timeout(
    flavour: Flavour, config: PoolConfig, counting_server: CountingServer, run: Run
) -> None:
    """A full pool is a timeout to an SDK, a `PoolTimeout` of its library and ours, and says who held it."""
    with PoolManager(config, limits=Limits(max_connections_per_origin=1)) as manager:
        timeout = flavour.library.Timeout(5, pool=0.05)
        answer_at_length(counting_server)
        sdk = flavour.pooled(manager, counting_server.url, max_retries=0, timeout=timeout)
        answer = run(open_answer(inner(sdk), counting_server.url))
        with pytest.raises(flavour.sdk.APITimeoutError) as caught:
            run(post(sdk))
        run(close_answer(answer))
        assert run(post(sdk)) == {"ok": True}
        run(sdk.close())
    cause = caught.value.__cause__
    assert isinstance(cause, pool_manager.PoolTimeout)
    assert isinstance(cause, flavour.library.PoolTimeout)
    assert "1 waiting" in str(cause)
    assert f"held by {flavour.name}" in str(cause)
    assert counting_server.processed("POST") == 1


@every_client
def test_a_closed_manager(
    kind: type[HttpClient], manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """A manager that was closed under its clients is a connection error of their library, and ours."""
    client = manager.client(kind)
    run(client.get(counting_server.url))
    manager.close()
    with pytest.raises(pool_manager.PoolClosed) as caught:
        run(client.get(counting_server.url))
    assert isinstance(caught.value, library_of(kind).ConnectError)
    run(close(client))


@pytest.mark.parametrize("name", ["OpenAI", "AsyncOpenAI", "Groq", "AsyncGroq"])
def test_nobody_waits_for_ever(
    name: str, config: PoolConfig, counting_server: CountingServer, run: Run
) -> None:
    """A client without any timeout, as many SDKs make it, is told when the pool stays full (trap 7)."""
    flavour = called(name)
    with PoolManager(config, limits=Limits(max_connections_per_origin=1, queue_timeout=0.05)) as manager:
        sdk = flavour.pooled(manager, counting_server.url, timeout=None, max_retries=0)
        answer_at_length(counting_server)
        answer = run(open_answer(inner(sdk), counting_server.url))
        try:
            with pytest.raises(flavour.sdk.APITimeoutError) as caught:
                run(echo(sdk))
        finally:
            run(close_answer(answer))
            run(sdk.close())
    assert isinstance(caught.value.__cause__, flavour.library.PoolTimeout)
