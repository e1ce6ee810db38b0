"""What users hold: makes clients, transports and leases on shared pools."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, overload

import httpx

from pool_manager.adapting import make_pooled
from pool_manager.attaching import Attachment, differences, library_of_client, retries_of
from pool_manager.config import Lane, Limits, PoolConfig
from pool_manager.errors import ConfigError
from pool_manager.inspecting import Inspected
from pool_manager.installing import Installation, install
from pool_manager.leases import Lease, caller
from pool_manager.libraries import library_of
from pool_manager.making import Maker, Terms, face_of_module, name_of, retrier_of
from pool_manager.policies import Retries
from pool_manager.registry import Registry
from pool_manager.transports import face_of

if TYPE_CHECKING:
    from pool_manager.libraries import Httpx2Like, Httpx2Transport, HttpxLike, HttpxTransport

C = TypeVar("C")


class PoolManager(Inspected):
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
        if not name or not isinstance(name, str):
            raise ConfigError(f"name must be a non-empty string, not {name!r}")
        self._registry = Registry(name, lanes)
        self._maker = Maker(
            self._registry,
            PoolConfig() if config is None else config,
            Limits() if limits is None else Limits.parse(limits),
        )
        self._attached: weakref.WeakKeyDictionary[Any, Attachment] = weakref.WeakKeyDictionary()

    def __getstate__(self) -> Maker:
        """Travel as its configuration: in another process it has connections of its own."""
        return self._maker

    def __setstate__(self, maker: Maker) -> None:
        self._registry, self._maker = maker.registry, maker
        self._attached = weakref.WeakKeyDictionary()

    def __repr__(self) -> str:
        return f"<PoolManager {self.name!r}>"

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
                go into the pool's config instead (what a subclass says of them in its own
                `__init__` is not seen, as beside any transport: say it here); `limits` gives it
                a pool that is shared only with clients of equal limits, and `retries`, a
                `Retries`, has failed requests sent again. A number, as httpx's own transports
                take it, is how often a connection is tried for again.

        Raises:
            ConfigError: The factory is no client of either library, or a setting cannot be used.

            PoolClosed: The manager is closed.
        """
        terms = Terms(name=name or name_of(factory), lane=lane, shared=shared, config=config)
        return self._maker.client(factory, terms, kwargs)[0]

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
        face = face_of_module(library)
        terms = Terms(name=name or face.library.__name__, lane=lane, shared=shared, config=config)
        tenancy = self._maker.take(terms, reopens=True)
        tenancy.join(is_async=None)
        return self._maker.transport(face, tenancy, tenancy.share, owns=True)

    def lease(
        self,
        *,
        name: str | None = None,
        lane: str | None = None,
        shared: bool = True,
        config: PoolConfig | None = None,
        retries: Retries | int | None = None,
    ) -> Lease:
        """
        Take a lease: a context manager, and a maker of clients that live as long as it does.

        Args:
            name: What statistics and errors call it; where it was taken, if None.

            lane: As for `client`.

            shared: As for `client`.

            config: As for `client`.

            retries: When to send requests of its clients again, as for `client`; not at all if None.

        Raises:
            ConfigError: A setting cannot be used.

            PoolClosed: The manager is closed.
        """
        place = name or str(caller())
        terms = Terms(name=place, lane=lane, shared=shared, config=config, retries=retries)
        tenancy = self._maker.take(terms, reopens=False)
        tenancy.join(is_async=None)
        return Lease(tenancy, self._maker)

    # SDKs and clients that exist already

    def pooled(self, sdk_class: Callable[..., C], /, *args: object, **kwargs: object) -> C:
        """
        Make an SDK client on the pool, with the SDK's own timeouts, retries and redirects.

        Its `close`, or its `with`, gives the lease back; where it has neither, its end does. A client
        that is passed explicitly is used as it is, unpooled: whoever passes one has chosen.

        Args:
            sdk_class: The SDK's class, sync or async: `openai.AsyncOpenAI`, `groq.Groq` ...

            *args: The SDK's own arguments.

            **kwargs: The SDK's own arguments.

        Raises:
            ConfigError: No adapter serves this class; says what to do instead.
        """
        return make_pooled(self._maker, sdk_class, args, kwargs)

    def attach(self, client: C, /, *, config: PoolConfig | None = None) -> C:
        """
        Put a client that exists on the pool; give it back.

        Its HTTP version and TLS are the pool's from now on. What wraps its transport stays, and so do the
        `retries` of that.

        Args:
            client: An httpx or httpx2 client, sync or async.

            config: What to use where its settings differ from its library's defaults.

        Raises:
            ConfigError: It is no such client, is closed or attached already, or its settings
                differ (verification, CAs, TLS versions, proxy, mounts, http1, uds, local_address,
                socket options other than keepalive) and *config* is None.
        """
        face = face_of(library_of_client(client))
        if config is None and (found := differences(client, self._maker.config)):
            raise ConfigError(
                f"client {client!r} would change: {'; '.join(found)}. Say with config= what to use"
            )
        tenancy = self._maker.take(Terms(name=name_of(type(client)), config=config), reopens=True)
        try:
            retrier = retrier_of(retries_of(client))
            pooled = self._maker.transport(face, tenancy, tenancy.share, owns=True, retrier=retrier)
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
        # What is no client at all need not allow weak references.
        attachment = self._attached.pop(client, None) if library_of(type(client)) else None
        if attachment is None:
            raise ConfigError(f"client {client!r} is not attached to {self!r}")
        attachment.undo(client)
        return client

    def install(self, *, config: PoolConfig | None = None) -> Installation:
        """
        Have every httpx and httpx2 client that is made from now on, without a transport of its own, pooled.

        Each is what it would have been, but for whose connections it uses; what a client says
        of how to connect is kept. The libraries' top-level functions (`httpx.get`) make
        clients, too. Nothing happens where the environment says ``POOL_MANAGER_DISABLED=1``.

        Args:
            config: How to connect where a client does not say; the manager's if None, but over
                HTTP/1.1, as the libraries would.

        Returns:
            What undoes it: by its `uninstall`, or as a context manager. Installed twice, each has to be.

        Raises:
            ConfigError: *config* is none.
        """
        return install(self._maker, config)

    # The manager itself

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
