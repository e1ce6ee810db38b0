"""A pooled response is one of the library's: what a user can see of it does not differ."""

from __future__ import annotations

import gzip
import pickle
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeAlias

import anyio
import httpx
import httpx2
import pytest

from pool_manager import PoolManager
from tests.support.counting_server import Answer, CountingServer

Use: TypeAlias = Callable[[Any], Awaitable[object]]

LIBRARIES = [pytest.param(httpx, id="httpx"), pytest.param(httpx2, id="httpx2")]
BODY = b'{"ok":\n true}'


async def all_that_is_seen(client: Any, url: str) -> list[object]:
    """Use responses in every way, and note what can be noted."""
    seen: list[object] = []
    answer = await client.get(url)
    seen += [repr(answer), answer.status_code, answer.content, answer.json(), answer.is_closed]
    seen += [answer.is_stream_consumed, answer.num_bytes_downloaded, answer.elapsed.total_seconds() > 0]
    seen += [await answer.aread(), [part async for part in answer.aiter_bytes(4)]]
    copy = pickle.loads(pickle.dumps(answer))  # noqa: S301 - ours
    seen += [type(copy), copy.content, copy.is_closed]
    for read in ("aiter_raw", "aiter_bytes", "aiter_lines", "aiter_text"):
        async with client.stream("GET", url) as answer:
            seen += [[part async for part in getattr(answer, read)()], answer.num_bytes_downloaded]
            seen.append(await outcome(answer.aread()))
    async with client.stream("GET", url) as answer:
        seen.append(await answer.aread())
        seen.append(await outcome(anext(answer.aiter_raw())))
    answer = await client.send(client.build_request("GET", url), stream=True)
    await answer.aclose()
    seen.append(await outcome(answer.aread()))
    return seen


async def outcome(awaitable: Awaitable[object]) -> object:
    """Give the result, or the type of the error."""
    try:
        return await awaitable
    except Exception as error:  # noqa: BLE001 - whichever it is
        return type(error)


@pytest.mark.parametrize("encoded", [False, True], ids=["plain", "gzip"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_pooled_response_is_the_librarys(
    library: Any, encoded: bool, counting_server: CountingServer
) -> None:
    """Read at once, streamed, pickled, closed early: all is as with the library's own transport."""
    headers = (("Content-Encoding", "gzip"),) if encoded else ()
    body = gzip.compress(BODY, mtime=0) if encoded else BODY
    counting_server.respond = lambda _: Answer(body=body, headers=headers)

    async def main() -> None:
        async with library.AsyncClient(trust_env=False) as plain:
            expected = await all_that_is_seen(plain, counting_server.url)
        async with PoolManager() as manager, manager.client(library.AsyncClient) as pooled:
            answer = await pooled.get(counting_server.url)
            assert isinstance(answer, library.Response)
            assert await all_that_is_seen(pooled, counting_server.url) == expected

    anyio.run(main)


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_body_that_is_all_there_is_taken_in_one_step(
    library: Any, counting_server: CountingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has come with its head costs none of the library's generators, and is an answer like any other."""
    counting_server.respond = lambda _: Answer(body=b"")  # with no body, it is all there whatever the timing
    iterated: list[str] = []
    for name in ("iter_raw", "aiter_raw"):
        theirs = getattr(library.Response, name)
        monkeypatch.setattr(library.Response, name, lambda *a, n=name, f=theirs: iterated.append(n) or f(*a))

    async def on_a_loop(manager: PoolManager) -> Any:
        async with manager.client(library.AsyncClient) as client:
            return await client.get(counting_server.url)

    with PoolManager() as manager, manager.client(library.Client) as client:
        answers = [client.get(counting_server.url), anyio.run(on_a_loop, manager)]
    assert iterated == []
    for answer in answers:
        assert (answer.content, answer.is_closed, answer.is_stream_consumed) == (b"", True, True)
        assert answer.elapsed.total_seconds() > 0


class Counted:
    """What a transport around the pooled one puts around a body."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.parts: list[bytes] = []

    def __iter__(self) -> Iterator[bytes]:
        for part in self._stream:
            self.parts.append(part)
            yield part

    def close(self) -> None:
        """Close what is within."""
        self._stream.close()


@pytest.mark.parametrize("reads", [False, True], ids=["left to the client", "read by it"])
@pytest.mark.parametrize("library", LIBRARIES)
def test_a_wrapper_around_a_body_sees_it(library: Any, counting_server: CountingServer, reads: bool) -> None:
    """A body that is there whole is not taken behind the back of who stands between it and the client."""
    counting_server.respond = lambda _: Answer(body=BODY)
    counted: list[Counted] = []

    class Stream(Counted, library.SyncByteStream):  # type: ignore[misc]  # known at run time only
        pass

    with PoolManager() as manager, manager.client(library.Client) as client:
        inner = client._transport  # noqa: SLF001 - as those do who wrap a client that exists

        class Around(library.BaseTransport):  # type: ignore[misc]  # as above
            def handle_request(self, request: Any) -> Any:
                answer = inner.handle_request(request)
                answer.stream = Stream(answer.stream)
                counted.append(answer.stream)
                if reads:
                    answer.read()
                return answer

        client._transport = Around()  # noqa: SLF001 - as above
        assert client.get(counting_server.url).content == BODY
        client._transport = inner  # noqa: SLF001 - as above
    assert [b"".join(stream.parts) for stream in counted] == [BODY]


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_wrong_way_to_read(library: Any, counting_server: CountingServer) -> None:
    """A sync `read` of an async answer fails as the library has it, and takes nothing."""

    async def main() -> None:
        async with library.AsyncClient(trust_env=False) as plain:
            expected = await said(plain)
        async with PoolManager() as manager, manager.client(library.AsyncClient) as pooled:
            assert await said(pooled) == expected

    async def said(client: Any) -> list[object]:
        async with client.stream("GET", counting_server.url) as answer:
            with pytest.raises(RuntimeError) as error:
                answer.read()
            return [str(error.value), answer.is_closed, answer.is_stream_consumed, await answer.aread()]

    anyio.run(main)
