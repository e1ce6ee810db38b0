"""SDKs as they come, and on the pool; which of their clients there are, and what each can ask for."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import attrs

from pool_manager import PoolManager


@attrs.frozen
class Sdk:
    """
    One SDK.

    Attributes:
        module: Where it is.

        names: Its client class, and the asynchronous one.

        arguments: What it cannot do without.

        root: Where its API begins.

        ask: Sends one request on an asynchronous client.
    """

    module: str
    names: tuple[str, str]
    arguments: Mapping[str, str]
    root: str
    ask: Callable[[Any], Awaitable[object]]

    @property
    def available(self) -> bool:
        """Whether it is installed."""
        return importlib.util.find_spec(self.module) is not None

    def maker(
        self, manager: PoolManager | None, *, in_threads: bool = False, url: str = "https://localhost"
    ) -> Callable[[], Any]:
        """Say how a client is made that speaks to the server at *url*: the usual way, or on *manager*."""
        factory = getattr(importlib.import_module(self.module), self.names[0 if in_threads else 1])
        arguments = {**self.arguments, "base_url": url.rstrip("/") + self.root}
        if manager is None:
            return lambda: factory(**arguments)
        return lambda: manager.pooled(factory, **arguments)


def _models(client: Any) -> Awaitable[object]:
    models: Awaitable[object] = client.models.list()
    return models


def _blueprints(client: Any) -> Awaitable[object]:
    blueprints: Awaitable[object] = client.blueprints.list()
    return blueprints


KEY = {"api_key": "x"}
SDKS = {
    "openai": Sdk("openai", ("OpenAI", "AsyncOpenAI"), KEY, "/v1", _models),
    "anthropic": Sdk("anthropic", ("Anthropic", "AsyncAnthropic"), KEY, "", _models),
    "groq": Sdk("groq", ("Groq", "AsyncGroq"), KEY, "", _models),
    "runloop": Sdk("runloop_api_client", ("Runloop", "AsyncRunloop"), {"bearer_token": "x"}, "", _blueprints),
}
