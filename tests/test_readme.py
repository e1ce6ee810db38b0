"""The README and the docs tell the truth: their code runs, and the files they name are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import pool_manager
from tests.sdks import table
from tests.support.hypercorn_server import HypercornServer
from tests.support.pages import ROOT, blocks_of, run_block

README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES.remove(ROOT / "docs" / "sdks.md")  # what that needs only the environment of tests/sdks has
BLOCKS = {name: block for page in PAGES for name, block in blocks_of(page).items()}


@pytest.mark.parametrize("block", BLOCKS.values(), ids=BLOCKS)
def test_code_runs(block: str, h2_server: HypercornServer, tmp_path: Path) -> None:
    """A block runs as it stands, but for the host, and leaves nothing open."""
    run_block(block, tmp_path, h2_server.url, {"SSL_CERT_FILE": str(h2_server.ca_file)})


def test_the_first_block_shares_one_connection(h2_server: HypercornServer, tmp_path: Path) -> None:
    """What the first block says of the SDK's connection is so: the server saw one."""
    test_code_runs(next(iter(BLOCKS.values())), h2_server, tmp_path)
    assert h2_server.seen().connections == 1


def test_the_files_it_names_are_there() -> None:
    """Each test that the README points to exists."""
    named = re.findall(r"`(\w+/test_\w+\.py)`", README)
    assert named
    assert [name for name in named if not (ROOT / "tests" / name).exists()] == []


def test_the_pictures_it_shows_are_there() -> None:
    """The README shows two charts of the benchmarks, and each picture that a page shows is beside it."""
    pictures = re.compile(r"!\[[^\]]+\]\(([^)]+)\)")
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    shown = [page.parent / name for page in pages for name in pictures.findall(page.read_text())]

    assert ["docs/benchmarks/speed.png", "docs/benchmarks/sharing.png"] == pictures.findall(README)
    assert [] == [picture for picture in shown if not picture.is_file()]


def test_it_names_every_public_name() -> None:
    """Nothing public goes unmentioned."""
    missing = [name for name in pool_manager.__all__ if name not in README]
    assert missing == []


@pytest.mark.parametrize("page", table.PAGES, ids=lambda page: page.stem)
def test_the_tables_of_sdks_are_what_the_tests_verify(page: Path) -> None:
    """Nobody has changed a table by hand, nor a test or a version without its table."""
    text = page.read_text()
    assert text == table.updated(text, table.PAGES[page]()), "write it with: python -m tests.sdks.table"
