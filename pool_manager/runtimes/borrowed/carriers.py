"""What the two colours share: which transport carries a request, and when one goes."""

from __future__ import annotations

import itertools
import math
import socket
import ssl
import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, TypeAlias

import attrs
import httpx

from pool_manager.config import Lane, Limits, PoolConfig
from pool_manager.core.lanes import Lanes
from pool_manager.core.messages import Request, TransportFailure
from pool_manager.errors import PoolClosed, PoolOverloaded
from pool_manager.runtimes.borrowed.sockets import NetworkStream, is_open, park, sever, streams_allowed
from pool_manager.runtimes.borrowed.translating import Upload, or_none, proxy_of
from pool_manager.runtimes.tls import ContextCache
from pool_manager.stats import EngineStats, RequestRecord

Key: TypeAlias = tuple[str, str, int | None, str, object]  # scheme, host, port, lane, server name for TLS

# Origins a pool keeps transports for; the one unused for longest gives way (its requests finish).
_MAX_ORIGINS: Final = 256

# The connection, if there is one, was not touched: others may go on using it.
_HARMLESS = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol)


@attrs.define(eq=False)
class Carrier:
    """One transport and how many requests are out on it. The engine's lock guards it."""

    key: Key
    url: httpx.URL
    transport: Any  # of the engine's colour
    # Semaphores of the engine's colour; None where nothing is bounded: one of its lane, and one that keeps
    # requests out which would have to wait inside. A queue in httpcore is not safe among threads: it
    # closes connections that it has just given away (encode/httpcore#1110).
    lane_slots: Any
    connection_slots: Any
    serial: bool | None  # one request at a time on a connection: HTTP/1.1; None until it is known
    # What its requests dialed. httpcore loses sight of connections whose dial was cancelled.
    streams: list[NetworkStream] = attrs.field(factory=list)
    # In threads, one request at a time finds its connection and sends its head: httpcore would give two
    # the same HTTP/2 stream.
    sending: threading.Lock = attrs.field(factory=threading.Lock)
    in_flight: int = 0
    capacity: float = math.inf  # streams, once it is known to be one HTTP/2 connection
    retired: bool = False


@attrs.define
class Seen:
    """One connection as its requests have seen it."""

    number: int
    idle_since: float = 0.0
    in_use: int = 0


@attrs.define(eq=False)
class Journey:
    """What the trace of one request tells: when it left the queue, and about its dial."""

    engine: Borrowed
    carrier: Carrier
    begun: float = attrs.field(factory=time.monotonic)
    queued: bool = True
    queued_for: float = 0.0
    dial_begun: float = 0.0
    connect_time: float = 0.0
    stream: NetworkStream | None = None

    def leave_queue(self) -> None:
        """The first sign of life: a connection is there, or being dialed. Safe to repeat."""
        if self.queued:
            self.queued = False
            self.queued_for = time.monotonic() - self.begun
            self.engine.left_queue()

    def note(self, event: str, info: Mapping[str, Any]) -> None:
        """Take one event of httpcore's `trace` extension."""
        self.leave_queue()
        match event.partition(".")[2]:
            case "connect_tcp.started" | "connect_unix_socket.started":
                self.dial_begun = time.monotonic()
            case "connect_tcp.complete" | "connect_unix_socket.complete" | "start_tls.complete":
                self.connect_time = time.monotonic() - self.dial_begun
                below, self.stream = self.stream, info["return_value"]
                self.engine.dialed(self.carrier, self.stream, below)
            case _:
                pass


class Borrowed:
    """The transports of one engine. Each colour adds how to send, and how to close."""

    transport_type: Callable[..., httpx.HTTPTransport | httpx.AsyncHTTPTransport]
    semaphore_type: Callable[[int], object]
    close_carrier: Callable[[Carrier], None]

    def __init__(self, config: PoolConfig, limits: Limits, lanes: Lanes, contexts: ContextCache) -> None:
        self._config, self._limits, self._lanes, self._contexts = config, limits, lanes, contexts
        # Held for microseconds, never across I/O. An engine of a loop needs it for `stats` alone.
        self._lock = threading.Lock()
        self._groups: OrderedDict[Key, list[Carrier]] = OrderedDict()
        self._retired: set[Carrier] = set()
        self._slots: dict[str, object] = {}
        self._seen: weakref.WeakKeyDictionary[NetworkStream, Seen] = weakref.WeakKeyDictionary()
        self._closed = False
        self._waiting = self._opened = self._reused = self._dials_failed = 0

    def stats(self) -> EngineStats:
        """Count what there is."""
        with self._lock:
            carriers = self._all()
            return EngineStats(
                connections=sum(1 for carrier in carriers for stream in carrier.streams if is_open(stream)),
                waiting=self._waiting,
                opened=self._opened,
                reused=self._reused,
                dials_failed=self._dials_failed,
            )

    def abandon(self) -> None:
        """Let every socket go at once, loop or no loop."""
        for carrier in self.forget_all():
            for stream in carrier.streams:
                sever(stream)

    def disown(self) -> None:
        """Park every socket of the parent's on /dev/null: nothing is sent, nothing stays open."""
        self._lock = threading.Lock()  # a thread of the parent may hold the old one for ever
        self._closed = True
        for carrier in self._all():
            for stream in carrier.streams:
                park(stream)

    def forget_all(self) -> list[Carrier]:
        """Retire every transport, used or not, and give them all to be closed."""
        with self._lock:
            self._closed = True
            carriers = self._all()
            for carrier in carriers:
                self._retire(carrier)
            self._retired.clear()
        return carriers

    def dialed(self, carrier: Carrier, stream: NetworkStream, below: NetworkStream | None) -> None:
        """Keep sight of a connection, and lose it of those that are closed and of the one below its TLS."""
        with self._lock:
            kept = [known for known in carrier.streams if known is not below and is_open(known)]
            carrier.streams = [*kept, stream]
            closed = self._closed
        if closed:  # in the middle of the dial
            sever(stream)

    def left_queue(self) -> None:
        """A request waits no longer."""
        with self._lock:
            self._waiting -= 1

    def enter(self, request: Request) -> Carrier:
        """
        Find or make the transport for *request*, and count the request on it, waiting.

        Raises:
            PoolOverloaded: `Limits.max_pending` requests are waiting.
        """
        key = (
            request.scheme,
            request.host,
            request.port,
            request.lane,
            request.extensions.get("sni_hostname"),
        )
        with self._lock:
            self._refuse_if_closed()
            if self._waiting and self._waiting >= self._limits.max_pending:
                raise PoolOverloaded(
                    f"{self._waiting} requests are waiting for a connection already (Limits.max_pending)"
                )
            carrier = self._with_room(key)
            if carrier is not None:
                return self._board(carrier)
        made = self._make(key)  # outside the lock: it may build a TLS context
        with self._lock:
            self._refuse_if_closed()
            carrier = self._with_room(key)  # another thread may have been faster
            if carrier is None:
                carrier = made
                self._groups.setdefault(key, []).append(made)
            evicted = self._evict() if len(self._groups) > _MAX_ORIGINS else []
            self._board(carrier)
        self._close(evicted)
        return carrier

    def leave(self, carrier: Carrier, *, broken: bool) -> None:
        """Take a request off its transport, and close that if it is retired and this was the last."""
        with self._lock:
            carrier.in_flight -= 1
            surplus = (
                not carrier.in_flight and not carrier.retired and self._groups[carrier.key][0] is not carrier
            )
            if broken or surplus:
                self._retire(carrier)
            unused = self._take_unused()
        self._close(unused)

    def reset(self) -> None:
        """Retire every transport; those that nobody uses are closed."""
        with self._lock:
            for carrier in self._all():
                self._retire(carrier)
            unused = self._take_unused()
        self._close(unused)

    def _close(self, carriers: Iterable[Carrier]) -> None:
        for carrier in carriers:
            self.close_carrier(carrier)

    # The lock is held by the caller of what follows.

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise PoolClosed("the pool was closed before the request found a connection")

    def _all(self) -> list[Carrier]:
        return [*itertools.chain(*self._groups.values()), *self._retired]

    def _with_room(self, key: Key) -> Carrier | None:
        """The oldest transport with room, so that surplus ones fall idle; None: a further one is due."""
        group = self._groups.get(key)
        if not group:
            return None
        self._groups.move_to_end(key)
        for carrier in group:
            if carrier.in_flight < carrier.capacity:
                return carrier
        if len(group) < self._limits.max_h2_connections_per_origin:
            return None
        return min(group, key=lambda carrier: carrier.in_flight)

    def _board(self, carrier: Carrier) -> Carrier:
        carrier.in_flight += 1
        self._waiting += 1
        return carrier

    def _retire(self, carrier: Carrier) -> None:
        """Give *carrier* no new request."""
        if carrier.retired:
            return
        carrier.retired = True
        self._retired.add(carrier)
        group = self._groups[carrier.key]
        group.remove(carrier)
        if not group:
            del self._groups[carrier.key]

    def _evict(self) -> list[Carrier]:
        """Retire the transports of the origin that was unused for longest."""
        for carrier in [*next(iter(self._groups.values()))]:
            self._retire(carrier)
        return self._take_unused()

    def _take_unused(self) -> list[Carrier]:
        """Take the retired transports that nobody uses any more, to be closed outside of the lock."""
        unused = [carrier for carrier in self._retired if not carrier.in_flight]
        self._retired.difference_update(unused)
        return unused

    # The lock is not needed for what follows.

    def _make(self, key: Key) -> Carrier:
        scheme, host, port, lane_name, _ = key
        lane = self._lanes[lane_name]
        if lane is not None and lane.max_in_flight != math.inf:
            self._slots.setdefault(lane_name, self.semaphore_type(int(lane.max_in_flight)))
        most = self._most_connections(lane)
        return Carrier(
            key=key,
            url=httpx.URL(scheme=scheme, host=host, port=port, path="/"),
            transport=self.transport_type(**self._arguments(scheme, lane)),
            lane_slots=self._slots.get(lane_name),
            connection_slots=None if most == math.inf else self.semaphore_type(int(most)),
            serial=True
            if not self._config.http2 or (scheme in {"http", "ws"} and self._config.http1)
            else None,
        )

    def _arguments(self, scheme: str, lane: Lane | None) -> dict[str, Any]:
        """What httpx's transports are made with."""
        config, limits = self._config, self._limits
        options = config.socket_options
        if config.uds is not None:
            options = tuple(option for option in options if option[0] == socket.SOL_SOCKET)
        return {
            "verify": self._context(scheme),
            "http1": config.http1,
            "http2": config.http2,
            "proxy": proxy_of(config.proxy),
            "uds": config.uds,
            "local_address": config.local_address,
            "socket_options": options,
            "limits": httpx.Limits(
                max_connections=or_none(self._most_connections(lane)),
                max_keepalive_connections=or_none(limits.max_keepalive_connections),
                keepalive_expiry=None if limits.keepalive_expiry == math.inf else limits.keepalive_expiry,
            ),
        }

    def _most_connections(self, lane: Lane | None) -> float:
        of_lane = math.inf if lane is None else lane.max_connections_per_origin
        return min(of_lane, self._limits.max_connections, self._limits.max_connections_per_origin)

    def _context(self, scheme: str) -> ssl.SSLContext:
        if scheme in ("https", "wss"):
            try:
                return self._contexts.get(self._config)
            except OSError as error:  # ssl.SSLError is one: a file of certificates that is none
                raise TransportFailure("ConnectError", f"no TLS context can be made: {error}") from error
        # httpx wants one, and nobody will use it: an empty one costs 0.1 ms, a real one 20.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)

    def translate(self, request: Request, carrier: Carrier, trace: object) -> httpx.Request:
        """Make the request httpx's, with the target byte for byte."""
        extensions = {**request.extensions, "timeout": dict(request.timeouts), "trace": trace}
        url = carrier.url
        if self._config.proxy is None:
            extensions["target"] = request.target
        else:  # httpcore puts its absolute form together from the URL
            url = url.copy_with(raw_path=request.target)
        body = Upload(request.body)
        return httpx.Request(request.method, url, headers=request.headers, stream=body, extensions=extensions)

    def arrived(
        self, request: Request, journey: Journey, extensions: Mapping[str, Any]
    ) -> tuple[Seen, RequestRecord]:
        """Say how an answer came about."""
        stream = extensions["network_stream"]
        now = time.monotonic()
        if extensions["http_version"] == b"HTTP/2":
            journey.carrier.serial = False
            allowed = streams_allowed(journey.carrier.transport)
            journey.carrier.capacity = min(allowed, self._limits.max_streams_per_connection)
        else:
            journey.carrier.serial = True
        with self._lock:
            seen = self._seen.get(stream)
            reused = seen is not None
            if seen is None:
                self._opened += 1
                seen = self._seen[stream] = Seen(self._opened)
            else:
                self._reused += 1
            idle = now - seen.idle_since if reused and not seen.in_use else 0.0
            seen.in_use += 1
        return seen, RequestRecord(
            connection_id=seen.number,
            http_version=extensions["http_version"].decode("ascii"),
            reused=reused,
            idle_for=max(0.0, idle - (now - journey.begun)),
            queued_for=journey.queued_for,
            connect_time=journey.connect_time,
            attempts=1,
            lane=request.lane,
            lease=request.lease,
        )

    def check_open(self) -> None:
        """Refuse who was waiting when the pool was closed."""
        with self._lock:
            self._refuse_if_closed()

    def slots_of(self, carrier: Carrier) -> list[Any]:
        """Semaphores that a request has to pass."""
        slots = (carrier.lane_slots, carrier.connection_slots if carrier.serial else None)
        return [slot for slot in slots if slot is not None]

    def failed(self, error: BaseException, journey: Journey) -> bool:
        """Note how a request failed before its answer. True: its transport must be retired."""
        journey.leave_queue()
        if isinstance(error, httpx.ConnectError | httpx.ConnectTimeout):
            with self._lock:
                self._dials_failed += 1
        return not isinstance(error, _HARMLESS)

    def released(self, seen: Seen) -> None:
        """Note that one request fewer uses a connection."""
        with self._lock:
            seen.in_use -= 1
            seen.idle_since = time.monotonic()
