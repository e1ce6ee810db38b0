"""
Checks an installed pool_manager: `python -I .../installed_wheel.py`, in any folder.

Run with -I, so that nothing but what pip installed can be imported; that is also
why this module imports nothing of `tests`.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import pkgutil
import sys
from pathlib import Path

NAME = "pool_manager"
PLUGIN = "pool_manager.testing.plugin"


def main() -> None:
    """Raise if something is missing."""
    package = importlib.import_module(NAME)
    folder = Path(str(package.__file__)).parent
    assert folder.is_relative_to(sys.prefix), f"{folder} is not what pip installed"
    assert (folder / "py.typed").is_file(), "type checkers need py.typed"
    for name in sorted(module_names(folder)):
        importlib.import_module(name)
    assert f"{NAME}.adapters.stainless" in sys.modules, "no adapters"
    assert importlib.metadata.entry_points(group="pytest11", name=PLUGIN), "no plugin"
    strays = {file.parts[0] for file in importlib.metadata.files(NAME) or () if is_stray(file.parts[0])}
    assert not strays, f"the wheel brings more than the package: {strays}"


def module_names(folder: Path) -> set[str]:
    """Name all modules of the package; `__main__` would run, and is left out."""
    found = pkgutil.walk_packages([str(folder)], f"{NAME}.")
    return {module.name for module in found if not module.name.endswith("__main__")}


def is_stray(top: str) -> bool:
    """Tell whether a name at the top of site-packages is not ours to take."""
    return top != NAME and not top.endswith(".dist-info")


if __name__ == "__main__":
    main()
