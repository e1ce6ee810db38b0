"""
Which installed distributions make HTTP requests, and by which library: nothing of theirs is imported.

Their metadata says so for most. Some can use httpx and need not (stripe, gql), or do so through what
they require (LangChain's): of those the source has to say whether it imports it.
"""

from __future__ import annotations

import importlib.metadata
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath
from typing import Final

import attrs

OURS: Final = ("httpx", "httpx2")
OTHERS: Final = ("requests", "aiohttp", "urllib3")

# Libraries of HTTP, and this package: nobody's SDK.
_NO_SDK: Final = frozenset({*OURS, *OTHERS, "httpcore", "httpcore2", "pool-manager"})

_NAME: Final = re.compile(r"[A-Za-z0-9._-]+")
_IMPORT: Final = re.compile(rb"^[ \t]*(?:import|from) (httpx2?)\b", re.MULTILINE)
_TESTS: Final = re.compile("tests?([^a-z]|$)|testclient")
_NOT_API: Final = frozenset({"test", "tests", "examples", "docs", "benchmarks", "scripts"})


@attrs.frozen(kw_only=True)
class Distribution:
    """
    A distribution that makes requests.

    Attributes:
        name: Its name, normalised.

        version: Its version.

        libraries: What it makes them by, of `OURS` and `OTHERS`: what it requires, extras left aside,
            and what of `OURS` it imports and is installed.

        through: Which distributions of those here it requires, where it makes no requests but by them.

        modules: Its packages and modules.
    """

    name: str
    version: str
    libraries: tuple[str, ...]
    modules: tuple[str, ...]
    through: tuple[str, ...] = ()

    @property
    def speaks_httpx(self) -> bool:
        """Whether it can be pooled."""
        return not self.through and any(library in OURS for library in self.libraries)


def installed() -> list[Distribution]:
    """Give those that make requests, sorted; of two of one name the one that is imported."""
    found: dict[str, importlib.metadata.Distribution] = {}
    for one in importlib.metadata.distributions():
        found.setdefault(_normal(one.metadata["Name"] or ""), one)
    required = {name: {*_required(one.requires or ())} for name, one in found.items()}
    declared = {name for name, needs in required.items() if needs.intersection(OURS)}
    libraries = {name: needs.intersection(OURS + OTHERS) for name, needs in required.items()}
    for name, one in found.items():
        if name not in declared and _may_speak(one, required[name] & declared):
            libraries[name] |= _imported(one) & found.keys()
    speakers = {name for name, theirs in libraries.items() if theirs.intersection(OURS)} - _NO_SDK
    return [
        Distribution(
            name=name,
            version=one.version,
            libraries=tuple(library for library in (*OURS, *OTHERS) if library in libraries[name]),
            modules=tuple(sorted(_modules(one.files or ()))),
            through=() if name in speakers else tuple(sorted(required[name] & speakers)),
        )
        for name, one in sorted(found.items())
        if name and name not in _NO_SDK and (libraries[name] or required[name] & speakers)
    ]


def _may_speak(one: importlib.metadata.Distribution, speakers: set[str]) -> bool:
    """Whether it is worth a look at the source: an extra, a file or what it requires has to do with httpx."""
    return bool(
        speakers
        or any("httpx" in requirement for requirement in one.requires or ())
        or any("httpx" in file.name or "httpx" in file.parent.name for file in one.files or ())
    )


def _imported(one: importlib.metadata.Distribution) -> set[str]:
    """Tell which of `OURS` its modules import, those for tests left aside."""
    found: set[str] = set()
    for file in one.files or ():
        if file.suffix == ".py" and ".." not in file.parts and not any(map(_TESTS.match, file.parts)):
            try:
                source = Path(str(file.locate())).read_bytes()
            except OSError:  # it was taken away
                continue
            found |= {name.decode() for name in _IMPORT.findall(source)}
        if len(found) == len(OURS):
            break
    return found


def _normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def _required(requirements: Iterable[str]) -> Iterator[str]:
    for requirement in requirements:
        _, _, marker = requirement.partition(";")
        name = _NAME.match(requirement)
        if name is not None and "extra" not in marker:
            yield _normal(name[0])


def _modules(files: Iterable[PurePath]) -> set[str]:
    """
    Name the outermost packages, those in a namespace included, and modules outside of any.

    Where one in a namespace has nothing but packages (cerebras.cloud), those are named, too.
    """
    paths = [file for file in files if file.suffix == ".py" and ".." not in file.parts]
    packages = {file.parts[:-1] for file in paths if file.name == "__init__.py" and len(file.parts) > 1}
    outermost = {
        parts for parts in packages if not any(parts[:depth] in packages for depth in range(1, len(parts)))
    }
    filled = {file.parts[:-1] for file in paths if file.name != "__init__.py"}
    spaces = {parts for parts in outermost - filled if len(parts) > 1}
    outermost |= {parts for parts in packages if parts[:-1] in spaces}
    names = {".".join(parts) for parts in outermost} | {file.stem for file in paths if len(file.parts) == 1}
    return {name for name in names if not name.startswith("_") and name.partition(".")[0] not in _NOT_API}
