"""What is left to be done by whoever comes by."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable


def work_off(jobs: deque[Callable[[], object]]) -> None:
    """
    Do all *jobs*, in order. Each is safe to repeat: one that an interrupt breaks off is done again.

    The rest is done then as well: nobody else may come for it.

    Jobs may be added meanwhile, and other threads may do some of them. None is lost.
    """
    job: Callable[[], object] | None = None
    try:
        # An interrupt may strike behind a call, not between an iterator in C and the name for what it gave.
        for job in iter(jobs.popleft, None):
            job()
    except IndexError:  # there are no more
        pass
    except BaseException:
        if job is not None:
            job()
        work_off(jobs)
        raise
