"""
Programs that the tests need and pip does not have: `python -m tests.support.system_packages`.

Those are servers. They are installed where we may do so without a question (as
root, or by a sudo that asks for no password); else the error says what to type.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

from tests.support.programs import PACKAGES, find_program


def main() -> int:
    """Install what is missing; give the exit status."""
    missing = missing_programs()
    if missing:
        if (become_root := way_to_be_root()) is None:
            sys.stderr.write("".join(f"{error}\n" for error in missing.values()))
            return 1
        install(become_root, [PACKAGES[name] for name in missing])
        for name in missing:
            find_program(name)
    return 0


def missing_programs() -> dict[str, RuntimeError]:
    """Give each program that is not there, and the error that says how to install it."""
    missing = {}
    for name in PACKAGES:
        try:
            find_program(name)
        except RuntimeError as error:
            missing[name] = error
    return missing


def way_to_be_root() -> list[str] | None:
    """Give what to put before a command, or None if we may not install."""
    if shutil.which("apt-get") is None:
        return None
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    if sudo is None or subprocess.run([sudo, "-n", "true"], check=False).returncode:
        return None
    return [sudo, "-n"]


def install(become_root: list[str], packages: list[str]) -> None:
    """Run apt-get; fetch its lists only where those at hand will not do."""
    apt_get = [*become_root, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get"]
    command = [*apt_get, "install", "-y", "--no-install-recommends", *packages]
    if subprocess.run(command, check=False).returncode:
        subprocess.run([*apt_get, "update"], check=True)
        subprocess.run(command, check=True)


if __name__ == "__main__":
    sys.exit(main())
