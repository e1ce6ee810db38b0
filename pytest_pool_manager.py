"""
The fixtures that pool_manager gives to pytest.

A module beside the package, which imports nothing of it before a fixture is used: pytest
imports this in every run of every project whose environment has pool_manager installed.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pool_manager import PoolManager


@pytest.fixture
def isolated_manager() -> Iterator[PoolManager]:
    """Give a default manager of the test's own, closed after it: `pool_manager.testing.isolated`."""
    from pool_manager.testing import isolated  # noqa: PLC0415 - see above

    with isolated() as manager:
        yield manager


@pytest.fixture
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves leases, open responses or connections behind: `testing.no_leaks`."""
    from pool_manager.testing.leaks import Watcher  # noqa: PLC0415 - see above

    failed = request.session.testsfailed
    with Watcher() as watcher:
        yield
        if request.session.testsfailed == failed:  # the traceback of a failure holds on to what it had open
            watcher.check()
