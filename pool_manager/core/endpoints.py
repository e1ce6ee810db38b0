"""
Where a name leads: which of its addresses is dialed next, and whose connections go since theirs has left DNS.

Every dial looks the name up, and nothing else does. So a pool that dials learns of a change for nothing; one
that does not is bounded by `Limits.max_connection_age`, as in .NET (`PooledConnectionLifetime`): a connection
of that age takes no new request (rule 13), and the dial for the next one looks up.

Which is dialed: the one that the fewest connections of the pool lead to, whatever their origin and lane; of
equals, the first that the system named. That holds within a family: IPv6 and IPv4 alternate, beginning with
the family that the system prefers (RFC 8305, 4). One that failed, or was so slow that another was tried
beside it, comes after the others for a while (OkHttp's `RouteDatabase`): it has no connections, and would
always be first.

Whose connections go: an address has left when no answer has had it for `LEFT_AFTER` seconds, and there were
two answers at least: the first without it began that time, and a later one ends it. Some resolvers name a few
of many addresses, each time others, and one absence means nothing. An address that comes back after it was
away shows how long absences last there: twice as long is waited from then on, up to `MOST_PATIENCE`. And a
connection goes only when another has reached one of the addresses that are left: an answer may be wrong. It
is drained, as by age: its requests finish.
"""

from __future__ import annotations

import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, Final, TypeAlias

import attrs

from pool_manager.core.origins import Connection, Phase

# As `getaddrinfo` has it: family, type, protocol, canonical name, where to.
AddressInfo: TypeAlias = tuple[int, int, int, str, tuple[Any, ...]]

# Seconds for which no answer has an address that has left: the shortest, and the longest that is learned.
LEFT_AFTER: Final = 30.0
MOST_PATIENCE: Final = 600.0

# Seconds for which an address that failed comes after the others.
AVOIDED_FOR: Final = 60.0

# Names that are remembered, as many as origins (rule 7).
MAX_NAMES: Final = 1_000


@attrs.define(eq=False, repr=False)
class Endpoint:
    """
    One address of a name.

    Attributes:
        connections: Those that lead there; a dial counts for the address that it tries first.

        absent_since: When an answer first lacked it, if none has had it since.

        avoided_until: Until when others are tried before it.
    """

    connections: dict[Connection, None] = attrs.field(factory=dict)
    absent_since: float = math.inf
    avoided_until: float = -math.inf

    def take(self, connection: Connection) -> None:
        """Count *connection* here, and nowhere else."""
        if connection.endpoint is not None:
            connection.endpoint.leave(connection)
        self.connections[connection] = None
        connection.endpoint = self

    def leave(self, connection: Connection) -> None:
        """Count *connection* no more."""
        del self.connections[connection]
        connection.endpoint = None

    def avoid(self, now: float) -> None:
        """Know that it does not work just now."""
        self.avoided_until = now + AVOIDED_FOR


class _Name(dict[Hashable, Endpoint]):
    """
    The addresses of one name, those that left lately included.

    Attributes:
        patience: Seconds for which no answer has one that has left.
    """

    patience = LEFT_AFTER

    def __missing__(self, address: Hashable) -> Endpoint:
        endpoint = self[address] = Endpoint()
        return endpoint

    def take_answer(self, present: Iterable[Hashable], now: float) -> None:
        """Note who is there, and since when the others are not."""
        here = {self[address] for address in present}
        for address, endpoint in [*self.items()]:
            away = now - endpoint.absent_since
            if endpoint in here:
                if away < MOST_PATIENCE:  # else it is as if it were new
                    self.patience = min(max(self.patience, 2 * away), MOST_PATIENCE)
                endpoint.absent_since = math.inf
            elif endpoint.absent_since == math.inf:
                endpoint.absent_since = now
            elif away >= MOST_PATIENCE and not endpoint.connections and now >= endpoint.avoided_until:
                del self[address]

    def order(self, found: Sequence[AddressInfo], now: float) -> list[AddressInfo]:
        """Give the addresses in the order in which they are tried."""
        spread = interleaved(found, lambda info: len(self[info[4]].connections))
        return sorted(spread, key=lambda info: now < self[info[4]].avoided_until)

    def departed(self, now: float) -> list[Connection]:
        """Give the connections whose addresses have left."""
        gone = [endpoint for endpoint in self.values() if now - endpoint.absent_since >= self.patience]
        return [connection for endpoint in gone for connection in endpoint.connections]


class Endpoints:
    """The names that a pool has looked up; of many, the last."""

    def __init__(self) -> None:
        self._names: OrderedDict[Hashable, _Name] = OrderedDict()

    def resolved(
        self, dial: Connection, name: Hashable, found: Sequence[AddressInfo], now: float
    ) -> list[AddressInfo]:
        """
        Take the answer to a look-up; give the addresses in the order in which *dial* is to try them.

        Args:
            dial: Whom it was made for.

            name: What was looked up.

            found: The answer, in the system's order; one address at least.

            now: Seconds.
        """
        known = self._names.pop(name, None) or _Name()
        self._names[name] = known
        if len(self._names) > MAX_NAMES:
            self._names.popitem(last=False)
        known.take_answer((info[4] for info in found), now)
        order = known.order(found, now)
        if dial.phase is Phase.DIALING:  # else it was given up meanwhile
            known[order[0][4]].take(dial)
        return order

    def reached(
        self, dial: Connection, name: Hashable, tried: Sequence[AddressInfo], address: Hashable, now: float
    ) -> list[Connection]:
        """
        Know which of the addresses was the first to let *dial* in; those tried before it were no use.

        Gives the connections whose addresses have left, now that there is another way.
        """
        known = self._names.get(name)
        addresses: list[Hashable] = [info[4] for info in tried]
        if known is None or dial.phase is not Phase.DIALING or address not in addresses:
            return []
        for useless in addresses[: addresses.index(address)]:
            known[useless].avoid(now)
        known[address].avoided_until = -math.inf
        known[address].take(dial)
        return known.departed(now)

    def reset(self) -> None:
        """Know nothing any more."""
        self._names.clear()


def interleaved(
    found: Iterable[AddressInfo], burden: Callable[[AddressInfo], int] = lambda _: 0
) -> list[AddressInfo]:
    """
    Alternate between IPv6 and IPv4, beginning with whichever the system prefers (RFC 8305, 4).

    Args:
        found: The addresses, in the system's order.

        burden: Within a family, what bears less comes first.
    """
    families: dict[int, list[AddressInfo]] = {}
    for info in dict.fromkeys(found):
        families.setdefault(info[0], []).append(info)
    rounds = itertools.zip_longest(*(sorted(infos, key=burden) for infos in families.values()))
    return [info for infos in rounds for info in infos if info is not None]
