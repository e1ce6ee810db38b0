r"""
One small ASGI app for every test, without a framework.

Paths are matched by their end, so any prefix (an SDK's `base_url`) will do.
`/` and these are served; the rest is 404:

    /echo                        what the request was, as JSON
    /bytes/{n}                   n bytes
    /payload                     five megabytes; see `payload`
    /stream/{n}/{ms}             n chunks "chunk 0\n" ..., one every ms milliseconds
    /held/{gate}                 a part, and the rest when the gate is opened
    /waiting/{gate}              an answer when the gate is opened
    /open/{gate}                 opens it, for who waits and who comes later; it stays open
    /slow/{ms}                   an answer after ms milliseconds
    /status/{code}               that status
    /cookies/set/{name}/{value}  a Set-Cookie header
    /cookies                     the Cookie header, as JSON
    /redirect/{n}                n redirects, then /echo
    /gzip                        JSON, compressed
    /sse                         three server-sent events
    /early-hints                 103, then an answer (hypercorn alone can)
    /websocket                   what came, over a WebSocket, until it is closed
    .../chat/completions, .../models, .../v1/messages, .../v1/devboxes[/{id}]
                                 see `sdk_answers`
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import re
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Mapping
from http import HTTPStatus
from typing import cast

import attrs
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope, Scope

from tests.support import sdk_answers
from tests.support.payload import PAYLOAD
from tests.support.server import SeenRequest

JSON = "application/json"
GATES: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)


class Recorder:
    """The requests that arrived, in order."""

    def __init__(self) -> None:
        self._requests: list[SeenRequest] = []
        self._first = 0  # number of the first request that still counts

    def arrived(self, request: SeenRequest) -> int:
        """Note a request whose body is still to come; give its number."""
        self._requests.append(request)
        return self._first + len(self._requests) - 1

    def body_read(self, number: int, sha256: str) -> None:
        """Note the body of request *number*, unless it was forgotten meanwhile."""
        if (index := number - self._first) >= 0:
            self._requests[index] = attrs.evolve(self._requests[index], body_sha256=sha256)

    def requests(self) -> tuple[SeenRequest, ...]:
        """Give all requests since the last `forget`."""
        return tuple(self._requests)

    def forget(self) -> None:
        """Count from zero."""
        self._first += len(self._requests)
        self._requests.clear()


@attrs.define
class Exchange:
    """One request with its body, and the way to answer it."""

    request: SeenRequest
    body: bytes
    send: ASGISendCallable

    async def start(self, status: int, headers: Iterable[tuple[str, str]]) -> None:
        """Send the head of the answer."""
        raw = [(name.encode(), value.encode()) for name, value in headers]
        await self.send({"type": "http.response.start", "status": status, "headers": raw})

    async def chunk(self, data: bytes, *, last: bool = False) -> None:
        """Send some of the body; nothing of it where the request is a HEAD, which not each server sees to."""
        data = b"" if self.request.method == "HEAD" else data
        await self.send({"type": "http.response.body", "body": data, "more_body": not last})

    async def answer(
        self, body: bytes, *, status: int = 200, kind: str = JSON, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Send all of the answer."""
        length = ("content-length", str(len(body)))
        await self.start(status, [("content-type", kind), length, *headers])
        await self.chunk(body, last=True)

    async def answer_json(
        self, value: object, *, status: int = 200, headers: Iterable[tuple[str, str]] = ()
    ) -> None:
        """Send *value* as JSON."""
        await self.answer(json.dumps(value).encode(), status=status, headers=headers)

    async def events(self, events: Iterable[bytes]) -> None:
        """Send server-sent events, each in a chunk of its own."""
        await self.start(200, [("content-type", "text/event-stream")])
        for event in events:
            await self.chunk(event)
        await self.chunk(b"", last=True)


async def root(exchange: Exchange) -> None:
    await exchange.answer_json({"ok": True})


async def echo(exchange: Exchange) -> None:
    request = exchange.request
    path, _, query = request.path.partition("?")
    await exchange.answer_json(
        {
            "method": request.method,
            "path": path,
            "query": query,
            "http_version": request.http_version,
            "headers": request.headers,
            "body_length": len(exchange.body),
            "body_sha256": request.body_sha256,
            "client": request.client,
        }
    )


async def some_bytes(exchange: Exchange, count: str) -> None:
    await exchange.answer(b"x" * int(count), kind="application/octet-stream")


async def payload(exchange: Exchange) -> None:
    await exchange.answer(PAYLOAD, kind="application/octet-stream")


async def stream(exchange: Exchange, count: str, pause: str) -> None:
    await exchange.start(200, [("content-type", "text/plain")])
    for number in range(int(count)):
        await asyncio.sleep(int(pause) / 1000)
        await exchange.chunk(b"chunk %d\n" % number)
    await exchange.chunk(b"", last=True)


async def held(exchange: Exchange, name: str) -> None:
    await exchange.start(200, [("content-type", "text/plain")])
    await exchange.chunk(b"first;")
    await GATES[name].wait()
    await exchange.chunk(b"last", last=True)


async def waiting(exchange: Exchange, name: str) -> None:
    await GATES[name].wait()
    await exchange.answer_json({"waited": name})


async def open_gate(exchange: Exchange, name: str) -> None:
    GATES[name].set()
    await exchange.answer_json({"opened": name})


async def slow(exchange: Exchange, pause: str) -> None:
    await asyncio.sleep(int(pause) / 1000)
    await exchange.answer_json({"slept": int(pause)})


async def status(exchange: Exchange, code: str) -> None:
    bodiless = int(code) in {HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED}
    if bodiless:
        await exchange.start(int(code), [])
        await exchange.chunk(b"", last=True)
    else:
        await exchange.answer_json({"status": int(code)}, status=int(code))


async def set_cookie(exchange: Exchange, name: str, value: str) -> None:
    await exchange.answer_json({name: value}, headers=[("set-cookie", f"{name}={value}; Path=/")])


async def cookies(exchange: Exchange) -> None:
    await exchange.answer_json({"cookie": exchange.request.header("cookie")})


async def redirect(exchange: Exchange, left: str) -> None:
    path = "/echo" if int(left) <= 1 else f"/redirect/{int(left) - 1}"
    await exchange.answer(b"", status=HTTPStatus.FOUND, headers=[("location", path)])


async def zipped(exchange: Exchange) -> None:
    body = gzip.compress(json.dumps({"gzipped": True}).encode())
    await exchange.answer(body, headers=[("content-encoding", "gzip")])


async def sse(exchange: Exchange) -> None:
    await exchange.events(sdk_answers.event({"number": number}) for number in range(3))


async def early_hints(exchange: Exchange) -> None:
    await exchange.send({"type": "http.response.early_hint", "links": [b"</style.css>; rel=preload"]})
    await exchange.answer_json({"hinted": True})


async def chat_completions(exchange: Exchange) -> None:
    if wants_stream(exchange.body):
        await exchange.events(sdk_answers.chat_completion_events())
    else:
        await exchange.answer_json(sdk_answers.CHAT_COMPLETION)


async def models(exchange: Exchange) -> None:
    await exchange.answer_json(sdk_answers.MODELS)


async def messages(exchange: Exchange) -> None:
    if wants_stream(exchange.body):
        await exchange.events(sdk_answers.message_events())
    else:
        await exchange.answer_json(sdk_answers.MESSAGE)


async def devboxes(exchange: Exchange) -> None:
    found = [sdk_answers.devbox("dbx_1"), sdk_answers.devbox("dbx_2")]
    await exchange.answer_json({"devboxes": found, "has_more": False, "total_count": 2})


async def devbox(exchange: Exchange, name: str) -> None:
    await exchange.answer_json(sdk_answers.devbox(name))


async def nothing(exchange: Exchange) -> None:
    error = {"message": f"no {exchange.request.path} here"}
    await exchange.answer_json({"error": error}, status=HTTPStatus.NOT_FOUND)


Handler = Callable[..., Awaitable[None]]

# Method (a pattern), path, who answers. The first match wins.
ROUTES: tuple[tuple[str, str, Handler], ...] = (
    (".*", r"/echo", echo),
    (".*", r"/bytes/(\d+)", some_bytes),
    (".*", r"/payload", payload),
    (".*", r"/stream/(\d+)/(\d+)", stream),
    (".*", r"/held/([^/]+)", held),
    (".*", r"/waiting/([^/]+)", waiting),
    (".*", r"/open/([^/]+)", open_gate),
    (".*", r"/slow/(\d+)", slow),
    (".*", r"/status/(\d+)", status),
    (".*", r"/cookies/set/([^/]+)/([^/]+)", set_cookie),
    (".*", r"/cookies", cookies),
    (".*", r"/redirect/(\d+)", redirect),
    (".*", r"/gzip", zipped),
    (".*", r"/sse", sse),
    (".*", r"/early-hints", early_hints),
    ("POST", r"/chat/completions", chat_completions),
    ("GET", r"/models", models),
    ("POST", r"/v1/messages", messages),
    ("GET", r"/v1/devboxes", devboxes),
    ("GET", r"/v1/devboxes/([^/]+)", devbox),
    (".*", r"^/", root),
)


def handler_of(method: str, path: str) -> tuple[Handler, tuple[str, ...]]:
    """Find who answers, and what the path says to them."""
    for methods, pattern, handler in ROUTES:
        found = re.search(pattern + "$", path) if re.fullmatch(methods, method) else None
        if found is not None:
            return handler, found.groups()
    return nothing, ()


def wants_stream(body: bytes) -> bool:
    """Tell whether a JSON body has `"stream": true`."""
    value: object = json.loads(body or b"null")
    return isinstance(value, Mapping) and cast("Mapping[str, object]", value).get("stream") is True


def seen_request(scope: HTTPScope) -> SeenRequest:
    """Say what a scope says, in our words."""
    query = scope["query_string"].decode()
    host, port = scope["client"] or ("", 0)
    return SeenRequest(
        method=scope["method"],
        path=scope["raw_path"].decode().partition("?")[0] + (f"?{query}" if query else ""),
        http_version=scope["http_version"],
        client=f"{host}:{port}",
        headers=tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in scope["headers"]),
    )


async def read_body(receive: ASGIReceiveCallable) -> bytes | None:
    """Read the body to its end; None if the client left before that."""
    body = b""
    while True:
        event = await receive()
        if event["type"] != "http.request":
            return None
        body += event["body"]
        if not event["more_body"]:
            return body


async def echo_messages(receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
    """Accept a WebSocket and send each message back."""
    await receive()  # "websocket.connect"
    await send({"type": "websocket.accept", "subprotocol": None, "headers": []})
    while (event := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "bytes": event.get("bytes"), "text": event.get("text")})


class App:
    """The app, and the record of what it was asked."""

    def __init__(self) -> None:
        self.recorder = Recorder()

    async def __call__(self, scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        """Record the request, read its body, answer."""
        if scope["type"] == "websocket" and scope["path"].endswith("/websocket"):
            await echo_messages(receive, send)
        if scope["type"] != "http":
            return
        request = seen_request(scope)
        number = self.recorder.arrived(request)
        body = await read_body(receive)
        if body is None:
            return
        sha256 = hashlib.sha256(body).hexdigest()
        self.recorder.body_read(number, sha256)
        handler, arguments = handler_of(request.method, scope["path"])
        await handler(Exchange(attrs.evolve(request, body_sha256=sha256), body, send), *arguments)
