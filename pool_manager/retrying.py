"""
Sending requests again, in threads and in loops: `core.retrying` decides, this sends and waits.

It stands between a transport and what sends one request once. A body that a client has already begun to read
is not its business: an answer that breaks off later is an error of whoever reads it.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import Any, Final, final

from pool_manager import riding
from pool_manager.core.redacting import described, redacted, secrets_of
from pool_manager.core.replay import IDEMPOTENCY_KEY
from pool_manager.core.retrying import Attempts, Budgets, Outcome, Reconnecting, retry_after
from pool_manager.errors import PoolError
from pool_manager.libraries import kind_of
from pool_manager.observe import log
from pool_manager.policies import Reconnects, Retries
from pool_manager.runtimes.clock import CLOCK, Clock


@final
class Retrier:
    """
    The retries of one lease or client, over all its requests.

    Args:
        policy: What was asked for.

        clock: What tells the time, and sleeps.
    """

    def __init__(self, policy: Retries, clock: Clock = CLOCK) -> None:
        self.policy: Final = policy
        self.clock: Final = clock
        self.budgets: Final = Budgets(policy.budget)
        self.lock: Final = threading.Lock()  # guards the budgets: a client may be used by many threads

    def __reduce__(self) -> tuple[object, ...]:
        """Travel as its policy: another process has budgets of its own."""
        return Retrier, (self.policy,)

    def send(self, request: Any, once: Callable[..., Any]) -> Any:
        """Send *request* from a thread, by *once*, which is told why it is sent again."""
        if riding.current() is not None:
            return once(request)  # a poll asks again by itself
        turn = _Turn(self, request)
        while True:
            try:
                response = once(request, retried=turn.cause)
            except Exception as error:
                delay = turn.after_error(error)
                if delay is None:
                    raise
            else:
                delay = turn.after_answer(response)
                if delay is None:
                    return turn.marked(response)
                response.close()
            self.clock.sleep(delay)

    async def asend(self, request: Any, once: Callable[..., Awaitable[Any]]) -> Any:
        """Send *request* from a loop, as `send` does. Cancellation ends it at once."""
        if riding.current() is not None:
            return await once(request)
        turn = _Turn(self, request)
        while True:
            try:
                response = await once(request, retried=turn.cause)
            except Exception as error:
                delay = turn.after_error(error)
                if delay is None:
                    raise
            else:
                delay = turn.after_answer(response)
                if delay is None:
                    return turn.marked(response)
                await response.aclose()
            await self.clock.asleep(delay)


class _Turn:
    """One request and its attempts."""

    def __init__(self, retrier: Retrier, request: Any) -> None:
        self._retrier, self._request = retrier, request
        url, now = request.url, retrier.clock.now()
        self._origin = (url.scheme, url.host, url.port)
        self.cause: str | None = None  # why it is sent again: a status, or the name of an error
        kind = Reconnecting if isinstance(retrier.policy, Reconnects) else Attempts
        self._attempts = kind(
            policy=retrier.policy,
            safe=request.method.upper() in retrier.policy.methods or IDEMPOTENCY_KEY in request.headers,
            repeatable=_has_whole_body(request),
            begun=now,
        )
        with retrier.lock:
            retrier.budgets.of(self._origin).note(now)

    @property
    def is_retry(self) -> bool:
        """Whether it was sent before."""
        return self._attempts.sent > 1

    def after_error(self, error: Exception) -> float | None:
        """Give the seconds to wait before the next attempt; None if there is none."""
        # An error of the pool is about the pool: it is closed, or full, and will be.
        kind = None if isinstance(error, PoolError) else kind_of(error)
        if kind is None:
            return None
        self.cause = kind
        return self._next(Outcome(error=kind), lambda: f"{kind}: {error}")

    def after_answer(self, response: Any) -> float | None:
        """Give the seconds to wait before the next attempt; None if the answer is to be given."""
        status = response.status_code
        if status not in self._retrier.policy.statuses:
            return None
        self.cause = str(status)
        headers = response.headers
        asked = retry_after(headers.get("retry-after"), headers.get("date"), self._retrier.clock.wall())
        return self._next(Outcome(status=status, retry_after=asked), lambda: f"HTTP {status}")

    def _next(self, outcome: Outcome, cause: Callable[[], str]) -> float | None:
        retrier, attempts = self._retrier, self._attempts
        with retrier.lock:
            budget = retrier.budgets.of(self._origin)
            delay = attempts.delay(outcome, retrier.clock.now(), budget, retrier.clock.rng)
        if delay is not None:
            most = attempts.policy.attempts
            log.retry(self._name(), delay, attempts.sent, most, self._clean(cause()))
        elif attempts.denied:
            log.no_retry(self._name(), self._clean(cause()))
        return delay

    def _name(self) -> str:
        url = self._request.url
        host = url.raw_host.decode("ascii")
        return described(self._request.method, url.scheme, host, url.port, url.raw_path)

    def _clean(self, cause: str) -> str:
        url = self._request.url
        return redacted(cause, secrets_of(self._request.headers.raw, url.raw_path, url.userinfo))

    def marked(self, response: Any) -> Any:
        """Have the answer's record say how often the request was sent before."""
        record = response.extensions.get("pool_manager")
        if self.is_retry and record is not None:
            response.extensions["pool_manager"] = record._replace(retries=self._attempts.sent - 1)
        return response


def _has_whole_body(request: Any) -> bool:
    """Whether the body is there in one piece, and so can be sent twice."""
    try:
        request.content  # noqa: B018 - the library knows, and says so by an error
    except RuntimeError:
        return False
    return True
