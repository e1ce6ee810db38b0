"""Which installed distributions make HTTP requests, and by which library: read from their metadata."""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterable, Iterator
from pathlib import PurePath
from typing import Final

import attrs

OURS: Final = ("httpx", "httpx2")
OTHERS: Final = ("requests", "aiohttp", "urllib3")

# Libraries of HTTP, and this package: nobody's SDK.
_NO_SDK: Final = frozenset({*OURS, *OTHERS, "httpcore", "httpcore2", "pool-manager"})

_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
_NOT_API: Final = frozenset({"test", "tests", "examples", "docs", "benchmarks", "scripts"})


@attrs.frozen(kw_only=True)
class Distribution:
    """
    A distribution that makes requests.

    Attributes:
        name: Its name, normalised.

        version: Its version.

        libraries: What it requires to make them, extras left aside: of `OURS` and `OTHERS`.

        modules: Its packages and modules.
    """

    name: str
    version: str
    libraries: tuple[str, ...]
    modules: tuple[str, ...]

    @property
    def speaks_httpx(self) -> bool:
        """Whether it can be pooled."""
        return any(library in OURS for library in self.libraries)


def installed() -> list[Distribution]:
    """Give those that require a library of HTTP, sorted; of two of one name the one that is imported."""
    found: dict[str, Distribution] = {}
    for one in importlib.metadata.distributions():
        name = _normal(one.metadata["Name"] or "")
        if not name or name in found or name in _NO_SDK:
            continue
        required = {*_required(one.requires or ())}
        if libraries := tuple(library for library in (*OURS, *OTHERS) if library in required):
            modules = tuple(sorted(_modules(one.files or ())))
            found[name] = Distribution(name=name, version=one.version, libraries=libraries, modules=modules)
    return sorted(found.values(), key=lambda one: one.name)


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _required(requirements: Iterable[str]) -> Iterator[str]:
    for requirement in requirements:
        _, _, marker = requirement.partition(";")
        name = _NAME.match(requirement)
        if name is not None and "extra" not in marker:
            yield _normal(name[0])


def _modules(files: Iterable[PurePath]) -> set[str]:
    """Name the outermost packages, those in a namespace included, and modules outside of any."""
    paths = [file for file in files if file.suffix == ".py" and ".." not in file.parts]
    packages = {file.parts[:-1] for file in paths if file.name == "__init__.py" and len(file.parts) > 1}
    outermost = {
        parts for parts in packages if not any(parts[:depth] in packages for depth in range(1, len(parts)))
    }
    names = {".".join(parts) for parts in outermost} | {file.stem for file in paths if len(file.parts) == 1}
    return {name for name in names if not name.startswith("_") and name.partition(".")[0] not in _NOT_API}
