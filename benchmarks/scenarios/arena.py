"""What a scenario is, and what it is given."""

from __future__ import annotations

import asyncio
import math
import ssl
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from typing import TypeAlias

import attrs

from benchmarks.contenders import CONTENDERS
from benchmarks.driving import Effort, Window, described
from benchmarks.peers import Participant
from benchmarks.servers import Address
from benchmarks.terms import Opened, Terms
from pool_manager import Lane

CAP = 30.0  # seconds for what is bounded by number; what is out by then has failed
HARDLY_MS = 100
ALWAYS = 1000  # rounds: as many as are asked for


@attrs.frozen(kw_only=True)
class Arena:
    """
    Where one contender shows what it can do.

    Attributes:
        contender: Its name.

        address: Of the server.

        effort: How long to measure.

        http2: Which protocol this is about.

        tls: Whether over TLS; HTTP/2 always is.

        causes: Of failures, to be shown beside the numbers.
    """

    contender: str
    address: Address
    effort: Effort
    http2: bool
    tls: bool
    causes: Counter[str] = attrs.field(factory=Counter)

    def url(self, path: str = "/") -> str:
        """Give the address of something on the server."""
        return (self.address.tls if self.tls else self.address.plain) + path

    def open(
        self, *, connections: int | None = None, lanes: Sequence[Lane] = (), own_trust: bool = False
    ) -> Opened:
        """Make the contender's client; see `terms`."""
        return CONTENDERS[self.contender].open(self.terms(connections, lanes, own_trust=own_trust))

    def terms(
        self, connections: int | None = None, lanes: Sequence[Lane] = (), *, own_trust: bool = False
    ) -> Terms:
        """Say what is asked of a client; with *own_trust* it finds out by itself whom to trust."""
        ca_file = self.address.ca_file if self.tls else None
        return Terms(
            http2=self.http2,
            tls=None if ca_file is None or own_trust else ssl.create_default_context(cafile=ca_file),
            ca_file=ca_file,
            connections=connections,
            lanes=tuple(lanes),
        )

    def count(self, window: Window) -> float:
        """Keep the causes of a window's failures; give their number."""
        self.causes.update(window.causes)
        return window.failed

    def fewer(self, count: int) -> int:
        """Give *count*, or less where all is to be over soon."""
        return count if self.effort.answers is None else min(count, int(self.effort.answers))

    def held(self, milliseconds: int) -> int:
        """Give how long to hold a request, or little where all is to be over soon."""
        return milliseconds if self.effort.answers is None else min(milliseconds, HARDLY_MS)

    def check(self, spoken: str) -> None:
        """
        See that what is measured is what it is called.

        Raises:
            RuntimeError: It is not.
        """
        wanted = "HTTP/2" if self.http2 else "HTTP/1.1"
        if spoken != wanted:
            raise RuntimeError(f"{self.contender} speaks {spoken} where {wanted} is measured")

    async def all_at_once(self, asks: Sequence[Ask]) -> int:
        """Ask all, for `CAP` seconds at most; give how many failed."""
        before = self.causes.total()

        async def one(ask: Ask) -> None:
            try:
                await ask()
            except Exception as error:  # noqa: BLE001 - each library has errors of its own; all are counted and shown
                self.causes[described(error)] += 1

        _, late = await asyncio.wait([asyncio.create_task(one(ask)) for ask in asks], timeout=CAP)
        for task in late:
            task.cancel()
        if late:
            self.causes[f"no answer in {CAP:.0f} s"] += len(late)
            await asyncio.wait(late, timeout=CAP)
        return self.causes.total() - before


Ask: TypeAlias = Callable[[], Awaitable[object]]
Numbers: TypeAlias = Mapping[str, float]


@attrs.frozen(kw_only=True)
class Scenario:
    """
    Something to be done.

    Attributes:
        name: For ``--only``.

        title: For people.

        contenders: Who takes part, if there.

        metrics: What is looked at, the headline first.

        run: Does it.

        http2: Which protocol it is about.

        tls: Whether over TLS.

        rounds: At most so many: all of them take long.
    """

    name: str
    title: str
    contenders: Mapping[str, Participant]
    metrics: Sequence[str]
    run: Callable[[Arena], Coroutine[object, object, Numbers]]
    http2: bool = False
    tls: bool = False
    rounds: int = 2


def spoken(http2: bool) -> str:  # noqa: FBT001 - which of two
    """Name a protocol, for people."""
    return "HTTP/2" if http2 else "HTTP/1.1"


def quantile(waits: Sequence[float], share: float) -> float:
    """Say how long that share of them took at most; of none, nothing is known."""
    return sorted(waits)[math.ceil(share * len(waits)) - 1] if waits else math.nan
