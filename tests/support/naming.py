"""Where names lead, told a second time from every answer there ever was: see `core/endpoints.py`."""

from __future__ import annotations

import math
import socket
from typing import TYPE_CHECKING, Final

from pool_manager.core.endpoints import AddressInfo

if TYPE_CHECKING:
    from tests.support.scheduling import Wire, World

LEFT_AFTER: Final = 30.0
MOST_PATIENCE: Final = 600.0
AVOIDED_FOR: Final = 60.0


def info(address: str) -> AddressInfo:
    """Make an address as `getaddrinfo` gives it; one with a colon is of IPv6."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    return (family, socket.SOCK_STREAM, 6, "", (address, 443))


class Naming:
    """What anybody can know who has all answers, and has seen which connections led where."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._answers: dict[str, list[tuple[float, set[str]]]] = {}
        self._avoided: dict[tuple[str, str], float] = {}

    def answered(self, name: str, addresses: list[str]) -> None:
        """Note an answer."""
        self._answers.setdefault(name, []).append((self._world.now, {*addresses}))

    def order(self, name: str, addresses: list[str]) -> list[str]:
        """Say in which order they are tried."""
        families = [[one for one in addresses if (":" in one) is v6] for v6 in (True, False)]
        if ":" not in addresses[0]:
            families.reverse()
        for family in families:
            family.sort(key=lambda one: len(self.at(name, one)))
        alternating = [
            family[turn] for turn in range(len(addresses)) for family in families if turn < len(family)
        ]
        return sorted(
            alternating, key=lambda one: self._world.now < self._avoided.get((name, one), -math.inf)
        )

    def at(self, name: str, address: str) -> list[Wire]:
        """Give what leads to an address, or is about to try it."""
        return [
            wire for wire in self._world.wires.values() if wire.place == (name, address) and not wire.closed
        ]

    def reached(self, name: str, order: list[str], address: str) -> list[Wire]:
        """Note which address let a dial in; give what has to drain now."""
        for useless in order[: order.index(address)]:
            self.avoid((name, useless))
        self._avoided.pop((name, address), None)
        periods = {one: self._absences(name, one) for one in self._known(name)}
        returns = [
            2 * (end - since)
            for absences in periods.values()
            for since, end in absences
            if end - since < MOST_PATIENCE
        ]
        patience = min(max([LEFT_AFTER, *returns]), MOST_PATIENCE)
        gone = [
            one
            for one, absences in periods.items()
            if absences and absences[-1][1] == math.inf and self._world.now - absences[-1][0] >= patience
        ]
        return [wire for one in gone for wire in self.at(name, one) if wire.open]

    def avoid(self, place: tuple[str, str] | None) -> None:
        """Note that an address is of no use for a while."""
        if place is not None:
            self._avoided[place] = self._world.now + AVOIDED_FOR

    def reset(self) -> None:
        """Know nothing any more."""
        self._answers.clear()
        self._avoided.clear()

    def _known(self, name: str) -> set[str]:
        return {one for _, addresses in self._answers.get(name, []) for one in addresses}

    def _absences(self, name: str, address: str) -> list[tuple[float, float]]:
        """Give from when to when answers lacked an address; the last may have no end."""
        found: list[tuple[float, float]] = []
        since: float | None = None
        was_there = False
        for at, addresses in self._answers[name]:
            if address in addresses:
                if since is not None:
                    found.append((since, at))
                was_there, since = True, None
            elif was_there and since is None:
                since = at
        return found if since is None else [*found, (since, math.inf)]
