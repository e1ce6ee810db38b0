"""
Which adapter serves which classes of an SDK: asked in a child, since an SDK runs its own code when imported.

``python -m pool_manager.doctor.looking MODULE...`` is the child: it writes one line of
JSON, whatever the modules themselves write.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Final

import attrs

from pool_manager.adapting import Adapter, adapters

_PATIENCE: Final = 60.0  # seconds for an SDK to be imported
_TOLD: Final = 200  # characters of somebody's error


@attrs.frozen(kw_only=True)
class Look:
    """
    What a look at an SDK brought.

    Attributes:
        adapter: The name of the adapter that serves it; None if none does.

        classes: What can be given to `pooled`, in full.

        failure: Why it cannot be imported; None if it can.
    """

    adapter: str | None = None
    classes: tuple[str, ...] = ()
    failure: str | None = None


def look(modules: Sequence[str]) -> Look:
    """Import *modules* in a child and ask the adapters. Never raises for what they do."""
    try:
        done = subprocess.run(  # noqa: S603 - our own module; the names are those of what is installed
            [sys.executable, "-m", __name__, *modules],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace", timeout=_PATIENCE,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return Look(failure=f"its import takes longer than {_PATIENCE:.0f} s")
    try:
        found: dict[str, object] = json.loads(done.stdout)
        return Look(**{**found, "classes": tuple(found["classes"])})  # type: ignore[arg-type]
    except ValueError:
        return Look(failure=_short(f"its import ends Python with exit status {done.returncode}"))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _TOLD else f"{line[:_TOLD]}..."


def _look_here(names: Sequence[str]) -> Look:
    found = adapters()  # first, since what is imported next may do anything
    try:
        modules = [importlib.import_module(name) for name in names]
    except BaseException as error:  # noqa: BLE001 - an SDK may raise what it likes, SystemExit included
        return Look(failure=_short(f"{type(error).__name__}: {error}"))
    for name, adapter in found:
        if classes := sorted({found for module in modules for found in _served(module, adapter)}):
            return Look(adapter=name, classes=tuple(classes))
    return Look()


def _served(module: ModuleType, adapter: Adapter) -> Iterator[str]:
    """Name the classes that a module offers and *adapter* serves."""
    for name in dir(module):
        try:
            thing: object = getattr(module, name)
            if isinstance(thing, type) and _is_offered(thing, name, module) and adapter.serves(thing):
                yield f"{module.__name__}.{name}"
        except Exception:  # noqa: BLE001, S112 - what cannot be looked at cannot be served
            continue


def _is_offered(kind: type, name: str, module: ModuleType) -> bool:
    """Whether *name* is the class's own one, public, and the class the module's."""
    is_inside = f"{kind.__module__}.".startswith(f"{module.__name__}.")
    return is_inside and kind.__name__ == name and not name.startswith("_")


def main() -> None:
    """Be the child."""
    answer = os.dup(1)
    os.dup2(2, 1)  # SDKs that print when imported are not to be taken for the answer
    found = _look_here(sys.argv[1:])
    os.write(answer, json.dumps(attrs.asdict(found)).encode())
    sys.stdout.flush()
    os._exit(0)  # threads that an SDK began, and what it does at exit, are not waited for


if __name__ == "__main__":
    main()
