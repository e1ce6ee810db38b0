"""One request as the registry counts it: let in, sent again perhaps, let out when its answer is closed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Protocol

import attrs

from pool_manager.core.messages import AsyncBody, Body, Request
from pool_manager.core.replay import Resent
from pool_manager.events import Audience, RetryEvent
from pool_manager.guarding import Guard
from pool_manager.observe import log
from pool_manager.pools import Pool, Tenant


class Owner(Protocol):
    """What a request needs of its registry."""

    guard: Guard

    @property
    def audience(self) -> Audience:
        """Who listens."""
        ...

    def end(self, exchange: Exchange, *, failed: bool, lost: bool) -> None:
        """Let a request out."""
        ...

    def defer(self, job: Callable[[], object]) -> None:
        """Have *job* done by whoever calls next, outside of every lock."""
        ...

    def watch(self, exchange: Exchange) -> None:
        """Tell of it if its answer is held for too long."""
        ...


@attrs.define(eq=False)
class Exchange:
    """
    One request, from being let in to its answer being closed.

    Attributes:
        tenant: Who makes it.

        pool: Which it holds. There only once it was let in.

        is_out: It was let in, and not out again. The registry's lock guards it.
    """

    tenant: Tenant
    _owner: Owner
    _guard: Guard  # of the process that made it
    pool: Pool = attrs.field(init=False)
    is_out: bool = False
    _what: str = ""  # what is told of it when it is held for too long

    def end(self, *, failed: bool = False, lost: bool = False) -> None:
        """Hold the pool no longer. Safe to repeat."""
        if self.is_out and self._guard is self._owner.guard:  # a forked child counts only its own
            self._owner.end(self, failed=failed, lost=lost)

    def retried(self, request: Request, cause: str) -> None:
        """Count and tell that it is sent again since its client asked for that."""
        self._count_retry(request, cause, asked_for=True)

    def replayed(self, request: Request, resent: Resent) -> None:
        """Count and tell that the engine sends it again by itself."""
        self._count_retry(request, resent.kind, asked_for=False)
        log.replay(request, resent)

    def _count_retry(self, request: Request, cause: str, *, asked_for: bool) -> None:
        self._guard.move(functools.partial(self.pool.tally.count_retry, cause, asked_for=asked_for))
        if self._owner.audience.listeners:
            event = RetryEvent(
                request=str(request), lane=request.lane, lease=request.lease, cause=cause, asked_for=asked_for
            )
            self._owner.audience.tell("on_retry", event)

    def answered(self, what: object) -> None:
        """Know that somebody holds its answer: *what*, in words. Told if that is for too long."""
        self._what = str(what)
        self._owner.watch(self)

    def __str__(self) -> str:
        return self._what

    def abandon(self, body: Body | AsyncBody) -> None:
        """
        End it as one whose answer was collected unclosed. For finalisers.

        Never at once: the finaliser may have interrupted the very engine that has
        to let go of the answer.
        """

        def let_go() -> None:
            body.abandon()
            self.end(failed=True, lost=True)

        if self.pool.runtime.name != "threads":
            try:
                self.pool.runtime.call_soon(let_go)
            except RuntimeError:  # its loop is over
                pass
            else:
                return
        self._owner.defer(let_go)
