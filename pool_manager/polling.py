"""
Polling: ask a server that holds the question until there is news, again and again until the news is the end.

A round is one request, held by the server for so long at most and then answered with a 408. What a round's
end means and when the next one begins is decided in `core.polling`; here is only the asking and the waiting,
once for threads and once for loops. Nothing below asks again by itself: neither an SDK's post function nor
`Retries` do so within a round.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Generic, TypeVar, cast, overload

from pool_manager import asking
from pool_manager.core.polling import Failure, Round, Rounds
from pool_manager.errors import ConfigError, PollingTimeout
from pool_manager.policies import PollingConfig
from pool_manager.riding import POLLING, riding
from pool_manager.runtimes.clock import CLOCK, Clock

__all__ = ["async_wait_for_status", "wait_for_status"]

T = TypeVar("T")

_log = logging.getLogger(__name__)


class _Poll(Generic[T]):
    """What both ways of waiting share: the rounds, and what came of them."""

    def __init__(
        self,
        config: PollingConfig | None,
        is_terminal: Callable[[T], bool],
        placeholder: Callable[[], T],
        clock: Clock,
    ) -> None:
        if config is not None and not isinstance(config, PollingConfig):
            raise ConfigError(f"config must be a PollingConfig, not {config!r}")
        self._rounds = Rounds(config or PollingConfig(), clock.now(), clock.rng)
        self._is_terminal, self._placeholder, self._clock = is_terminal, placeholder, clock

    def begin(self) -> Round:
        """Begin a round."""
        return self._rounds.begin(self._clock.now())

    def take(self, result: T) -> T:
        """Take what a round gave."""
        failure = asking.answered(result)
        if failure is not None and self._rounds.is_over_by(failure):
            return self._stand_in(failure)
        self._rounds.answered()
        return result

    def survive(self, error: Exception) -> T:
        """Give the placeholder if *error* was but the end of a round; raise it if it was not."""
        failure = asking.failure_of(error)
        if failure is None or not self._rounds.is_over_by(failure):
            raise error
        return self._stand_in(failure)

    def _stand_in(self, failure: Failure) -> T:
        _log.debug("a round of a poll ended: %s", failure)
        return self._placeholder()

    def is_over(self, result: T) -> bool:
        """Tell whether *result* is what was waited for."""
        return self._is_terminal(result)

    def pause(self, last: Round, result: T) -> float:
        """
        Give the seconds until the next round.

        Raises:
            PollingTimeout: There is none.
        """
        pause = self._rounds.pause(last, self._clock.now())
        if pause is None:
            raise PollingTimeout(self._rounds.verdict(self._clock.now()), result)
        return pause


def _question(path: str | None, statuses: Sequence[str], cast_to: object) -> asking.Question | None:
    if path is None:
        return None
    if isinstance(statuses, str):
        raise ConfigError(f"statuses must be a sequence of strings, not {statuses!r}")
    return asking.Question(path=path, statuses=statuses, cast_to=cast_to)


@overload
def wait_for_status(
    ask: Callable[[float, float], T],
    /,
    *,
    is_terminal: Callable[[T], bool],
    placeholder: Callable[[], T],
    config: PollingConfig | None = None,
    lane: str | None = POLLING,
    clock: Clock = CLOCK,
) -> T: ...
@overload
def wait_for_status(
    ask: object,
    path: str,
    /,
    *,
    is_terminal: Callable[[T], bool],
    placeholder: Callable[[], T],
    statuses: Sequence[str] = (),
    cast_to: object = object,
    config: PollingConfig | None = None,
    lane: str | None = POLLING,
    clock: Clock = CLOCK,
) -> T: ...
def wait_for_status(
    ask: Any,
    path: str | None = None,
    /,
    *,
    is_terminal: Callable[[T], bool],
    placeholder: Callable[[], T],
    statuses: Sequence[str] = (),
    cast_to: object = object,
    config: PollingConfig | None = None,
    lane: str | None = POLLING,
    clock: Clock = CLOCK,
) -> T:
    """
    Ask until the answer is terminal; give that answer.

    A round that ends with a 408, by the client's timeout or by a lost connection (a GOAWAY, say) gives the
    placeholder and is followed by another; where no server was reached yet, a connection that cannot be made
    is an error.

    Args:
        ask: A function of the seconds for which the server may hold the request, and of the client's timeout,
            which is five seconds more. Or, with *path*, a client of httpx or httpx2, a `Lease`, an SDK of the
            Stainless family or its post function: then ``{"statuses": ..., "timeout_seconds": hold}`` is
            posted, and not retried by the SDK.

        path: Where to post that; a URL for a lease.

        is_terminal: Tells whether a result is what was waited for.

        placeholder: Makes the result of a round that brought none.

        statuses: What the server is to wait for.

        cast_to: What an SDK is to make of the answer; a client of httpx gives its JSON.

        config: How long, how often.

        lane: The lane of the requests, whoever makes them; None leaves it to their client.

        clock: What tells the time, and sleeps.

    Raises:
        PollingTimeout: There was no end in the given time; carries the last result.

        ConfigError: An argument cannot be used.

        Exception: What a round raised, if it was none of the above.
    """
    poll = _Poll(config, is_terminal, placeholder, clock)
    with asking.asked_of(ask, _question(path, statuses, cast_to)) as one:
        while True:
            this = poll.begin()
            try:
                with riding(lane):
                    result = cast(T, one(this.hold, this.timeout))
            except Exception as error:  # noqa: BLE001 - each SDK has errors of its own
                result = poll.survive(error)
            else:
                result = poll.take(result)
            if poll.is_over(result):
                return result
            clock.sleep(poll.pause(this, result))


@overload
async def async_wait_for_status(
    ask: Callable[[float, float], Awaitable[T]],
    /,
    *,
    is_terminal: Callable[[T], bool],
    placeholder: Callable[[], T],
    config: PollingConfig | None = None,
    lane: str | None = POLLING,
    clock: Clock = CLOCK,
) -> T: ...
@overload
async def async_wait_for_status(
    ask: object,
    path: str,
    /,
    *,
    is_terminal: Callable[[T], bool],
    placeholder: Callable[[], T],
    statuses: Sequence[str] = (),
    cast_to: object = object,
    config: PollingConfig | None = None,
    lane: str | None = POLLING,
    clock: Clock = CLOCK,
) -> T: ...
async def async_wait_for_status(
    ask: Any,
    path: str | None = None,
    /,
    *,
    is_terminal: Callable[[T], bool],
    placeholder: Callable[[], T],
    statuses: Sequence[str] = (),
    cast_to: object = object,
    config: PollingConfig | None = None,
    lane: str | None = POLLING,
    clock: Clock = CLOCK,
) -> T:
    """Do what `wait_for_status` does, from a loop of asyncio or trio. Its cancellation ends it at once."""
    poll = _Poll(config, is_terminal, placeholder, clock)
    async with asking.asked_in_loop_of(ask, _question(path, statuses, cast_to)) as one:
        while True:
            this = poll.begin()
            try:
                with riding(lane):
                    result = cast(T, await one(this.hold, this.timeout))
            except Exception as error:  # noqa: BLE001 - as above
                result = poll.survive(error)
            else:
                result = poll.take(result)
            if poll.is_over(result):
                return result
            await clock.asleep(poll.pause(this, result))
