"""
Whether anybody is at the other end of an HTTP/2 connection (rule 14).

With streams open and no frame for a while a PING asks; until somebody has answered, the connection is handed
to nobody. Any frame is an answer. A request that waited in vain asks as well, with less patience: if nobody
answers that, those on the connection are unharmed, and no other joins them.

    watching  -- no frame -->  asked  -- a frame -->  watching
                               asked  -- no frame -->  dead, or draining

Time is an argument. So is the number of frames received so far: whether it has grown is all that counts.
"""

from __future__ import annotations

import enum
import math
from typing import Final

from pool_manager.core.http2_frames import ENHANCE_YOUR_CALM

# Seconds without a frame, with streams open, until a PING asks; seconds for the answer; and for it where a
# request has waited in vain.
PING_AFTER: Final = 30.0
PING_PATIENCE: Final = 15.0
SUSPICION: Final = 1.0


class Sign(enum.Enum):
    """What a look has shown, and what is to be done."""

    NOTHING = enum.auto()
    SILENT = enum.auto()  # send a PING, and hand the connection to nobody
    ALIVE = enum.auto()  # hand it out again
    DOUBTFUL = enum.auto()  # hand it out no more; who is on it stays
    DEAD = enum.auto()  # give it up


class Liveness:
    """
    One connection.

    Attributes:
        due: When to `look`; `math.inf` while nobody waits for a frame.

        is_asked: The server was asked, and has not answered.

        is_suspected: A request has waited in vain, and the server was not asked yet.
    """

    __slots__ = ("_ping_after", "_seen", "_suspicious", "due", "is_asked", "is_suspected")

    def __init__(self) -> None:
        self.due = math.inf
        self.is_asked = self.is_suspected = self._suspicious = False
        self._ping_after = PING_AFTER
        self._seen = 0

    @property
    def is_watching(self) -> bool:
        """Whether there will be another look."""
        return self.due != math.inf

    def watch(self, now: float, frames: int) -> None:
        """Streams are open: see whether frames come."""
        self._seen, self.due = frames, now + self._ping_after

    def suspect(self) -> None:
        """A request has waited in vain; when it has left, the server is to be asked."""
        self.is_suspected = not self.is_asked

    def ask(self, now: float, frames: int, *, suspicious: bool = False) -> None:
        """The server is asked now."""
        self.is_asked, self.is_suspected, self._suspicious = True, False, suspicious
        self._seen, self.due = frames, now + (SUSPICION if suspicious else PING_PATIENCE)

    def has_heard(self, frames: int) -> bool:
        """Tell whether a question is out that has been answered by now: then `take_answer`."""
        return self.is_asked and frames != self._seen

    def take_answer(self, now: float, frames: int, *, streams: bool) -> None:
        """Somebody is there: go on watching, if streams are open."""
        self.is_asked, self.due = False, math.inf
        if streams:
            self.watch(now, frames)

    def look(self, now: float, frames: int, *, streams: bool) -> Sign:
        """
        Look whether frames have come.

        Args:
            now: Seconds. A look before `due` shows nothing.

            frames: How many have come, ever.

            streams: Whether there are requests on the connection.
        """
        if now < self.due:
            return Sign.NOTHING
        if self.is_asked:
            return self._judge(now, frames, streams=streams)
        self.due = math.inf
        if not streams:
            return Sign.NOTHING
        if frames != self._seen:
            self.watch(now, frames)
            return Sign.NOTHING
        self.ask(now, frames)
        return Sign.SILENT

    def _judge(self, now: float, frames: int, *, streams: bool) -> Sign:
        if frames != self._seen:
            self.take_answer(now, frames, streams=streams)
            return Sign.ALIVE
        self.due = math.inf
        return Sign.DOUBTFUL if self._suspicious else Sign.DEAD

    def take_goaway(self, code: int, debug: bytes) -> None:
        """The server goes away; if it was asked too often, those that are left ask half as often."""
        if code == ENHANCE_YOUR_CALM and b"ping" in debug:
            self._ping_after *= 2
