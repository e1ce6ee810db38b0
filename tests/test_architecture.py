"""Imports point one way, and the core knows nothing of I/O."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pool_manager

PACKAGE = Path(pool_manager.__file__).parent
MODULES = sorted(PACKAGE.rglob("*.py"))

# From the bottom up: a module imports from its own layer's packages and from those below it alone.
# A line here is a decision: change it in review.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("differences", "errors", "histograms", "libraries", "losses", "records", "riding", "switch"),
    ("checks", "guarding"),
    ("config", "policies"),
    ("stats",),
    ("events",),
    ("core",),
    ("observe",),
    ("runtimes",),
    ("retrying",),
    ("pools",),
    ("exchanges",),
    ("holding",),
    ("looking",),
    ("registry",),
    ("dumping", "leases"),
    ("answers", "asking", "intercepting"),
    ("transports",),
    ("attaching", "making", "polling"),
    ("adapting", "installing"),
    ("inspecting",),
    ("manager",),
    ("default",),
    ("__init__",),
    ("adapters", "demo", "doctor", "running", "testing"),
    ("__main__",),
)
LAYER = {name: level for level, names in enumerate(LAYERS) for name in names}

# What the core may use beyond itself and the leaves: parsers, and no I/O.
CORE_MAY_USE = {"attrs", "h2", "h11", "httptools", "hpack", "hyperframe", "socksio"}
CORE_MAY_NOT_USE = {"asyncio", "threading", "socket", "ssl", "select", "selectors", "time", "os", "queue"}


def imported(path: Path) -> Iterator[str]:
    """Every module that *path* imports at run time, by its full name."""
    todo: list[ast.AST] = [ast.parse(path.read_text())]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            todo.extend(node.orelse)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide the direction"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            todo.extend(ast.iter_child_nodes(node))


def part_of(path: Path) -> str:
    """Give the part of the package that a file belongs to: a module's name, or its folder's."""
    inside = path.relative_to(PACKAGE)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    """Nothing imports from a layer above its own, nor from another part of its own layer."""
    own = part_of(path)
    for name in imported(path):
        root, _, rest = name.partition(".")
        if root != "pool_manager":
            continue
        other = rest.partition(".")[0]
        other = other if other in LAYER else "__init__"  # from pool_manager import Limits
        assert other == own or LAYER[other] < LAYER[own], f"{own} imports {other}"


@pytest.mark.parametrize("path", sorted((PACKAGE / "core").glob("*.py")), ids=lambda path: path.stem)
def test_the_core_does_no_io(path: Path) -> None:
    """The core imports leaves and parsers; no I/O, clock, lock or httpx; and awaits nothing."""
    for name in imported(path):
        root = name.partition(".")[0]
        allowed = root == "pool_manager" or root in CORE_MAY_USE or root in sys.stdlib_module_names
        assert allowed, f"core imports {name}"
        assert root not in CORE_MAY_NOT_USE, f"core imports {name}"
    tree = ast.parse(path.read_text())
    assert not any(isinstance(node, ast.Await) for node in ast.walk(tree))


def test_every_part_has_a_layer() -> None:
    """A new module is given its place on purpose."""
    assert {part_of(path) for path in MODULES} <= set(LAYER)


def test_public_is_what_all_names() -> None:
    """`pool_manager.__all__` names what the package offers, sorted, and every name is there."""
    assert sorted(pool_manager.__all__) == pool_manager.__all__
    public = {
        name
        for name, value in vars(pool_manager).items()
        if not name.startswith("_") and type(value).__name__ != "module"
    }
    assert set(pool_manager.__all__) == public


def test_making_a_manager_imports_no_sdk_and_no_extra() -> None:
    """Neither SDKs nor what the extras bring are imported by `import pool_manager`."""
    import subprocess  # noqa: PLC0415 - this test alone

    # httpx itself imports rich where click is there as well: that is not ours to count.
    code = "import httpx, sys; theirs = {*sys.modules}; import pool_manager; print(*{*sys.modules} - theirs)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"httpx2", "openai", "anthropic", "groq", "rich", "matplotlib", "hypercorn", "trio", "trustme"}
    heavy |= {"prometheus_client", "opentelemetry"}
    assert not heavy & set(done.stdout.split())
