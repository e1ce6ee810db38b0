"""The README and the docs: their blocks of Python, and how one is run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
HOST: Final = "https://api.example.com"  # of the server that each block is about


def blocks_of(page: Path) -> dict[str, str]:
    """Give the blocks of Python on a page, by the page and the line they are at."""
    text = page.read_text()
    found = re.finditer(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return {f"{page.stem}-line{text.count(chr(10), 0, match.start(1)) + 1}": match[1] for match in found}


def run_block(block: str, folder: Path, url: str, env: Mapping[str, str]) -> None:
    """
    Run a block as it stands, but for the host: it succeeds, and warns of nothing that it left open.

    One that defines tests is run by pytest.
    """
    path = folder / "block.py"
    path.write_text(block.replace(HOST, url))
    plugins = ["-p", "pool_manager.testing.plugin", "-p", "no:cacheprovider"]
    pytest_too = ["-m", "pytest", "-q", *plugins, "-W", "error"]
    how = pytest_too if "\ndef test_" in block else ["-W", "error::ResourceWarning"]
    done = subprocess.run(
        [sys.executable, *how, path],
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
