"""
What has to be reached, as bounds on the numbers of one run.

A bound is on the median: of a contender's own number, or of the ratio of its
number to a peer's within each round.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

import attrs

from benchmarks.results import Results, Spread
from benchmarks.scenarios import METRICS, SCENARIOS

LIBRARIES = ("httpx", "httpx2")
NO_SLOWER = 0.95  # of the same speed, and not found slower by the noise of one run
# Over a transport that answers at once (`floor+httpx`), httpx itself is not so much faster.
OUT_OF_REACH = "more than the floor reaches"


@attrs.frozen(kw_only=True)
class Target:
    """
    One bound.

    Attributes:
        scenario: Where it holds.

        contender: For whom.

        metric: On what.

        peer: Beside whom; None for a bound on the number itself.

        sense: Whether less or more is asked for.

        wanted: The bound.

        aside: What to know about it.
    """

    scenario: str
    contender: str
    metric: str
    sense: Literal["at least", "at most"]
    wanted: float
    peer: str | None = None
    aside: str = ""

    def found(self, results: Results) -> Spread | None:
        """Give what came of it; None if it was not measured."""
        if self.peer is None:
            return results.spread(self.scenario, self.contender, self.metric)
        return results.ratio(self.scenario, self.contender, self.metric, self.peer)

    def is_met(self, found: Spread) -> bool:
        """Judge."""
        return found.median >= self.wanted if self.sense == "at least" else found.median <= self.wanted

    def __str__(self) -> str:
        metric = METRICS[self.metric]
        if self.peer is not None:
            bound = f"{self.sense} {self.wanted:g} x {self.peer}"
        else:
            bound = f"{self.sense} {self.wanted:g} {metric.unit}".rstrip()
        aside = f" ({self.aside})" if self.aside else ""
        return f"{self.contender}: {metric.label} {bound}{aside}"


def _small_answers() -> Iterator[Target]:
    full = SCENARIOS["h1-c200"].name
    for contender, peer, ratio in (
        ("pool+httpx", "httpx2", 3),
        ("pool+httpx2", "httpx2", 4),
        ("pool+httpx2", "aiohttp", 0.65),
        ("pool+httpx", "httpx-aiohttp", 1.4),
        ("pool+httpx2", "httpx2-aiohttp", 1.4),
    ):
        yield Target(
            scenario=full, contender=contender, metric="rate", peer=peer, sense="at least", wanted=ratio
        )
    for in_flight in (20, 200):
        for library in LIBRARIES:
            yield from _above_the_floor(f"h1-c{in_flight}", library, 2.5)
        for library in LIBRARIES:
            yield from _ahead_on_http2(f"h2-c{in_flight}", library)
            yield from _above_the_floor(f"h2-c{in_flight}", library, 3)


def _above_the_floor(scenario: str, library: str, ratio: float) -> Iterator[Target]:
    yield Target(
        scenario=scenario,
        contender=f"pool+{library}",
        metric="cpu_us",
        peer=f"floor+{library}",
        sense="at most",
        wanted=ratio,
    )


def _ahead_on_http2(scenario: str, library: str) -> Iterator[Target]:
    for ratio, aside in ((2.3, ""), (3, "with a lean codec")):
        for peer in LIBRARIES:
            yield Target(
                scenario=scenario,
                contender=f"pool+{library}",
                metric="rate",
                peer=peer,
                sense="at least",
                wanted=ratio,
                aside=aside,
            )


def _threads() -> Iterator[Target]:
    """Each library on the pool beside itself: httpx loses more by its many threads than httpx2."""
    for scenario, contender, peer, ratio, aside in (
        ("threads-h1-1", "pool+httpx2", "httpx2", 1.3, ""),
        ("threads-h1-20", "pool+httpx", "httpx", 2.2, ""),
        ("threads-h1-20", "pool+httpx2", "httpx2", 2.2, ""),
        ("threads-h1-20", "pool+httpx2", "urllib3", NO_SLOWER, "no slower, but for noise"),
        ("threads-h1-100", "pool+httpx", "httpx", 6, OUT_OF_REACH),
        ("threads-h1-100", "pool+httpx2", "httpx2", 2.5, ""),
        ("threads-h1-100", "pool+httpx2", "urllib3", NO_SLOWER, "no slower, but for noise"),
        ("threads-h2-1", "pool+httpx2", "httpx2", 1.3, ""),
        ("threads-h2-20", "pool+httpx", "httpx", 1.8, ""),
        ("threads-h2-20", "pool+httpx2", "httpx2", 1.8, ""),
        ("threads-h2-100", "pool+httpx", "httpx", 1.8, ""),
        ("threads-h2-100", "pool+httpx2", "httpx2", 1.8, ""),
    ):
        yield Target(
            scenario=scenario,
            contender=contender,
            metric="rate",
            peer=peer,
            sense="at least",
            wanted=ratio,
            aside=aside,
        )


def _long_bodies() -> Iterator[Target]:
    for name, ratio in (("down-h1", 1.4), ("down-h2", 1.6), ("up-h1", NO_SLOWER), ("up-h2", NO_SLOWER)):
        for library in LIBRARIES:
            yield Target(
                scenario=name,
                contender=f"pool+{library}",
                metric="mib_s",
                peer="httpx",
                sense="at least",
                wanted=ratio,
                aside="no slower, but for noise" if ratio == NO_SLOWER else "",
            )


def _limits() -> Iterator[Target]:
    """Bounds on the numbers themselves."""
    for scenario, metric, most in (
        ("burst-h1", "failed", 0),
        ("burst-h2", "failed", 0),
        ("burst-h2", "connections", 1),
        ("polls-h1", "short_p99_ms", 150),
        ("polls-h1", "failed", 0),
        ("polls-h2", "short_p99_ms", 150),
        ("polls-h2", "failed", 0),
        ("lanes-h1", "p99_ratio", 2),
        ("lanes-h1", "failed", 0),
        ("lanes-h2", "p99_ratio", 2),
        ("lanes-h2", "failed", 0),
        ("lanes-line-h1", "p99_ratio", 2),
        ("lanes-line-h1", "failed", 0),
        ("lanes-line-h2", "p99_ratio", 2),
        ("lanes-line-h2", "failed", 0),
        ("idle", "cpu_ratio", 1.3),
        ("idle", "failed", 0),
        ("waiters", "cpu_ratio", 1.5),
        ("waiters", "starved", 0),
        ("waiters", "failed", 0),
        ("threads-waiters", "cpu_ratio", 1.5),
        ("threads-waiters", "failed", 0),
        ("clients-h2", "connections", 1),
    ):
        for library in LIBRARIES:
            yield _at_most(scenario, f"pool+{library}", metric, most)
    for scenario, whose in (("sdk", "openai"), ("sdks", "sdks")):
        yield _at_most(scenario, f"pool+{whose}", "failed", 0)
        yield _at_most(scenario, f"pool+{whose}", "connections", 2)
        yield Target(
            scenario=scenario,
            contender=f"pool+{whose}",
            metric="wall_s",
            peer=whose,
            sense="at most",
            wanted=0.5,
        )
    for scenario in ("make", "make-threads"):
        for contender in SCENARIOS[scenario].contenders:
            if contender.startswith("pool+"):
                yield _at_most(scenario, contender, "make_us", 300)
                yield _at_most(scenario, contender, "heap_kib", 5)


def _at_most(scenario: str, contender: str, metric: str, most: float) -> Target:
    return Target(scenario=scenario, contender=contender, metric=metric, sense="at most", wanted=most)


TARGETS: Sequence[Target] = (*_small_answers(), *_threads(), *_long_bodies(), *_limits())
