"""
The fixtures that pool_manager gives to pytest, which finds them by entry point.

Both do nothing unless they are asked for. pytest imports the package in every run of every
project that has it installed: a third of a second, once.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pool_manager.manager import PoolManager
from pool_manager.testing.isolating import isolated
from pool_manager.testing.leaks import Watcher


@pytest.fixture
def isolated_manager() -> Iterator[PoolManager]:
    """Give a default manager of the test's own, closed after it: `pool_manager.testing.isolated`."""
    with isolated() as manager:
        yield manager


@pytest.fixture
def no_leaks(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaves leases, open responses or connections behind: `testing.no_leaks`."""
    failed = request.session.testsfailed
    with Watcher() as watcher:
        yield
        if request.session.testsfailed == failed:  # the traceback of a failure holds on to what it had open
            watcher.check()
