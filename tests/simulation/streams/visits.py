"""What a client does at one server, what it has of a recording, and who is told of both.

Rule: a client knows only what it was told: frames, ids and errors. What that proves, the oracle
says.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from tests.simulation.streams.draws import Wish
from tests.simulation.streams.servers import StreamServer

from bandari.domain.keys import Principal
from bandari.service.inference import Opening
from bandari.service.recording import Recording

FAR_BEYOND = 2**53 - 1
"""The largest index that can be named."""

POST, FIND, DELETE = "post", "find", "delete"


@dataclass(slots=True)
class Copy:
    """What one client has of one recording, from the frame of index ``first`` on.

    That is not 0 where it was given a recording that another one has read before, for the same
    request.
    """

    recording_id: str
    first: int = 0
    frames: list[bytes] = field(default_factory=list)
    is_over: bool = False

    @property
    def last(self) -> int:
        """The index of the last frame that there is."""
        return self.first + len(self.frames) - 1

    def up_to(self, frame: int) -> Copy:
        """The same, as if nothing had come after the frame of that index."""
        return Copy(self.recording_id, self.first, self.frames[: frame + 1 - self.first])


@dataclass(slots=True)
class Visit:
    """One request at one server: what was asked, and what came of it.

    ``what`` is ``POST``, ``FIND`` or ``DELETE``, and ``how`` tells why. ``outcome`` is ``read`` (to
    the end), ``left``, ``given up``, ``server lost``, ``deleted``, or the code of what was refused.
    """

    name: str
    what: str
    how: str
    wish: Wish
    server: StreamServer
    principal: Principal
    began_at: float
    stream_id: str | None = None
    after: int | None = None
    key: str | None = None
    copy: Copy | None = None
    openings: list[str] = field(default_factory=list)
    recording_id: str | None = None
    is_replay: bool = False
    is_reading: bool = False
    outcome: str = "server lost"
    expected: str = "anything"
    """What the oracle has said, when it began, that may become of it."""


class Watch(Protocol):
    """The oracle, as far as visits tell it."""

    def opened(self, visit: Visit, opening: Opening) -> None: ...

    def begins(self, visit: Visit) -> None: ...

    def answered(self, visit: Visit, recording: Recording) -> None: ...

    def left(self, visit: Visit) -> None: ...

    def read(self, visit: Visit, recording: Recording) -> None: ...

    def ended(self, visit: Visit) -> None: ...
