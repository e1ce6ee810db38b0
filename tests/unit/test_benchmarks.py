"""The benchmarks count, sum up and judge rightly; how fast anything is, no test says."""

from __future__ import annotations

import asyncio
import threading

import attrs
import pytest

from benchmarks import threads
from benchmarks.__main__ import matches
from benchmarks.chart import SHARING, SPEED
from benchmarks.driving import Effort, Window, described, drive
from benchmarks.results import Measured, Results, Spread
from benchmarks.scenarios import METRICS, SCENARIOS
from benchmarks.targets import TARGETS, Target

SOON = Effort(seconds=10, warm=0, answers=5)
WINDOW = Window(seconds=1, ended=1, cpu=1, stalled=0, answers=3, causes={}, waits=[0.1, 0.1, 0.2])


def results(**rates: list[float]) -> Results:
    """Give rounds of one scenario."""
    return Results(
        {
            ("h1-c200", name): [Measured(numbers={"rate": rate} if rate else {}) for rate in values]
            for name, values in rates.items()
        }
    )


def test_ratios_are_of_the_same_round() -> None:
    """A machine that halves its speed between two rounds changes no ratio."""
    ratio = results(ours=[400, 200, 100], theirs=[200, 100, 50]).ratio("h1-c200", "ours", "rate", "theirs")

    assert Spread(2, 2, 2) == ratio


def test_what_could_not_be_measured_is_left_out() -> None:
    """A round that gave no number counts neither as zero nor for its peers' ratios."""
    found = results(ours=[400, 0, 300], theirs=[200, 100, 100])

    assert Spread(350, 300, 400) == found.spread("h1-c200", "ours", "rate")
    assert Spread(2.5, 2, 3) == found.ratio("h1-c200", "ours", "rate", "theirs")
    assert found.spread("h1-c200", "nobody", "rate") is None


@pytest.mark.parametrize(
    ("sense", "met"), [("at least", (False, True, True)), ("at most", (True, True, False))]
)
def test_a_bound_is_on_the_median(sense: str, met: tuple[bool, ...]) -> None:
    """A target is met by the median alone, and by one that is just equal to it."""
    target = attrs.evolve(TARGETS[0], sense=sense, wanted=2)

    assert met == tuple(target.is_met(Spread(median, 0, 9)) for median in (1.9, 2, 2.1))


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_targets_are_about_what_is_measured(target: Target) -> None:
    """No target is left unjudged by a name that is not there."""
    scenario = SCENARIOS[target.scenario]

    assert {target.contender, target.peer or target.contender} <= set(scenario.contenders)
    assert target.metric in scenario.metrics


def test_scenarios_name_what_there_is() -> None:
    """Each metric can be written, and what is drawn first is there."""
    for scenario in SCENARIOS.values():
        assert set(scenario.metrics) <= set(METRICS)
    for panel in (*SPEED, *SHARING):
        assert panel.metric in SCENARIOS[panel.scenario].metrics


def test_more_is_better_of_speed_alone() -> None:
    """Of whatever costs, takes long or is a ratio of such, less is better; a chart says so."""
    assert ["rate", "mib_s"] == [name for name, metric in METRICS.items() if metric.better == "higher"]


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (
            FileNotFoundError(2, "No such file", "/home/ada/lib/site-packages/x.pem"),
            "FileNotFoundError: [Errno 2] No such file: '.../x.pem'",
        ),
        (
            ValueError("no answer\nfrom http://127.0.0.1:80/v1/models"),
            "ValueError: no answer from http://127.0.0.1:80/v1/models",
        ),
        (OSError(), "OSError"),
    ],
)
def test_causes_name_no_folder(error: Exception, told: str) -> None:
    """What is published of an error is one line, without where this machine has its files."""
    assert told == described(error)


def test_only_takes_a_name_or_its_first_words() -> None:
    """`--only h1` is all that begin so, and `--only h1-c20` is not h1-c200."""
    assert ["h1-c1", "h1-c20", "h1-c200"] == [name for name in SCENARIOS if matches(name, "h1")]
    assert ["h1-c20"] == [name for name in SCENARIOS if matches(name, "h1-c20")]


def test_a_window_ends_with_its_last_answer() -> None:
    """Answers are counted up to the number asked for, also if nobody ever waits."""

    async def at_once() -> None:
        pass

    window = asyncio.run(drive(at_once, 3, SOON))

    assert (5, 0, 5) == (window.answers, window.failed, len(window.waits))
    assert window.rate > 0


def test_failures_are_no_answers() -> None:
    """What fails is counted by its cause and adds to no rate."""

    async def fail() -> None:
        raise OSError("out of order")

    window = asyncio.run(drive(fail, 3, SOON))

    assert (0, {"OSError: out of order": 5}) == (window.answers, window.causes)


def test_who_is_never_answered_is_pending() -> None:
    """Requests that are still out when the window ends are seen, and then cancelled."""
    cancelled = 0

    async def main() -> Window:
        numbers = iter(range(100))

        async def ask() -> None:
            nonlocal cancelled
            if next(numbers) == 0:
                try:
                    await asyncio.Event().wait()
                except asyncio.CancelledError:
                    cancelled += 1
                    raise

        return await drive(ask, 2, SOON, leave=0)

    window = asyncio.run(main())

    assert (1, 1) == (len(window.pending), cancelled)


def test_threads_begin_together() -> None:
    """No thread asks before all are there, and answers are counted up to the number asked for."""
    others, seen = threading.active_count(), list[int]()

    def get(_: str) -> str:
        seen.append(threading.active_count() - others)
        return "HTTP/1.1"

    window = threads.drive(get, "http://localhost/", 20, SOON)

    assert 20 == seen[0]
    assert (True, 0) == (window.answers >= 5, window.failed)


def test_starved_is_who_waits_far_longer_than_others() -> None:
    """Three times the median is too long, answered or not; and so is any wait where nobody is answered."""
    assert attrs.evolve(WINDOW, pending=[0.29]).starved == 0
    assert attrs.evolve(WINDOW, pending=[0.31, 9]).starved == 2
    assert attrs.evolve(WINDOW, waits=[0.1, 0.1, 0.1, 0.5]).starved == 1
    assert attrs.evolve(WINDOW, waits=[], pending=[0.1]).starved == 1
