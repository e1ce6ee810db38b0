"""
Many streams at once between a connection and h2's server, in any order and cut anywhere.

What must hold whatever happens: h2 is sent nothing that it refuses; no byte of a body is lost, doubled or
swapped, either way; each stream ends in exactly one way; and everything that is not reset is complete in
the end, so that nobody waits for a window that has long opened.
"""

from __future__ import annotations

import random

import attrs
import h2.settings
from hypothesis import settings as profile
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pool_manager.core.http2 import Http2Connection
from pool_manager.core.http2_events import (
    Allowed,
    Drain,
    Event,
    Pong,
    SlotFreed,
    StopSending,
    StreamData,
    StreamEnd,
    StreamFailed,
    StreamHead,
    Writable,
)
from tests.support.http2 import Server, farewell, request

SIZES = st.sampled_from([0, 1, 100, 16_384, 16_385, 65_535, 70_000, 300_000])
CUTS = st.sampled_from([1, 8, 9, 10, 50, 1_000, 20_000, 10_000_000])
Codes = h2.settings.SettingCodes


@attrs.define(kw_only=True)
class Exchange:
    """
    One request and its answer, as both sides should see them.

    Attributes:
        upload, download: The bodies.

        taken: Bytes of the upload that the connection took.

        waiting: It took less than it was given: only a `Writable` may say that it takes more.

        answered: Bytes of the download that the server sent; None before its head.

        got: Bytes of the download that have come.

        unread: What they took of the window, and was not credited yet.

        over: How it ended for the client; None before.
    """

    upload: bytes
    download: bytes
    taken: int = 0
    ended: bool = False
    waiting: bool = False
    answered: int | None = None
    finished: bool = False
    got: bytearray = attrs.Factory(bytearray)
    head: bool = False
    unread: int = 0
    over: str | None = None


class Conversation(RuleBasedStateMachine):
    """Both ends, and the bytes between them."""

    def __init__(self) -> None:
        super().__init__()
        # h2 holds the client to its first SETTINGS before they have come, so that these change little.
        self.client = Http2Connection(first_streams=5)
        self.client.initiate()
        self.server = Server(max_concurrent_streams=5)
        self.up = bytearray()
        self.down = bytearray()
        self.exchanges: dict[int, Exchange] = {}
        self.held: set[int] = set()
        self.last: int | None = None
        self.pings = self.pongs = 0

    # Choices

    def running(self) -> list[int]:
        """Give the streams that are open at the client."""
        return [number for number, exchange in self.exchanges.items() if exchange.over in (None, "half")]

    def served(self) -> list[int]:
        """Give the streams that the server may still answer."""
        return [
            number
            for number in self.server.requests
            if number not in self.server.resets
            and not self.exchanges[number].finished
            and (self.last is None or number <= self.last)
        ]

    # The client

    def room(self) -> bool:
        """Tell whether the client may start a stream."""
        return self.client.is_usable and self.client.open_streams + len(self.held) < self.client.allowed

    @precondition(room)
    @rule(up=SIZES, down=SIZES, seed=st.integers(0, 2**32), told=st.booleans())
    def start(self, up: int, down: int, seed: int, *, told: bool) -> None:
        """Begin a request, with a length or without."""
        dice = random.Random(seed)
        exchange = Exchange(upload=dice.randbytes(up), download=dice.randbytes(down), ended=not up)
        fields = [(b"content-length", b"%d" % up)] if told else []
        number = self.client.start(request("POST", *fields, (b"x-seed", b"%d" % seed)), end=not up)
        assert number not in self.exchanges
        self.exchanges[number] = exchange

    @precondition(running)
    @rule(data=st.data(), size=SIZES)
    def upload(self, data: st.DataObject, size: int) -> None:
        """Send a part of a body."""
        self.send(data.draw(st.sampled_from(self.running())), size)

    def send(self, number: int, size: int) -> None:
        """Send as much, if the stream may take something."""
        exchange = self.exchanges[number]
        if exchange.ended or exchange.waiting:
            return
        part = memoryview(exchange.upload)[exchange.taken :][:size]
        last = exchange.taken + len(part) == len(exchange.upload)
        taken = self.client.send_body(number, part, end=last)
        assert 0 <= taken <= len(part)
        exchange.taken += taken
        exchange.waiting = taken < len(part)
        exchange.ended = last and not exchange.waiting
        if exchange.ended and exchange.over == "half":
            exchange.over = "complete"

    @precondition(running)
    @rule(data=st.data())
    def read(self, data: st.DataObject) -> None:
        """Consume what has come of an answer."""
        self.credit(data.draw(st.sampled_from(self.running())))

    def credit(self, number: int) -> None:
        """Give back what an answer took of its window."""
        self.client.credit(number, self.exchanges[number].unread)
        self.exchanges[number].unread = 0

    @precondition(running)
    @rule(data=st.data())
    def abandon(self, data: st.DataObject) -> None:
        """Reset a stream."""
        number = data.draw(st.sampled_from(self.running()))
        free = self.client.reset(number)
        assert free == self.client.reset(number)
        self.exchanges[number].over = "abandoned"
        if not free:
            self.held.add(number)

    @rule()
    def ping(self) -> None:
        """Ask for a sign of life."""
        self.client.ping()
        self.pings += 1

    # The server

    @precondition(served)
    @rule(data=st.data(), size=SIZES)
    def answer(self, data: st.DataObject, size: int) -> None:
        """Send the head, or a part of the body."""
        self.reply(data.draw(st.sampled_from(self.served())), size)

    def reply(self, number: int, size: int) -> None:
        """Send as much as the windows and frames allow."""
        exchange, server = self.exchanges[number], self.server.h2
        if exchange.answered is None:
            exchange.answered = 0
            length = (b"content-length", b"%d" % len(exchange.download))
            server.send_headers(number, [(b":status", b"200"), (b"x-number", b"%d" % number), length])
            return
        size += 3  # for the padding
        while size > 3 or exchange.answered == len(exchange.download):
            room = min(size, server.local_flow_control_window(number), server.max_outbound_frame_size) - 3
            part = exchange.download[exchange.answered :][: max(0, room)]
            exchange.answered += len(part)
            size -= len(part)
            exchange.finished = exchange.answered == len(exchange.download)
            if part or exchange.finished:
                server.send_data(number, part, end_stream=exchange.finished, pad_length=number % 3 or None)
            if exchange.finished or not part:
                return

    @precondition(served)
    @rule(data=st.data(), code=st.sampled_from([0, 2, 7, 8]))
    def refuse(self, data: st.DataObject, code: int) -> None:
        """Reset a stream."""
        number = data.draw(st.sampled_from(self.served()))
        self.server.h2.reset_stream(number, code)
        self.server.resets[number] = code

    def settled(self) -> bool:
        """Tell whether the server may change a setting: h2 takes any acknowledgement for that of all."""
        return not self.server.unsettled

    @precondition(settled)
    @rule(
        code=st.sampled_from(
            [Codes.MAX_CONCURRENT_STREAMS, Codes.INITIAL_WINDOW_SIZE, Codes.HEADER_TABLE_SIZE]
        ),
        value=st.sampled_from([1, 3, 10, 1_000, 65_535, 100_000]),
    )
    def set(self, code: h2.settings.SettingCodes, value: int) -> None:
        """Change a setting."""
        self.server.change({code: value})

    @precondition(settled)
    @rule(size=st.sampled_from([16_384, 20_000, 100_000]))
    def set_frame_size(self, size: int) -> None:
        """Take larger frames, or smaller ones."""
        self.server.change({Codes.MAX_FRAME_SIZE: size})

    @rule()
    def probe(self) -> None:
        """Ping the client."""
        self.server.h2.ping(b"probe...")

    @rule(graceful=st.booleans(), of_ten=st.integers(0, 9))
    def say_goodbye(self, of_ten: int, *, graceful: bool) -> None:
        """Say GOAWAY now and then; h2 would end its streams by that, so it is not told."""
        if of_ten:
            return
        self.down += self.server.h2.data_to_send()
        seen = max(self.server.requests, default=0)
        if self.last is None:
            self.last = last = 2**31 - 1 if graceful else seen
        else:
            self.last = last = min(seen, self.last)
        self.down += farewell(last)

    # Between them

    @rule(cut=CUTS)
    def carry_up(self, cut: int) -> None:
        """Bring bytes to the server."""
        self.up += b"".join(self.client.data_to_send())
        part = bytes(self.up[:cut])
        del self.up[:cut]
        self.server.receive(part)

    @rule(cut=CUTS)
    def carry_down(self, cut: int) -> None:
        """Bring bytes to the client."""
        self.down += self.server.h2.data_to_send()
        part = bytes(self.down[:cut])
        del self.down[:cut]
        for event in self.client.receive(part):
            self.take(event)

    def take(self, event: Event) -> None:
        """Hold an event to what was sent."""
        match event:
            case Writable(stream):
                for number in [stream] if stream else self.exchanges:
                    self.exchanges[number].waiting = False
                    if stream:
                        assert self.exchanges[stream].over in (None, "half")
            case SlotFreed(stream):
                self.held.remove(stream)
            case Pong():
                self.pongs += 1
            case Allowed(streams):
                assert self.client.allowed == streams
            case Drain():
                assert not self.client.is_usable
            case _:
                self.take_of_stream(event)

    def take_of_stream(self, event: Event) -> None:
        """Hold an event of a stream to its exchange."""
        assert isinstance(event, StreamHead | StreamData | StreamEnd | StreamFailed | StopSending)
        exchange = self.exchanges[event.stream]
        match event:
            case StopSending():
                assert exchange.over == "half"
                exchange.over = "stopped"
                return
            case _:
                assert exchange.over is None
        match event:
            case StreamHead(stream, status, headers):
                assert (200, (b"x-number", b"%d" % stream)) == (status, headers[0])
                assert not exchange.head
                exchange.head = True
            case StreamData(_, data, size):
                assert exchange.head
                exchange.got += data
                exchange.unread += size
                assert exchange.download.startswith(exchange.got)
            case StreamEnd():
                assert exchange.download == exchange.got
                exchange.over = "complete" if exchange.ended else "half"
            case StreamFailed(stream, _, unprocessed, refused):
                exchange.over = "failed"
                above = self.last is not None and stream > self.last
                assert above or stream in self.server.resets
                assert unprocessed == (above or self.server.resets[stream] == 7)
                assert refused == (not above and self.server.resets[stream] == 7)

    # What holds

    @invariant()
    def nothing_is_broken(self) -> None:
        """The server broke no rule, and the counts are right."""
        assert self.client.failure is None
        assert len(self.running()) == self.client.open_streams

    def teardown(self) -> None:
        """Let everything that was not given up come to its end."""
        while self.server.unsettled:
            self.carry_down(10**9)
            self.carry_up(10**9)
        self.set(Codes.INITIAL_WINDOW_SIZE, 100_000)  # byte by byte would take for ever
        for _ in range(1_000):
            for number in self.running():
                self.send(number, len(self.exchanges[number].upload))
                self.credit(number)
            for number in self.served():
                self.reply(number, 10**9)
            self.carry_up(10**9)
            self.carry_down(10**9)
            if not self.client.open_streams:
                break
        for _ in range(3):
            self.carry_up(10**9)
            self.carry_down(10**9)
        assert not self.client.open_streams, "somebody waits for ever"
        assert not self.held
        assert self.pings == self.pongs
        for number, exchange in self.exchanges.items():
            assert exchange.over is not None
            if exchange.over == "complete":
                assert exchange.upload == self.server.bodies[number]
                assert number in self.server.complete
            elif number in self.server.bodies:
                assert exchange.upload.startswith(self.server.bodies[number])


TestConversation = Conversation.TestCase
TestConversation.settings = profile(stateful_step_count=60)
