"""What most of these tests begin with: a manager that trusts the servers, and a loop for async clients."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pool_manager import PoolConfig, PoolManager
from tests.support.certificates import Certificates
from tests.support.sdks import Run


@pytest.fixture
def config(certificates: Certificates) -> PoolConfig:
    """Trust the test servers and no environment."""
    return PoolConfig(verify=certificates.client_context(), trust_env=False)


@pytest.fixture
def manager(config: PoolConfig) -> Iterator[PoolManager]:
    """Give a manager of this test's own."""
    with PoolManager(config) as made:
        yield made


@pytest.fixture
def run() -> Iterator[Run]:
    """Give one event loop for the async flavours."""
    with Run() as made:
        yield made
