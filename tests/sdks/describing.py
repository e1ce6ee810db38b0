"""
What one SDK is to these tests: how it is put on the pool, one call, one stream, and how it is let go.

SDKs are imported where they are used: every description can be read, and the table made of
them, where none is installed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, Literal, TypeAlias

import attrs

from tests.support.counted import Answer, CountedRequest

# A `PoolManager`, or a `Lease` for an SDK that would not give one back by itself.
Pool: TypeAlias = Any

Respond: TypeAlias = Callable[[CountedRequest], Answer]
Colour: TypeAlias = Literal["sync", "async"]
HeldBy: TypeAlias = Literal["close", "with", "collector", "lease"]
Library: TypeAlias = Literal["httpx", "httpx2"]


def as_json(content: object, status: int = 200) -> Answer:
    """Answer with JSON."""
    return Answer(status=status, body=json.dumps(content).encode())


def as_events(events: bytes) -> Answer:
    """Answer with server-sent events."""
    return Answer(body=events, headers=(("content-type", "text/event-stream"),))


def by_path(answers: Mapping[str, Answer]) -> Respond:
    """Answer by how the path ends, a query left aside."""

    def respond(request: CountedRequest) -> Answer:
        path = request.path.partition("?")[0]
        return next(
            (answer for end, answer in answers.items() if path.endswith(end)), as_json({"error": path}, 404)
        )

    return respond


def close(thing: Any) -> object:
    """Close an SDK by its `close` or `aclose`; awaitable if it is async."""
    return thing.aclose() if hasattr(thing, "aclose") else thing.close()


@attrs.frozen(kw_only=True)
class Call:
    """
    One call of an SDK.

    Attributes:
        ask: Calls; what it gives may be awaitable.

        answer: What the server says.

        read: Takes from what the call gave, or came to, what is to be looked at.

        gives: What that is.

        method: The method of its requests.

        requests: How many it is made of.
    """

    ask: Callable[[Any], object]
    answer: Answer | Respond = attrs.field(factory=lambda: as_json({"ok": True}))
    read: Callable[[Any], object] = lambda result: result
    gives: object = attrs.field(factory=lambda: {"ok": True})
    method: str = "POST"
    requests: int = 1

    @property
    def respond(self) -> Respond:
        """What a server is to do."""
        answer = self.answer
        return answer if not isinstance(answer, Answer) else lambda _: answer


@attrs.frozen(kw_only=True)
class Stream:
    """
    One streamed call.

    Attributes:
        ask: Calls; what it gives, or comes to, is iterated, by `async for` if it can be.

        answer: What the server says.

        read: Gives the text of one event.

        gives: The text of all.
    """

    ask: Callable[[Any], object]
    answer: Answer
    read: Callable[[Any], str | None]
    gives: str


@attrs.frozen(kw_only=True)
class Case:
    """
    One SDK.

    Attributes:
        name: The distribution.

        family: Under which heading of the table it goes.

        library: What its clients are of.

        how: What a user writes, for the table.

        pooled: Whether it is `pooled` itself that makes one, and nothing around it.

        sync: Makes one on a pool, to talk to a URL; None if it has no sync face.

        later: The same for its async face.

        call: What is asked of it.

        stream: What is streamed; None if nothing is.

        later_call: The async face's, where it goes by another name.

        later_stream: The async face's, where it goes by another name.

        copies: What makes another of it that lives on the same client, by name.

        held_by: Who gives the lease back: its own "close"; its "with", and then the collector (it has no
            close, and leaves the client of its other face alone); the "collector" alone (it has neither);
            or a "lease" around it (it does not close what it was given).

        close: How it is closed, where `held_by` is "close".

        group: The dependency group of `pyproject.toml` that installs it.
    """

    name: str
    family: str
    library: Library
    how: str
    call: Call
    pooled: bool = False
    sync: Callable[[Pool, str], Any] | None = None
    later: Callable[[Pool, str], Any] | None = None
    stream: Stream | None = None
    later_call: Call | None = None
    later_stream: Stream | None = None
    copies: Mapping[str, Callable[[Any], Any]] = attrs.field(factory=dict[str, Callable[[Any], Any]])
    held_by: HeldBy = "close"
    close: Callable[[Any], object] = close
    group: str = "sdks-all"

    @property
    def colours(self) -> tuple[Colour, ...]:
        """Its faces."""
        return (*(("sync",) if self.sync else ()), *(("async",) if self.later else ()))

    def call_of(self, colour: Colour) -> Call:
        """Give the call of one face."""
        return self.later_call or self.call if colour == "async" else self.call

    def stream_of(self, colour: Colour) -> Stream | None:
        """Give the stream of one face."""
        return self.later_stream or self.stream if colour == "async" else self.stream

    def make(self, colour: Colour, pool: Pool, url: str) -> Any:
        """Make one on *pool*."""
        maker = self.sync if colour == "sync" else self.later
        assert maker is not None, f"{self.name} is not {colour}"
        return maker(pool, url)
