"""Making SDK clients on the pool: who knows how, and what they are given for it."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import inspect
import logging
from collections.abc import Callable, Iterator
from typing import Any, Final, Protocol, TypeVar, cast, final

from pool_manager.errors import ConfigError
from pool_manager.leases import Tenancy
from pool_manager.libraries import library_of
from pool_manager.making import Maker, Terms

C = TypeVar("C")

_log = logging.getLogger(__name__)

_GROUP: Final = "pool_manager.adapters"  # of entry points, by which others' adapters are found
# Ours are found by their names: a program that was frozen or bundled has no entry points.
_OURS: Final = ("stainless", "speakeasy", "fern")

_TRANSPORTS: Final = ("transport", "async_transport")  # how SDKs call an argument that takes one


class ClientMaker(Protocol):
    """What an adapter makes clients with; all of it is undone if the SDK cannot be made."""

    def __call__(
        self,
        factory: Callable[..., C],
        /,
        *,
        shared: bool = True,
        beside: object | None = None,
        closes: bool = True,
        **kwargs: object,
    ) -> C:
        """
        Make what *factory* makes, on the pool.

        Args:
            factory: As for `PoolManager.client`.

            shared: As for `PoolManager.client`.

            beside: A client made before, whose lease it is to live on without giving it back.

            closes: Whether the SDK, or its user by it, will close it. If not, its first request
                takes the lease, and the lease goes back without a word when the SDK is collected.

            **kwargs: Arguments of the factory, as for `PoolManager.client`.
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
def adapters() -> tuple[tuple[str, Adapter], ...]:
    """
    Give all adapters and their names, loaded at the first use.

    Those of others come first: whoever ships one for an SDK knows it better than a rule does.
    One that cannot be loaded is told in the log, and is nobody else's trouble.
    """
    return (*_others(), *_ours())


def _others() -> Iterator[tuple[str, Adapter]]:
    for entry in importlib.metadata.entry_points(group=_GROUP):
        try:
            yield entry.name, entry.load()
        except Exception:  # noqa: BLE001 - a package of somebody's, which may fail as it likes
            _log.exception("the adapter %r (%s) cannot be loaded", entry.name, entry.value)


def _ours() -> Iterator[tuple[str, Adapter]]:
    for name in _OURS:
        yield name, importlib.import_module(f"pool_manager.adapters.{name}").ADAPTER


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
    adapter = next((adapter for _, adapter in adapters() if adapter.serves(sdk_class)), None)
    if adapter is None:
        raise ConfigError(
            f"no adapter serves {sdk_class.__module__}.{sdk_class.__qualname__}: {_recipe(sdk_class)}"
        )
    client = _Clients(maker, sdk_class.__name__)
    try:
        made = cast(C, adapter.make(client, sdk_class, args, kwargs))
    except BaseException:
        client.give_back()
        raise
    client.is_made()
    return made


@final
class _Clients:
    """Makes the clients of one SDK object. An adapter may keep this as long as that lives."""

    __slots__ = ("_maker", "_name", "_taken")

    def __init__(self, maker: Maker, name: str) -> None:
        self._maker, self._name = maker, name
        self._taken: list[Tenancy] | None = []  # by an SDK that is being made

    def __call__(
        self,
        factory: Callable[..., Any],
        /,
        *,
        shared: bool = True,
        beside: object | None = None,
        closes: bool = True,
        **kwargs: object,
    ) -> Any:  # noqa: ANN401 - what the factory makes
        """See `ClientMaker`."""
        maker = self._maker
        if beside is not None:
            tenancy = maker.tenancies[beside]
            made = maker.client_on(tenancy, factory, kwargs)
        else:
            terms = Terms(name=self._name, shared=shared, closes=closes)
            made, tenancy = maker.client(factory, terms, kwargs)
            if self._taken is not None:
                self._taken.append(tenancy)
        maker.tenancies[made] = tenancy
        return made

    def is_made(self) -> None:
        """Know that the SDK closes its clients from now on."""
        self._taken = None

    def give_back(self) -> None:
        """Give back what was taken: half made, an SDK cannot be closed, nor an async client here."""
        for tenancy in self._taken or ():
            tenancy.close()


def _arguments(sdk_class: type) -> list[inspect.Parameter]:
    try:
        return [*inspect.signature(sdk_class).parameters.values()]
    except (TypeError, ValueError):  # no signature, as many classes of C have none
        return []


def _recipe(sdk_class: type) -> str:
    """Say how to pool an SDK that no adapter serves, as far as its arguments tell."""
    name = sdk_class.__name__
    if library_of(sdk_class) is not None:
        return f"it is a client and not an SDK, make it with manager.client({name}, ...)"
    for argument in _arguments(sdk_class):
        annotation = str(argument.annotation)
        library = "httpx2" if "httpx2" in annotation else "httpx"
        if argument.name in _TRANSPORTS:
            return f"give it a transport, {name}({argument.name}=manager.transport({library}), ...)"
        if "client" in argument.name and "httpx" in annotation:
            kind = "AsyncClient" if "AsyncClient" in annotation else "Client"
            return f"give it a client, {name}({argument.name}=manager.client({library}.{kind}), ...)"
    return (
        "if it takes an httpx client, give it one from manager.client(...); if it takes none, attach the one"
        " inside it with manager.attach(...), or have every client pooled with manager.install()"
    )
