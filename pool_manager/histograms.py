"""How long things took: counts of times between fixed bounds, the same for all."""

from __future__ import annotations

from typing import Final

import attrs

__all__ = ["Histogram"]

# Seconds. From what a request takes beside its server to how long a connection lives.
BOUNDS: Final = (
    *(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5),
    *(1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 3600.0),
)


@attrs.frozen
class Histogram:
    """
    Times, by the bounds between which they fell.

    Attributes:
        counts: For each of `bounds` how many were no longer than that, and longer than the one before it;
            last, how many were longer than all.

        sum: Seconds of all of them.
    """

    counts: tuple[int, ...] = (0,) * (len(BOUNDS) + 1)
    sum: float = 0.0

    bounds = BOUNDS  # of the class: a snapshot has a hundred histograms

    @property
    def count(self) -> int:
        """How many there were."""
        return sum(self.counts)

    def quantile(self, share: float) -> float:
        """
        Give the bound that a *share* of them (0 to 1) did not pass; `math.inf` above all bounds, 0.0 of none.

        Args:
            share: 0.5 for the median.
        """
        left = share * self.count
        if not left:
            return 0.0
        for number, bound in zip(self.counts, (*BOUNDS, float("inf")), strict=True):
            left -= number
            if left <= 0:
                return bound
        return float("inf")

    def since(self, earlier: Histogram) -> Histogram:
        """Give those that came after *earlier* was taken."""
        counts = tuple(now - then for now, then in zip(self.counts, earlier.counts, strict=True))
        return Histogram(counts, self.sum - earlier.sum)

    def __add__(self, other: Histogram) -> Histogram:
        counts = tuple(one + another for one, another in zip(self.counts, other.counts, strict=True))
        return Histogram(counts, self.sum + other.sum)
