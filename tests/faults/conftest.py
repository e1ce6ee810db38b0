"""Every fault is played in eight worlds: httpx and httpx2, on asyncio, uvloop and trio, and in threads."""

from __future__ import annotations

import pytest

from tests.support.worlds import WORLDS, World


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest) -> World:
    """Give each world."""
    return World(*WORLDS[request.param])


@pytest.fixture(params=[name for name in WORLDS if "threads" not in name])
def loop_world(request: pytest.FixtureRequest) -> World:
    """Give each world in which something runs when nobody waits for an answer."""
    return World(*WORLDS[request.param])


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what was refused be sent again after hundredths of a second, where seconds are not the point."""
    monkeypatch.setattr("pool_manager.core.replay._DELAYS", (0.0, 0.01, 0.02))


@pytest.fixture(params=["httpx-asyncio", "httpx-threads", "httpx-trio"])
def any_world(request: pytest.FixtureRequest) -> World:
    """Give one world of a loop, one of threads and one of trio, where a story takes seconds."""
    return World(*WORLDS[request.param])
