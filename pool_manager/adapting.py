"""Making SDK clients on the pool: who knows how, and what they are given for it."""

from __future__ import annotations

import functools
import importlib.metadata
import weakref
from collections.abc import Callable
from typing import Any, Final, Protocol, TypeVar, cast

import attrs

from pool_manager.errors import ConfigError
from pool_manager.leases import Tenancy
from pool_manager.making import Maker, Terms

C = TypeVar("C")

ADAPTERS: Final = "pool_manager.adapters"  # the entry point group


class ClientMaker(Protocol):
    """What an adapter makes clients with; all of it is undone if the SDK cannot be made."""

    def __call__(
        self, factory: Callable[..., C], /, *, shared: bool = True, beside: object | None = None
    ) -> C:
        """
        Make what *factory* makes, on the pool.

        Args:
            factory: As for `PoolManager.client`.

            shared: As for `PoolManager.client`.

            beside: A client made before, whose lease it is to live on without giving it back.
        """
        ...


class Adapter(Protocol):
    """How one family of SDKs takes a client. Found by the entry point group `pool_manager.adapters`."""

    def serves(self, sdk_class: type) -> bool:
        """Whether this adapter knows how to make *sdk_class*."""
        ...

    def make(
        self, client: ClientMaker, sdk_class: type, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        """Make an instance of *sdk_class* on what *client* makes, the SDK's own defaults kept."""
        ...


@functools.cache
def adapters() -> tuple[Adapter, ...]:
    """Give the adapters that are installed, ours and others': loaded at the first use."""
    return tuple(entry.load() for entry in importlib.metadata.entry_points(group=ADAPTERS))


def make_pooled(
    maker: Maker, sdk_class: Callable[..., C], args: tuple[object, ...], kwargs: dict[str, object]
) -> C:
    """
    Make an SDK client on *maker*'s pools, by the first adapter that serves its class.

    Raises:
        ConfigError: None does; says what to do instead.
    """
    if not isinstance(sdk_class, type):
        raise ConfigError(f"sdk_class must be a class, not {sdk_class!r}")
    adapter = next((adapter for adapter in adapters() if adapter.serves(sdk_class)), None)
    if adapter is None:
        raise ConfigError(
            f"no adapter serves {sdk_class.__module__}.{sdk_class.__qualname__}: give it a client from"
            " manager.client(...), or attach the httpx client inside it with manager.attach(...)"
        )
    terms = Terms(name=sdk_class.__name__)
    taken: weakref.WeakKeyDictionary[Any, Tenancy] = weakref.WeakKeyDictionary()

    def client(factory: Callable[..., Any], /, *, shared: bool = True, beside: object | None = None) -> Any:  # noqa: ANN401 - what the factory makes
        if beside is not None:
            tenancy = taken[beside]
            made = maker.client_on(tenancy, factory, {})
        else:
            made, tenancy = maker.client(factory, attrs.evolve(terms, shared=shared), {})
        taken[made] = tenancy
        return made

    try:
        return cast(C, adapter.make(client, sdk_class, args, kwargs))
    except BaseException:
        # Half made, an SDK cannot be closed; its async client could not be, here.
        for tenancy in taken.values():
            tenancy.close()
        raise
