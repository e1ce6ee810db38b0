"""
What a request holds is told to nobody: no log, error, warning, statistic or repr has any of it.

Keys are put wherever people put them (headers, cookies, queries, userinfo, a proxy's credentials), the
request fails in every way there is, and whatever the package then says is searched for them, in each
spelling. The path is told, and httpx's own logger tells the URL: neither is ours to hide.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gc
import io
import logging
import traceback
import warnings
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, quote_plus

import attrs
import httpx
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pool_manager import (
    Limits,
    Listener,
    PollingConfig,
    PollingTimeout,
    PoolConfig,
    PoolManager,
    Proxy,
    Retries,
    wait_for_status,
)
from pool_manager.core.messages import Request
from pool_manager.core.redacting import described, redacted, secrets_of
from pool_manager.observe.prometheus import metrics_text
from tests.support.clocks import FakeClock
from tests.support.scripted_http1 import Http1Peer, ScriptedHttp1

LIBRARIES = [httpx, httpx2]
SOON = Retries(initial=0, attempts=2, methods=["GET", "POST"], timeout=1)
# Distinct from whatever is said of the package: a secret that is a word of a message would be found in it.
visible = st.characters(min_codepoint=33, max_codepoint=126)
printable = st.text(visible, min_size=5, max_size=12).map(lambda text: f"zQ7{text}")
spaced = st.text(st.sampled_from("abc XYZ019=;,&\"'\\%?/:@#+~{}é☃\u2028"), max_size=12).map(
    lambda text: "zQ8" + text + "8Qz"
)


@attrs.frozen
class Keys:
    """Where the secrets of a request are."""

    authorization: str
    cookie: str
    key: str
    query: str
    user: str
    password: str

    def spellings(self) -> set[str]:
        """Give every way in which one of them may be written."""
        found = set[str]()
        basic = f"{self.user}:{self.password}".encode()
        for secret in [*attrs.astuple(self), base64.b64encode(basic).decode()]:
            found |= {secret, quote(secret), quote(secret, safe=""), quote_plus(secret)}
            found |= {repr(secret)[1:-1], repr(secret.encode())[2:-1], ascii(secret)[1:-1]}
        return found


every_key = st.builds(
    Keys, authorization=printable, cookie=printable, key=printable, query=spaced, user=spaced, password=spaced
)


class Hearing(Listener):
    """Keeps all that a listener is told."""

    def __init__(self, told: list[str]) -> None:
        self.told = told

    def hear(self, event: object) -> None:
        """Keep it."""
        self.told.append(repr(event))

    on_connect = on_close = on_queued = on_acquired = on_released = on_retry = hear


class Log(logging.Handler):
    """Keeps all that the package logs, tracebacks too."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))
        self.told: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record as a file would have it, and what it was made of."""
        self.told += [self.format(record), repr(record.args), repr(record.__dict__.get("extra"))]


@contextlib.contextmanager
def listening() -> Iterator[list[str]]:
    """Give what is logged and warned of meanwhile."""
    logger, listener = logging.getLogger("pool_manager"), Log()
    level = logger.level
    logger.addHandler(listener)
    logger.setLevel(logging.DEBUG)
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield listener.told
        listener.told += [str(warning.message) for warning in caught]
    finally:
        logger.setLevel(level)
        logger.removeHandler(listener)


def told_by(error: BaseException) -> list[str]:
    """Give all that an error says when it is printed, and what its parts say by themselves."""
    told = ["".join(traceback.format_exception_only(error))]
    seen: BaseException | None = error
    while seen is not None:
        told += [str(seen), repr(seen), repr(seen.args)]
        seen = seen.__cause__ or (None if seen.__suppress_context__ else seen.__context__)
    return told


def echo_as_status(peer: Http1Peer) -> None:
    """Answer with what was sent, where a status line ought to be."""
    request = peer.read_request()
    told = " ".join(value for _, value in request.headers) + repr(request.headers) + request.target
    peer.send(b"HTTP/1.1 " + told.encode("latin-1") + b"\r\n\r\n")
    peer.close()


def echo_as_header(peer: Http1Peer) -> None:
    """Answer with what was sent, where the name of a header ought to be."""
    request = peer.read_request()
    names = b"".join(value.encode("latin-1") + b" " + request.target.encode() for _, value in request.headers)
    peer.send(b"HTTP/1.1 200 OK\r\n" + names + b": x\r\n\r\n")
    peer.close()


def unavailable(peer: Http1Peer) -> None:
    """Be unavailable."""
    while True:
        peer.read_request()
        peer.answer(status=b"503 Service Unavailable")


def hang_up(peer: Http1Peer) -> None:
    """Answer once, and hang up on the next."""
    peer.read_request()
    peer.close()


def cut(peer: Http1Peer) -> None:
    """Break off in the middle of an answer."""
    peer.read_request()
    peer.send(b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n123")
    peer.close()


STORIES: list[Callable[[Http1Peer], None]] = [echo_as_status, echo_as_header, unavailable, hang_up, cut]


def request_of(library: Any, url: str, keys: Keys) -> dict[str, Any]:
    """Give the arguments of a request with all keys in it."""
    return {
        "url": library.URL(
            url, userinfo=f"{quote(keys.user, safe='')}:{quote(keys.password, safe='')}".encode()
        ),
        "params": {"api_key": keys.query},
        "headers": {
            "x-authorization": f"Bearer {keys.authorization}",
            "Cookie": f"session={keys.cookie}",
            "X-Api-Key": keys.key,
        },
        "json": {"password": keys.password},
    }


def assert_untold(told: list[str], keys: Keys) -> None:
    """Nobody said any of them."""
    for text in told:
        for spelling in keys.spellings():
            assert spelling not in text


def play(library: Any, is_async: bool, url: str, config: PoolConfig, keys: Keys) -> list[str]:
    """Send the request; give all that was said of it, and of the pool before and after."""
    manager = PoolManager(config, limits=Limits(queue_timeout=5))
    with listening() as told, manager.listen(Hearing(told)):

        def look() -> None:
            told.extend(
                [str(manager.stats()), repr(manager.stats()), repr(manager), *map(str, manager.stats().pools)]
            )
            manager.dump(dumped := io.StringIO())
            told.extend([dumped.getvalue(), metrics_text(manager).decode()])

        async def in_loop() -> None:
            async with manager, manager.client(library.AsyncClient, retries=SOON, timeout=5) as client:
                try:
                    response = await client.post(**request_of(library, url, keys))
                    told.append(repr(response.extensions["pool_manager"]))
                except Exception as error:  # noqa: BLE001 - any will do: it is to tell nothing
                    told.extend(told_by(error))
                told.append(repr(client._transport))  # noqa: SLF001 - ours
                look()

        def in_thread() -> None:
            with manager, manager.client(library.Client, retries=SOON, timeout=5) as client:
                try:
                    response = client.post(**request_of(library, url, keys))
                    told.append(repr(response.extensions["pool_manager"]))
                except Exception as error:  # noqa: BLE001 - as above
                    told.extend(told_by(error))
                look()

        asyncio.run(in_loop()) if is_async else in_thread()
    return told


@pytest.mark.parametrize("story", STORIES, ids=lambda story: story.__name__)
def test_a_failing_server_makes_nobody_talk(story: Callable[[Http1Peer], None]) -> None:
    """Whatever a server does, and be it that it sends back what it was sent, where nobody expects it."""

    @given(st.sampled_from(LIBRARIES), st.booleans(), every_key)
    def everything(library: Any, is_async: bool, keys: Keys) -> None:
        with ScriptedHttp1(story, story) as server:
            told = play(library, is_async, f"{server.url}/v1", PoolConfig(trust_env=False), keys)
        assert told
        assert_untold(told, keys)

    everything()


@given(st.sampled_from(LIBRARIES), st.booleans(), every_key, st.sampled_from(["\r\n", "\n", "\0", " ", "\r"]))
def test_a_header_that_cannot_be_sent_is_not_quoted(
    library: Any, is_async: bool, keys: Keys, bad: str
) -> None:
    """A key with a line break at its end is a frequent mistake; the error says which header, and not what."""
    broken = attrs.evolve(keys, key=keys.key + bad)
    with ScriptedHttp1() as server:
        told = play(library, is_async, f"{server.url}/v1", PoolConfig(trust_env=False), broken)
    assert_untold(told, keys)


@given(st.sampled_from(LIBRARIES), st.booleans(), every_key)
def test_no_server_and_no_proxy_make_nobody_talk(library: Any, is_async: bool, keys: Keys) -> None:
    """What cannot be reached is named without credentials, the proxy and its own too."""
    nowhere = "http://127.0.0.1:1"
    proxy = Proxy(
        url=nowhere,
        auth=(keys.user.encode(), keys.password.encode()),
        headers=((b"Proxy-Key", keys.key.encode()),),
    )
    for config in (PoolConfig(trust_env=False), PoolConfig(trust_env=False, proxy=proxy)):
        assert_untold(play(library, is_async, f"{nowhere}/v1", config, keys), keys)
    assert_untold([repr(proxy), str(proxy), repr(PoolConfig(proxy=proxy))], keys)


@given(every_key)
def test_an_answer_that_was_lost_is_named_without_its_query(keys: Keys) -> None:
    """The warning says where it was taken and of which request it was."""
    config = PoolConfig(trust_env=False)
    with ScriptedHttp1() as server, listening() as told, PoolManager(config) as manager:
        client = manager.client()
        request = client.build_request("GET", **request_of(httpx, f"{server.url}/v1", keys))
        transport: Any = client._transport  # noqa: SLF001 - ours
        transport.handle_request(request)
        gc.collect()
        client.close()
        manager.stats()
    assert any("unclosed response to GET" in text for text in told)
    assert_untold(told, keys)


@given(every_key)
def test_a_poll_tells_nothing(keys: Keys) -> None:
    """Neither its rounds in the log, nor its timeout, tell what was asked or answered."""

    def ask(hold: float, timeout: float) -> str:
        if timeout < hold:
            return keys.key
        raise httpx.ReadTimeout(f"{keys.authorization} {keys.query}")

    with listening() as told, pytest.raises(PollingTimeout) as caught:
        wait_for_status(
            ask,
            is_terminal=lambda _: False,
            placeholder=lambda: keys.key,
            config=PollingConfig(max_attempts=3),
            clock=FakeClock(),
        )
    assert len([text for text in told if "a round of a poll ended" in text]) >= 3
    assert_untold([*told, *told_by(caught.value)], keys)


@given(every_key, st.text(max_size=20), st.text(max_size=20))
def test_messages_are_cleaned_of_what_a_request_holds(keys: Keys, before: str, after: str) -> None:
    """However a message quotes a header, a query or a URL, nothing of it is left, and it is one line."""
    basic = base64.b64encode(f"{keys.user}:{keys.password}".encode())
    headers = [(b"Authorization", b"Basic " + basic), (b"cookie", b"a=" + keys.cookie.encode())]
    headers += [(b"X-Key", keys.key.encode()), (b"accept", b"*/*")]
    target = f"/v1?key={quote(keys.query, safe='')}".encode()
    userinfo = f"{quote(keys.user, safe='')}:{quote(keys.password, safe='')}".encode()
    secrets = secrets_of(headers, target, userinfo)
    for quoted in (
        f"{headers!r}",
        f"{target!r}",
        keys.key,
        keys.query,
        keys.user,
        keys.password,
        keys.cookie,
    ):
        message = redacted(f"{before} {quoted} {after}", secrets)
        assert_untold([message], attrs.evolve(keys, authorization="zQ7 is not there"))
        assert len(message.splitlines()) <= 1
    url = f"http://{userinfo.decode()}@example.com{target.decode()}"
    assert redacted(f"no route to {url}", []) == "no route to http://***@example.com/v1?***"


@given(st.text(min_size=1), st.binary(max_size=40), st.one_of(st.none(), st.integers(1, 65535)))
def test_a_request_is_named_in_one_line_without_its_query(
    method: str, target: bytes, port: int | None
) -> None:
    """Whatever a target holds, the log's line ends where it ends; a query never gets there."""
    name = described(method, "https", "example.com", port, b"/v1" + target + b"?zQ7hunter22")
    assert len(name.splitlines()) == 1
    assert "zQ7hunter22" not in name
    assert described("GET", "http", "::1", 80, b"/") == "GET http://[::1]:80/"
    assert described("GET", "http", "h", None, b"http://u:p@h/x?y") == "GET http://hhttp://***@h/x"


def test_what_goes_on_the_wire_has_no_repr() -> None:
    """The package's own request shows its method and URL, and no header, query or body."""
    request = Request(
        method="POST",
        scheme="https",
        host="example.com",
        port=None,
        target=b"/v1?key=hunter22",
        headers=[(b"authorization", b"hunter22")],
        body=b"hunter22",
        timeouts={},
        lane="default",
        lease="x",
        extensions={"auth": "hunter22"},
    )
    assert repr(request) == "<Request POST https://example.com/v1>"
