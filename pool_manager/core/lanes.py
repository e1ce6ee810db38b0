"""Which lane a request takes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, cast

from pool_manager.config import Lane
from pool_manager.errors import ConfigError

DEFAULT: Final = "default"


class Lanes:
    """
    The lanes of one manager, in the order in which they were given.

    Attributes:
        all: As they were given.

    Raises:
        ConfigError: Two lanes have the same name, or one is not a `Lane`.
    """

    def __init__(self, lanes: Sequence[Lane]) -> None:
        self._by_name: dict[str, Lane] = {}
        if not isinstance(lanes, Iterable):
            raise ConfigError(f"lanes must be a sequence of Lane, not {lanes!r}")
        self.all: Final = tuple(lanes)
        for lane in self.all:
            if not isinstance(lane, Lane):
                raise ConfigError(f"lanes must be a sequence of Lane, not of {lane!r}")
            if lane.name in self._by_name or lane.name == DEFAULT:
                raise ConfigError(f"lanes must have names of their own: {lane.name!r} is taken")
            self._by_name[lane.name] = lane
        # str.endswith takes a tuple: one call for each lane, none where there are no paths.
        self._suffixes = [(lane.paths, lane.name) for lane in self.all if lane.paths]

    def __getitem__(self, name: str) -> Lane | None:
        """Give the lane of that name; the default one has no limits of its own."""
        return self._by_name.get(name)

    def __contains__(self, name: object) -> bool:
        return name == DEFAULT or name in self._by_name

    def names(self) -> list[str]:
        """Give the names of all lanes, the default one's first."""
        return [DEFAULT, *self._by_name]

    def check(self, name: object) -> str:
        """
        Give *name* back if there is such a lane.

        Raises:
            ConfigError: There is none; names those that there are.
        """
        if isinstance(name, str) and name in self:
            return name
        raise ConfigError(f"lane must be one of {', '.join((*self._by_name, DEFAULT))}, not {name!r}")

    def choose(self, asked: object, leased: str | None, target: bytes) -> str:
        """
        Choose by what the request asks for, else its lease, else the first path that fits.

        Args:
            asked: ``request.extensions["pool_manager"]``, or None.

            leased: The lane of the request's lease, or None.

            target: The request target; its query does not count.

        Raises:
            ConfigError: The request asks for a lane that there is not.
        """
        if asked is not None:
            if not isinstance(asked, Mapping) or asked.keys() - {"lane"}:
                raise ConfigError(f'extensions["pool_manager"] must be {{"lane": name}}, not {asked!r}')
            if "lane" in asked:
                return self.check(cast("object", asked["lane"]))
        if leased is not None:
            return leased
        if self._suffixes:
            path = target.partition(b"?")[0].decode("ascii", "replace")
            for suffixes, name in self._suffixes:
                if path.endswith(suffixes):
                    return name
        return DEFAULT
