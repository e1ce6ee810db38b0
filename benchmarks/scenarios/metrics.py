"""The numbers that scenarios give, and how people read them."""

from __future__ import annotations

from typing import Literal

import attrs


@attrs.frozen
class Metric:
    """
    A number, and how people read it.

    Attributes:
        label: What it is.

        unit: What follows it.

        digits: After the point.

        better: Which is the better one of two.
    """

    label: str
    unit: str = ""
    digits: int = 0
    better: Literal["higher", "lower"] = "lower"

    @property
    def heading(self) -> str:
        """What stands above a column of it."""
        return f"{self.label}, {self.unit}" if self.unit else self.label


METRICS = {
    "rate": Metric("requests/s", better="higher"),
    "mib_s": Metric("MiB/s", better="higher"),
    "wall_s": Metric("wall time", "s", 2),
    "short_p99_ms": Metric("short calls p99", "ms", 1),
    "short_p50_ms": Metric("short calls p50", "ms", 1),
    "p99_ratio": Metric("p99, with to without", "", 2),
    "short_p99_alone_ms": Metric("p99 without", "ms", 1),
    "cpu_us": Metric("CPU/request", "us"),
    "cpu_us_alone": Metric("CPU/request without", "us"),
    "cpu_ratio": Metric("CPU, with to without", "", 2),
    "cpu_ms_mib": Metric("CPU/MiB", "ms", 2),
    "cpu_s": Metric("CPU", "s", 2),
    "make_us": Metric("making a client", "us"),
    "make_ms": Metric("making the clients", "ms", 1),
    "heap_kib": Metric("Python heap of a client", "KiB", 1),
    "memory_kib": Metric("memory of a client", "KiB"),
    "ready_ms": Metric("made and first answer", "ms", 1),
    "memory_mib": Metric("memory", "MiB", 1),
    "sockets": Metric("sockets of a client", "", 2),
    "off_core": Metric("kept off its core", "%"),
    "starved": Metric("starved"),
    "connections": Metric("connections"),
    "failed": Metric("failed"),
}
