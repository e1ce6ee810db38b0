"""
What is done, and with whom. Each scenario gives numbers by the names in `METRICS`.

    arena          what a scenario is, and what it is given
    metrics        what the numbers mean
    small_answers  many requests at once, on asyncio and in threads
    long_bodies    16 MiB down and up
    crowds         500 requests on a cold pool; 50 clients of SDKs
    beside         short calls beside long polls and transfers
    growth         with many idle connections, with many that wait
    making         what a client costs to make, and to have

Not measured here: trio.
"""

from __future__ import annotations

from benchmarks.scenarios import beside, crowds, growth, long_bodies, making, small_answers
from benchmarks.scenarios.arena import Arena, Numbers, Scenario
from benchmarks.scenarios.metrics import METRICS, Metric

__all__ = ["METRICS", "SCENARIOS", "Arena", "Metric", "Numbers", "Scenario"]

SCENARIOS = {
    scenario.name: scenario
    for group in (
        *(small_answers.on_asyncio(http2=http2) for http2 in (False, True)),
        *(small_answers.in_threads(http2=http2) for http2 in (False, True)),
        *(crowds.of_sdks(), making.making()),
        *(crowds.storms(http2=http2) for http2 in (False, True)),
        *(making.having(http2=http2) for http2 in (False, True)),
        *(beside.scenarios(http2=http2) for http2 in (False, True)),
        growth.scenarios(),
        *(long_bodies.scenarios(http2=http2) for http2 in (False, True)),
    )
    for scenario in group
}
