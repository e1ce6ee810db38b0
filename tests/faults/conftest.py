"""Every fault is played in four worlds: httpx and httpx2, on asyncio and on uvloop."""

from __future__ import annotations

import asyncio

import httpx
import httpx2
import pytest
import uvloop

from tests.support.worlds import World

WORLDS = {
    "httpx-asyncio": (httpx, asyncio.run),
    "httpx-uvloop": (httpx, uvloop.run),
    "httpx2-asyncio": (httpx2, asyncio.run),
    "httpx2-uvloop": (httpx2, uvloop.run),
}


@pytest.fixture(params=WORLDS)
def world(request: pytest.FixtureRequest) -> World:
    """Give each world."""
    library, run = WORLDS[request.param]
    return World(library, run)


@pytest.fixture
def any_world() -> World:
    """Give one world, where a story takes seconds."""
    return World(*WORLDS["httpx-asyncio"])


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what was refused be sent again after hundredths of a second, where seconds are not the point."""
    monkeypatch.setattr("pool_manager.core.replay._DELAYS", (0.0, 0.01, 0.02))
