"""What the SDK tests begin with."""

from __future__ import annotations

import importlib
import os
from collections.abc import Iterator

import pytest

from pool_manager import PoolConfig, PoolManager

# LiteLLM asks the internet for prices when it is imported, and logs on a hundred threads that it never ends.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["LOGGING_EXECUTOR_MAX_THREADS"] = "1"


@pytest.fixture(scope="session", autouse=True)
def threads_that_stay() -> None:
    """Have the one thread begin that an SDK never ends, so that no test seems to leave it behind."""
    if os.environ.get("SDKS_GROUP") == "sdks-older":
        importlib.import_module("litellm.litellm_core_utils.thread_pool_executor").executor.submit(
            int
        ).result()


@pytest.fixture
def manager() -> Iterator[PoolManager]:
    """Give a manager of this test's own, which no environment changes."""
    with PoolManager(PoolConfig(trust_env=False)) as made:
        yield made
