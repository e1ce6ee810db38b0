"""
A lease: one client's share of the pools, counted, and found when it is lost.

Whoever holds a lease keeps the pools it has used open. A lease joins the pool of
the running loop (or of threads) when it is taken, and any other at the first
request there.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from types import CodeType, TracebackType
from typing import TYPE_CHECKING, Final, Protocol, Self, TypeVar, final, overload

import httpx

from pool_manager import losses
from pool_manager.core.lanes import Lanes
from pool_manager.errors import LeaseClosed
from pool_manager.pools import Share, Tenant
from pool_manager.registry import Registry
from pool_manager.retrying import Retrier
from pool_manager.runtimes import loops
from pool_manager.stats import PoolStats

if TYPE_CHECKING:
    from pool_manager.libraries import Httpx2Like, Httpx2Transport, HttpxLike, HttpxTransport

C = TypeVar("C")

# Code that a caller does not mean when asking "where was this taken?".
_NOT_THE_CALLER = frozenset({"pool_manager", "httpx", "httpx2", "contextlib"})


class Place(tuple[CodeType | None, int]):
    """
    Code of somebody's, and how far it has come, in bytes.

    One is made for each answer, and put into words for the few that get lost: to find the line takes longer.
    """

    __slots__ = ()

    def __str__(self) -> str:
        code, reached = self
        if code is None:
            return "an unknown place"
        line = next((line for start, end, line in code.co_lines() if start <= reached < end), None)
        return f"{code.co_filename}:{line}"


def caller(depth: int = 1) -> Place:
    """Give the place that called into this package, past it and the libraries: at least *depth* calls off."""
    # Not `inspect.stack`: it reads source files, at a thousand times the cost.
    while (module := _module_at(depth)) in _passed or _is_passed(module):
        depth += 1
    if module is None:
        return Place((None, 0))
    frame = sys._getframe(depth)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    return Place((frame.f_code, frame.f_lasti))


_passed: set[str | None] = set()  # modules that were found to be none that a caller means


def _is_passed(module: str | None) -> bool:
    if module is None or module.partition(".")[0] not in _NOT_THE_CALLER:
        return False
    _passed.add(module)
    return True


def _module_by_frame(depth: int) -> str | None:
    try:
        frame = sys._getframe(depth + 1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
    except ValueError:  # there are not so many
        return None
    return str(frame.f_globals.get("__name__"))


# Python 3.12 can tell without making an object of each frame, which is most of the cost.
_module_at: Callable[[int], str | None] = getattr(sys, "_getframemodulename", _module_by_frame)


@final
class Tenancy:
    """
    A lease without the ways to make clients: what a transport holds.

    A collected, unclosed one is given back, with a `ResourceWarning` that says
    where it was taken, unless nobody was to close it.

    Args:
        registry: Where the pools are.

        tenant: How the registry counts it.

        share: Whom it shares with.

        retrier: What sends its requests again, unless a client has another; None if nothing does.
    """

    def __init__(
        self, registry: Registry, tenant: Tenant, share: Share, retrier: Retrier | None = None
    ) -> None:
        self.share: Final = share
        self.retrier: Final = retrier
        self.registry: Final = registry
        self.tenant: Final = tenant
        if not tenant.closed:  # else it is taken when it is used
            registry.take(tenant, share)
        self._taken = True

    def __reduce__(self) -> tuple[object, ...]:
        """Travel as one that is taken when it is used: in another process it is another lease."""
        tenant = Tenant(
            self.tenant.name, self.tenant.lane, str(self.tenant.taken_at),
            reopens=True, installed=self.tenant.installed, may_be_lost=self.tenant.may_be_lost, closed=True,
        )  # fmt: skip
        return Tenancy, (self.registry, tenant, self.share, self.retrier)

    @property
    def lanes(self) -> Lanes:
        """Those of its manager."""
        return self.registry.lanes

    def join(self, *, is_async: bool | None) -> None:
        """
        Hold the pool here already before the first request.

        Args:
            is_async: Whether requests will come from a loop; None if nobody knows yet.
        """
        loop = None if is_async is False else loops.current_or_none()
        if loop is not None or not is_async:
            self.registry.join(self.tenant, self.share, loop)

    @property
    def is_out(self) -> bool:
        """Whether it was taken and not given back."""
        return self._taken and not self.tenant.closed

    def close(self) -> None:
        """Give the lease back; from any thread, any number of times."""
        self.registry.shut(self.registry.give_back(self.tenant))

    async def aclose(self) -> None:
        """Give the lease back; what it was the last to hold here is closed when this returns."""
        await self.registry.ashut(self.registry.give_back(self.tenant))

    def stats(self) -> tuple[PoolStats, ...]:
        """Give one snapshot of each pool that it holds."""
        return tuple(pool.stats() for pool in [*self.tenant.pools])

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        """Give back what nobody will. Runs at any time, inside anything: see `Registry.lose`."""
        # Half made (the manager was closed), or the interpreter is on its way out: then this module may be
        # empty already, and what it needs is in its defaults.
        if not getattr(self, "_taken", False) or is_finalizing():
            return
        if self.tenant.closed or self.tenant.returning:
            return
        self.registry.lose(self.tenant)
        if not self.tenant.may_be_lost:
            losses.tell(self)

    def __str__(self) -> str:
        return str(self.tenant)


class Maker(Protocol):
    """What a lease asks of its manager; `PoolManager` is one."""

    def transport_on(self, tenancy: Tenancy, library: object) -> object:
        """Make a transport on *tenancy*."""
        ...

    def client_on(
        self, tenancy: Tenancy, factory: Callable[..., object], kwargs: dict[str, object]
    ) -> object:
        """Make a client on *tenancy*."""
        ...


@final
class Lease:
    """
    A counted share of the pools: ``with manager.lease(name="billing") as lease``.

    What it makes works until the lease is closed; then `LeaseClosed`. Responses
    that are open by then can still be read to their end.
    """

    def __init__(self, tenancy: Tenancy, maker: Maker) -> None:
        self._tenancy, self._maker = tenancy, maker

    def __reduce__(self) -> tuple[object, ...]:
        """Stay here: what another process takes cannot be given back by this one's `with`."""
        raise TypeError(f"{self._tenancy} cannot be pickled: take one in the other process")

    @property
    def name(self) -> str:
        """What statistics and errors call it."""
        return self._tenancy.tenant.name

    @property
    def closed(self) -> bool:
        """Whether it was given back."""
        return self._tenancy.tenant.closed

    @overload
    def client(self, /, **kwargs: object) -> httpx.Client: ...
    @overload
    def client(self, factory: Callable[..., C], /, **kwargs: object) -> C: ...
    def client(self, factory: Callable[..., object] = httpx.Client, /, **kwargs: object) -> object:
        """
        Make a client that works as long as the lease. Arguments and errors: `PoolManager.client`.

        Raises:
            LeaseClosed: The lease was given back.
        """
        return self._maker.client_on(self._open_tenancy(), factory, kwargs)

    @overload
    def transport(self) -> HttpxTransport: ...
    @overload
    def transport(self, library: HttpxLike) -> HttpxTransport: ...
    @overload
    def transport(self, library: Httpx2Like) -> Httpx2Transport: ...
    def transport(self, library: object = httpx) -> object:
        """
        Make a transport that works as long as the lease. Arguments and errors: `PoolManager.transport`.

        Raises:
            LeaseClosed: The lease was given back.
        """
        return self._maker.transport_on(self._open_tenancy(), library)

    def _open_tenancy(self) -> Tenancy:
        if self.closed:
            raise LeaseClosed(f"{self._tenancy}, was given back")
        return self._tenancy

    def stats(self) -> tuple[PoolStats, ...]:
        """Give one snapshot of each pool that it holds."""
        return self._tenancy.stats()

    def close(self) -> None:
        """Give the lease back. Safe to repeat, from any thread."""
        self._tenancy.close()

    async def aclose(self) -> None:
        """Give the lease back; what it was the last to hold here is closed when this returns."""
        await self._tenancy.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.aclose()
