"""What users hold: makes clients, transports and leases on shared pools."""

from __future__ import annotations

import functools
import importlib.metadata
import typing
import weakref
from collections.abc import Callable, Sequence
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar, cast, overload

import attrs
import httpx

from pool_manager.attaching import Attachment, differences, library_of_client
from pool_manager.config import Lane, Limits, PoolConfig
from pool_manager.errors import ConfigError
from pool_manager.leases import Lease, Tenancy, caller
from pool_manager.libraries import library_of
from pool_manager.pools import Share, Tenant
from pool_manager.registry import Registry
from pool_manager.stats import ManagerStats
from pool_manager.transports import PoolTransport, face_of

if TYPE_CHECKING:
    from pool_manager.libraries import Httpx2Like, Httpx2Transport, HttpxLike, HttpxTransport

C = TypeVar("C")

# What httpx's clients take and the pool decides; `trust_env` is also the client's, for .netrc.
_OF_THE_POOL = (
    "verify",
    "cert",
    "proxy",
    "trust_env",
    "http1",
    "http2",
    "local_address",
    "uds",
    "socket_options",
)
ADAPTERS = "pool_manager.adapters"  # the entry point group


class ClientMaker(Protocol):
    """What an adapter makes clients with: `PoolManager.client`, undone if the SDK cannot be made."""

    def __call__(self, factory: Callable[..., C], /, **kwargs: object) -> C:
        """Make what *factory* makes, on the pool."""
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


class PoolManager:
    """
    Owns the connections that clients of httpx and httpx2 lease.

    Making one does no I/O and builds no TLS context. It is safe to use from any
    thread, any number of event loops and after a fork.

    Args:
        config: How to connect, unless a client says otherwise.

        limits: How far each pool may grow; an `httpx.Limits` is converted.

        lanes: Bulkheads for requests that must not hold up others.

        name: What logs call it.

    Raises:
        ConfigError: An argument cannot be used.
    """

    def __init__(
        self,
        config: PoolConfig | None = None,
        *,
        limits: Limits | None = None,
        lanes: Sequence[Lane] = (),
        name: str = "default",
    ) -> None:
        if config is not None and not isinstance(config, PoolConfig):
            raise ConfigError(f"config must be a PoolConfig, not {config!r}")
        self._config = config or PoolConfig()
        self._limits = Limits() if limits is None else Limits.parse(limits)
        self._lanes = tuple(lanes)
        self._registry = Registry(name, self._lanes)
        self._attached: weakref.WeakKeyDictionary[Any, Attachment] = weakref.WeakKeyDictionary()

    def __reduce__(self) -> tuple[object, ...]:
        """Travel as its configuration: in another process it has connections of its own."""
        remake = functools.partial(PoolManager, limits=self._limits, lanes=self._lanes, name=self.name)
        return remake, (self._config,)

    def __repr__(self) -> str:
        return f"<PoolManager {self.name!r}>"

    @property
    def name(self) -> str:
        """What logs call it."""
        return self._registry.name

    # Clients, transports, leases

    @overload
    def client(
        self,
        /,
        *,
        name: str | None = None,
        lane: str | None = None,
        shared: bool = True,
        config: PoolConfig | None = None,
        **kwargs: object,
    ) -> httpx.Client: ...
    @overload
    def client(
        self,
        factory: Callable[..., C],
        /,
        *,
        name: str | None = None,
        lane: str | None = None,
        shared: bool = True,
        config: PoolConfig | None = None,
        **kwargs: object,
    ) -> C: ...
    def client(
        self,
        factory: Callable[..., object] = httpx.Client,
        /,
        *,
        name: str | None = None,
        lane: str | None = None,
        shared: bool = True,
        config: PoolConfig | None = None,
        **kwargs: object,
    ) -> object:
        """
        Make what *factory* makes, on a pooled transport.

        It keeps its own cookies, headers, auth and timeouts; only connections are
        shared. Closing it gives its lease back, and so does losing it.

        Args:
            factory: `httpx.Client`, `httpx.AsyncClient`, httpx2's, an SDK's own client
                class (`openai.DefaultAsyncHttpxClient`) or any subclass.

            name: What statistics and errors call its lease; the factory's name if None.

            lane: The lane of its requests, unless a request names another.

            shared: False gives it a pool of its own.

            config: How to connect; the manager's if None.

            **kwargs: Arguments of the factory. Those that say how to connect (verify,
                cert, proxy, trust_env, http1, http2, local_address, uds, socket_options)
                go into the pool's config instead; `limits` gives it a pool that is
                shared only with clients of equal limits.

        Raises:
            ConfigError: The factory is no client of either library, or a setting cannot be used.

            PoolClosed: The manager is closed.
        """
        return self._client(factory, kwargs, name=name, lane=lane, shared=shared, config=config)[0]

    @overload
    def transport(
        self,
        /,
        *,
        name: str | None = None,
        lane: str | None = None,
        shared: bool = True,
        config: PoolConfig | None = None,
    ) -> HttpxTransport: ...
    @overload
    def transport(
        self,
        library: HttpxLike,
        /,
        *,
        name: str | None = None,
        lane: str | None = None,
        shared: bool = True,
        config: PoolConfig | None = None,
    ) -> HttpxTransport: ...
    @overload
    def transport(
        self,
        library: Httpx2Like,
        /,
        *,
        name: str | None = None,
        lane: str | None = None,
        shared: bool = True,
        config: PoolConfig | None = None,
    ) -> Httpx2Transport: ...
    def transport(
        self,
        library: object = httpx,
        /,
        *,
        name: str | None = None,
        lane: str | None = None,
        shared: bool = True,
        config: PoolConfig | None = None,
    ) -> object:
        """
        Make a transport that holds one lease and serves threads, loops and trio alike.

        Args:
            library: The module `httpx` or `httpx2`.

            name: What statistics and errors call its lease; the library's name if None.

            lane: As for `client`.

            shared: As for `client`.

            config: As for `client`.

        Raises:
            ConfigError: The library is neither, or a setting cannot be used.

            PoolClosed: The manager is closed.
        """
        face = _module(library)
        tenancy = self._take(
            name or face.__name__,
            lane,
            shared=shared,
            config=self._checked(config),
            limits=None,
            reopens=True,
        )
        tenancy.join(is_async=None)
        return self._pooled(face, tenancy, tenancy.share, owns=True)

    def lease(
        self,
        *,
        name: str | None = None,
        lane: str | None = None,
        shared: bool = True,
        config: PoolConfig | None = None,
    ) -> Lease:
        """
        Take a lease: a context manager, and a maker of clients that live as long as it does.

        Args:
            name: What statistics and errors call it; where it was taken, if None.

            lane: As for `client`.

            shared: As for `client`.

            config: As for `client`.

        Raises:
            ConfigError: A setting cannot be used.

            PoolClosed: The manager is closed.
        """
        tenancy = self._take(
            name or caller(), lane, shared=shared, config=self._checked(config), limits=None, reopens=False
        )
        tenancy.join(is_async=None)
        return Lease(tenancy, self)

    def transport_on(self, tenancy: Tenancy, library: object) -> object:
        """Make a transport on a lease that somebody else gives back. For `Lease`."""
        return self._pooled(_module(library), tenancy, tenancy.share, owns=False)

    def client_on(
        self, tenancy: Tenancy, factory: Callable[..., object], kwargs: dict[str, object]
    ) -> object:
        """Make a client on a lease that somebody else gives back. For `Lease`."""
        for name in {"name", "lane", "shared"} & kwargs.keys():
            raise ConfigError(f"{name} is the lease's: pass it to lease(), not to its client()")
        config, limits = self._settings(
            cast("PoolConfig | None", kwargs.pop("config", tenancy.share.config)), kwargs
        )
        share = attrs.evolve(
            tenancy.share, config=config.with_environment(), limits=limits or tenancy.share.limits
        )
        library, _ = _library_of_factory(factory)
        return factory(transport=self._pooled(library, tenancy, share, owns=False), **kwargs)

    # SDKs and clients that exist already

    def pooled(self, sdk_class: Callable[..., C], /, *args: object, **kwargs: object) -> C:
        """
        Make an SDK client on the pool, with the SDK's own timeouts, retries and redirects.

        Its `close` gives the lease back. An explicit `http_client=` is used as it is,
        unpooled: whoever passes one has chosen.

        Args:
            sdk_class: The SDK's class, sync or async: `openai.AsyncOpenAI`, `groq.Groq` ...

            *args: The SDK's own arguments.

            **kwargs: The SDK's own arguments.

        Raises:
            ConfigError: No adapter serves this class; says what to do instead.
        """
        if not isinstance(sdk_class, type):
            raise ConfigError(f"sdk_class must be a class, not {sdk_class!r}")
        adapter = next((adapter for adapter in _adapters() if adapter.serves(sdk_class)), None)
        if adapter is None:
            raise ConfigError(
                f"no adapter serves {sdk_class.__module__}.{sdk_class.__qualname__}: give it a client from"
                " manager.client(...), or attach the httpx client inside it with manager.attach(...)"
            )
        taken: list[Tenancy] = []

        def client(factory: Callable[..., Any], /, **options: object) -> Any:  # noqa: ANN401 - what the factory makes
            made, tenancy = self._client(factory, options, name=sdk_class.__name__)
            taken.append(tenancy)
            return made

        try:
            return cast(C, adapter.make(client, sdk_class, args, kwargs))
        except BaseException:
            # Half made, an SDK cannot be closed; its async client could not be, here.
            for tenancy in taken:
                tenancy.close()
            raise

    def attach(self, client: C, /, *, config: PoolConfig | None = None) -> C:
        """
        Put a client that exists on the pool; give it back.

        Its HTTP version and TLS are the pool's from now on. What wraps its transport stays.

        Args:
            client: An httpx or httpx2 client, sync or async.

            config: What to use where its settings differ from its library's defaults.

        Raises:
            ConfigError: It is no such client, is closed or attached already, or its settings
                differ (verification, CAs, TLS versions, proxy, mounts) and *config* is None.
        """
        library = library_of_client(client)
        if config is None and (found := differences(client)):
            raise ConfigError(
                f"client {client!r} would change: {'; '.join(found)}. Say with config= what to use"
            )
        tenancy = self._take(
            _name_of(type(client)), None, shared=True, config=self._checked(config), limits=None, reopens=True
        )
        try:
            pooled = self._pooled(library, tenancy, tenancy.share, owns=True)
            self._attached[client] = Attachment.make(client, pooled)
        except BaseException:
            tenancy.close()
            raise
        return client

    def detach(self, client: C, /) -> C:
        """
        Take *client* off the pool: it is as it was before `attach`.

        Raises:
            ConfigError: It is not attached to this manager.
        """
        attachment = self._attached.pop(client, None)
        if attachment is None:
            raise ConfigError(f"client {client!r} is not attached to {self!r}")
        attachment.undo(client)
        return client

    # The manager itself

    def stats(self) -> ManagerStats:
        """Give a snapshot of every pool and of the leases."""
        return self._registry.stats()

    def reset(self) -> None:
        """Use no connection of now again, and read certificates anew. Requests that are out finish."""
        self._registry.reset()

    def close(self) -> None:
        """Close every pool, now. Further requests and leases raise `PoolClosed`. Safe to repeat."""
        self._registry.close()

    async def aclose(self, grace: float = 5.0) -> None:
        """
        Close every pool once the requests that are out have ended.

        Args:
            grace: Seconds to wait for them; what is still open then is closed all the same.
        """
        await self._registry.aclose(grace)

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

    def _checked(self, config: PoolConfig | None) -> PoolConfig:
        if config is None:
            return self._config
        if not isinstance(config, PoolConfig):
            raise ConfigError(f"config must be a PoolConfig, not {config!r}")
        return config

    def _settings(
        self, config: PoolConfig | None, kwargs: dict[str, object]
    ) -> tuple[PoolConfig, Limits | None]:
        """Take out of *kwargs* what the pool decides."""
        if kwargs.get("transport") is not None:
            raise ConfigError(
                "transport must not be given: the pool's takes its place. For your own, call the factory"
            )
        kwargs.pop("transport", None)
        own = {key: kwargs.pop(key) for key in _OF_THE_POOL if key in kwargs}
        if "trust_env" in own:
            kwargs["trust_env"] = own["trust_env"]
        limits = kwargs.pop("limits", None)
        config = self._checked(config)
        return (
            attrs.evolve(config, **cast(Any, own)) if own else config,
            None if limits is None else Limits.parse(cast(Limits, limits)),
        )

    def _client(
        self,
        factory: Callable[..., object],
        kwargs: dict[str, object],
        *,
        name: str | None = None,
        lane: str | None = None,
        shared: bool = True,
        config: PoolConfig | None = None,
    ) -> tuple[object, Tenancy]:
        library, is_async = _library_of_factory(factory)
        config, limits = self._settings(config, kwargs)
        tenancy = self._take(
            name or _name_of(factory), lane, shared=shared, config=config, limits=limits, reopens=True
        )
        try:
            tenancy.join(is_async=is_async)
            return factory(
                transport=self._pooled(library, tenancy, tenancy.share, owns=True), **kwargs
            ), tenancy
        except BaseException:
            tenancy.close()
            raise

    def _take(
        self,
        name: str,
        lane: str | None,
        *,
        shared: bool,
        config: PoolConfig,
        limits: Limits | None,
        reopens: bool,
    ) -> Tenancy:
        if lane is not None:
            self._registry.lanes.check(lane)
        share = Share(config.with_environment(), limits or self._limits, None if shared else object())
        return Tenancy(self._registry, Tenant(name, lane, caller(), reopens), share)

    def _pooled(self, library: ModuleType, tenancy: Tenancy, share: Share, *, owns: bool) -> PoolTransport:
        return face_of(library).transport_type(tenancy, share, self._registry.lanes, owns=owns)


def _module(library: object) -> ModuleType:
    if not isinstance(library, ModuleType):
        raise ConfigError(f"library must be the module httpx or httpx2, not {library!r}")
    return library


def _name_of(factory: object) -> str:
    return getattr(factory, "__name__", repr(factory))


def _library_of_factory(factory: Callable[..., object]) -> tuple[ModuleType, bool]:
    kind = factory if isinstance(factory, type) else typing.get_type_hints(factory).get("return")
    found = library_of(kind) if isinstance(kind, type) else None
    if found is None:
        raise ConfigError(
            f"factory must be a client class of httpx or httpx2, or a function annotated to return one,"
            f" not {factory!r}; for an SDK class use pooled()"
        )
    return found


@functools.cache
def _adapters() -> tuple[Adapter, ...]:
    """Give the adapters that are installed, ours and others': loaded at the first use."""
    return tuple(entry.load() for entry in importlib.metadata.entry_points(group=ADAPTERS))


_DEFAULT = PoolManager()


def default_manager() -> PoolManager:
    """Give the manager of the whole process, which the functions of the package use."""
    return _DEFAULT
