"""What this process takes of the machine."""

from __future__ import annotations

import math
import os
import stat
from contextlib import suppress
from pathlib import Path


def memory() -> float:
    """Give the bytes it has in memory; nan where the system does not say."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except OSError:  # not Linux
        return math.nan
    return pages * os.sysconf("SC_PAGE_SIZE")


def sockets() -> float:
    """Count its open sockets; nan where the system does not say."""
    try:
        numbers = [int(link.name) for link in Path("/proc/self/fd").iterdir()]
    except OSError:  # not Linux
        return math.nan
    return sum(_is_socket(number) for number in numbers)


def _is_socket(number: int) -> bool:
    with suppress(OSError):  # the folder itself was open while it was read
        return stat.S_ISSOCK(os.fstat(number).st_mode)
    return False
