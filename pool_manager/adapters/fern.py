"""
SDKs that Fern generates: Cohere, Deepgram, ElevenLabs, Auth0, Zep, Hume, Square ...

One rule serves them all. Each package has `core.client_wrapper`; each SDK class takes a
client as `httpx_client=`, sync or async as its annotation says. Given one, the SDK leaves its
timeout and redirects to it, and never closes it: the lease goes back when the SDK is
collected (Cohere's `with` closes it at once).
"""

from __future__ import annotations

import functools
from typing import Any, cast

from pool_manager.adapters.own_client import OwnClient
from pool_manager.adapters.shapes import arguments, chose, outwards, takes
from pool_manager.adapting import ClientMaker

_ARGUMENT = "httpx_client"
_SETTINGS = ("timeout", "follow_redirects")  # of an SDK's, which are its client's as well


class FernAdapter:
    """Serves every class that takes `httpx_client=` and whose package has Fern's wrappers of clients."""

    def serves(self, sdk_class: type) -> bool:
        """Whether *sdk_class* is an SDK class of the family."""
        return _is_async(sdk_class) is not None

    def make(
        self, client: ClientMaker, sdk_class: type, args: tuple[object, ...], kwargs: dict[str, object]
    ) -> object:
        """Make *sdk_class* on a client with the timeout and redirects of its own, pooled."""
        if chose(sdk_class, _ARGUMENT, kwargs):
            return sdk_class(*args, **kwargs)
        plain = {name: value for name, value in kwargs.items() if name not in {_ARGUMENT, *_SETTINGS}}
        own = OwnClient.of(sdk_class, lambda: _client_in(sdk_class(*args, **plain)))
        timeout, follow = kwargs.get("timeout"), kwargs.get("follow_redirects", own.follow_redirects)
        made = client(
            own.kind(is_async=bool(_is_async(sdk_class))),
            closes=False,
            timeout=own.timeout if timeout is None else timeout,
            follow_redirects=bool(follow),
        )
        return sdk_class(*args, **{**kwargs, _ARGUMENT: made})


def _client_in(sdk: object) -> object:
    """Give the client inside an SDK, or inside what an SDK of two layers (Auth0's) holds."""
    for holder in (sdk, *vars(sdk).values()):
        wrapper: Any = getattr(holder, "_client_wrapper", None)
        if wrapper is not None:
            return cast(object, wrapper.httpx_client.httpx_client)
    raise AssertionError(f"{type(sdk).__name__} has no wrapper of a client")


@functools.lru_cache(maxsize=256)
def _is_async(sdk_class: type) -> bool | None:
    """Tell of which colour the client is that *sdk_class* takes; None if it is not of the family."""
    if not takes(sdk_class, _ARGUMENT):
        return None
    for kind in sdk_class.__mro__:  # a subclass of the user's has neither the argument nor the module
        argument = arguments(kind).get(_ARGUMENT)
        if argument is not None:
            name = "AsyncClientWrapper" if "AsyncClient" in str(argument.annotation) else "SyncClientWrapper"
            is_sdk = argument.default is None  # what is inside of one cannot do without
            if is_sdk and outwards(kind.__module__, name, "core.client_wrapper") is not None:
                return name == "AsyncClientWrapper"
    return None


ADAPTER = FernAdapter()
