"""
What happens in pools, told to whoever listens: `PoolManager.listen`.

Listeners are called where the thing happens, in its thread or loop, and outside of every lock. They are to be
quick, and wait for nothing. One that raises is written into the log once, and harms no request.
"""

from __future__ import annotations

import logging
from types import TracebackType
from typing import Final, Literal, Self, TypeAlias, final

import attrs

from pool_manager.stats import CloseCause

__all__ = ["ConnectionEvent", "Listener", "RequestEvent", "RetryEvent"]

_log = logging.getLogger(__name__)


@attrs.frozen(kw_only=True)
class ConnectionEvent:
    """
    A connection was opened, or is to be closed.

    Attributes:
        scheme: Of its origin.

        host: Of its origin.

        port: Of its origin.

        lane: The lane that it belongs to.

        connection_id: Which connection of its pool it is: as in `RequestRecord`.

        http_version: "HTTP/1.1" or "HTTP/2".

        seconds: What it took to open it; or how old it is.

        cause: Why it is closed: see `CloseCause`. None where it was opened.
    """

    scheme: str
    host: str
    port: int
    lane: str
    connection_id: int
    http_version: str
    seconds: float
    cause: CloseCause | None = None


@attrs.frozen(kw_only=True)
class RequestEvent:
    """
    A request waits for a connection, has one, or has left.

    Attributes:
        scheme: Of its origin.

        host: Of its origin.

        port: Of its origin.

        lane: The lane that it takes.

        lease: The name of the lease that it comes by.

        method: GET ...

        connection_id: Its connection; None while it has none, or if it left without one.

        seconds: Since it asked for a connection.

        status: That of its answer; 0 if none has come.
    """

    scheme: str
    host: str
    port: int
    lane: str
    lease: str
    method: str
    connection_id: int | None
    seconds: float
    status: int = 0


@attrs.frozen(kw_only=True)
class RetryEvent:
    """
    A request is sent again.

    Attributes:
        request: Its method and URL, without the query.

        lane: The lane that it takes.

        lease: The name of the lease that it comes by.

        cause: A status ("503"), or the name of an error ("ReadTimeout").

        asked_for: Its client asked for that (`Retries`); else the pool does it by itself.
    """

    request: str
    lane: str
    lease: str
    cause: str
    asked_for: bool


Event: TypeAlias = ConnectionEvent | RequestEvent | RetryEvent
What: TypeAlias = Literal["on_connect", "on_close", "on_queued", "on_acquired", "on_released", "on_retry"]


class Listener:
    """What may be listened to. Each method does nothing: override those that matter."""

    def on_connect(self, event: ConnectionEvent) -> None:
        """A connection was opened."""

    def on_close(self, event: ConnectionEvent) -> None:
        """An open connection is closed."""

    def on_queued(self, event: RequestEvent) -> None:
        """A request has to wait for a connection."""

    def on_acquired(self, event: RequestEvent) -> None:
        """A request has a connection."""

    def on_released(self, event: RequestEvent) -> None:
        """A request has left: with its answer, with an error, or before it had a connection."""

    def on_retry(self, event: RetryEvent) -> None:
        """A request is sent again."""


@final
class Audience:
    """
    Who listens to the pools of one manager.

    Attributes:
        listeners: Those who do. Nothing is told, and no event made, while there are none.
    """

    def __init__(self) -> None:
        self.listeners: tuple[Listener, ...] = ()
        self._failed: set[tuple[int, What]] = set()

    def add(self, listener: Listener) -> None:
        """Have *listener* told from now on."""
        self.listeners = (*self.listeners, listener)

    def remove(self, listener: Listener) -> None:
        """Tell it nothing any more."""
        self.listeners = tuple(other for other in self.listeners if other is not listener)

    def tell(self, what: What, event: Event) -> None:
        """Tell everybody. Never raises what a listener does."""
        for listener in self.listeners:
            try:
                getattr(listener, what)(event)
            except Exception:  # noqa: BLE001 - it is somebody else's, and no request's
                if (id(listener), what) not in self._failed:
                    self._failed.add((id(listener), what))
                    _log.exception("%r.%s failed; it is not told of again", listener, what)


@final
class Listening:
    """What `PoolManager.listen` gives: ends it by `close`, or as a context manager."""

    def __init__(self, audience: Audience, listener: Listener) -> None:
        self._audience: Final = audience
        self._listener: Final = listener
        audience.add(listener)

    def close(self) -> None:
        """Tell the listener nothing any more. Safe to repeat."""
        self._audience.remove(self._listener)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()
