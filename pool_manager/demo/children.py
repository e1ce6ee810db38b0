"""
Modules of the demo in processes of their own, and how one talks to them.

The parent says "go on" with an empty line; a child answers with JSON, a value a
line. A child ends when its stdin does, so that none outlives its parent. Each
is in a session of its own: Ctrl-C is the parent's, who then lets the children end.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Mapping
from typing import IO, Self, TypeAlias, cast

from pool_manager.demo import DemoError

Message: TypeAlias = Mapping[str, object]

_PATIENCE = 5.0  # seconds for a child to tidy up


class Child:
    """
    One such process, from the parent's side; gone when the `with` block is left.

    Args:
        module: What to run, as after ``python -m``.

        task: What `task` gives it.

        env: Its environment; the parent's if None.
    """

    def __init__(
        self, module: str, task: Message | None = None, env: Mapping[str, str] | None = None
    ) -> None:
        self._name = module.rpartition(".")[2]
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - `__exit__` closes it
        self._process = subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", module, json.dumps(task)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=env,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(OSError):  # it may have ended before
            _pipe(self._process.stdin).close()
        try:
            self._process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        _pipe(self._process.stdout).close()
        self._errors.close()

    def hear(self) -> Message:
        """
        Wait for what it says next.

        Raises:
            DemoError: It ended instead; the last line of its stderr says why.
        """
        line = _pipe(self._process.stdout).readline()
        if not line:
            raise self._ended()
        return cast("Message", json.loads(line))

    def ask(self) -> Message:
        """Let it go on, and wait for what it says."""
        try:
            _pipe(self._process.stdin).write("\n")
            _pipe(self._process.stdin).flush()
        except OSError:
            raise self._ended() from None
        return self.hear()

    def _ended(self) -> DemoError:
        status = self._process.wait()
        self._errors.seek(0)
        lines = self._errors.read().split("\n")
        why = next((line for line in reversed(lines) if line.strip()), f"exit status {status}")
        return DemoError(f"the demo's {self._name} ended early: {why}")


def _pipe(pipe: IO[str] | None) -> IO[str]:
    assert pipe is not None, "both were asked for"
    return pipe


# From here on: the child's side.


def task() -> Message:
    """Give what the parent wants done."""
    return cast("Message", json.loads(sys.argv[1]))


def say(**message: object) -> None:
    """Tell the parent something."""
    print(json.dumps(message), file=sys.__stdout__, flush=True)


def follow_parent(answer: Callable[[], object], tidy_up: Callable[[], object] = lambda: None) -> None:
    """From now on call *answer* whenever the parent asks, and end this process when the parent does."""
    sys.stdout = sys.stderr  # what a library prints is no message to the parent

    def follow() -> None:
        # Not `sys.stdin`: Python cannot end while a daemon thread holds its lock.
        while os.read(0, 1):
            answer()
        tidy_up()
        # At once: nothing that a peer has left unfinished can hold this up.
        os._exit(0)

    threading.Thread(target=follow, daemon=True).start()
