"""Where the time of one contender in one scenario goes."""

from __future__ import annotations

import cProfile
import os
import pstats

import attrs

from benchmarks.child import Task, measure
from benchmarks.driving import Effort
from benchmarks.pinning import cores
from benchmarks.servers import running

LINES = 45
IMPORTS = Effort(seconds=1, warm=0, answers=1)  # what is imported late is no part of a profile


def profile(scenario: str, contender: str, effort: Effort, loop: str) -> None:
    """Measure in this very process, and print the functions by the time spent in themselves."""
    server_core, client_core = cores()
    profiler = cProfile.Profile()
    with running(server_core) as server:
        os.environ["SSL_CERT_FILE"] = server.address.ca_file  # for the SDK, which makes its own client
        task = Task(
            scenario=scenario,
            contender=contender,
            address=server.address,
            effort=effort,
            loop=loop,
            core=client_core,
        )
        measure(attrs.evolve(task, effort=IMPORTS))
        found = profiler.runcall(measure, task)
    pstats.Stats(profiler).strip_dirs().sort_stats("tottime").print_stats(LINES)
    print(f"under the profiler, which slows it down: {found}")
