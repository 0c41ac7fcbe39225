"""A registry of recordings with the short ways to it, and a note of the answers it has stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from bandari.domain.ledger import Ending
from bandari.service.recording import About, Recording, Space
from bandari.service.recordings import Entry, Recordings, Terms

DIGEST = b"d" * 32


def terms(**changes: object) -> Terms:
    said = {"account_id": 1, "key_id": 3, "end_user": None, "surface": "plain", "digest": DIGEST}
    return Terms(**said | {"window_s": 30} | changes)  # type: ignore[arg-type]


class Made:
    """An answer that is made elsewhere. ``stopped`` notes that it was, and why."""

    def __init__(self, recording: Recording, stopped: list[tuple[str, Ending]]) -> None:
        self.recording = recording
        self.is_awaited = False
        self._stopped = stopped

    def stop(self, ending: Ending) -> None:
        self._stopped.append((self.recording.id.removeprefix("str_"), ending))


class Registry(Recordings):
    """With the short ways to it. ``stopped`` has the answers that were, and why."""

    def __init__(self, most: int = 1_000_000) -> None:
        super().__init__(Space(most))
        self.stopped: list[tuple[str, Ending]] = []

    def made(
        self, name: str = "a", frames: Iterable[bytes] = (b"0", b"1"), **said: object
    ) -> Entry:
        """A new one. It goes on when it is stopped: its end is the test's."""
        about = About(receipt_id=f"rcpt_{name}")
        recording = Recording(f"str_{name}", about=about, space=self.space)
        recording.append(list(frames))
        self.open(Made(recording, self.stopped), terms(**said))
        entry = self.find(1, recording.id)
        assert entry is not None
        return entry

    def ended(self, name: str = "a", **said: object) -> Entry:
        entry = self.made(name, **said)
        entry.recording.finish([b"."])
        return entry

    def has(self, name: str = "a") -> bool:
        return self.find(1, f"str_{name}") is not None


async def left_after(entry: Entry, seconds: float) -> None:
    """A reader of it that leaves then."""
    reader = entry.recording.reader()
    await asyncio.sleep(seconds)
    reader.close()
