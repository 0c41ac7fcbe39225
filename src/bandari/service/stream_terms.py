"""What becomes of an answer's recording: decided by its request, its key, its surface and the
operator together.

Values and rules only; who looks after a recording is told in ``recordings``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, Literal

from msgspec import Struct, field

from bandari.domain.faults import UnsupportedField
from bandari.domain.keys import Principal, Scope
from bandari.domain.recordings import CacheUse
from bandari.service.answer_terms import AnswerTerms
from bandari.service.durable import Durability
from bandari.service.recordings import Terms

HOUR_MS: Final = 3_600_000


class StreamSettings(Struct, frozen=True, kw_only=True):
    """Bounds of the use case. ``resume_window_s`` is by surface; ``stored_hours`` is how long the
    stream of a stored response can be read.
    """

    keep: Literal["memory", "database", "off"] = "memory"
    max_resume_window_s: int = 300
    keyed_resume_window_s: int = 60
    idempotency_hours: int = 24
    stored_hours: int = 720
    resume_window_s: Mapping[Scope, int] = field(default_factory=dict)

    @property
    def keeps_answers(self) -> bool:
        """Whether what is told to clients is kept for them at all."""
        return self.keep != "off"


class Asked(Struct, frozen=True, kw_only=True):
    """What a client says beside its request.

    ``surface`` is how frames are spelled, ``scope`` what a key needs for it. ``digest`` gives that
    of the canonical request. ``after`` is the 0-based index of the last frame that the client has:
    None if it does not go on with anything. ``is_stored``: its stream is kept as long as a
    response; ``is_background``: it goes on whoever reads.
    """

    surface: str
    scope: Scope
    digest: Callable[[], bytes]
    after: int | None = None
    stream_id: str | None = None
    idempotency_key: str | None = None
    window_s: int | None = None
    cache: CacheUse | None = None
    is_stored: bool = False
    is_background: bool = False


def terms_of(
    settings: StreamSettings, principal: Principal, asked: Asked
) -> tuple[AnswerTerms, Terms]:
    """What becomes of the recording. Raises ``UnsupportedField`` for what is turned off."""
    window_s = _window_s(settings, principal, asked)
    kept_hours = _kept_hours(settings, asked, window_s)
    is_found_by_digest = bool(window_s) or kept_hours is not None
    digest = asked.digest() if is_found_by_digest else None
    durable = None
    if kept_hours is not None:
        assert digest is not None, "what is durable is found by its request too"
        durable = Durability(
            surface=asked.surface,
            digest=digest,
            kept_ms=kept_hours * HOUR_MS or (window_s or 0) * 1000,
            end_user=principal.end_user,
            idempotency_key=asked.idempotency_key,
            keeps_frames=settings.keeps_answers,
        )
    terms = Terms(
        account_id=principal.account_id,
        key_id=principal.key_id,
        end_user=principal.end_user,
        surface=asked.surface,
        digest=digest,
        window_s=window_s,
        idempotency_key=asked.idempotency_key,
    )
    how = AnswerTerms(
        surface=asked.surface,
        window_s=window_s,
        durable=durable,
        cache=asked.cache,
        may_repeat=settings.keeps_answers and not asked.is_background,
    )
    return how, terms


def _window_s(settings: StreamSettings, principal: Principal, asked: Asked) -> int | None:
    if not settings.keeps_answers:
        if asked.is_background:
            raise UnsupportedField(
                "'background' is not supported here: this service keeps no answers.",
                param="background",
            )
        return 0
    if asked.is_background:
        return None
    window_s = asked.window_s
    if window_s is None:
        window_s = principal.policy.resume_window_s
    if window_s is None:
        window_s = settings.resume_window_s.get(asked.scope, 0)
    if asked.idempotency_key is not None and asked.window_s is None:
        window_s = max(window_s, settings.keyed_resume_window_s)
    return min(window_s, settings.max_resume_window_s)


def _kept_hours(settings: StreamSettings, asked: Asked, window_s: int | None) -> int | None:
    """How long it is kept in the database: 0 is for its window, None is not at all."""
    hours = settings.idempotency_hours if asked.idempotency_key is not None else 0
    if settings.keeps_answers and asked.is_stored:
        hours = max(hours, settings.stored_hours)
    if hours:
        return hours
    return 0 if settings.keep == "database" and window_s else None
