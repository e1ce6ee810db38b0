"""The command ``doctor``, as argparse sees it."""

from __future__ import annotations

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor

from pool_manager.doctor.distributions import Distribution, installed
from pool_manager.doctor.looking import look
from pool_manager.doctor.report import Report, Row, row_of
from pool_manager.doctor.surroundings import facts


def describe(parser: argparse.ArgumentParser) -> None:
    """Tell argparse what may be asked for."""
    parser.description = (
        "Tell what is installed, which SDKs are pooled and how, and what is not, and why."
        " Each SDK that speaks httpx is imported once, in a process of its own."
        " Exit status: 0 all is well, 1 something will not work, 2 bad usage."
    )
    parser.add_argument("--json", action="store_true", help="write JSON, for programs")
    parser.add_argument("names", nargs="*", metavar="SDK", help="distributions to look at (default: all)")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Look and tell; give the exit status."""
    found = installed()
    names: list[str] = [name.lower().replace("_", "-") for name in options.names]
    if unknown := {*names} - {one.name for one in found}:
        known = "no distribution of that name is installed that makes requests"
        sys.stderr.write(f"error: {', '.join(sorted(unknown))}: {known}\n")
        return 2
    chosen = [one for one in found if not names or one.name in names]
    with ThreadPoolExecutor(max_workers=os.cpu_count()) as workers:
        report = Report([*facts()], [*workers.map(_examined, chosen)])
    if options.json:
        sys.stdout.write(report.as_json() + "\n")
    else:
        report.print()
    return 0 if report.is_well else 1


def _examined(one: Distribution) -> Row:
    return row_of(one, look(one.modules) if one.speaks_httpx else None)
