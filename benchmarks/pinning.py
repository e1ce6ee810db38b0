"""Which core does what, and whether it is left alone."""

from __future__ import annotations

import math
import os
from pathlib import Path


def cores() -> tuple[int | None, int | None]:
    """Give the server's core and the client's; None twice where they cannot be kept apart."""
    if not hasattr(os, "sched_getaffinity"):  # not Linux
        return None, None
    ours = sorted(os.sched_getaffinity(0))
    return (ours[0], ours[-1]) if len(ours) > 1 else (None, None)


def pin(core: int | None) -> None:
    """Keep this process on *core*."""
    if core is not None:
        os.sched_setaffinity(0, {core})


def stalled() -> float:
    """
    Give the seconds, ever, in which this process could have run and was not let; nan if unknown.

    Nothing is known where it has several threads: they keep each other off the core.
    """
    try:
        if len(os.listdir("/proc/self/task")) > 1:  # noqa: PTH208 - it is asked in the middle of a measurement
            return math.nan
        return int(Path("/proc/self/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):  # not Linux, or one that does not count
        return math.nan
