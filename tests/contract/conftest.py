"""What is true on every runtime is tested on every one."""

from __future__ import annotations

import pytest

from tests.support.worlds import WORLDS, World


@pytest.fixture(params=["httpx-asyncio", "httpx-uvloop", "httpx2-threads", "httpx2-trio"])
def world(request: pytest.FixtureRequest) -> World:
    """Give each runtime, and both libraries."""
    return World(*WORLDS[request.param])
