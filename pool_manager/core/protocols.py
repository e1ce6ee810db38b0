"""What origins speak: known from the config, from experience, or not at all (rule 7)."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import attrs

from pool_manager.config import PoolConfig
from pool_manager.core.forwarding import forwards
from pool_manager.core.origins import Origin, OriginKey, Speaks

# Rule 8: what an HTTP/2 connection is taken to allow before its server has said.
FIRST_STREAMS: Final = 100

# Rule 7: origins that are remembered though nothing is open to them.
MAX_REMEMBERED: Final = 1_000


def offered_to(scheme: str, config: PoolConfig) -> PoolConfig:
    """
    Give what is offered to a server asked by *scheme*.

    WebSockets get HTTP/1.1, where that is allowed at all: clients do not speak them over HTTP/2 (RFC 8441).
    """
    if scheme == "wss" and config.http1 and config.http2:
        return attrs.evolve(config, http2=False)
    return config


class Protocols:
    """
    What each origin spoke, and how many streams it allowed, when it was last heard of.

    Args:
        config: What is allowed.
    """

    def __init__(self, config: PoolConfig) -> None:
        self._config = config
        self._remembered: OrderedDict[OriginKey, tuple[Speaks, int]] = OrderedDict()

    def recall(self, key: OriginKey) -> tuple[Speaks, int]:
        """Give what the origin speaks, and its streams."""
        return self._remembered.get(key) or (self._agreed(key), FIRST_STREAMS)

    def remember(self, origin: Origin) -> None:
        """Take what *origin* has shown; the one that was not heard of for longest is forgotten for it."""
        self._remembered[origin.key] = (origin.speaks, origin.streams)
        self._remembered.move_to_end(origin.key)
        if len(self._remembered) > MAX_REMEMBERED:
            self._remembered.popitem(last=False)

    def _agreed(self, key: OriginKey) -> Speaks:
        """Give what needs no asking: HTTP/2 by prior knowledge, HTTP/1.1 where no ALPN offers more."""
        if forwards(self._config.proxy, key.scheme):
            return Speaks.HTTP1
        if not self._config.http1:
            return Speaks.HTTP2
        if not self._config.http2 or key.scheme != "https":
            return Speaks.HTTP1
        return Speaks.UNKNOWN
