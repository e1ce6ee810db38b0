"""The kill switch: ``POOL_MANAGER_DISABLED=1`` in the environment, and nothing is pooled."""

from __future__ import annotations

import os
from typing import Final

VARIABLE: Final = "POOL_MANAGER_DISABLED"

_OFF: Final = frozenset({"", "0", "false", "no", "off"})


def disabled() -> bool:
    """Whether the environment says, now, that nothing is to be pooled."""
    return os.environ.get(VARIABLE, "").strip().lower() not in _OFF
