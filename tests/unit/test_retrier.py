"""`Retrier` over sending that fails as the test says, by a clock of the test's; threads, asyncio, trio."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable
from typing import Any

import httpx
import httpx2
import pytest
import trio

from pool_manager import PoolClosed, RequestRecord, Retries
from pool_manager.retrying import Retrier
from pool_manager.riding import riding
from tests.support.clocks import FakeClock

URL = "https://api.example.com:8443/v1/models?key=hunter22"
RECORD = RequestRecord(
    connection_id=1,
    http_version="HTTP/1.1",
    reused=True,
    idle_for=0,
    queued_for=0,
    connect_time=0,
    attempts=2,
    lane="default",
    lease="x",
)


class Sender:
    """Sends nothing, and gives or raises what the story says; the end of it is repeated."""

    def __init__(self, library: Any, clock: FakeClock, story: Iterable[object]) -> None:
        self._library, self._clock, self._story = library, clock, [*story]
        self.sent: list[tuple[Any, bool]] = []
        self.responses: list[Any] = []

    def __call__(self, request: Any, *, retried: str | None = None) -> Any:
        """Tell the next of it."""
        one: Any = self._story[min(len(self.sent), len(self._story) - 1)]
        self.sent.append((request, retried))
        if isinstance(one, str):
            raise getattr(self._library, one)(one.lower())
        if isinstance(one, Exception):
            raise one
        status, headers = one if isinstance(one, tuple) else (one, {})
        extensions = {"pool_manager": RECORD}
        # Not read: whoever gives it up has to close it.
        stream = self._library.ByteStream(b"...")
        response = self._library.Response(status, headers=headers, stream=stream, extensions=extensions)
        self.responses.append(response)
        return response


Send = Callable[[Retrier, Any, Sender], Any]


def in_thread(retrier: Retrier, request: Any, sender: Sender) -> Any:
    """Send from a thread."""
    return retrier.send(request, sender)


async def _in_loop(retrier: Retrier, request: Any, sender: Sender) -> Any:
    async def asender(request: Any, *, retried: str | None = None) -> Any:
        return sender(request, retried=retried)

    return await retrier.asend(request, asender)


def on_asyncio(retrier: Retrier, request: Any, sender: Sender) -> Any:
    """Send from a loop of asyncio."""
    return asyncio.run(_in_loop(retrier, request, sender))


def on_trio(retrier: Retrier, request: Any, sender: Sender) -> Any:
    """Send from a run of trio."""
    return trio.run(_in_loop, retrier, request, sender)


pytestmark = [
    pytest.mark.parametrize("send", [in_thread, on_asyncio, on_trio]),
    pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"]),
]


@pytest.fixture
def clock() -> FakeClock:
    """Give a clock of this test's own."""
    return FakeClock()


def test_it_is_sent_again_until_it_is_answered(send: Send, library: Any, clock: FakeClock) -> None:
    """Failures in between are closed; the answer's record counts retries apart from the pool's replays."""
    sender = Sender(library, clock, ["ReadTimeout", 503, "ConnectError", 200])
    request = library.Request("PUT", URL, content=b"body")
    response = send(Retrier(Retries(attempts=5), clock), request, sender)
    assert [why for _, why in sender.sent] == [None, "ReadTimeout", "503", "ConnectError"]
    assert {id(sent) for sent, _ in sender.sent} == {id(request)}
    assert [one.is_closed for one in sender.responses] == [True, False]
    record = response.extensions["pool_manager"]
    assert (response.status_code, record.retries, record.attempts) == (200, 3, 2)
    assert len(clock.slept) == 3


def test_the_last_failure_is_the_callers(send: Send, library: Any, clock: FakeClock) -> None:
    """After as many attempts as were asked for it is given or raised as it is."""
    sender = Sender(library, clock, [503])
    response = send(Retrier(Retries(attempts=3), clock), library.Request("GET", URL), sender)
    assert (response.status_code, response.is_closed, len(sender.sent)) == (503, False, 3)
    sender = Sender(library, clock, ["ReadError"])
    with pytest.raises(library.ReadError, match=r"^readerror$"):
        send(Retrier(Retries(attempts=3), clock), library.Request("GET", URL), sender)
    assert len(sender.sent) == 3


@pytest.mark.parametrize(
    ("method", "key", "times"), [("POST", None, 1), ("POST", "7", 2), ("PATCH", "7", 2), ("GET", None, 2)]
)
def test_idempotency_keys_are_kept(
    send: Send, library: Any, method: str, key: str | None, times: int
) -> None:
    """A POST is sent twice with a key alone, and with the same one."""
    clock = FakeClock()
    sender = Sender(library, clock, [503, 200])
    headers = {} if key is None else {"Idempotency-Key": key}
    request = library.Request(method, URL, headers=headers, json={"a": 1})
    send(Retrier(Retries(), clock), request, sender)
    assert len(sender.sent) == times
    assert {sent.headers.get("idempotency-key") for sent, _ in sender.sent} == {key}


def test_a_body_that_comes_in_parts_is_sent_once(send: Send, library: Any, clock: FakeClock) -> None:
    """What is read while it is sent is gone."""
    sender = Sender(library, clock, ["ConnectError", 200])
    with pytest.raises(library.ConnectError):
        send(Retrier(Retries(), clock), library.Request("PUT", URL, content=iter([b"a", b"b"])), sender)
    assert len(sender.sent) == 1


def test_the_server_says_when(send: Send, library: Any, clock: FakeClock) -> None:
    """Retry-After is waited for, in seconds or as a date; one that is too long is not tried again."""
    date = {"Retry-After": "Sun, 06 Nov 1994 08:50:17 GMT", "Date": "Sun, 06 Nov 1994 08:49:37 GMT"}
    sender = Sender(library, clock, [(429, {"Retry-After": "20"}), (503, date), (429, {"Retry-After": "61"})])
    response = send(Retrier(Retries(attempts=9), clock), library.Request("GET", URL), sender)
    assert (response.status_code, len(sender.sent)) == (429, 3)
    first, second = clock.slept
    assert 20 <= first <= 22
    assert 40 <= second <= 44


def test_a_retry_says_what_happened(
    send: Send, library: Any, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A line for each: method, URL without query, delay, attempt, and the status or the error."""
    caplog.set_level(logging.INFO, "pool_manager")
    sender = Sender(library, clock, [(503, {"Retry-After": "60"}), "ReadTimeout", 200])
    send(Retrier(Retries(initial=0), clock), library.Request("GET", URL), sender)
    assert caplog.messages == [
        "retrying GET https://api.example.com:8443/v1/models in 60 s (2 of 3): HTTP 503",
        "retrying GET https://api.example.com:8443/v1/models at once (3 of 3): ReadTimeout: readtimeout",
    ]


def test_the_budget_is_the_retriers(
    send: Send, library: Any, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """All requests to one origin share it; when it is spent, the log says so."""
    caplog.set_level(logging.INFO, "pool_manager")
    retrier = Retrier(Retries(attempts=6, initial=0, budget=0), clock)
    sender = Sender(library, clock, [503])
    for _ in range(3):
        assert send(retrier, library.Request("GET", URL), sender).status_code == 503
    assert len(sender.sent) == 3 + 10
    other = Sender(library, clock, [503, 200])
    assert send(retrier, library.Request("GET", "https://else.example.com/"), other).status_code == 200
    refusal = "not retrying GET https://api.example.com:8443/v1/models, since too many retries were made: "
    assert caplog.messages.count(refusal + "HTTP 503") == 1


@pytest.mark.parametrize("error", [PoolClosed("closed"), ValueError("a bug"), OSError("no library's")])
def test_errors_that_are_no_transports_are_not_tried_again(
    send: Send, library: Any, clock: FakeClock, error: Exception
) -> None:
    """A pool that is closed stays closed, and a bug stays a bug."""
    sender = Sender(library, clock, [error, 200])
    with pytest.raises(type(error)) as caught:
        send(Retrier(Retries(errors=["TransportError"]), clock), library.Request("GET", URL), sender)
    assert caught.value is error
    assert len(sender.sent) == 1


def test_a_poll_is_not_retried(send: Send, library: Any, clock: FakeClock) -> None:
    """Its rounds are repeated by who polls: a 408 is news to him."""
    sender = Sender(library, clock, [408])
    with riding(None):
        assert send(Retrier(Retries(), clock), library.Request("GET", URL), sender).status_code == 408
    assert len(sender.sent) == 1


def test_what_an_error_quotes_is_not_logged(
    send: Send, library: Any, clock: FakeClock, caplog: pytest.LogCaptureFixture
) -> None:
    """A transport around the pool may raise what it likes: neither query nor header gets into the log."""
    caplog.set_level(logging.INFO, "pool_manager")
    request = library.Request("GET", URL, headers={"Authorization": "Bearer hunter33"})
    error = library.ReadError(f"lost {URL} with {request.headers.raw!r}\nhunter22")
    send(Retrier(Retries(), clock), request, Sender(library, clock, [error, 200]))
    (told,) = caplog.messages
    assert "lost https://api.example.com:8443/v1/models?***" in told
    assert "hunter" not in told
    assert "\n" not in told
