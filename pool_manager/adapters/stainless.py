"""
SDKs that Stainless generates: OpenAI, Anthropic, Groq, Runloop, Cloudflare, Together ...

One rule serves them all. Each package has `DefaultHttpxClient` and
`DefaultAsyncHttpxClient`, clients with the SDK's own timeouts and redirects; each
SDK class takes one as `http_client=` and closes it in its own `close`.
"""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from typing import Any, cast

from pool_manager.adapters.shapes import arguments, chose, outwards, takes
from pool_manager.adapting import ClientMaker

_ARGUMENT = "http_client"


class StainlessAdapter:
    """Serves every class that takes `http_client=` and whose package has the two default clients."""

    def serves(self, sdk_class: type) -> bool:
        """Whether *sdk_class* is an SDK class of the family."""
        return _default_client(sdk_class) is not None

    def make(
        self, client: ClientMaker, sdk_class: type, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        """Make *sdk_class* on a client of its package's own kind, pooled."""
        if chose(sdk_class, _ARGUMENT, kwargs):
            return sdk_class(*args, **kwargs)
        factory = _default_client(sdk_class)
        assert factory is not None, "make() is called for classes that it serves"
        own = client(factory, shared=kwargs.get("shared_http_pool") is not False)
        sdk = sdk_class(*args, **{**kwargs, _ARGUMENT: own})
        if "shared_http_pool" in arguments(sdk_class):
            sdk.copy = sdk.with_options = _Copy(sdk, own, client)
        return sdk


class _Copy:
    """
    Copies an SDK object that shares connections by itself; copies are on its pool, if not told otherwise.

    Such an SDK gives a copy new connections if it is on a client that it was given; all others pass
    that client on. A copy's client gives no lease back: a copy made for one call, and dropped, is what
    such SDKs document.
    """

    __slots__ = ("_client", "_make", "_this")

    def __init__(self, sdk: object, client: object, make: ClientMaker) -> None:
        self._this = weakref.ref(sdk)  # the SDK refers to this: a cycle would keep it past its time
        self._client, self._make = client, make

    def __call__(
        self, *, http_client: object | None = None, shared_http_pool: bool | None = None, **options: object
    ) -> object:
        original = self._this()
        assert original is not None, "it is being called"
        kind = cast(Any, type(original))
        if http_client is not None:
            return cast(object, kind.copy(original, http_client=http_client, **options))
        factory, make = _default_client(kind), self._make
        assert factory is not None, "it was made by that"
        if shared_http_pool is None:
            client = make(factory, beside=self._client)
        else:
            client = make(factory, shared=shared_http_pool)
        made: Any = kind.copy(original, http_client=client, **options)
        made.copy = made.with_options = _Copy(made, client, make)
        return cast(object, made)


@functools.lru_cache(maxsize=256)
def _default_client(sdk_class: type) -> Callable[..., Any] | None:
    """Find the package's default client, of the colour that *sdk_class* takes."""
    if not takes(sdk_class, _ARGUMENT):
        return None
    for kind in sdk_class.__mro__:  # a subclass of the user's has neither the argument nor the module
        argument = arguments(kind).get(_ARGUMENT)
        if argument is not None:
            is_async = "AsyncClient" in str(argument.annotation)
            name = "DefaultAsyncHttpxClient" if is_async else "DefaultHttpxClient"
            return cast("Callable[..., Any] | None", outwards(kind.__module__, name))
    return None


ADAPTER = StainlessAdapter()
