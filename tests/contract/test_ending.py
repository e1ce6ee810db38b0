"""The interpreter ends: nothing hangs, nothing is said, whatever the pool was doing."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.certificates import Certificates
from tests.support.hypercorn_server import HypercornServer
from tests.support.payload import PAYLOAD
from tests.support.programs import dies_with_parent

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0  # seconds; longer means that it hangs


SAID = {
    "unclosed": "200\n",
    "lingering": "200\n",
    "busy": "200\n",
    "late": "200\n" * 3,
    "at_exit": "200\n" * 3,
    "in_thread": "200\n",
    "collected": "not stuck\n",
    "forked": f"{len(PAYLOAD)} True\n",
}


@pytest.mark.parametrize("name", SAID)
@pytest.mark.parametrize("version", ["h1", "h2"])
def test_a_program_ends(
    name: str, version: str, certificates: Certificates, request: pytest.FixtureRequest
) -> None:
    """With clients unclosed, in threads, `atexit`, `sys.exit` and finalisers: see `tests.support.ending`."""
    server: HypercornServer = request.getfixturevalue(f"{version}_server")
    done = subprocess.run(
        [
            *dies_with_parent(), sys.executable, "-W", "always::ResourceWarning",
            "-m", "tests.support.ending", name, server.url, str(certificates.ca_file), version,
        ],
        cwd=ROOT, timeout=PATIENCE, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.stdout, done.stderr, done.returncode) == (SAID[name], "", 0)
