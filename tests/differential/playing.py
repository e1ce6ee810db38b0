"""One scenario, played with a plain client and with a pooled one: what each of them sees."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

import anyio
import anyio.lowlevel
import attrs
import httpx
import httpx2
import trio

from pool_manager import PoolConfig, PoolManager
from tests.support.certificates import Certificates
from tests.support.scripted import MOMENT, Gate, ScriptedServer
from tests.support.scripted_http1 import ScriptedHttp1
from tests.support.scripted_http2 import Http2Peer

Story: TypeAlias = Callable[[Any], Any]
Answered: TypeAlias = tuple[object, ...]

PATIENCE: Final = 10.0  # seconds; longer means that something hangs
BROKEN: Final = {"ConnectError", "ReadError", "RemoteProtocolError", "WriteError"}
MOMENTS: Final = (0.05, 1.0)
TURNS: Final = 10  # of the loop, in which it notices what had arrived
SHORT: Final = 60  # bytes of a body that are told as they are


@attrs.frozen
class Ask:
    """
    One request of a client.

    Attributes:
        body: It is sent as a whole, as a tuple of parts, or not at all.

        first: Take so many bytes of the answer and close it; None: read it to its end.

        waits: What it does not wait for much longer than a moment: "read", "write".

        extra: What else `build_request` is given.
    """

    method: str = "GET"
    path: str = "/"
    body: bytes | tuple[bytes, ...] | None = None
    first: int | None = None
    waits: tuple[str, ...] = ()
    extra: Mapping[str, Any] = MappingProxyType({})


@attrs.frozen(kw_only=True)
class Scenario:
    """
    What a server does, and what clients ask of it, one request after the other.

    Attributes:
        stories: What the server does on each connection; after that it behaves.

        news: What it does on the first one when that is idle, after its first answer was read; instead of
            *stories*.

        asks: Each is sent when nothing is on its way any more.

        broken: The connection breaks in a way that reaches a client now as this error, now as that.

        kind: Who speaks.

        tls: Whether the server does.

        proxy: Whether it is used as a proxy.

        settings: What else clients are made with.
    """

    stories: tuple[Story, ...] = ()
    news: Story | None = None
    asks: tuple[Ask, ...] = (Ask(), Ask(path="/after"))
    broken: bool = False
    kind: type[ScriptedServer[Any]] = ScriptedHttp1
    tls: bool = False
    proxy: bool = False
    settings: Mapping[str, Any] = MappingProxyType({})

    @property
    def moments(self) -> tuple[float, ...]:
        """Seconds that are a moment; on a busy machine only the last may be long enough for all else."""
        return MOMENTS if any(ask.waits for ask in self.asks) else MOMENTS[-1:]


@attrs.frozen
class Seen:
    """
    What came of it.

    Attributes:
        answers: Of each request its error, or status, reason, version, headers, and body or its error.

        requests: How many the server saw.
    """

    answers: tuple[Answered, ...]
    requests: int

    def __str__(self) -> str:
        """Give what a reader wants to know of it."""
        told = "; ".join(_told(answer) for answer in self.answers)
        return f"{told}; {self.requests} seen"


def _told(answer: Answered) -> str:
    first, last = answer[0], answer[-1]
    if isinstance(last, str):
        return str(first) if last is first else f"{first}, then {last}"
    return str(first) if last in {(b"ok", 2), (b"", 0)} else f"{first} {last[0]!r}"


@attrs.frozen
class Stack:
    """
    Where clients run.

    Attributes:
        library: httpx or httpx2.

        runtime: "threads", "asyncio" or "trio".
    """

    library: Any
    runtime: str

    def __str__(self) -> str:
        return f"{self.library.__name__}-{self.runtime}"

    def play(self, scenario: Scenario, certificates: Certificates, moment: float, *, pooled: bool) -> Seen:
        """Play *scenario* with a client of this stack, to which *moment* seconds are a moment."""
        idle = _Idle()
        stories = scenario.stories if scenario.news is None else [idle.story(scenario.news)]
        with scenario.kind(*stories, certificates=certificates if scenario.tls else None) as server:
            part = _Part(self.library, scenario, server, idle, moment)
            settings = part.settings(certificates)
            if self.runtime == "threads":
                answers = part.play(settings, pooled=pooled)
            elif self.runtime == "trio":
                answers = trio.run(part.aplay, settings, pooled)
            else:
                answers = asyncio.run(part.aplay(settings, pooled))
            server.settle()
            return Seen(tuple(answers), len(server.requests))


# On trio it is one for both libraries: the same httpcore below, and the same engine of ours.
STACKS: Final = [
    *[Stack(library, runtime) for library in (httpx, httpx2) for runtime in ("threads", "asyncio")],
    Stack(httpx2, "trio"),
]


@attrs.frozen
class _Part:
    """The client's part."""

    library: Any
    scenario: Scenario
    server: ScriptedServer[Any]
    idle: _Idle
    moment: float

    def settings(self, certificates: Certificates) -> dict[str, Any]:
        """Give what a client is made with."""
        is_http1 = self.scenario.kind is ScriptedHttp1
        base = {"proxy": self.server.url} if self.scenario.proxy else {"base_url": self.server.url}
        return {
            "timeout": PATIENCE,
            "http1": is_http1 or self.scenario.tls,
            "http2": not is_http1,
            "trust_env": False,
            # Making a context takes long, and nobody looks at it in the clear.
            "verify": _context(certificates),
            **base,
            **self.scenario.settings,
        }

    def play(self, settings: dict[str, Any], *, pooled: bool) -> list[Answered]:
        """Play it in this thread."""
        with _makes(self.library.Client, pooled=pooled) as make, make(**settings) as client:
            return [self._answer(client, ask) for ask in self.scenario.asks]

    async def aplay(self, settings: dict[str, Any], pooled: bool) -> list[Answered]:
        """Play it in this loop."""
        with _makes(self.library.AsyncClient, pooled=pooled) as make, anyio.fail_after(2 * PATIENCE):
            async with make(**settings) as client:
                return [await self._aanswer(client, ask) for ask in self.scenario.asks]

    def _answer(self, client: Any, ask: Ask) -> Answered:
        body = iter(ask.body) if isinstance(ask.body, tuple) else ask.body
        try:
            response = client.send(self._request(client, ask, body), stream=True)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is to be the same
            return self._error(error)
        try:
            if ask.first is None:
                response.read()
            elif ask.first:
                next(response.iter_raw(ask.first))
            read = _body(response, ask)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is to be the same
            read = self._error(error)[0]
        finally:
            response.close()
        self._settle()
        return self._head(response, read)

    async def _aanswer(self, client: Any, ask: Ask) -> Answered:
        body = _parts(ask.body) if isinstance(ask.body, tuple) else ask.body
        try:
            response = await client.send(self._request(client, ask, body), stream=True)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is to be the same
            return self._error(error)
        try:
            if ask.first is None:
                await response.aread()
            elif ask.first:
                await anext(response.aiter_raw(ask.first))
            read = _body(response, ask)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is to be the same
            read = self._error(error)[0]
        finally:
            await response.aclose()
        self._settle()
        for _ in range(TURNS):
            await anyio.lowlevel.checkpoint()
        return self._head(response, read)

    def _settle(self) -> None:
        """Have the server do what it does now, before anything else is asked."""
        if self.scenario.news is not None:
            self.idle.pass_on()
        self.server.settle()

    def _request(self, client: Any, ask: Ask, body: object) -> Any:
        request = client.build_request(ask.method, ask.path, content=body, **ask.extra)
        request.extensions["timeout"].update(dict.fromkeys(ask.waits, self.moment))
        return request

    def _error(self, error: Exception) -> Answered:
        """Give its name in the library, or in full if it is none of that; what a proxy said, too."""
        name = next(
            (
                kind.__name__
                for kind in type(error).__mro__
                if getattr(self.library, kind.__name__, None) is kind
            ),
            f"{type(error).__module__}.{type(error).__name__}",
        )
        if self.scenario.broken and name in BROKEN:
            name = "a broken connection"
        return (f"{name}: {error}" if name == "ProxyError" else name,)

    def _head(self, response: Any, read: object) -> Answered:
        return (
            response.status_code,
            response.reason_phrase,
            response.http_version,
            tuple(response.headers.raw),
            tuple(past.status_code for past in response.history),
            read,
        )


def _body(response: Any, ask: Ask) -> tuple[object, ...]:
    """Give the body, as far as it was asked for: itself, or its length and its sum."""
    if ask.first is not None:
        return ("closed",)
    content: bytes = response.content
    downloaded = response.num_bytes_downloaded
    if len(content) <= SHORT:
        return content, downloaded
    return len(content), hashlib.sha256(content).hexdigest(), downloaded


async def _parts(parts: tuple[bytes, ...]) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


class _Idle:
    """Lets a server do something unasked when its first answer was read, and the client go on after that."""

    def __init__(self) -> None:
        self._read, self._done = Gate(), Gate()

    def story(self, news: Story) -> Story:
        """Answer a request; when the client has read that, do *news*."""

        def story(peer: Any) -> None:
            request = peer.read_request()
            peer.answer(*[request][: isinstance(peer, Http2Peer)])
            peer.wait(self._read)
            try:
                news(peer)
            finally:
                self._done.open()

        return story

    def pass_on(self) -> None:
        """Have it done."""
        self._read.open()
        deadline = time.monotonic() + PATIENCE
        while not self._done.is_open:
            assert time.monotonic() < deadline
            time.sleep(MOMENT)


@contextlib.contextmanager
def _makes(kind: type[Any], *, pooled: bool) -> Iterator[Callable[..., Any]]:
    if not pooled:
        yield kind
        return
    with PoolManager(PoolConfig(trust_env=False)) as manager:
        yield lambda **settings: manager.client(kind, **settings)


@functools.cache
def _context(certificates: Certificates) -> ssl.SSLContext:
    return certificates.client_context()
