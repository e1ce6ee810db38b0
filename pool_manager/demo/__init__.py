"""
The demo: the same load the usual way and pooled, counted and timed.

Read `command` first, the parent; it runs `server` and, once for each way,
`load`, each in a process of its own (`children`). `measures` says what is compared.
"""

from __future__ import annotations

__all__ = ["DemoError"]


class DemoError(Exception):
    """The demo cannot go on. Says why, in one line for whoever typed the command."""
