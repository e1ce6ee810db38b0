"""
Making transports and clients on a lease: whose settings go where.

Of what a client class takes, the part that says how to connect belongs to the
pool; the rest is the client's own.
"""

from __future__ import annotations

import functools
import typing
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, Final, cast, final
from weakref import WeakKeyDictionary

import attrs

from pool_manager.config import Limits, PoolConfig
from pool_manager.errors import ConfigError
from pool_manager.leases import Tenancy, caller
from pool_manager.libraries import library_of
from pool_manager.policies import Reconnects, Retries
from pool_manager.pools import Share, Tenant
from pool_manager.registry import Registry
from pool_manager.retrying import Retrier
from pool_manager.transports import Face, PoolTransport, face_of

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


@attrs.frozen(kw_only=True)
class Terms:
    """
    What a lease is asked for with.

    Attributes:
        name: What statistics and errors call it.

        lane: The lane of its requests, or None.

        shared: Whether its pool is anybody else's, too.

        config: How to connect; None for the manager's way.

        retries: When to send its requests again; a number as httpx's transports take it; None for never.

        installed: Whether its client knows nothing of pools: see `Tenant`.

        closes: Whether somebody will close it. Else it is not out before its first request, and
            may be lost: see `Tenant`.
    """

    name: str
    lane: str | None = None
    shared: bool = True
    config: PoolConfig | None = None
    retries: Retries | int | None = None
    installed: bool = False
    closes: bool = True


@final
class Maker:
    """
    Makes what a manager hands out, on pools of *registry*.

    Attributes:
        tenancies: On what the clients of SDKs are that were made by an adapter.
    """

    def __init__(self, registry: Registry, config: PoolConfig, limits: Limits) -> None:
        self.registry, self.config, self.limits = registry, config, limits
        self.tenancies: Final[WeakKeyDictionary[object, Tenancy]] = WeakKeyDictionary()

    def __reduce__(self) -> tuple[object, ...]:
        """Travel as its configuration: clients of SDKs stay here."""
        return Maker, (self.registry, self.config, self.limits)

    def take(self, terms: Terms, limits: Limits | None = None, *, reopens: bool) -> Tenancy:
        """Take a lease; one that *reopens* is taken anew when it is used after its close."""
        if terms.lane is not None:
            self.registry.lanes.check(terms.lane)
        private = None if terms.shared else object()
        share = Share(self.checked(terms.config).with_environment(), limits or self.limits, private)
        tenant = Tenant(
            terms.name,
            terms.lane,
            caller(),
            reopens,
            installed=terms.installed,
            may_be_lost=terms.installed or not terms.closes,
            closed=not terms.closes,
        )
        return Tenancy(self.registry, tenant, share, retrier_of(terms.retries))

    def checked(self, config: PoolConfig | None) -> PoolConfig:
        """Give the config to use; raises `ConfigError` if it is none."""
        if config is None:
            return self.config
        if not isinstance(config, PoolConfig):
            raise ConfigError(f"config must be a PoolConfig, not {config!r}")
        return config

    def client(
        self, factory: Callable[..., object], terms: Terms, kwargs: dict[str, object]
    ) -> tuple[object, Tenancy]:
        """Make a client with a lease of its own."""
        face, is_async = face_of_factory(factory)
        config, limits = self._settings(face, self.checked(terms.config), kwargs)
        tenancy = self.take(attrs.evolve(terms, config=config), limits, reopens=True)
        try:
            if terms.closes:
                tenancy.join(is_async=is_async)
            transport = self._transport_for(face, tenancy, tenancy.share, kwargs, owns=True)
            return factory(transport=transport, **kwargs), tenancy
        except BaseException:
            tenancy.close()
            raise

    def client_on(
        self, tenancy: Tenancy, factory: Callable[..., object], kwargs: dict[str, object]
    ) -> object:
        """Make a client on a lease that somebody else gives back."""
        for name in {"name", "lane", "shared"} & kwargs.keys():
            raise ConfigError(f"{name} is the lease's: pass it to lease(), not to its client()")
        face, _ = face_of_factory(factory)
        config = cast("PoolConfig | None", kwargs.pop("config", None)) or tenancy.share.config
        config, limits = self._settings(face, self.checked(config), kwargs)
        share = attrs.evolve(
            tenancy.share, config=config.with_environment(), limits=limits or tenancy.share.limits
        )
        return factory(transport=self._transport_for(face, tenancy, share, kwargs, owns=False), **kwargs)

    def transport_on(self, tenancy: Tenancy, library: object) -> object:
        """Make a transport on a lease that somebody else gives back."""
        face = face_of_module(library)
        return self.transport(face, tenancy, tenancy.share, owns=False, retrier=tenancy.retrier)

    def transport(
        self,
        face: Face,
        tenancy: Tenancy,
        share: Share,
        *,
        owns: bool,
        routes: Mapping[str, Share] | None = None,
        retrier: Retrier | None = None,
    ) -> PoolTransport:
        """Make a transport; *routes* says whom URL patterns share with, None that the environment does."""
        routes = face.routes(share) if routes is None else routes
        made = face.transport_type(tenancy, share, routes=routes, owns=owns)
        made.retrier = retrier
        return made

    def _transport_for(
        self, face: Face, tenancy: Tenancy, share: Share, kwargs: dict[str, object], *, owns: bool
    ) -> PoolTransport:
        """
        Make the transport of a client, and let proxies take their place among its mounts.

        Without mounts the transport itself knows when to take which proxy. Where the user
        has some, the client has to choose between them and proxies: proxies become mounts.
        """
        mounts = cast("Mapping[str, object] | None", kwargs.get("mounts"))
        retrier = retrier_of(kwargs.pop("retries")) if "retries" in kwargs else tenancy.retrier
        if not mounts:
            return self.transport(face, tenancy, share, owns=owns, retrier=retrier)
        routes = face.routes(share) if share.config.proxy is None else {"all://": share}
        direct = attrs.evolve(share, config=attrs.evolve(share.config, proxy=None))
        make = functools.partial(self.transport, face, tenancy, owns=owns, routes={}, retrier=retrier)
        kwargs["mounts"] = {**{key: make(to) for key, to in routes.items()}, **mounts}
        return make(direct)

    def _settings(
        self, face: Face, config: PoolConfig, kwargs: dict[str, object]
    ) -> tuple[PoolConfig, Limits | None]:
        """Take out of *kwargs* what the pool decides."""
        if kwargs.get("transport") is not None:
            raise ConfigError(
                "transport must not be given: the pool's takes its place. For your own, call the factory"
            )
        kwargs.pop("transport", None)
        if kwargs.get("proxy") is not None:
            kwargs["proxy"] = face.proxy(kwargs["proxy"])
        own = {key: kwargs.pop(key) for key in _OF_THE_POOL if key in kwargs}
        if "trust_env" in own:
            kwargs["trust_env"] = own["trust_env"]
        limits = kwargs.pop("limits", None)
        return (
            attrs.evolve(config, **cast(Any, own)) if own else config,
            None if limits is None else Limits.parse(cast(Limits, limits)),
        )


def retrier_of(retries: object) -> Retrier | None:
    """
    Give what sends requests again as *retries* says; a number means what it means to httpx's transports.

    Raises:
        ConfigError: It is neither a `Retries` nor a whole number.
    """
    if type(retries) is int and retries >= 0:
        return Retrier(Reconnects.of(retries)) if retries else None
    if retries is not None and not isinstance(retries, Retries):
        raise ConfigError(
            "retries must be a pool_manager.Retries, or how often a connection is tried for again"
            f" (a whole number, 0 or more), not {retries!r}"
        )
    return None if retries is None else Retrier(retries)


def name_of(factory: object) -> str:
    """Give what a lease is called that nobody named."""
    return getattr(factory, "__name__", repr(factory))


def face_of_module(library: object) -> Face:
    """Give the face of a library; raises `ConfigError` if it is none."""
    if not isinstance(library, ModuleType):
        raise ConfigError(f"library must be the module httpx or httpx2, not {library!r}")
    return face_of(library)


def face_of_factory(factory: Callable[..., object]) -> tuple[Face, bool]:
    """Tell what *factory* makes: a client of which library, and whether an async one."""
    try:
        kind = factory if isinstance(factory, type) else typing.get_type_hints(factory).get("return")
    except (TypeError, NameError):  # no function, or one whose annotations name what is not there
        kind = None
    found = library_of(kind) if isinstance(kind, type) else None
    if found is None:
        raise ConfigError(
            f"factory must be a client class of httpx or httpx2, or a function annotated to return one,"
            f" not {factory!r}; for an SDK class use pooled()"
        )
    return face_of(found[0]), found[1]
