"""The pool changes nothing that a user could trip over: each case is run plain, and pooled in each way."""

from __future__ import annotations

import functools
import gzip
from collections.abc import AsyncIterator, Callable, Iterator
from types import ModuleType
from typing import Any, Final, TypeAlias

import httpx
import httpx2
import pytest

from pool_manager import Limits, PoolConfig, PoolManager
from tests.support.counting_server import Answer, CountedRequest, CountingServer
from tests.support.sdks import CLIENTS, Run

Seen: TypeAlias = list[object]
Make: TypeAlias = Callable[..., Any]

CHALLENGE: Final = 'Digest realm="x", qop="auth", algorithm=SHA-256, nonce="abc", opaque="def"'
TEXT: Final = "one\ntwo\nthr\u00e9e\n".encode()


def answer(request: CountedRequest) -> Answer:
    """Answer by the path."""
    path, _, _ = request.path.partition("?")
    plain: dict[str, Answer] = {
        "/cookie": Answer(headers=(("set-cookie", "a=1; Path=/"), ("set-cookie", "b=2; Path=/"))),
        "/gzip": Answer(headers=(("content-encoding", "gzip"),), body=gzip.compress(TEXT, mtime=0)),
        "/bad-gzip": Answer(headers=(("content-encoding", "gzip"),), body=b"no gzip at all"),
        "/latin": Answer(headers=(("content-type", "text/plain; charset=latin-1"),), body=b"\xe9"),
        "/see-other": Answer(status=303, headers=(("location", "/echo"),)),
        "/keep-method": Answer(status=308, headers=(("location", "/echo"),)),
        "/circle": Answer(status=302, headers=(("location", "/circle"),)),
        "/nowhere": Answer(status=302, headers=(("location", "ftp://x/"),)),
        "/empty": Answer(status=204, body=b""),
        "/lines": Answer(body=TEXT),
        "/long": Answer(body=bytes(8_000_000)),
        "/slow": Answer(delay=0.5),
        "/broken": Answer(close="halfway"),
        "/gone": Answer(close="instead"),
        "/digest": Answer(status=401, headers=(("www-authenticate", CHALLENGE),)),
        "/denied": Answer(
            status=401, headers=(("www-authenticate", 'Basic realm="x"'), ("connection", "close"))
        ),
    }
    if path == "/digest" and any(value.startswith("Digest ") for _, value in request.headers):
        return Answer(body=b"let in")
    if path in plain:
        return plain[path]
    known = sorted((name, value) for name, value in request.headers if name != "host")
    return Answer(body=repr((request.method, request.path, known, request.body)).encode())


class Session:
    """A client of either colour, asked as if it were sync; keeps what was seen."""

    def __init__(self, kind: type[Any], url: str, run: Run, make: Make | None = None) -> None:
        self.kind, self.url, self.run = kind, url, run
        self._make: Make = make or kind
        self.is_async = hasattr(kind, "aclose")
        self.library: Any = httpx if issubclass(kind, httpx.Client | httpx.AsyncClient) else httpx2

    def make(self, **kwargs: Any) -> Any:
        """Make a client."""
        return self._make(base_url=self.url, **kwargs)

    def end(self, client: Any) -> None:
        """Close it."""
        self.run(client.aclose() if self.is_async else client.close())

    def ask(self, client: Any, method: str, path: str, **kwargs: Any) -> object:
        """Send a request; give what a user sees of its answer or its error."""
        return self.told(lambda: self.run(client.request(method, path, **kwargs)))

    def told(self, deed: Callable[[], Any]) -> object:
        """Give what a user sees of what *deed* brings."""
        try:
            found = deed()
        except Exception as error:  # noqa: BLE001 - whatever it is, it is to be the same
            return self.error(error)
        return self.answer(found) if isinstance(found, self.library.Response) else found

    def error(self, error: Exception) -> object:
        """Give what a user sees of an error."""
        kinds = [kind.__name__ for kind in type(error).__mro__ if kind.__module__.startswith("http")]
        request = getattr(error, "_request", None)
        return "raised", kinds or type(error), None if request is None else (request.method, request.url.path)

    def answer(self, response: Any) -> object:
        """Give what a user sees of an answer."""
        headers = [(name, value) for name, value in response.headers.multi_items() if name != "date"]
        return (
            response.status_code, response.reason_phrase, response.http_version, headers, response.text,
            response.content, response.encoding, response.is_closed, response.is_stream_consumed,
            response.has_redirect_location, [self.answer(past) for past in response.history],
            response.request.method, response.request.url.path, dict(response.cookies), response.is_success,
            response.num_bytes_downloaded, [*response.iter_lines()], isinstance(response.stream, object),
        )  # fmt: skip

    def open(self, client: Any, path: str) -> Any:
        """Send a request and leave the answer open."""
        return self.run(client.send(client.build_request("GET", path), stream=True))

    def parts(self, response: Any, how: str, *args: object) -> object:
        """Read an answer by one of its iterators."""

        async def gather() -> list[object]:
            return [part async for part in getattr(response, f"a{how}")(*args)]

        read = gather if self.is_async else lambda: [*getattr(response, how)(*args)]
        return self.told(lambda: self.run(read()))

    def shut(self, response: Any) -> None:
        """Close an answer."""
        self.run(response.aclose() if self.is_async else response.close())


def cookies(session: Session) -> Seen:
    """The jar: filled by answers, sent, kept apart, changed by hand."""
    one, two = session.make(cookies={"own": "0"}), session.make()
    seen = [session.ask(one, "GET", path) for path in ("/cookie", "/echo")]
    one.cookies.set("hand", "3")
    seen += [session.ask(one, "GET", "/echo"), session.ask(two, "GET", "/echo"), dict(one.cookies)]
    session.end(one)
    session.end(two)
    return seen


def redirects(session: Session) -> Seen:
    """Methods, bodies, circles and schemes that nobody follows."""
    client = session.make(follow_redirects=True, max_redirects=3)
    seen = [
        session.ask(client, method, path, content=b"body")
        for method in ("GET", "POST", "PUT")
        for path in ("/see-other", "/keep-method", "/circle", "/nowhere")
    ]
    session.end(client)
    return seen


def methods(session: Session) -> Seen:
    """Every method, an answer without a body, and headers in every order."""
    client = session.make(headers=[("X-B", "2"), ("x-a", "1"), ("X-B", "3")], params={"p": "1"})
    seen = [
        session.ask(client, method, "/echo")
        for method in ("GET", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND")
    ]
    seen += [session.ask(client, "GET", path) for path in ("/empty", "/latin", "/gzip", "/bad-gzip")]
    session.end(client)
    return seen


def auth(session: Session) -> Seen:
    """Basic credentials, of the client, the request and the URL; digests; a flow that reads the answer."""
    library = session.library

    class Again(library.Auth):  # type: ignore[misc]  # known at run time only
        requires_response_body = True

        def auth_flow(self, request: Any) -> Any:
            response = yield request
            request.headers["x-seen"] = str(response.status_code)
            yield request

    client = session.make(auth=("user", "password"))
    seen = [session.ask(client, "GET", "/echo"), session.ask(client, "GET", "/echo", auth=Again())]
    digest = library.DigestAuth("u", "p")
    seen += [session.ask(client, "GET", path, auth=digest) for path in ("/denied", "/digest", "/digest")]
    seen += [session.ask(client, "GET", session.url.replace("//", "//in:url@") + "/echo")]
    session.end(client)
    return seen


def uploads(session: Session) -> Seen:
    """Bodies in parts, with and without a length; one that fails in the middle; one of the wrong colour."""

    def sync(*, fails: bool = False) -> Iterator[bytes]:
        yield b"one "
        if fails:
            raise KeyError
        yield b"two"

    async def later(*, fails: bool = False) -> AsyncIterator[bytes]:
        for part in sync(fails=fails):
            yield part

    right, wrong = (later, sync) if session.is_async else (sync, later)
    client = session.make()
    seen = [
        session.ask(client, "POST", "/echo", content=right()),
        session.ask(client, "POST", "/echo", content=right(), headers={"content-length": "7"}),
        session.ask(client, "POST", "/echo", content=right(fails=True)),
        session.ask(client, "POST", "/echo", content=wrong()),
        session.ask(client, "POST", "/keep-method", content=right(), follow_redirects=True),
        session.ask(client, "GET", "/echo"),
    ]
    session.end(client)
    return seen


def bad_requests(session: Session) -> Seen:
    """What cannot be sent: headers, methods, URLs, schemes."""
    client = session.make()
    seen = [
        session.ask(client, "GET", "/echo", headers={"x": "a\r\nb: c"}),
        session.ask(client, "GET", "/echo", headers={"x y": "z"}),
        session.ask(client, "GE T", "/echo"),
        session.ask(client, "GET", "ftp://x/"),
        session.ask(client, "GET", "http://"),
        session.ask(client, "GET", "http://127.0.0.1:1/"),
        session.ask(client, "GET", "/echo"),
    ]
    session.end(client)
    return seen


def streams(session: Session) -> Seen:
    """Each way to read an answer; reading twice, after the close, and before."""
    client = session.make()
    seen: Seen = []
    for how, *args in (
        ("iter_bytes",),
        ("iter_bytes", 3),
        ("iter_text", 4),
        ("iter_lines",),
        ("iter_raw", 5),
    ):
        for path in ("/lines", "/gzip"):
            response = session.open(client, path)
            seen += [response.is_closed, session.told(lambda it=response: it.text)]
            parts = session.parts(response, how, *args)
            # How raw bytes are cut where nobody asks is the network's business.
            seen += [parts, response.is_closed, session.parts(response, how, *args)]
            session.shut(response)
    early = session.open(client, "/lines")
    session.shut(early)
    seen += [early.is_closed, session.parts(early, "iter_bytes"), session.told(lambda: early.content)]
    broken = session.open(client, "/broken")
    seen += [isinstance(session.parts(broken, "iter_bytes"), tuple), broken.is_closed]
    session.shut(broken)
    session.end(client)
    return seen


def hooks(session: Session) -> Seen:
    """Event hooks see what they saw, may read, and may raise."""
    seen: Seen = []

    def look(thing: Any) -> None:
        seen.append((type(thing).__name__, getattr(thing, "status_code", None), thing.headers.get("x-hook")))

    def change(request: Any) -> None:
        request.headers["x-hook"] = "was here"

    async def alook(thing: Any) -> None:
        look(thing)

    async def achange(request: Any) -> None:
        change(request)

    def refuse(response: Any) -> None:
        response.raise_for_status()

    async def arefuse(response: Any) -> None:
        refuse(response)

    on_request = [achange, alook] if session.is_async else [change, look]
    on_answer = [alook, arefuse] if session.is_async else [look, refuse]
    client = session.make(event_hooks={"request": on_request, "response": on_answer})
    seen += [session.ask(client, "GET", path) for path in ("/echo", "/denied", "/echo")]
    session.end(client)
    return seen


def timeouts(session: Session) -> Seen:
    """A read that takes too long, and a queue that does; the next request works."""
    library = session.library
    client = session.make(timeout=library.Timeout(5, pool=0.05), limits=library.Limits(max_connections=1))
    seen = [session.ask(client, "GET", "/slow", timeout=0.05)]
    kept = session.open(client, "/long")  # one that is all there would keep no connection of the pool's
    seen += [session.ask(client, "GET", "/echo")]
    session.shut(kept)
    seen += [session.ask(client, "GET", "/echo"), repr(client.timeout)]
    session.end(client)
    return seen


def network(session: Session) -> Seen:
    """The extensions of an answer: whom it came from."""
    client = session.make()
    response = session.open(client, "/lines")
    stream = response.extensions["network_stream"]
    seen: Seen = [stream.get_extra_info("server_addr"), stream.get_extra_info("ssl_object")]
    seen += [stream.get_extra_info("client_addr")[0], stream.get_extra_info("nothing")]
    session.shut(response)
    session.end(client)
    return seen


CASES: Final = (
    cookies, redirects, methods, auth, uploads, bad_requests, streams, hooks, timeouts, network,
)  # fmt: skip


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a test begin without proxies and the kill switch."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "POOL_MANAGER_DISABLED"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize("kind", CLIENTS, ids=lambda kind: f"{kind.__module__}.{kind.__name__}")
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_the_same_is_seen(
    case: Callable[[Session], Seen], kind: type[Any], counting_server: CountingServer, run: Run
) -> None:
    """Whatever is done with clients, their user sees the same with `install` as without."""
    counting_server.respond = answer
    expected = case(Session(kind, counting_server.url, run))
    with PoolManager(PoolConfig(trust_env=False)) as manager, manager.install():
        found = case(Session(kind, counting_server.url, run))
        assert manager.stats().leases_taken > 0
        assert manager.stats().leases_taken == manager.stats().leases_returned
    assert found == expected


@pytest.mark.parametrize(
    ("way", "kind"),
    [*(("client", kind) for kind in CLIENTS), ("attach", httpx.AsyncClient), ("attach", httpx2.Client)],
)
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.__name__)
def test_the_same_is_seen_of_one_client(
    case: Callable[[Session], Seen], kind: type[Any], way: str, counting_server: CountingServer, run: Run
) -> None:
    """The same with a client that `client` has made, or `attach` has put on the pool."""
    counting_server.respond = answer
    expected = case(Session(kind, counting_server.url, run))
    # What an attached client does not take along is its limits: the manager has those.
    limits = Limits(max_connections=1) if (way, case) == ("attach", timeouts) else None
    config = PoolConfig(trust_env=False)

    def attached(**settings: Any) -> Any:
        return manager.attach(kind(**settings), config=config)

    with PoolManager(config, limits=limits) as manager:
        make: Make = attached if way == "attach" else functools.partial(manager.client, kind)
        assert case(Session(kind, counting_server.url, run, make)) == expected
        assert manager.stats().leases_taken == manager.stats().leases_returned > 0


@pytest.mark.parametrize("library", [httpx, httpx2], ids=lambda library: library.__name__)
def test_the_top_level_functions_see_the_same(
    library: ModuleType, counting_server: CountingServer, run: Run
) -> None:
    """`httpx.get` and the others bring the same answers and errors with `install` as without."""
    counting_server.respond = answer
    session = Session(library.Client, counting_server.url, run)

    def case() -> Seen:
        url = counting_server.url
        seen = [
            session.told(
                lambda name=name, path=path: getattr(library, name)(url + path, follow_redirects=True)
            )
            for name in ("get", "post", "put", "patch", "delete", "options")
            for path in ("/echo", "/see-other", "/gone", "/empty")
        ]
        seen += [session.told(lambda: library.get(f"{url}/slow", timeout=0.05))]
        seen += [
            session.told(lambda: library.request("POST", f"{url}/echo", json={"a": 1}, cookies={"a": "b"}))
        ]
        seen += [
            session.told(lambda: library.get("ftp://x")),
            session.told(lambda: library.get("http://127.0.0.1:1")),
        ]
        with library.stream("GET", f"{url}/lines") as response:
            seen += [response.is_closed, [*response.iter_lines()]]
        return [*seen, response.is_closed]

    expected = case()
    with PoolManager(PoolConfig(trust_env=False)) as manager, manager.install():
        assert case() == expected
        assert manager.stats().leases_taken == manager.stats().leases_returned > 0
