"""
Four SDKs of one family (two on httpx2, two on httpx), sync and async, as one thing to test.

`FLAVOURS` are the eight classes. A test is written once for all of them: `Run`
waits for what the async ones answer, on one loop, and gives what the sync ones
answer as it is.
"""

from __future__ import annotations

import asyncio
import inspect
import socket
import threading
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from types import ModuleType, TracebackType
from typing import Any, Protocol, Self, TypeAlias, TypeVar, cast

import anthropic
import attrs
import groq
import httpx
import httpx2
import openai
import runloop_api_client
import trio
import uvloop
from hypercorn.asyncio import serve
from hypercorn.config import Config
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from pool_manager import PoolManager
from tests.support import sdk_answers
from tests.support.certificates import Certificates
from tests.support.counting_server import Answer, CountingServer

T = TypeVar("T")
Wait: TypeAlias = Callable[[object], object]
HttpClient: TypeAlias = httpx.Client | httpx.AsyncClient | httpx2.Client | httpx2.AsyncClient

CLIENTS: tuple[type[HttpClient], ...] = (httpx.Client, httpx.AsyncClient, httpx2.Client, httpx2.AsyncClient)

PATIENCE = 10.0  # seconds; longer means that something is stuck


class Sdk(Protocol):
    """What all Stainless classes have. The async ones answer with awaitables."""

    timeout: object
    max_retries: int

    def get(self, path: str, *, cast_to: type[object]) -> object:
        """Send a GET; give its JSON."""
        ...

    def post(self, path: str, *, cast_to: type[object], body: object) -> object:
        """Send a POST; give its JSON."""
        ...

    def copy(self, **options: object) -> Self:
        """Give an instance that differs in *options*."""
        ...

    def is_closed(self) -> bool:
        """Whether `close` was called."""
        ...

    def close(self) -> object:
        """Close it."""
        ...


@attrs.frozen
class Flavour:
    """
    One SDK class.

    Attributes:
        library: What its clients are made of.

        sdk: Its package.

        secret: The argument that becomes "Authorization: Bearer ...".

        ask: Where a POST gets a canned answer.
    """

    name: str
    sdk_class: Callable[..., object]
    is_async: bool
    sdk: ModuleType
    library: ModuleType
    secret: str
    ask: str

    def __str__(self) -> str:
        return self.name

    @property
    def default_client(self) -> type[HttpClient]:
        """The package's own kind of httpx client."""
        name = "DefaultAsyncHttpxClient" if self.is_async else "DefaultHttpxClient"
        return cast("type[HttpClient]", getattr(self.sdk, name))

    def options(self, url: str, key: str = "key", **options: object) -> dict[str, object]:
        """Give the arguments that make one that talks to *url*."""
        return {self.secret: key, "base_url": url, **options}

    def pooled(self, manager: PoolManager, url: str, key: str = "key", **options: object) -> Sdk:
        """Make one on the pool."""
        return cast("Sdk", manager.pooled(self.sdk_class, **self.options(url, key, **options)))

    def plain(self, url: str, key: str = "key", **options: object) -> Sdk:
        """Make one as its authors do."""
        return cast("Sdk", self.sdk_class(**self.options(url, key, **options)))


_SYNC = (
    Flavour("OpenAI", openai.OpenAI, False, openai, httpx2, "api_key", "/chat/completions"),  # noqa: FBT003
    Flavour("Anthropic", anthropic.Anthropic, False, anthropic, httpx2, "auth_token", "/v1/messages"),  # noqa: FBT003
    Flavour("Groq", groq.Groq, False, groq, httpx, "api_key", "/chat/completions"),  # noqa: FBT003
    Flavour("Runloop", runloop_api_client.Runloop, False, runloop_api_client, httpx, "bearer_token", "/echo"),  # noqa: FBT003
)


def _async_of(flavour: Flavour) -> Flavour:
    name = f"Async{flavour.name}"
    return attrs.evolve(flavour, name=name, sdk_class=getattr(flavour.sdk, name), is_async=True)


SYNC = _SYNC
ASYNC = tuple(_async_of(flavour) for flavour in SYNC)
FLAVOURS = SYNC + ASYNC
STREAMERS = tuple(flavour for flavour in FLAVOURS if flavour.sdk in {openai, anthropic})


def called(name: str) -> Flavour:
    """Give the flavour of that name."""
    return next(flavour for flavour in FLAVOURS if flavour.name == name)


def inner(sdk: object) -> HttpClient:
    """Give the httpx client inside an SDK."""
    return cast("HttpClient", vars(sdk)["_client"])


def close(client: HttpClient) -> object:
    """Close an httpx client; awaitable if it is async."""
    exact = cast("Any", client)
    return exact.aclose() if hasattr(exact, "aclose") else exact.close()


def library_of(kind: type[HttpClient]) -> ModuleType:
    """Give the library that *kind* is of."""
    return httpx2 if issubclass(kind, httpx2.Client | httpx2.AsyncClient) else httpx


def open_answer(client: HttpClient, url: str) -> object:
    """Ask, and leave the body of the answer unread; awaitable if the client is async."""
    exact = cast("Any", client)
    return exact.send(exact.build_request("GET", url), stream=True)


def answer_at_length(server: CountingServer) -> None:
    """Have `open_answer` hold its connection: more comes than is taken from the socket unread."""
    canned = server.respond
    long = Answer(body=bytes(16 * 1024 * 1024))
    server.respond = lambda request: long if request.path == "/" else canned(request)


def close_answer(answer: object) -> object:
    """Close an httpx response; awaitable if its client is async."""
    exact = cast("Any", answer)
    return exact.aclose() if hasattr(exact.stream, "aclose") else exact.close()


def leases_out(manager: PoolManager) -> int:
    """Count the leases that nobody has given back."""
    stats = manager.stats()
    return stats.leases_taken - stats.leases_returned


def echo(sdk: Sdk) -> object:
    """Ask the server what it sees of *sdk*."""
    return sdk.get("/echo", cast_to=object)


def post(sdk: Sdk, path: str = "/echo") -> object:
    """Send a POST that costs money."""
    return sdk.post(path, cast_to=object, body={"messages": []})


def headers_of(answer: object) -> dict[str, str]:
    """Give the headers that the server saw, by the answer of `/echo`."""
    pairs = cast("Mapping[str, Iterable[tuple[str, str]]]", answer)["headers"]
    return dict(pairs)


# Where async code runs


class Run:
    """One event loop for a whole test: waits for what is awaitable, gives the rest as it is."""

    def __init__(self, loop_factory: Callable[[], asyncio.AbstractEventLoop] | None = None) -> None:
        self._runner = asyncio.Runner(loop_factory=loop_factory)

    def __call__(self, value: object) -> object:
        """Give *value*, or what it comes to."""
        return self._runner.run(_wait(value)) if inspect.isawaitable(value) else value

    async def turn(self) -> None:
        """Let the loop do what it has to do by now."""
        await asyncio.sleep(0)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._runner.close()


async def _wait(value: Awaitable[object]) -> object:
    return await value


RUNTIMES: Mapping[str, Callable[[Callable[[], Coroutine[object, object, object]]], object]] = {
    "asyncio": lambda main: asyncio.run(main()),
    "uvloop": lambda main: uvloop.run(main()),
    "trio": trio.run,
}


async def all_of(functions: Iterable[Callable[[], Awaitable[T]]]) -> list[T]:
    """Call all of them at once, on asyncio or trio; give what they give, in their order."""
    todo = list(functions)
    results: dict[int, T] = {}

    async def one(number: int, function: Callable[[], Awaitable[T]]) -> None:
        results[number] = await function()

    if on_trio():
        async with trio.open_nursery() as nursery:
            for number, function in enumerate(todo):
                nursery.start_soon(one, number, function)
    else:
        async with asyncio.TaskGroup() as group:
            for number, function in enumerate(todo):
                group.create_task(one(number, function))
    return [results[number] for number in range(len(todo))]


def on_trio() -> bool:
    """Whether trio runs here."""
    return trio.lowlevel.in_trio_run()


def running() -> object:
    """Give the running loop, or what stands for a trio run."""
    return trio.lowlevel.current_trio_token() if on_trio() else asyncio.get_running_loop()


# Streams of events


def open_stream(sdk: Sdk) -> object:
    """Ask OpenAI or Anthropic for a streamed answer."""
    exact = cast("Any", sdk)
    message = {"role": "user", "content": "hello"}
    if hasattr(exact, "messages"):
        return exact.messages.create(model="canned", max_tokens=9, messages=[message], stream=True)
    return exact.chat.completions.create(model="canned", messages=[message], stream=True)


def next_text(stream: object) -> object:
    """Give the text of the next event, or "" if it has none; awaitable if the stream is async."""
    return _anext_text(stream) if hasattr(stream, "__anext__") else _text_of(next(cast("Any", stream)))


async def _anext_text(stream: object) -> str:
    return _text_of(await anext(cast("Any", stream)))


def _text_of(event: object) -> str:
    """Read a chunk of OpenAI's or an event of Anthropic's."""
    found = cast("Any", event).model_dump()
    delta = found["choices"][0]["delta"] if "choices" in found else found.get("delta") or {}
    return delta.get("content") or delta.get("text") or ""


def close_stream(stream: object) -> object:
    """Close it; awaitable if it is async."""
    return cast("Any", stream).close()


def echo_beside(stream: object, sdk: Sdk, run: Run, within: float = 2.0) -> object:
    """Do `echo` while *stream* is open; TimeoutError if that would have to be closed first."""
    if hasattr(stream, "__anext__"):
        return run(asyncio.wait_for(cast("Any", echo(sdk)), within))
    rescue = threading.Timer(within, close_stream, [stream])  # nothing else ends a hang of threads
    rescue.start()
    try:
        answer = echo(sdk)
        if rescue.finished.is_set():
            raise TimeoutError(f"no answer before the stream was closed after {within} s")
    finally:
        rescue.cancel()
        rescue.join()
    return answer


def rest_of(response: object) -> object:
    """Give what is left of an httpx response's body; awaitable if the response is async."""
    exact = cast("Any", response)
    return _arest_of(exact) if isinstance(exact.stream, _ASYNC_BODIES) else b"".join(exact.iter_bytes())


async def _arest_of(response: httpx.Response | httpx2.Response) -> bytes:
    return b"".join([part async for part in response.aiter_bytes()])


_ASYNC_BODIES = (httpx.AsyncByteStream, httpx2.AsyncByteStream)


# A server that answers step by step


class StepServer:
    """
    hypercorn in a thread: its event streams wait before each event until `step`.

    With certificates it speaks TLS and HTTP/2, without them HTTP/1.1. The head of
    an answer comes at once.
    """

    def __init__(self, certificates: Certificates | None = None, *, max_streams: int = 100) -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        port = listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}" if certificates is None else f"https://localhost:{port}"
        self._config = Config()
        self._config.bind = [f"fd://{listener.detach()}"]
        self._config.errorlog = None
        self._config.graceful_timeout = 0.1
        self._config.h2_max_concurrent_streams = max_streams
        if certificates is not None:
            self._config.certfile = str(certificates.server.cert_file)
            self._config.keyfile = str(certificates.server.key_file)
            self._config.alpn_protocols = ["h2", "http/1.1"]
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._run, name="step-server", daemon=True)
        self._thread.start()
        self._started.wait(PATIENCE)

    def step(self, count: int = 1) -> None:
        """Let so many events go out."""
        self._loop.call_soon_threadsafe(self._release, count)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.step(1000)  # whoever still waits shall not hold up the end
        self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join(PATIENCE)

    # From here on: the thread.

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(self._main())

    async def _main(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._permits = asyncio.Semaphore(0)
        self._started.set()
        await serve(self._app, self._config, shutdown_trigger=self._stopping.wait)

    def _release(self, count: int) -> None:
        for _ in range(count):
            self._permits.release()

    async def _app(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            return
        while (event := await receive())["type"] == "http.request" and event["more_body"]:
            pass
        head = [(b"content-type", b"text/event-stream")]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        for text in events_at(scope["path"]):
            await self._permits.acquire()
            await send({"type": "http.response.body", "body": text, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def events_at(path: str) -> list[bytes]:
    """Give the server-sent events of an SDK's path; none elsewhere."""
    if path.endswith("/chat/completions"):
        return list(sdk_answers.chat_completion_events())
    if path.endswith("/v1/messages"):
        return list(sdk_answers.message_events())
    return []
