"""An encoder of Responses as those who keep answers want it: with the whole at any moment."""

from __future__ import annotations

from typing import Final

from bandari.domain.responses import ResponseStatus
from bandari.service.keeping import Snapshot
from bandari.wire.responses.encode_answer import StreamEncoder, WholeEncoder


class KeptEncoder:
    """The port ``SnapshotEncoder``. What is called for every event is the encoder's own method."""

    def __init__(self, encoder: StreamEncoder | WholeEncoder) -> None:
        self._encoder: Final = encoder
        self.opening = encoder.opening
        self.events = encoder.events
        self.close = encoder.close
        self.problem = encoder.problem

    def snapshot(self) -> Snapshot:
        """The answer as it is now."""
        told = self._encoder.snapshot()
        return Snapshot(ResponseStatus(told.status.decode()), told.body, told.output)
