"""`wait_for_status` and its twin, by a clock of the test's: what is given, raised and slept."""

from __future__ import annotations

import asyncio
import inspect
import pickle
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import groq
import httpx
import httpx2
import openai
import pytest
import runloop_api_client
import trio

from pool_manager import (
    ConfigError,
    LeaseClosed,
    PollingConfig,
    PollingTimeout,
    PoolClosed,
    async_wait_for_status,
    wait_for_status,
)
from pool_manager.riding import current
from tests.support.clocks import FakeClock

Story = Iterable[object]  # what each round gives, or raises
Wait = Callable[..., Any]

REQUEST = httpx.Request("POST", "https://api.example.com/wait")
FOR_EVER = PollingConfig(timeout=1e9)


class Teller:
    """Asks by telling a story; the end of it is repeated."""

    def __init__(self, clock: FakeClock, story: Story, takes: float = 0.0) -> None:
        self._clock, self._story, self._takes = clock, [*story], takes
        self.asked: list[tuple[float, float]] = []

    def __call__(self, hold: float, timeout: float) -> Any:
        """Tell the next of it."""
        one = self._story[min(len(self.asked), len(self._story) - 1)]
        self.asked.append((hold, timeout))
        self._clock.time += self._takes
        if isinstance(one, Exception):
            raise one
        return one


def in_thread(teller: Teller, clock: FakeClock, **kwargs: Any) -> Any:
    """Wait in a thread."""
    return wait_for_status(teller, clock=clock, **kwargs)


def _awaitable(teller: Teller) -> Callable[[float, float], Awaitable[Any]]:
    async def ask(hold: float, timeout: float) -> Any:  # noqa: ASYNC109 - the request's own
        return teller(hold, timeout)

    return ask


def on_asyncio(teller: Teller, clock: FakeClock, **kwargs: Any) -> Any:
    """Wait in a loop of asyncio."""
    return asyncio.run(async_wait_for_status(_awaitable(teller), clock=clock, **kwargs))


def on_trio(teller: Teller, clock: FakeClock, **kwargs: Any) -> Any:
    """Wait in a run of trio."""

    async def main() -> Any:
        return await async_wait_for_status(_awaitable(teller), clock=clock, **kwargs)

    return trio.run(main)


pytestmark = pytest.mark.parametrize("wait", [in_thread, on_asyncio, on_trio])


@pytest.fixture
def clock() -> FakeClock:
    """Give a clock of this test's own."""
    return FakeClock()


def poll(wait: Wait, teller: Teller, clock: FakeClock, **kwargs: Any) -> Any:
    """Wait for "done"."""
    kwargs.setdefault("placeholder", lambda: "nothing")
    kwargs.setdefault("is_terminal", lambda result: result == "done")
    return wait(teller, clock, **kwargs)


def status_error(library: Any, status: int) -> Exception:
    """Give what `raise_for_status` raises."""
    request = library.Request("POST", "https://api.example.com/wait")
    error: Exception = library.HTTPStatusError(
        "no", request=request, response=library.Response(status, request=request)
    )
    return error


def caused(error: Exception, cause: Exception) -> Exception:
    """Give *error* as it is after ``raise error from cause``."""
    error.__cause__ = cause
    return error


# What an SDK makes of it, and what it came from.
ENDS = [
    httpx.ReadTimeout("slow"),
    httpx2.ReadTimeout("slow"),
    httpx.ReadError("reset"),
    httpx2.RemoteProtocolError("GOAWAY"),
    status_error(httpx, 408),
    status_error(httpx2, 408),
    httpx.Response(408, request=REQUEST),
    TimeoutError("slow"),
    ConnectionResetError("reset"),
    runloop_api_client.APITimeoutError(REQUEST),
    caused(groq.APIConnectionError(request=REQUEST), httpx.ReadError("reset")),
    caused(openai.APIConnectionError(request=REQUEST), httpx2.RemoteProtocolError("GOAWAY")),  # type: ignore[arg-type]  # httpx's will do
    groq.APIStatusError("no", response=httpx.Response(408, request=REQUEST), body=None),
]

RAISED = [
    ValueError("a bug"),
    httpx.ConnectError("refused"),
    httpx.UnsupportedProtocol("ftp"),
    ConnectionRefusedError("refused"),
    status_error(httpx, 503),
    groq.APIStatusError("no", response=httpx.Response(404, request=REQUEST), body=None),
    LeaseClosed("given back"),
    PoolClosed("closed"),
    caused(runloop_api_client.APIConnectionError(request=REQUEST), ConfigError("lane must be ...")),
    caused(runloop_api_client.APIConnectionError(request=REQUEST), httpx.ConnectError("refused")),
]


@pytest.mark.parametrize("end", ENDS, ids=repr)
def test_a_round_that_brought_nothing_gives_the_placeholder(
    wait: Wait, end: object, clock: FakeClock
) -> None:
    """A 408, a timeout and a lost connection are followed by another round, in the words of any SDK."""
    seen: list[object] = []

    def is_terminal(result: object) -> bool:
        seen.append(result)
        return result == "done"

    teller = Teller(clock, ["queued", end, "done"])
    assert poll(wait, teller, clock, is_terminal=is_terminal) == "done"
    assert seen == ["queued", "nothing", "done"]


@pytest.mark.parametrize("error", RAISED, ids=repr)
def test_any_other_error_is_raised(wait: Wait, error: Exception, clock: FakeClock) -> None:
    """It is the very one, and nobody is asked again."""
    teller = Teller(clock, [error, "done"])
    with pytest.raises(type(error)) as caught:
        poll(wait, teller, clock)
    assert caught.value is error
    assert (len(teller.asked), clock.slept) == (1, [])


def test_the_client_waits_five_seconds_longer_than_the_server(wait: Wait, clock: FakeClock) -> None:
    """Each round is told its hold and the client's timeout; the last hold is what is left."""
    teller = Teller(clock, ["queued"], takes=20)
    with pytest.raises(PollingTimeout):
        poll(wait, teller, clock, config=PollingConfig(timeout=50, max_hold=20))
    assert teller.asked == [(20, 25), (20, 25), (10, 15)]
    assert clock.slept == [0, 0]


def test_a_timeout_tells_the_last_result_and_not_in_its_message(wait: Wait, clock: FakeClock) -> None:
    """`PollingTimeout` carries it, also in a pickle; whoever reads the message does not see it."""
    with pytest.raises(PollingTimeout, match=r"^not so after 3 rounds$") as caught:
        poll(wait, Teller(clock, ["secret"]), clock, config=PollingConfig(max_attempts=3))
    copy = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own
    assert (caught.value.last_result, copy.last_result, str(copy)) == ("secret", "secret", str(caught.value))
    assert isinstance(caught.value, TimeoutError)


def test_rounds_that_end_early_wait(wait: Wait, clock: FakeClock) -> None:
    """There is no busy loop, whatever ends the rounds: an answer, a 408, or a server that is gone."""
    teller = Teller(clock, ["queued", status_error(httpx, 408), httpx.ConnectError("refused")])
    with pytest.raises(PollingTimeout):
        poll(wait, teller, clock, config=PollingConfig(timeout=60, interval=2))
    assert {1 <= pause <= 3 for pause in clock.slept} == {True}
    assert len(set(clock.slept)) == len(clock.slept) == len(teller.asked) - 1


def test_what_is_asked_within_a_round_rides_in_its_lane(wait: Wait, clock: FakeClock) -> None:
    """Every request made by a round is seen to belong to one, and none that is made outside of it."""
    rides: list[object] = []
    for kwargs in ({}, {"lane": "mine"}, {"lane": None}):

        class Noting(Teller):
            def __call__(self, hold: float, timeout: float) -> Any:
                rides.append(getattr(current(), "lane", "no poll"))
                return super().__call__(hold, timeout)

        poll(wait, Noting(clock, ["done"]), clock, **kwargs)
    assert rides == ["polling", "mine", None]
    assert current() is None


@pytest.mark.parametrize("config", [{"timeout": 3}, 3, "soon"])
def test_a_config_that_is_none_is_refused(wait: Wait, config: object, clock: FakeClock) -> None:
    """It says so, before anybody is asked."""
    teller = Teller(clock, ["done"])
    with pytest.raises(ConfigError, match="config must be a PollingConfig"):
        poll(wait, teller, clock, config=config)
    assert teller.asked == []


def refused(wait: Wait, target: object, clock: FakeClock) -> None:
    """Wait with what is no function."""
    twin: Any = wait_for_status if wait is in_thread else async_wait_for_status
    made = twin(target, is_terminal=bool, placeholder=str, clock=clock)
    if inspect.iscoroutine(made):
        asyncio.run(made)


@pytest.mark.parametrize("target", [object(), None, 3])
def test_what_cannot_be_asked_is_refused(wait: Wait, target: object, clock: FakeClock) -> None:
    """It is no client, no lease and no function."""
    with pytest.raises(ConfigError, match="cannot poll with"):
        refused(wait, target, clock)


def test_a_client_needs_a_path(wait: Wait, clock: FakeClock) -> None:
    """A client is asked nothing in particular, unless one says where."""
    transport = httpx.MockTransport(lambda _: httpx.Response(200))
    with httpx.Client(transport=transport) as client, pytest.raises(ConfigError, match="path must say where"):
        refused(wait, client, clock)
