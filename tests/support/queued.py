"""Tasks of Celery that share the client of a module; its messages lie in a folder."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import celery  # type: ignore[import-untyped]  # it has no types


def queue_in(folder: Path) -> Any:
    """Make a queue without a server."""
    for name in ("messages", "control", "results"):
        (folder / name).mkdir(exist_ok=True)
    queue = celery.Celery("queued", broker="filesystem://", backend=f"file://{folder / 'results'}")
    messages = str(folder / "messages")
    queue.conf.update(
        broker_transport_options={
            "data_folder_in": messages,
            "data_folder_out": messages,
            "control_folder": str(folder / "control"),
        },
        worker_hijack_root_logger=False,
        task_serializer="json",
    )
    return queue


if "QUEUE" in os.environ:  # in the worker, which forks after this
    from tests.support import preloaded

    QUEUE = queue_in(Path(os.environ["QUEUE"]))
    QUEUE.task(preloaded.ask, name="ask")
