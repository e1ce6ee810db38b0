"""The README tells the truth: its code runs, and the files it names are there."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import pool_manager
from tests.support.hypercorn_server import HypercornServer

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize(
    "block", BLOCKS, ids=lambda block: f"line{README[: README.index(block)].count(chr(10)) + 1}"
)
def test_code_runs(block: str, h2_server: HypercornServer) -> None:
    """A block runs as it stands, but for the host, and warns of nothing that it left open."""
    done = subprocess.run(
        [
            sys.executable,
            "-W",
            "error::ResourceWarning",
            "-c",
            block.replace("https://api.example.com", h2_server.url),
        ],
        env={"PATH": os.environ["PATH"], "SSL_CERT_FILE": str(h2_server.ca_file)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_first_block_shares_one_connection(h2_server: HypercornServer) -> None:
    """What the first block says of the SDK's connection is so: the server saw one."""
    test_code_runs(BLOCKS[0], h2_server)
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
