"""
Peers that may not be there, and those that have to be apart.

Where niquests is installed, `import urllib3` is urllib3-future. So that both can be measured in one run, each
is imported from a folder of its own, in a process that imports no other. ``BENCHMARK_PEERS`` names the folder
that holds those folders; ``tox run -e bench`` makes them, by ``pip install --target``.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import distributions
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import attrs

from benchmarks.terms import Terms

PEERS = Path(os.environ.get("BENCHMARK_PEERS", "/nowhere"))
APART = {
    "urllib3": "urllib3",
    "requests": "urllib3",
    "niquests": "niquests",
    "pyreqwest": "pyreqwest",
}  # folders

Opened = TypeVar("Opened")


@attrs.frozen
class Contender(Generic[Opened]):
    """
    One of those who are measured.

    Attributes:
        make: Makes a client.

        needs: Modules that must be there.
    """

    make: Callable[[Terms], Opened]
    needs: tuple[str, ...] = ()

    @property
    def available(self) -> bool:
        """Whether what it needs is there."""
        return all(is_there(module) for module in self.needs)

    def open(self, terms: Terms) -> Opened:
        """Make its client, in a process that makes no other's."""
        for module in self.needs:
            come(module)
        return self.make(terms)


class Participant(Protocol):
    """Who can take part in a scenario."""

    @property
    def available(self) -> bool:
        """Whether what it needs is there."""
        ...


P = TypeVar("P", bound=Participant)


def chosen(known: Mapping[str, P], *names: str) -> Mapping[str, P]:
    """Give those of them that are called so, in this order."""
    return {name: known[name] for name in names}


def come(module: str) -> None:
    """Let a module be found that is apart."""
    if module in APART:
        folder = str(PEERS / APART[module])
        if folder not in sys.path:
            sys.path.insert(0, folder)


def is_there(module: str) -> bool:
    """Tell whether it can be imported, once it has been let `come`."""
    if module in APART:
        return (PEERS / APART[module] / module).is_dir()
    return importlib.util.find_spec(module) is not None


def versions() -> Iterator[tuple[str, str]]:
    """Give the peers that are apart, and their versions."""
    for module, folder in APART.items():
        for found in distributions(name=module, path=[str(PEERS / folder)]):
            yield module, found.version
