"""Programs of the machine that tests run as servers: finding them, and seeing to their end."""

from __future__ import annotations

import os
import shutil
import subprocess

# Of Debian and Ubuntu.
PACKAGES = {
    "nginx": "nginx-light",
    "h2o": "h2o",
    "nghttpd": "nghttp2-server",
    "tinyproxy": "tinyproxy-bin",
    "microsocks": "microsocks",
}


def find_program(name: str) -> str:
    """
    Find a program; an ordinary user may not have its folder on the PATH.

    Raises:
        RuntimeError: It is not there; the message says how to install it.
    """
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"])
    binary = shutil.which(name, path=path)
    if binary is None:
        msg = (
            f"these tests need {name}. On Debian and Ubuntu: apt-get install -y {PACKAGES[name]}"
            " (or, as root: python -m tests.support.system_packages)"
        )
        raise RuntimeError(msg)
    return binary


def dies_with_parent() -> list[str]:
    """Give a prefix for a command that lets it not outlive us, where there is one."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []


def end(process: subprocess.Popen[bytes] | subprocess.Popen[str], patience: float = 5.0) -> None:
    """Wait for a process that was told to end; make it, if it does not."""
    try:
        process.wait(timeout=patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
