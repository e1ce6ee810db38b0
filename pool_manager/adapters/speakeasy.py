"""
SDKs that Speakeasy generates: Mistral, OpenRouter, Clerk, Unstructured ...

One rule serves them all. Each package has a module `httpclient`, with protocols of the two
clients that each SDK object has: it takes them as `client=` and `async_client=`, and makes both
where it is given none. It closes only what it has made, in `with` and `async with`: it is
told that it has made these. Without that, the leases go back when the SDK is collected.
"""

from __future__ import annotations

import functools
from types import ModuleType
from typing import Any, cast

from pool_manager.adapters.own_client import OwnClient
from pool_manager.adapters.shapes import arguments, chose, outwards, takes
from pool_manager.adapting import ClientMaker

_ARGUMENTS = ("client", "async_client")


class SpeakeasyAdapter:
    """Serves every class that takes `client=` and `async_client=` and whose package has their protocols."""

    def serves(self, sdk_class: type) -> bool:
        """Whether *sdk_class* is an SDK class of the family."""
        return _library(sdk_class) is not None

    def make(
        self, client: ClientMaker, sdk_class: type, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        """Make *sdk_class* on clients with the timeout and redirects of its own, pooled."""
        own = OwnClient.of(sdk_class, lambda: _client_of(sdk_class, args, kwargs))
        ours = {
            name: client(
                own.kind(is_async=name == "async_client"),
                closes=False,
                timeout=own.timeout,
                follow_redirects=own.follow_redirects,
            )
            for name in _ARGUMENTS
            if not chose(sdk_class, name, kwargs)
        }
        sdk: Any = sdk_class(*args, **{**kwargs, **ours})
        for name in ours:
            setattr(sdk.sdk_configuration, f"{name}_supplied", False)
        return cast(object, sdk)


def _client_of(sdk_class: type, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
    """Have the SDK make a sync client; not an async one, which it closes in a loop of its own."""
    library: Any = _library(sdk_class)
    stand_in = library.AsyncClient(transport=library.MockTransport(library.Response))
    sdk: Any = sdk_class(*args, **{**kwargs, "client": None, "async_client": stand_in})
    return cast(object, sdk.sdk_configuration.client)


@functools.lru_cache(maxsize=256)
def _library(sdk_class: type) -> ModuleType | None:
    """Give the library whose clients *sdk_class* takes; None if it is not of the family."""
    if not all(takes(sdk_class, name) for name in _ARGUMENTS):
        return None
    for kind in sdk_class.__mro__:  # a subclass of the user's has neither the arguments nor the module
        argument = arguments(kind).get("async_client")
        is_sdk = argument is not None and argument.default is None  # its configuration cannot do without
        if is_sdk and outwards(kind.__module__, "AsyncHttpClient", "httpclient"):
            return cast("ModuleType | None", outwards(kind.__module__, "httpx", "httpclient"))
    return None


ADAPTER = SpeakeasyAdapter()
