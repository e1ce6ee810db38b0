"""
One measurement, alone in its process: ``python -m benchmarks.child TASK``.

The task is JSON; so is what it prints: the numbers, and why requests failed; or
the error that kept it from measuring.
"""

from __future__ import annotations

import asyncio
import json
import math
import os
import sys
from collections.abc import Mapping
from typing import Any

import attrs

from benchmarks.driving import Effort, described
from benchmarks.pinning import pin
from benchmarks.scenarios import SCENARIOS, Arena
from benchmarks.servers import Address


@attrs.frozen(kw_only=True)
class Task:
    """
    What to measure.

    Attributes:
        scenario: Its name.

        contender: Its name.

        address: Of the server.

        effort: How long.

        loop: "asyncio" or "uvloop".

        core: Where to run; anywhere if None.
    """

    scenario: str
    contender: str
    address: Address
    effort: Effort
    loop: str = "asyncio"
    core: int | None = None

    @classmethod
    def from_json(cls, text: str) -> Task:
        """Read what `to_json` wrote."""
        fields: dict[str, Any] = json.loads(text)
        address, effort = Address(**fields.pop("address")), Effort(**fields.pop("effort"))
        return cls(address=address, effort=effort, **fields)

    def to_json(self) -> str:
        """Write it down."""
        return json.dumps(attrs.asdict(self))


def measure(task: Task) -> Mapping[str, object]:
    """Do it, in this process."""
    scenario = SCENARIOS[task.scenario]
    arena = Arena(
        contender=task.contender,
        address=task.address,
        effort=task.effort,
        http2=scenario.http2,
        tls=scenario.tls,
    )
    pin(task.core)
    with asyncio.Runner(loop_factory=_loop_factory(task.loop)) as runner:
        numbers = runner.run(scenario.run(arena))
    return {"numbers": known(numbers), "causes": arena.causes}


def known(numbers: Mapping[str, float]) -> Mapping[str, float]:
    """Leave out what is not a number: JSON has no word for it."""
    return {name: number for name, number in numbers.items() if math.isfinite(number)}


def _loop_factory(name: str) -> Any:
    if name == "asyncio":
        return asyncio.new_event_loop
    import uvloop  # noqa: PLC0415 - only where it is asked for

    return uvloop.new_event_loop


def main() -> None:
    """Measure, tell, and go at once: nothing that a contender left unfinished can hold this up."""
    try:
        found = measure(Task.from_json(sys.argv[1]))
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent shows it
        found = {"error": described(error)}
    print(json.dumps(found), flush=True)
    os._exit(0)


if __name__ == "__main__":
    main()
