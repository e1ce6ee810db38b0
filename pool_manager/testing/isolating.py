"""A default manager of a test's own."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from types import TracebackType
from typing import Final, final

from pool_manager.config import Lane, Limits, PoolConfig
from pool_manager.default import replaced_default
from pool_manager.manager import PoolManager
from pool_manager.testing.memory import Server, stand_in


def isolated(
    config: PoolConfig | None = None,
    *,
    limits: Limits | None = None,
    lanes: Sequence[Lane] = (),
    server: Server | None = None,
) -> Isolation:
    """
    Give a new default manager for the length of a ``with`` or ``async with``, and close it after.

    `pool_manager.client` and the other functions of the package use it meanwhile, under whatever
    name they were imported, in every thread of the process. What they made before lives on where
    it was; what `pool_manager.install` installs meanwhile is undone.

    Args:
        config: As for `PoolManager`.

        limits: As for `PoolManager`.

        lanes: As for `PoolManager`.

        server: Who answers every request, whatever its host, without a connection: see `Server`.
            None for real connections.

    Raises:
        ConfigError: At the begin of the ``with``: an argument cannot be used.
    """
    return Isolation(
        functools.partial(PoolManager, config, limits=limits, lanes=lanes, name="isolated"), server
    )


@final
class Isolation:
    """What `isolated` gives. Its ``with`` gives the manager; it can be entered once."""

    def __init__(self, make: functools.partial[PoolManager], server: Server | None) -> None:
        self._replaced: Final = replaced_default(None if server is None else stand_in(server), make)

    def __enter__(self) -> PoolManager:
        self._manager = self._replaced.__enter__()
        return self._manager

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._replaced.__exit__(None, None, None)
        self._manager.close()

    async def __aenter__(self) -> PoolManager:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._replaced.__exit__(None, None, None)
        await self._manager.aclose(grace=0)
