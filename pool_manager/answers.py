"""
Answers as the libraries' clients hold them: a stream that tells when it is lost, and a response.

The response class is the library's own, but for one short cut: a body that is all there when it is asked
for is taken in one step, and not through four nested generators.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Self, TypeAlias, cast

from pool_manager import losses
from pool_manager.core.messages import AsyncBody, Body, Request, TransportFailure
from pool_manager.exchanges import Exchange
from pool_manager.leases import caller
from pool_manager.pools import Pool

Failure: TypeAlias = Callable[[TransportFailure, Pool, Request], Exception]


class OpenAnswer:
    """
    An answer that somebody is to close. Collected unclosed, it gives back and tells.

    Attributes:
        is_open: Somebody has it, and has neither read it to its end nor closed it.

        failure: Makes an error of the library that it is for.
    """

    is_open = False
    failure: Failure

    def __init__(self, body: Any, exchange: Exchange, request: Request) -> None:
        self._body, self._exchange, self._request = body, exchange, request
        self._taken_at = caller(3)  # past this, and the transport's part that makes it
        if exchange.pool.looks_for_leaks:
            exchange.answered(self)

    def take_whole(self) -> bytes | None:
        """Take the body if it is all there, and nobody has to wait for a part of it; then this is closed."""
        content: bytes | None = self._body.take_whole()
        if content is not None:
            self.is_open = False
            try:
                self._exchange.end()
            except BaseException:
                self._exchange.end()  # see `Stream.close`
                raise
        return content

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        """Runs at any time, inside anything: it may leave a note, and not wait for a lock."""
        if not self.is_open or is_finalizing():  # a default: at the end this module may be empty
            return
        self._exchange.abandon(self._body)
        losses.tell(self, ": read it, close it, or use `with`")

    def __str__(self) -> str:
        lease = self._exchange.tenant.name
        return f"response to {self._request}, taken at {self._taken_at} by lease {lease!r}"


class Stream(OpenAnswer):
    """The body of an answer, for a library's sync client."""

    _body: Body

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._body
        except TransportFailure as error:
            raised = self.failure(error, self._exchange.pool, self._request)
            raise raised from raised.__cause__

    def close(self) -> None:
        """Give the connection back."""
        if not self.is_open:
            return
        self.is_open = False
        try:
            self._body.close()
            self._exchange.end()
        except BaseException:  # a thread may be interrupted anywhere: what was begun is to be finished
            self._body.close()
            self._exchange.end()
            raise


class AsyncStream(OpenAnswer):
    """The body of an answer, for a library's async client."""

    _body: AsyncBody

    def __aiter__(self) -> AsyncIterator[bytes]:
        return _Parts(self._body, self._error)

    def _error(self, error: TransportFailure) -> Exception:
        return self.failure(error, self._exchange.pool, self._request)

    async def aclose(self) -> None:
        """Give the connection back."""
        if not self.is_open:
            return
        self.is_open = False
        try:
            await self._body.aclose()
        finally:
            self._exchange.end()


class _Parts:
    """The parts of a body, one after another. No generator: one that is left half-way has to be finished."""

    __slots__ = ("_failure", "_parts")

    def __init__(self, body: AsyncBody, failure: Callable[[TransportFailure], Exception]) -> None:
        self._parts, self._failure = aiter(body), failure

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._parts)
        except TransportFailure as error:
            raised = self._failure(error)
            raise raised from raised.__cause__


class _Answer:
    """What is put before a library's `Response`."""

    stream: Any
    headers: Any
    is_closed: bool
    is_stream_consumed: bool
    pooled: Any = None  # the `OpenAnswer`; the client puts a wrapper of its own around it
    _content: bytes
    _num_bytes_downloaded: int

    def _take_whole(self, wrapper: type | None) -> bool:
        """
        Have the whole body as the content, if it is there, plain, and nobody has begun to read it.

        Nor may there be anything around it but *wrapper*, the client's own: somebody else's is to see what
        comes. Then all that is left to do is to close that, which takes the time by it.
        """
        if self.is_stream_consumed or self.is_closed or "content-encoding" in self.headers:
            return False
        if type(self.stream) is not wrapper:
            return False
        inner: Any = getattr(self.stream, "_stream", None)  # what it is around
        if inner is not self.pooled:
            return False
        content: bytes | None = inner.take_whole()
        if content is None:
            return False
        self.is_stream_consumed = self.is_closed = True
        self._content, self._num_bytes_downloaded = content, len(content)
        return True

    def _unwind(self) -> None:
        """Let go of the client's wrapper, closed by now: httpx's refers back, a circle for each answer."""
        if hasattr(self, "_elapsed"):  # httpx2's does not, and keeps the time
            self.stream = self.pooled


def answer_type(library: Any) -> type:
    """Make the response class for a library."""
    theirs: Any = library.Response
    # Not by `library.Client.__module__`: the libraries have their public names say that they are elsewhere.
    client = getattr(library, "_client", None)
    wrapper, async_wrapper = (getattr(client, f"Bound{kind}Stream", None) for kind in ("Sync", "Async"))

    class Response(_Answer, theirs):  # type: ignore[misc]  # known at run time only
        def read(self) -> bytes:
            if not hasattr(self, "_content"):
                if self._take_whole(wrapper):
                    self.stream.close()
                else:
                    theirs.read(self)
                self._unwind()
            return self._content

        async def aread(self) -> bytes:
            if not hasattr(self, "_content"):
                if self._take_whole(async_wrapper):
                    await self.stream.aclose()
                else:
                    await theirs.aread(self)
                self._unwind()
            return self._content

        def __reduce__(self) -> tuple[object, ...]:
            # A pickle of it is one of the library's: whoever reads it need not know of us.
            state = cast("dict[str, object]", self.__getstate__())
            state.pop("pooled", None)
            return object.__new__, (theirs,), state

    Response.__qualname__ = "Response"
    Response.__module__ = theirs.__module__
    return Response
