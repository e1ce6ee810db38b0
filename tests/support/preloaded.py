"""A WSGI application, and a task, that share the client of a module: what a forked worker inherits."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import Any

import pool_manager

CLIENT = pool_manager.client(
    base_url=os.environ["UPSTREAM"],
    verify=os.environ["UPSTREAM_CA"],
    trust_env=False,
    timeout=20,
)

# Before the workers are forked: the parent has a connection.
CLIENT.get("/bytes/1").raise_for_status()


def ask() -> str:
    """Ask the server; give who did, and what came of it."""
    answer = CLIENT.get("/bytes/1000")
    return f"{os.getpid()} {answer.status_code} {len(answer.content)}"


def application(_: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """Answer with what the server said."""
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [ask().encode()]
