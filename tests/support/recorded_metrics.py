"""The port ``Metrics``, as a list of what it was told."""

from __future__ import annotations

from bandari.domain.usage import Usage


class RecordedMetrics:
    """``told`` has a tuple for every call: the method's name and its arguments."""

    def __init__(self) -> None:
        self.told: list[tuple[object, ...]] = []

    def of(self, name: str) -> list[tuple[object, ...]]:
        return [call[1:] for call in self.told if call[0] == name]

    def request_ended(self, route: str, status: int, seconds: float) -> None:
        self.told.append(("request_ended", route, status))

    def problem_told(self, code: str, blame: str) -> None:
        self.told.append(("problem_told", code, blame))

    def generation_started(self, model: str) -> None:
        self.told.append(("generation_started", model))

    def first_token(self, model: str, seconds: float) -> None:
        self.told.append(("first_token", model, seconds))

    def generation_ended(self, model: str, ending: str, usage: Usage) -> None:
        self.told.append(("generation_ended", model, ending, usage))

    def overrun(self, asset: str, amount: int) -> None:
        self.told.append(("overrun", asset, amount))

    def upstream_failed(self, provider: str, code: str) -> None:
        self.told.append(("upstream_failed", provider, code))

    def holds_open(self, count: int) -> None:
        self.told.append(("holds_open", count))

    def cache_asked(self, model: str, *, was_hit: bool) -> None:
        self.told.append(("cache_asked", model, was_hit))

    def replayed(self) -> None:
        self.told.append(("replayed",))

    def recordings_kept(self, count: int, size_bytes: int) -> None:
        self.told.append(("recordings_kept", count, size_bytes))

    def answers_cached(self, count: int, size_bytes: int) -> None:
        self.told.append(("answers_cached", count, size_bytes))

    def guess_refused(self) -> None:
        self.told.append(("guess_refused",))

    def committed(self, seconds: float, operations: int) -> None:
        self.told.append(("committed", operations))

    def render(self) -> bytes:
        return b"# metrics\n"
