"""A resolver that says what a test has it say, on every runtime."""

from __future__ import annotations

import pytest

from pool_manager.core.endpoints import AddressInfo
from pool_manager.runtimes import dialing
from pool_manager.runtimes.on_threads import dialing as in_threads
from pool_manager.runtimes.on_trio import dialing as on_trio
from tests.support.dialing import found


class Resolver:
    """
    Stands in for DNS until *patch* is undone.

    Attributes:
        addresses: What every name leads to.

        asked: The names that were looked up.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.addresses: list[str] = []
        self.asked: list[str] = []

        async def look_up(host: str, port: int) -> list[AddressInfo]:
            return self._answer(host, port)

        patch.setattr(dialing, "look_up", look_up)
        patch.setattr(on_trio, "look_up", look_up)
        patch.setattr(in_threads, "look_up", self._answer)

    def _answer(self, host: str, port: int) -> list[AddressInfo]:
        self.asked.append(host)
        return found(*((address, port) for address in self.addresses))
