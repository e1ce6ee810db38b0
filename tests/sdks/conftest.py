"""What the SDK tests begin with."""

from __future__ import annotations

import importlib
import operator
import os
from collections.abc import Iterator

import pytest

from pool_manager import PoolConfig, PoolManager

# LiteLLM asks the internet for prices when it is imported, and logs on a hundred threads that it never ends.
os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
os.environ["LOGGING_EXECUTOR_MAX_THREADS"] = "1"


GROUP = os.environ.get("SDKS_GROUP", "sdks-all")

# Threads that an SDK starts once and for all, at its first call: (the dependency group, module, executor).
EXECUTORS = (
    (
        "sdks-all",
        "unstructured_client._hooks.custom.split_pdf_hook",
        "SplitPdfHook._split_pdf_setup_executor",
    ),
    ("sdks-older", "litellm.litellm_core_utils.thread_pool_executor", "executor"),
)


@pytest.fixture(scope="session", autouse=True)
def threads_that_stay() -> None:
    """Have such threads begin, so that no test seems to leave them behind."""
    for group, module, executor in EXECUTORS:
        if group == GROUP:
            operator.attrgetter(executor)(importlib.import_module(module)).submit(int).result()


@pytest.fixture
def manager() -> Iterator[PoolManager]:
    """Give a manager of this test's own, which no environment changes."""
    with PoolManager(PoolConfig(trust_env=False)) as made:
        yield made
