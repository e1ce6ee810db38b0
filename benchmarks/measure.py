"""Rounds: each contender once, one after another, each in a process of its own; then again."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from benchmarks.child import Task
from benchmarks.driving import Effort, in_one_line
from benchmarks.pinning import cores
from benchmarks.results import Measured, Results
from benchmarks.scenarios import Scenario
from benchmarks.scenarios.arena import ALWAYS
from benchmarks.servers import Server, running

PATIENCE = 180.0  # seconds for one measurement

Heard = Callable[[str, str, int, Measured], object]  # scenario, contender, round, what it gave


@attrs.frozen(kw_only=True)
class Plan:
    """
    What to measure.

    Attributes:
        scenarios: In this order.

        contenders: These alone, where not None.

        rounds: How often each is measured, at most.

        effort: How long each time.

        loop: "asyncio" or "uvloop".

        minutes: No measurement begins later than this.
    """

    scenarios: Sequence[Scenario]
    contenders: Sequence[str] | None
    rounds: int
    effort: Effort
    loop: str = "asyncio"
    minutes: float = math.inf

    def taking_part(self, scenario: Scenario) -> list[str]:
        """Name those who are asked for, installed and meant to do this."""
        return [
            name
            for name, who in scenario.contenders.items()
            if (self.contenders is None or name in self.contenders) and who.available
        ]


def turns(plan: Plan) -> Iterator[tuple[Scenario, int, str]]:
    """
    Give scenario, round and contender.

    A round goes through all scenarios, so that a run cut short has each. After the first one, those that
    are to have many rounds have them all before the others go on: what is cut are those.
    """
    rounds = [(scenario, number) for number in range(plan.rounds) for scenario in plan.scenarios]
    for scenario, number in sorted(rounds, key=lambda turn: turn[1] > 0 and turn[0].rounds < ALWAYS):
        if number < scenario.rounds:
            for contender in plan.taking_part(scenario):
                yield scenario, number, contender


def carry_out(plan: Plan, heard: Heard) -> Results:
    """Measure all of it; tell *heard* of each measurement."""
    server_core, _ = cores()
    rows: dict[tuple[str, str], list[Measured]] = {}
    until = time.monotonic() + 60 * plan.minutes
    with running(server_core) as server:
        for scenario, number, contender in turns(plan):
            if time.monotonic() >= until:
                break
            measured = measure(plan, scenario.name, contender, server)
            rows.setdefault((scenario.name, contender), []).append(measured)
            heard(scenario.name, contender, number, measured)
    return Results(rows)


def measure(plan: Plan, scenario: str, contender: str, server: Server) -> Measured:
    """Measure one contender once, in a process of its own."""
    _, client_core = cores()
    task = Task(
        scenario=scenario,
        contender=contender,
        address=server.address,
        effort=plan.effort,
        loop=plan.loop,
        core=client_core,
    )
    before = server.accepted()
    found = _ask_child(task)
    if "error" in found:
        return Measured(numbers={}, causes={str(found["error"]): 1})
    numbers = {**found["numbers"], "connections": server.accepted() - before}
    return Measured(numbers=numbers, causes=found["causes"])


def _ask_child(task: Task) -> Mapping[str, Any]:
    command = [sys.executable, "-m", "benchmarks.child", task.to_json()]
    try:
        done = subprocess.run(  # noqa: S603 - ourselves
            command,
            env={
                **_environment(),
                **dict.fromkeys(("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"), task.address.ca_file),
            },
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
        )
    except subprocess.TimeoutExpired:
        return {"error": f"not done in {PATIENCE:.0f} s"}
    try:
        found: Mapping[str, Any] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError):
        last = " ".join(done.stderr.splitlines()[-1:])
        return {"error": in_one_line(f"exit status {done.returncode}: {last}")}
    return found


def _environment() -> dict[str, str]:
    """Give ours without proxies: they would be used for loopback, too."""
    return {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
