"""What the rounds gave: a median and its spread for each number, and ratios between contenders."""

from __future__ import annotations

import math
import statistics
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import attrs


@attrs.frozen
class Spread:
    """
    A number over several rounds.

    Attributes:
        median: What to believe.

        least: The smallest.

        most: The largest.
    """

    median: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread | None:
        """Sum up; None if there is nothing."""
        known = [value for value in values if not math.isnan(value)]
        return cls(statistics.median(known), min(known), max(known)) if known else None


@attrs.frozen(kw_only=True)
class Measured:
    """
    One measurement.

    Attributes:
        numbers: By the name of the metric; none, if it could not be made.

        causes: Why requests failed, and how often; or why there was nothing to measure.
    """

    numbers: Mapping[str, float]
    causes: Mapping[str, int] = attrs.field(factory=dict)


@attrs.frozen
class Results:
    """All measurements: of each scenario and contender one a round, in their order."""

    rows: Mapping[tuple[str, str], Sequence[Measured]]

    def spread(self, scenario: str, contender: str, metric: str) -> Spread | None:
        """Sum up one number."""
        return Spread.of(self._values(scenario, contender, metric))

    def ratio(self, scenario: str, contender: str, metric: str, peer: str) -> Spread | None:
        """Sum up the ratios within the rounds: a slow round is slow for both."""
        ours, theirs = self._values(scenario, contender, metric), self._values(scenario, peer, metric)
        return Spread.of(mine / yours for mine, yours in zip(ours, theirs, strict=False) if yours)

    def causes(self, scenario: str, contender: str) -> Counter[str]:
        """Say why requests failed, over all rounds."""
        total: Counter[str] = Counter()
        for measured in self.rows.get((scenario, contender), ()):
            total.update(measured.causes)
        return total

    def scenarios(self) -> list[str]:
        """Name those that were run."""
        return list(dict.fromkeys(scenario for scenario, _ in self.rows))

    def contenders(self, scenario: str) -> list[str]:
        """Name those that took part."""
        return [contender for name, contender in self.rows if name == scenario]

    def _values(self, scenario: str, contender: str, metric: str) -> list[float]:
        measured = self.rows.get((scenario, contender), ())
        return [one.numbers.get(metric, math.nan) for one in measured]
