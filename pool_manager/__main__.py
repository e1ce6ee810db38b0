"""The command line: ``python -m pool_manager COMMAND``."""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from pool_manager import running
from pool_manager.demo import DemoError
from pool_manager.demo import command as demo
from pool_manager.doctor import command as doctor
from pool_manager.observe import watching

_INTERRUPTED = 130  # what shells report of a program that Ctrl-C ended


class OneLineParser(argparse.ArgumentParser):
    """Says in one line what is wrong: whoever wants the usage asks for ``--help``."""

    def error(self, message: str) -> NoReturn:
        """End the program with exit status 2."""
        sys.exit(refuse(message))


def refuse(message: object) -> int:
    """Tell the user in one line why not; give the exit status that goes with it."""
    sys.stderr.write(f"error: {' '.join(str(message).split())}\n")
    return 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; give the exit status."""
    parser = OneLineParser(
        prog="python -m pool_manager", description="One connection pool for every SDK client."
    )
    version = importlib.metadata.version("pool-manager")
    parser.add_argument("--version", action="version", version=f"pool-manager {version}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    demo.describe(commands.add_parser("demo", help="compare clients made the usual way with pooled ones"))
    doctor.describe(commands.add_parser("doctor", help="tell what is installed, and what of it is pooled"))
    running.describe(commands.add_parser("run", help="run a program with every client of it pooled"))
    watching.describe(commands.add_parser("watch", help="show the pools of a running process"))
    options = parser.parse_args(arguments)
    if options.run is running.run:
        sys.exit(running.run(options))  # not below: what that program raises is not ours to explain
    try:
        status: int | None = options.run(options)
    except BrokenPipeError:  # who read our output wants no more of it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (DemoError, OSError) as error:
        return refuse(error)
    except KeyboardInterrupt:
        return _INTERRUPTED
    else:
        return status or 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
