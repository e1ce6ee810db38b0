"""
What it costs to make a client: the SDK's own way, and pooled.

The unit is one client made, closed outside of the measurement. Time is the
median over clients made one after another with the collector off; heap is what
`tracemalloc` sees of clients that are kept, so without what OpenSSL allocates.

    python benchmarks/creation.py [--clients N] [--json]
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import gc
import importlib
import inspect
import json
import platform
import statistics
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

import httpx

import pool_manager

SDKS = {
    "openai": ("OpenAI", "AsyncOpenAI", {"api_key": "x"}),
    "anthropic": ("Anthropic", "AsyncAnthropic", {"api_key": "x"}),
    "groq": ("Groq", "AsyncGroq", {"api_key": "x"}),
    "runloop_api_client": ("Runloop", "AsyncRunloop", {"bearer_token": "x"}),
}
SLOW = 30  # clients made the usual way: 20-40 ms each
WARM = 3


def close(client: Any) -> None:
    """Close a client of any colour."""
    closing = client.aclose() if hasattr(client, "aclose") else client.close()
    if inspect.isawaitable(closing):

        async def wait() -> None:
            await closing

        asyncio.run(wait())


def microseconds(make: Callable[[], Any], count: int) -> float:
    """Median time to make one client."""
    kept = [make() for _ in range(WARM)]
    times = []
    gc.collect()
    gc.disable()
    try:
        for _ in range(count):
            begun = time.perf_counter()
            kept.append(make())
            times.append(time.perf_counter() - begun)
    finally:
        gc.enable()
    for client in kept:
        close(client)
    return statistics.median(times) * 1e6


def kibibytes(make: Callable[[], Any], count: int) -> float:
    """Heap kept by one client, on average."""
    kept = [make()]
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    kept += [make() for _ in range(count)]
    gc.collect()
    after = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    for client in kept:
        close(client)
    return (after - before) / count / 1024


def candidates(manager: pool_manager.PoolManager) -> dict[str, tuple[Callable[[], Any], Callable[[], Any]]]:
    """For each client, how to make it the usual way and pooled."""
    found: dict[str, tuple[Callable[[], Any], Callable[[], Any]]] = {}
    for library in ("httpx", "httpx2"):
        try:
            module = importlib.import_module(library)
        except ImportError:
            continue
        for kind in (module.Client, module.AsyncClient):
            found[f"{library}.{kind.__name__}"] = (kind, functools.partial(manager.client, kind))
    for package, (*names, kwargs) in SDKS.items():
        try:
            module = importlib.import_module(package)
        except ImportError:
            continue
        for name in names:
            kind = getattr(module, str(name))
            usual = functools.partial(kind, **kwargs)
            found[f"{package}.{name}"] = (usual, functools.partial(manager.pooled, kind, **kwargs))
    return found


def main() -> None:
    """Measure, and print a table or JSON."""
    parser = argparse.ArgumentParser(description="What it costs to make a client.")
    parser.add_argument("--clients", type=int, default=500, help="pooled clients of each kind (default: 500)")
    parser.add_argument("--json", action="store_true", help="print JSON")
    options = parser.parse_args()
    rows = []
    with pool_manager.PoolManager() as manager:
        for name, (usual, pooled) in candidates(manager).items():
            slow = min(SLOW, options.clients)
            rows.append(
                {
                    "client": name,
                    "usual_us": microseconds(usual, slow),
                    "pooled_us": microseconds(pooled, options.clients),
                    "usual_kib": kibibytes(usual, slow),
                    "pooled_kib": kibibytes(pooled, options.clients),
                }
            )
    machine = {"python": platform.python_version(), "machine": platform.machine(), "httpx": httpx.__version__}
    if options.json:
        print(json.dumps({**machine, "rows": rows}, indent=2))
        return
    print(machine)
    print(f"{'client':36}{'usual':>12}{'pooled':>12}{'usual heap':>14}{'pooled heap':>14}")
    for row in rows:
        print(
            f"{row['client']:36}{row['usual_us']:9.0f} us{row['pooled_us']:9.0f} us"
            f"{row['usual_kib']:10.1f} KiB{row['pooled_kib']:10.1f} KiB"
        )


if __name__ == "__main__":
    main()
