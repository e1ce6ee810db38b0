"""What all of these have in common."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let what was refused be sent again after hundredths of a second: the delays have tests of their own."""
    monkeypatch.setattr("pool_manager.core.replay._DELAYS", (0.0, 0.01, 0.02))
