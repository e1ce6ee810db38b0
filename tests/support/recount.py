"""
Look at a scheduler from outside: count everything anew, and say what must be true whatever happened.

The rules are said a second time here, from the books of the test's own world and at a cost that grows with
everything: the scheduler must not be believed, and need not be fast to be checked.
"""
# ruff: noqa: SLF001 - the state under test

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING

import pytest

from pool_manager.core.origins import Connection, Origin, OriginKey, Phase, Place, Queue, Speaks, Ticket
from pool_manager.stats import OriginStats, Traffic

if TYPE_CHECKING:
    from tests.support.scheduling import Wire, World


def recount(world: World) -> None:
    """Check every invariant of the scheduler in *world*."""
    _callers(world)
    _connections(world)
    _places(world)
    _counters(world)
    _limits(world)
    _deadlines(world)
    _forgotten(world)
    _no_slot_is_wasted(world)
    _no_dial_is_missing(world)
    _nothing_is_closed_for_nothing(world)


def alive(world: World, key: OriginKey | None = None) -> list[Wire]:
    """Give the sockets that may be open, dials included."""
    return [wire for wire in world.wires.values() if not wire.closed and key in (None, wire.key)]


def lane_names(world: World) -> list[str]:
    """Give every lane."""
    return ["default", *world.lanes]


def _callers(world: World) -> None:
    """Who waits is in one queue, who was woken has something, who is in neither is forgotten."""
    queued: set[Ticket] = set()
    in_lanes: set[Ticket] = set()
    holding = Counter[Connection]()
    for caller in world.callers:
        ticket = caller.ticket
        if caller.waiting:
            assert ticket.place in (Place.QUEUE, Place.LANE), "has something and was not told"
            (queued if ticket.place is Place.QUEUE else in_lanes).add(ticket)
        else:
            assert ticket.place is Place.CONNECTION
            assert ticket.connection is not None
            holding[ticket.connection] += 1
    scheduler = world.scheduler
    origins = [*scheduler._origins.values()]
    assert queued == {ticket for origin in origins for ticket in origin.waiters}
    assert in_lanes == {ticket for lane in scheduler._lanes.values() for ticket in lane.queue}
    for origin in origins:
        _in_order(origin.waiters)
        causes = {dial.cause for dial in origin.dials if dial.cause is not None}
        assert all(cause.dial is dial for dial in origin.dials if (cause := dial.cause) is not None)
        assert set(origin.unattempted) == set(origin.waiters) - causes
        assert causes <= set(origin.waiters)
    for connection in world.wires:
        assert connection.in_use == holding[connection], "leases and holders differ"
    for name, lane in scheduler._lanes.items():
        inside = [
            caller
            for caller in world.callers
            if caller.key.lane == name and caller.ticket.place is not Place.LANE
        ]
        assert lane.in_flight == len(inside)
        assert lane.in_flight <= world.in_flight(name)
        _in_order(lane.queue)
        assert not lane.queue or lane.in_flight >= world.in_flight(name), "let in, and not told"
        assert all(ticket.origin.lane is lane for ticket in lane.queue)


def _in_order(queue: Queue) -> None:
    arrived = [ticket.arrived for ticket in queue]
    assert arrived == sorted(set(arrived)), "the queue is out of order"
    new = [ticket for ticket in queue if not ticket.is_back]
    first = min(queue, key=lambda ticket: (not ticket.is_back, ticket.number), default=None)
    assert not queue or queue.first() is first
    assert all(ticket.number == ticket.arrived for ticket in new)


def _connections(world: World) -> None:
    """What the scheduler takes a connection for is what it is."""
    known = {connection for origin in world.scheduler._origins.values() for connection in origin.connections}
    assert known == {wire.connection for wire in alive(world)}
    for wire in world.wires.values():
        connection = wire.connection
        assert wire.dialing or connection.cause is None
        if wire.closed:
            assert connection.phase is Phase.CLOSED
        elif wire.dialing:
            assert connection.phase is Phase.DIALING
        else:
            assert connection.multiplexed == wire.multiplexed
            assert connection.is_suspended == wire.suspended
            assert connection.requests == wire.given
            if connection.phase is Phase.DRAINING:
                assert wire.drained or world.now >= connection.ages, "drains for no reason"
                assert wire.holders, "drained, and still there"
            else:
                assert connection.phase is Phase.OPEN
                assert not wire.drained, "must drain"
                assert connection.streams == (wire.allowed if wire.multiplexed else 1)
                longest = world.limits.max_connection_age
                assert connection.ages == math.inf or (
                    wire.opened + longest * 0.95 <= connection.ages <= wire.opened + longest
                )


def _places(world: World) -> None:
    """Each connection is in one place, and where it would be looked for."""
    scheduler = world.scheduler
    for origin in scheduler._origins.values():
        assert scheduler._origins[origin.key] is origin
        for connection in origin.connections:
            assert connection.origin is origin
            resting = connection.phase is Phase.OPEN and not connection.in_use
            assert (connection in origin.dials) == (connection.phase is Phase.DIALING)
            assert (connection in origin.lane.idle) == resting
            assert (connection in origin.idle) == (resting and not connection.multiplexed)
            listed = sum(other is connection for _, other in origin.shared)
            assert listed == connection.is_listed
            if connection.phase is Phase.OPEN and connection.multiplexed:
                hidden = connection.is_suspended or connection.in_use >= connection.streams
                assert listed or hidden, "has a free slot, and cannot be found"
        assert set(origin.idle) | set(origin.dials) <= set(origin.connections)
        most = world.limits.max_h2_connections_per_origin + world.limits.max_connecting_per_origin
        assert len(origin.shared) <= most, "the dead are kept"
    for lane in scheduler._lanes.values():
        assert all(connection.phase is Phase.OPEN for connection in lane.idle)


def _counters(world: World) -> None:
    """Counters are what is counted."""
    scheduler = world.scheduler
    origins, lanes = [*scheduler._origins.values()], scheduler._lanes
    _snapshot(world)
    for origin in origins:
        usable = [wire for wire in alive(world, origin.key) if wire.connection.phase is Phase.OPEN]
        assert origin.usable == len(usable)
        assert origin.usable_shared == sum(wire.multiplexed for wire in usable)
        assert origin.coming == sum(wire.hoped for wire in alive(world, origin.key) if wire.dialing)
        assert origin.in_doubt == (origin.key in world.doubtful)
        assert origin.retry_at <= world.now or origin.key in world.backing_off, "backs off for no reason"
        assert (origin.dialing_since is not None) == bool(origin.dials)
    for name, lane in lanes.items():
        assert lane.size == sum(wire.key.lane == name for wire in alive(world))


def _snapshot(world: World) -> None:
    """What the scheduler tells of each origin is so, and none is left out that anything was counted of."""
    told = world.scheduler.picture(world.now).developed()
    assert told.rest == Traffic()
    assert {key for key, _ in +world.counted} <= {_key_of(origin) for origin in told.origins}
    for origin in told.origins:
        key = _key_of(origin)
        wires = alive(world, key)
        phases = Counter(wire.connection.phase for wire in wires)
        waiting = [caller for caller in world.callers if caller.waiting and caller.key == key]
        assert origin.connecting == phases[Phase.DIALING]
        assert origin.active == sum(bool(wire.holders) for wire in wires) - origin.draining
        assert origin.draining == phases[Phase.DRAINING]
        assert origin.connections == phases[Phase.OPEN] + phases[Phase.DRAINING]
        assert origin.streams == sum(len(wire.holders) for wire in wires)
        assert origin.waiting == len(waiting)
        assert origin.oldest_wait == max((world.now - caller.asked for caller in waiting), default=0)
        _counted(world, key, origin)


def _counted(world: World, key: OriginKey, origin: OriginStats) -> None:
    for name in ("requests", "queued", "given_up", "opened", "reused", "dials_failed"):
        assert getattr(origin, name) == world.counted[key, name], name
    assert sum(origin.closed.values()) == origin.connection_age.count == world.counted[key, "closed"]
    assert origin.connect_time.count == origin.opened
    assert origin.queue_time.count == world.counted[key, "waits"] == origin.queued - origin.waiting
    assert origin.request_time.count == world.counted[key, "answered"]
    assert origin.queue_time.sum == pytest.approx(world.waited[key])
    assert origin.request_time.sum == pytest.approx(world.spent[key])


def _key_of(origin: OriginStats) -> OriginKey:
    return OriginKey(origin.scheme, origin.host, origin.port, origin.host, origin.lane)


def _limits(world: World) -> None:
    """No limit is ever passed, and no lane can fill the pool."""
    limits, wires = world.limits, alive(world)
    assert len(wires) <= limits.max_connections
    for key, of_origin in _by_key(wires).items():
        assert len(of_origin) <= world.per_origin(key.lane)
        shared = [wire for wire in of_origin if wire.connection.phase is Phase.OPEN and wire.multiplexed]
        if all(wire.hoped > 1 for wire in of_origin if wire.multiplexed):  # else many dials became HTTP/2
            assert len(shared) <= max(1, limits.max_h2_connections_per_origin)
        dialing = [wire for wire in of_origin if wire.dialing]
        assert len(dialing) <= limits.max_connecting_per_origin or world.known[key][0] is not Speaks.HTTP1
    idle = [wire for wire in wires if wire.open and not wire.holders]
    assert len(idle) <= limits.max_keepalive_connections
    empty = sum(all(wire.key.lane != name for wire in wires) for name in lane_names(world))
    if len(lane_names(world)) <= limits.max_connections:
        assert len(wires) + empty <= limits.max_connections, "a lane without a connection is kept no place"


def _by_key(wires: Iterable[Wire]) -> dict[OriginKey, list[Wire]]:
    result: dict[OriginKey, list[Wire]] = {}
    for wire in wires:
        result.setdefault(wire.key, []).append(wire)
    return result


def _deadlines(world: World) -> None:
    """Whatever must end has a deadline, in time; nothing else has."""
    scheduler = world.scheduler
    due = _due(world)
    assert len(due) == len(scheduler.deadlines)
    assert scheduler.deadlines.next <= min(due.values(), default=math.inf)
    for item, when in due.items():
        if isinstance(item, Origin):
            assert scheduler._origins.get(item.key) is item, "a deadline for what is forgotten"
            assert item.retry_at <= when or item.retry_at <= world.now
        elif item.phase is Phase.DIALING:
            assert item.cause is None, "a dial that somebody needs has a deadline"
        else:
            # One in use may have it from when it was idle: nobody takes it back for so short a while.
            assert item.phase is Phase.OPEN, "a deadline for what is handed out no more"
    for wire in alive(world):
        if wire.dialing and wire.orphan_since is not None:
            assert due[wire.connection] <= wire.orphan_since + 5.1
        if wire.open and not wire.holders and not wire.drained:
            kept = min(world.kept_for(wire), wire.connection.ages - wire.last_used)
            assert kept == math.inf or due[wire.connection] <= wire.last_used + kept * (1 + 1 / 32) + 1e-6
    for origin in scheduler._origins.values():
        if origin.waiters and world.now < origin.retry_at:
            assert due[origin] <= world.now + 70


def _due(world: World) -> dict[Connection | Origin, float]:
    queues = world.scheduler.deadlines._queues.values()
    return {item: when for queue in queues for item, when in queue.items()}


def _forgotten(world: World) -> None:
    """An origin is known as long as it has a connection or somebody waits for one."""
    scheduler = world.scheduler
    wanted = {wire.key for wire in alive(world)} | {caller.key for caller in world.callers if caller.waiting}
    assert set(scheduler._origins) == wanted
    for lane in scheduler._lanes.values():
        for origin in [*lane.starved, *lane.destitute]:
            assert scheduler._origins.get(origin.key) is origin
            assert origin.waiters, "starves, and nobody waits"
        assert not set(lane.starved) & set(lane.destitute)
        assert all(scheduler._dials.is_due(origin, world.now) for origin in [*lane.starved, *lane.destitute])
        assert all(origin.connections for origin in lane.starved)
        assert not any(origin.connections for origin in lane.destitute)
    assert scheduler._room.starving == sum(
        len(lane.starved) + len(lane.destitute) for lane in scheduler._lanes.values()
    )


def _waiting(world: World, key: OriginKey) -> int:
    return sum(caller.key == key and caller.ticket.place is Place.QUEUE for caller in world.callers)


def _no_slot_is_wasted(world: World) -> None:
    """Nobody waits beside a connection that could serve."""
    for wire in alive(world):
        if wire.connection.phase is Phase.OPEN and wire.has_room:
            assert not _waiting(world, wire.key), "somebody waits beside a free slot"


def _no_dial_is_missing(world: World) -> None:
    """Nobody waits for a dial that nothing speaks against; and none is begun that nobody needs."""
    if world.closing:
        return
    for key in {caller.key for caller in world.callers if caller.waiting}:
        coming = sum(wire.hoped for wire in alive(world, key) if wire.dialing)
        if _waiting(world, key) > coming and may_dial(world, key):
            if is_worth_it(world, key):
                assert not _has_room(world, key.lane), f"nobody dials for {key}"
            else:
                _somebody_will_look(world, key)
    for wire in world.begun:
        assert is_worth_it(world, wire.key), "was dialed, and nobody has been patient"
        if wire.dialing:
            others = sum(
                other.hoped for other in alive(world, wire.key) if other.dialing and other is not wire
            )
            assert _waiting(world, wire.key) > others, "was dialed though nobody needs it"


def watch(world: World) -> None:
    """Take notes of the queues that are looked at, and of origins that begin to back off (rule 9)."""
    origins = world.scheduler._origins
    for key in [key for key in world.freed if key not in origins]:
        del world.freed[key]  # it is forgotten, and what was known of it
        for notes in (world.outgrown, world.watches, world.retries):
            notes.pop(key, None)
    for key, origin in origins.items():
        if origin.watch is None:
            world.watches.pop(key, None)
        elif world.watches.get(key) is not origin.watch:
            world.watches[key] = origin.watch
            world.looks[key] = [(world.now, world.freed[key])]
        if origin.retry_at > world.now and world.retries.get(key) != origin.retry_at:
            world.outgrown[key] = world.freed[key]  # who waits has been patient
        world.retries[key] = origin.retry_at


def look(world: World) -> None:
    """Look at the queues that are to be looked at now."""
    for item, when in _due(world).items():
        if not isinstance(item, Origin) or when > world.now or item.key not in world.watches:
            continue
        if may_dial(world, item.key) and _waiting(world, item.key) > item.coming:
            world.looks[item.key].append((world.now, world.freed[item.key]))
            _judge(world, item.key)


def is_worth_it(world: World, key: OriginKey) -> bool:
    """Tell whether another connection is due, if nothing speaks against it (rule 9)."""
    shared = [wire for wire in alive(world, key) if wire.connection.phase is Phase.OPEN and wire.multiplexed]
    return not shared or world.outgrown.get(key) == world.freed[key]


def _judge(world: World, key: OriginKey) -> None:
    """Say of a queue for streams, by all the looks at it, whether another connection is due (rule 9)."""
    looks = world.looks[key]
    if len(looks) < 3:
        return
    times, freed = zip(*looks[-3:], strict=True)
    if freed[0] == freed[1] == freed[2]:
        world.outgrown[key] = world.freed[key]
    elif freed[0] < freed[1]:
        pace = (freed[2] - freed[0]) / (times[2] - times[0]) if times[2] > times[0] else math.inf
        if times[2] + _waiting(world, key) / pace > looks[0][0] + 1:
            world.outgrown[key] = world.freed[key]


def _somebody_will_look(world: World, key: OriginKey) -> None:
    """A queue for streams is looked at again, and soon: twice within what is the longest patience."""
    origin = world.scheduler._origins[key]
    assert origin.watch is not None, "nobody looks at the queue"
    times = [at for at, _ in world.looks[key]]
    longest = min(max(world.dial_times[key], 0.05), 0.25) / 2 * (1 + 1 / 32)
    assert _due(world)[origin] <= times[-1] + longest + 1e-6, "nobody will look at the queue for long"


def may_dial(world: World, key: OriginKey) -> bool:
    """Tell whether nothing speaks against a dial but patience."""
    wires = alive(world, key)
    dialing = [wire for wire in wires if wire.dialing]
    shared = [wire for wire in wires if wire.connection.phase is Phase.OPEN and wire.multiplexed]
    if key in world.doubtful:
        return False
    origin = world.scheduler._origins[key]
    if world.now < origin.retry_at:
        return False
    if origin.watch is None and origin in _due(world):  # it did back off, and the clock is late
        return False
    if len(wires) >= world.per_origin(key.lane):
        return False
    if world.known_of(key)[0] is Speaks.HTTP1:
        return len(dialing) < world.limits.max_connecting_per_origin
    return not dialing and len(shared) < world.limits.max_h2_connections_per_origin


def _has_room(world: World, lane: str) -> bool:
    """Tell whether a connection of *lane* may be dialed, perhaps for an idle one that goes (rule 19)."""
    wires, most = alive(world), world.limits.max_connections
    sizes = Counter(wire.key.lane for wire in wires)
    idle = [wire for wire in wires if wire.open and not wire.holders]
    if not sizes[lane]:
        return len(wires) < most or bool(idle)
    kept = sum(not sizes[name] for name in lane_names(world))
    if len(wires) + kept < most:
        return True
    return any(wire.key.lane == lane or sizes[wire.key.lane] > 1 for wire in idle)


def _free(world: World, key: OriginKey) -> bool:
    wires = [wire for wire in alive(world, key) if wire.multiplexed and wire.connection.phase is Phase.OPEN]
    return any(wire.has_room for wire in wires)


def _nothing_is_closed_for_nothing(world: World) -> None:
    """A connection that could serve again is closed for a reason that somebody would accept."""
    for wire in world.ended:
        connection = wire.connection
        if world.closing or wire.drained or not wire.opened:
            continue
        expired = world.now >= wire.last_used + world.kept_for(wire)
        aged = world.now >= connection.ages
        idle = sum(other.open and not other.holders for other in alive(world))
        surplus = idle + 1 > world.limits.max_keepalive_connections
        raced = not wire.given and _free(world, wire.key)
        distrusted = wire.key == world.distrusted and not wire.multiplexed
        somebody = bool(world.begun) or wire.given == 0
        assert expired or aged or surplus or raced or distrusted or somebody, "closed for no reason"
    if world.distrusted is not None:
        kept = [wire for wire in alive(world, world.distrusted) if wire.open and not wire.multiplexed]
        assert all(wire.holders for wire in kept), "may be as dead as another"
