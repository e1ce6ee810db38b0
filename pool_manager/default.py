"""The manager of the whole process, which the functions of the package use."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator

from pool_manager.installing import uninstall
from pool_manager.manager import PoolManager
from pool_manager.pools import StandIn
from pool_manager.registry import Registry

_DEFAULT = PoolManager()


def _default_registry() -> Registry:
    return _DEFAULT._registry  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - nobody else's business


_default_registry().found_by = _default_registry


def default_manager() -> PoolManager:
    """Give the manager of the whole process, which the functions of the package use."""
    return _DEFAULT


@contextlib.contextmanager
def replaced_default(stand_in: StandIn | None, make: Callable[[], PoolManager]) -> Generator[PoolManager]:
    """
    Have the default manager be as a new one, and then again what it was. For `pool_manager.testing`.

    It stays the same object, since its methods are in other modules under names of their own.
    What was installed by it meanwhile is undone; closing it is left to the caller.

    Args:
        stand_in: What makes its engines; None for connections.

        make: Makes the manager whose state it is to have.
    """
    before, made = {**vars(_DEFAULT)}, make()
    made._registry.stand_in = stand_in  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - as above
    vars(_DEFAULT).update(vars(made))
    try:
        yield made
    finally:
        vars(_DEFAULT).update(before)
        uninstall(made._maker)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage] - as above
