"""
How a round of a poll is asked, of whatever one polls with; and what its errors mean.

Whom the poll asks is a function of the hold and the client's timeout, both in seconds. Of anything else such
a function is made here: a client of httpx or httpx2, a lease, an SDK, or an SDK's post function.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator, Sequence
from typing import Any, Final, TypeAlias, cast

import attrs
import httpx

from pool_manager.core.polling import Failure
from pool_manager.errors import ConfigError, PoolClosed, PoolTimeout
from pool_manager.leases import Lease
from pool_manager.libraries import kind_of, known, library_of

Ask: TypeAlias = Callable[[float, float], Any]  # the hold, the client's timeout

# An error that says it was one's own fault, however deep inside.
_OURS: Final = (ConfigError, PoolClosed)

# What SDKs of the Stainless family raise, should they not say from what.
_BY_SDK_NAME: Final = {"APITimeoutError": "TimeoutException", "APIConnectionError": "NetworkError"}

_FIRST_ERROR: Final = 400

_MOST_CAUSES: Final = 8  # an SDK's error has one, or two


@attrs.frozen(kw_only=True)
class Question:
    """
    What a poll asks for, where it is this package that writes the request.

    Attributes:
        path: Where to post; a URL for a client without a base URL.

        statuses: What to wait for.

        cast_to: What an SDK is to make of the answer.
    """

    path: str
    statuses: Sequence[str]
    cast_to: Any = object

    def body(self, hold: float) -> dict[str, object]:
        """Give the JSON of one round."""
        return {"statuses": [*self.statuses], "timeout_seconds": hold}


@contextlib.contextmanager
def asked_of(target: object, question: Question | None) -> Generator[Ask]:
    """
    Give the function that asks *target*, in a thread.

    Raises:
        ConfigError: There is no way to ask it.
    """
    if isinstance(target, Lease):
        with target.client() as client:
            yield _of_client(client, _checked(question))
    else:
        yield _function(target, question, _of_client)


@contextlib.asynccontextmanager
async def asked_in_loop_of(target: object, question: Question | None) -> AsyncGenerator[Ask]:
    """Give the function that asks *target*, in a loop: what it gives is awaited."""
    if isinstance(target, Lease):
        async with target.client(httpx.AsyncClient) as client:
            yield _of_async_client(client, _checked(question))
    else:
        yield _function(target, question, _of_async_client)


def _checked(question: Question | None) -> Question:
    if question is None:
        raise ConfigError(
            "path must say where to ask, unless a function of the hold and the timeout is given"
        )
    return question


def _function(target: Any, question: Question | None, of_client: Callable[[Any, Question], Ask]) -> Ask:
    if library_of(cast("type[object]", type(target))) is not None:
        return of_client(target, _checked(question))
    post = getattr(target, "post", target)
    if not callable(post):
        raise ConfigError(f"cannot poll with {target!r}: it is no client, no lease and no function")
    if question is None:
        return cast(Ask, target if callable(target) else _checked(question))
    return _of_post(post, question)


def _of_post(post: Callable[..., Any], question: Question) -> Ask:
    """Ask by the post function of an SDK of the Stainless family."""

    def ask(hold: float, timeout: float) -> Any:
        return post(
            question.path,
            cast_to=question.cast_to,
            body=question.body(hold),
            options={"max_retries": 0, "timeout": timeout},
        )

    return ask


def _of_client(client: Any, question: Question) -> Ask:
    def ask(hold: float, timeout: float) -> Any:
        return _json(client.post(question.path, json=question.body(hold), timeout=_read(client, timeout)))

    return ask


def _of_async_client(client: Any, question: Question) -> Callable[[float, float], Awaitable[Any]]:
    async def ask(hold: float, timeout: float) -> Any:  # noqa: ASYNC109 - the request's own
        body = question.body(hold)
        return _json(await client.post(question.path, json=body, timeout=_read(client, timeout)))

    return ask


def _read(client: Any, timeout: float) -> Any:
    """Keep what the client allows for connecting and sending, and replace what it does for the answer."""
    own = client.timeout
    return type(own)(connect=own.connect, write=own.write, pool=own.pool, read=timeout)


def _json(response: Any) -> Any:
    response.raise_for_status()
    return response.json()


def failure_of(error: Exception) -> Failure | None:
    """Say what *error* means for the round in which it was raised; None if nothing that a poll knows."""
    chain = [*_causes(error)]
    if any(isinstance(one, _OURS) for one in chain):
        return None
    for one in chain:
        status = getattr(one, "status_code", None) or getattr(
            getattr(one, "response", None), "status_code", None
        )
        if isinstance(status, int):
            return Failure(status=status)
        kind = "PoolTimeout" if isinstance(one, PoolTimeout) else kind_of(one)
        if kind is not None:
            return Failure(kind)
    return _of_other_errors(chain)


def _of_other_errors(chain: Sequence[BaseException]) -> Failure | None:
    """Understand the errors of Python itself, and of SDKs that name no cause."""
    for one in chain:
        if isinstance(one, TimeoutError):
            return Failure("TimeoutException")
        if isinstance(one, ConnectionError):
            return Failure("ConnectError" if isinstance(one, ConnectionRefusedError) else "NetworkError")
    names = (kind.__name__ for kind in type(chain[0]).__mro__)
    return next((Failure(_BY_SDK_NAME[name]) for name in names if name in _BY_SDK_NAME), None)


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    for _ in range(_MOST_CAUSES):
        if cause is None:
            return
        yield cause
        cause = cause.__cause__


def answered(result: object) -> Failure | None:
    """Say whether *result* is a response that is a failure: a function may have let it through."""
    if any(isinstance(result, library.Response) for library in known()):
        status = cast(httpx.Response, result).status_code
        return Failure(status=status) if status >= _FIRST_ERROR else None
    return None
