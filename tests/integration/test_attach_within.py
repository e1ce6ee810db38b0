"""`attach` reaches the innermost transport through whatever is around it, and leaves all that to its work."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any, Final

import httpx
import httpx2
import pytest

from pool_manager import ConfigError, PoolManager
from tests.support.counting_server import Answer, CountingServer
from tests.support.sdks import CLIENTS, HttpClient, Run, close, library_of, open_answer, rest_of

every_kind = pytest.mark.parametrize("kind", CLIENTS)

NAMES: Final = ("handle_request", "handle_async_request")


def name_of(kind: type[HttpClient]) -> str:
    """Give the method by which a client hands a request to its transport."""
    return NAMES[kind in {httpx.AsyncClient, httpx2.AsyncClient}]


def transport_of(kind: type[HttpClient]) -> Any:
    """Make the library's own transport for a kind of client."""
    return getattr(library_of(kind), kind.__name__.replace("Client", "HTTPTransport"))()


def counting(transport: Any, name: str) -> list[str]:
    """Wrap a method of this very transport, as OpenTelemetry's `instrument_client` does; note each call."""
    own, calls = getattr(transport, name), list[str]()

    def wrapped(request: Any) -> Any:
        calls.append(request.url.path)
        return own(request)

    setattr(transport, name, wrapped)
    return calls


def wrapper_of(library: ModuleType) -> Any:
    """Make a class of transports for both colours, as httpx-retries' is."""

    class Wrapper(library.BaseTransport, library.AsyncBaseTransport):  # type: ignore[misc,name-defined]
        def __init__(self, threads: Any, loops: Any) -> None:
            self.threads, self.loops = threads, loops

        def handle_request(self, request: Any) -> Any:
            return self.threads.handle_request(request)

        async def handle_async_request(self, request: Any) -> Any:
            return await self.loops.handle_async_request(request)

        def close(self) -> None:
            self.threads.close()

        async def aclose(self) -> None:
            await self.loops.aclose()

    return Wrapper


def is_pooled(response: Any) -> bool:
    """Tell whether a response came by a pool."""
    return "pool_manager" in response.extensions


# A method that was wrapped


@every_kind
def test_a_wrapped_method_stays(
    kind: type[HttpClient], manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """A method that a tool has wrapped sees every request, before, on the pool and after it."""
    client: Any = kind()
    transport = vars(client)["_transport"]
    calls = counting(transport, name_of(kind))
    before = {**vars(transport)}
    assert not is_pooled(run(client.get(f"{counting_server.url}/before")))
    manager.attach(client)
    for _ in range(2):
        assert is_pooled(run(client.get(f"{counting_server.url}/pooled")))
    manager.detach(client)
    assert vars(transport) == before
    assert vars(client)["_transport"] is transport
    assert not is_pooled(run(client.get(f"{counting_server.url}/after")))
    assert calls == ["/before", "/pooled", "/pooled", "/after"]
    assert (counting_server.connections, manager.stats().pools) == (2, ()), (
        "its own, used again, and the pool's"
    )
    run(close(client))


@every_kind
def test_closing_below_a_wrapped_method(
    kind: type[HttpClient], manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """Closing such a client gives its lease back, and closes the connections it had before."""
    client: Any = kind()
    counting(vars(client)["_transport"], name_of(kind))
    run(client.get(counting_server.url))
    manager.attach(client)
    run(client.get(counting_server.url))
    assert manager.stats().pools[0].leases == 1
    run(close(client))
    run(run.turn())
    assert manager.stats().pools == ()
    counting_server.wait_for(lambda server: server.open_connections() == 0)


@every_kind
def test_leaving_below_a_wrapped_method(
    kind: type[HttpClient], manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """So does the end of its `with`."""
    client: Any = kind()
    counting(vars(client)["_transport"], name_of(kind))
    manager.attach(client)

    async def in_loop() -> None:
        async with client:
            await client.get(counting_server.url)

    if isinstance(client, httpx.AsyncClient | httpx2.AsyncClient):
        run(in_loop())
    else:
        with client:
            client.get(counting_server.url)
    assert (manager.stats().pools, manager.stats().leases_returned) == ((), 1)


@every_kind
def test_errors_and_bodies_below_a_wrapped_method(
    kind: type[HttpClient], manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """Errors are the library's, uploads arrive whole, and answers are read part by part."""
    client: Any = kind()
    counting(vars(client)["_transport"], name_of(kind))
    manager.attach(client)
    counting_server.respond = lambda request: Answer(body=request.body or bytes(1_000_000))
    with pytest.raises(library_of(kind).ConnectError):
        run(client.get("http://127.0.0.1:1"))
    sent: Any = run(client.post(counting_server.url, content=b"x" * 100_000))
    assert sent.content == b"x" * 100_000
    answer: Any = run(open_answer(client, counting_server.url))
    assert manager.stats().pools[0].in_flight == 1
    assert len(run(rest_of(answer))) == 1_000_000
    run(close(client))


@every_kind
def test_what_is_below_is_attached_once(kind: type[HttpClient], manager: PoolManager, run: Run) -> None:
    """Such a client, too, is refused while it is on a pool."""
    client: Any = kind()
    counting(vars(client)["_transport"], name_of(kind))
    manager.attach(client)
    with pytest.raises(ConfigError, match="is on a pool already"):
        manager.attach(client)
    run(close(manager.detach(client)))


# Wrappers of both colours


@every_kind
def test_a_wrapper_with_a_transport_for_each_colour(
    kind: type[HttpClient], manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """Of two transports in a wrapper that of the client's colour is pooled, and the other is left alone."""
    library = library_of(kind)
    pair = library.HTTPTransport(), library.AsyncHTTPTransport()
    wrapper = wrapper_of(library)(*pair)
    client: Any = kind(transport=wrapper)
    before = [{**vars(transport)} for transport in pair]
    manager.attach(client)
    assert is_pooled(run(client.get(counting_server.url)))
    is_async = name_of(kind) == NAMES[1]
    same = [vars(transport) == then for transport, then in zip(pair, before, strict=True)]
    assert same == [is_async, not is_async]
    manager.detach(client)
    assert [vars(transport) for transport in pair] == before
    assert not is_pooled(run(client.get(counting_server.url)))
    run(close(client))


@every_kind
def test_a_wrapper_with_one_transport_by_two_names(
    kind: type[HttpClient], manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """A wrapper that knows one transport by two names is seen through."""
    only = transport_of(kind)
    wrapper = wrapper_of(library_of(kind))(only, only)
    client: Any = kind(transport=wrapper)
    manager.attach(client)
    assert is_pooled(run(client.get(counting_server.url)))
    manager.detach(client)
    assert not is_pooled(run(client.get(counting_server.url)))
    run(close(client))


@every_kind
def test_a_wrapper_with_slots(
    kind: type[HttpClient], manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """A wrapper whose class has slots is seen through, too."""
    library, name = library_of(kind), name_of(kind)
    base = library.BaseTransport if name == NAMES[0] else library.AsyncBaseTransport

    class Slotted(base):  # type: ignore[misc,valid-type]
        __slots__ = ("inner",)

    send: Callable[..., Any] = lambda self, request: getattr(self.inner, name)(request)  # noqa: E731
    setattr(Slotted, name, send)
    wrapper = Slotted()
    wrapper.inner = own = transport_of(kind)
    client: Any = kind(transport=wrapper)
    manager.attach(client)
    assert is_pooled(run(client.get(counting_server.url)))
    manager.detach(client)
    assert not is_pooled(run(client.get(counting_server.url)))
    run(close(own))  # the wrapper does not
    run(close(client))


@every_kind
def test_a_wrapper_that_holds_on_by_other_means(
    kind: type[HttpClient], manager: PoolManager, counting_server: CountingServer, run: Run
) -> None:
    """A wrapper that sends by what it took from the transport when it was made (hishel, Kiota) is pooled."""
    library, name, own = library_of(kind), name_of(kind), transport_of(kind)
    base = library.BaseTransport if name == NAMES[0] else library.AsyncBaseTransport

    class Cache(base):  # type: ignore[misc,valid-type]
        def __init__(self) -> None:
            self.transport, self.pipeline = own, [getattr(own, name)]

    send: Callable[..., Any] = lambda self, request: self.pipeline[0](request)  # noqa: E731
    setattr(Cache, name, send)
    client: Any = kind(transport=Cache())
    manager.attach(client)
    assert is_pooled(run(client.get(counting_server.url)))
    manager.detach(client)
    assert not is_pooled(run(client.get(counting_server.url)))
    run(close(own))
    run(close(client))
