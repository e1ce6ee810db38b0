"""
Which adapter serves which classes of an SDK, and what of it takes a client: asked in a child.

An SDK runs its own code when it is imported.

``python -m pool_manager.doctor.looking MODULE...`` is the child: it writes one line of
JSON, whatever the modules themselves write.
"""

from __future__ import annotations

import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Final, cast

import attrs

from pool_manager.adapting import Adapter, adapters

_PATIENCE: Final = 60.0  # seconds for an SDK to be imported
_PLACES: Final = 5  # of those that take a client
_OF_HTTPX: Final = re.compile(
    # An annotation, or a name that leaves no doubt where there is no such annotation.
    r": .*\bhttpx2?\.(\w+\.)*(Async)?(Client|BaseTransport|HTTPTransport)\b"
    r"|^(httpx_client|httpx_async_client|http_client|http_async_client|async_http_client|httpx_args"
    r"|httpx_kwargs|httpx_client_factory|httpx_settings):"
)
_TOLD: Final = 200  # characters of somebody's error


@attrs.frozen(kw_only=True)
class Look:
    """
    What a look at an SDK brought.

    Attributes:
        adapter: The name of the adapter that serves it; None if none does.

        classes: What can be given to `pooled`, in full.

        takes: What takes a client or a transport of httpx, and as which argument, the shortest name
            first: "notion_client.Client(client=)".

        failure: Why it cannot be imported; None if it can.
    """

    adapter: str | None = None
    classes: tuple[str, ...] = ()
    takes: tuple[str, ...] = ()
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
        lists = {name: tuple(cast("list[str]", found[name])) for name in ("classes", "takes")}
        return Look(**{**found, **lists})  # type: ignore[arg-type]
    except ValueError:
        return Look(failure=_short(f"its import ends Python with exit status {done.returncode}"))


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _TOLD else f"{line[:_TOLD]}..."


def _look_here(names: Sequence[str]) -> Look:
    found = adapters()  # first, since what is imported next may do anything
    modules, failure = list[ModuleType](), None
    for one in names:
        try:
            modules.append(importlib.import_module(one))
        except BaseException as error:  # noqa: BLE001 - an SDK may raise what it likes, SystemExit included
            failure = _short(f"{type(error).__name__}: {error}")
    if not modules and failure is not None:  # of several, one may want what an extra brings
        return Look(failure=failure)
    for name, adapter in found:
        if classes := sorted({found for module in modules for found in _served(module, adapter)}):
            return Look(adapter=name, classes=tuple(classes))
    places = {place for package in names for place in _taken(package)}
    return Look(takes=tuple(sorted(places, key=lambda place: (len(place), place))[:_PLACES]))


def _served(module: ModuleType, adapter: Adapter) -> Iterator[str]:
    """Name the classes that a module offers and *adapter* serves."""
    for name in dir(module):
        try:
            thing: object = getattr(module, name)
            if isinstance(thing, type) and _is_offered(thing, name, module) and adapter.serves(thing):
                yield f"{module.__name__}.{name}"
        except Exception:  # noqa: BLE001, S112 - what cannot be looked at cannot be served
            continue


def _taken(package: str) -> Iterator[str]:
    """Name what in a package, as far as it was imported by now, takes a client or a transport of httpx."""
    for path, module in [*sys.modules.items()]:
        if not f"{path}.".startswith(f"{package}.") or "._" in path:
            continue
        for name, thing in [*vars(module).items()]:
            if not name.startswith("_") and f"{getattr(thing, '__module__', '')}.".startswith(f"{package}."):
                yield from (f"{path}.{name}({argument}=)" for argument in _arguments_of_httpx(thing))


def _arguments_of_httpx(thing: object) -> Iterator[str]:
    """Name the arguments by which *thing*, if it is called, takes a client or a transport and need not."""
    try:
        if isinstance(thing, type) and issubclass(thing, BaseException):
            return
        arguments = inspect.signature(cast("Callable[..., object]", thing)).parameters.values()
        for one in arguments:
            if one.default is not one.empty and _OF_HTTPX.search(f"{one.name}: {one.annotation}"):
                yield one.name
    except Exception:  # noqa: BLE001 - what has no signature, or none that can be read, takes nothing
        return


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
