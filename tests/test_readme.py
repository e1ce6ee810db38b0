"""The README and the docs tell the truth: their code runs, and the files they name are there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import pool_manager
from tests.sdks import table
from tests.support.hypercorn_server import HypercornServer

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks_of(page: Path) -> list[str]:
    """Give the blocks of Python on a page."""
    return re.findall(r"^```python\n(.*?)^```$", page.read_text(), re.MULTILINE | re.DOTALL)


def all_blocks() -> Iterator[object]:
    """Give the blocks of all pages, each named after where it is."""
    for page in PAGES:
        text = page.read_text()
        for block in blocks_of(page):
            yield pytest.param(block, id=f"{page.stem}-line{text[: text.index(block)].count(chr(10)) + 1}")


@pytest.mark.parametrize("block", [*all_blocks()])
def test_code_runs(block: str, h2_server: HypercornServer, tmp_path: Path) -> None:
    """
    A block runs as it stands, but for the host, and warns of nothing that it left open.

    One that defines tests is run by pytest.
    """
    block = block.replace("https://api.example.com", h2_server.url)
    (tmp_path / "block.py").write_text(block)
    pytest_too = [
        "-m",
        "pytest",
        "-q",
        "-p",
        "pool_manager.testing.plugin",
        "-p",
        "no:cacheprovider",
        "-W",
        "error",
    ]
    has_tests = "\ndef test_" in block
    done = subprocess.run(
        [
            sys.executable,
            *(pytest_too if has_tests else ["-W", "error::ResourceWarning"]),
            tmp_path / "block.py",
        ],
        env={
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "SSL_CERT_FILE": str(h2_server.ca_file),
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_the_first_block_shares_one_connection(h2_server: HypercornServer, tmp_path: Path) -> None:
    """What the first block says of the SDK's connection is so: the server saw one."""
    test_code_runs(blocks_of(PAGES[0])[0], h2_server, tmp_path)
    assert h2_server.seen().connections == 1


def test_the_files_it_names_are_there() -> None:
    """Each test that the README points to exists."""
    named = re.findall(r"`(\w+/test_\w+\.py)`", README)
    assert named
    assert [name for name in named if not (ROOT / "tests" / name).exists()] == []


def test_it_names_every_public_name() -> None:
    """Nothing public goes unmentioned."""
    missing = [name for name in pool_manager.__all__ if name not in README]
    assert missing == []


@pytest.mark.parametrize("page", table.PAGES, ids=lambda page: page.stem)
def test_the_tables_of_sdks_are_what_the_tests_verify(page: Path) -> None:
    """Nobody has changed a table by hand, nor a test or a version without its table."""
    text = page.read_text()
    assert text == table.updated(text, table.PAGES[page]()), "write it with: python -m tests.sdks.table"
