"""The clients that make the load: real SDKs, whichever are installed, or plain ones."""

from __future__ import annotations

import importlib
from collections.abc import Awaitable, Callable, Mapping
from types import ModuleType
from typing import Any, TypeAlias

import attrs

from pool_manager.manager import PoolManager

Client: TypeAlias = Any  # SDKs have no type in common

_ASKED = {"model": "demo", "messages": [{"role": "user", "content": "Hello?"}]}


@attrs.frozen(kw_only=True)
class Kind:
    """
    One kind of client.

    Attributes:
        name: What people call it.

        make: Make one: the usual way, or on the pool of the manager given.

        ask: Send one request.
    """

    name: str
    make: Callable[[PoolManager | None], Client]
    ask: Callable[[Client], Awaitable[None]]


class HTTPError(Exception):
    """The answer is an error, as its status says."""


def sdks(url: str) -> list[Kind]:
    """Find the SDKs that are installed, made to call *url*."""
    once = {"base_url": url, "max_retries": 0}  # a retry would hide a failure
    keyed = {**once, "api_key": "demo"}
    found = (
        _sdk("openai", "AsyncOpenAI", keyed, _chat),
        _sdk("anthropic", "AsyncAnthropic", keyed, _message),
        _sdk("groq", "AsyncGroq", keyed, _chat),
        _sdk("runloop_api_client", "AsyncRunloop", {**once, "bearer_token": "demo"}, _devbox),
    )
    return [kind for kind in found if kind is not None]


def plain(url: str, addresses: set[str]) -> list[Kind]:
    """Give the async clients of httpx and httpx2, made to GET *url*; they note their local *addresses*."""
    libraries = (_imported("httpx"), _imported("httpx2"))
    return [_plain(library, url, addresses) for library in libraries if library is not None]


def _imported(name: str) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


def _sdk(
    module: str, name: str, arguments: Mapping[str, object], ask: Callable[[Client], Awaitable[None]]
) -> Kind | None:
    sdk_class = getattr(_imported(module), name, None)
    if sdk_class is None:
        return None

    def make(manager: PoolManager | None) -> Client:
        return sdk_class(**arguments) if manager is None else manager.pooled(sdk_class, **arguments)

    return Kind(name=name, make=make, ask=ask)


def _plain(library: ModuleType, url: str, addresses: set[str]) -> Kind:
    factory = library.AsyncClient

    def make(manager: PoolManager | None) -> Client:
        return factory() if manager is None else manager.client(factory)

    async def ask(client: Client) -> None:
        async with client.stream("GET", url) as response:
            addresses.add(str(response.extensions["network_stream"].get_extra_info("client_addr")))
            await response.aread()
        if response.is_error:  # not `raise_for_status`: it would print a password in the URL
            raise HTTPError(f"{response.status_code} {response.reason_phrase}")

    return Kind(name=f"{library.__name__}.AsyncClient", make=make, ask=ask)


async def _chat(client: Client) -> None:
    await client.chat.completions.create(**_ASKED)


async def _message(client: Client) -> None:
    await client.messages.create(**_ASKED, max_tokens=16)


async def _devbox(client: Client) -> None:
    await client.devboxes.retrieve("demo")
