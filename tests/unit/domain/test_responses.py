"""What is kept of an answer: its statuses and its bounds."""

from __future__ import annotations

import pytest

from bandari.domain.responses import MAX_PART_BYTES, UNFINISHED, ResponseEnd, ResponseStatus


def test_a_response_is_unfinished_or_finished() -> None:
    finished = {status for status in ResponseStatus if status.is_finished}
    assert finished == {"completed", "failed", "incomplete", "cancelled"}
    assert set(ResponseStatus) - finished == set(UNFINISHED)


def test_only_an_answer_can_be_continued() -> None:
    continued = {status for status in ResponseStatus if status.can_be_continued}
    assert continued == {"completed", "incomplete"}


@pytest.mark.parametrize("status", UNFINISHED)
def test_no_end_is_unfinished(status: ResponseStatus) -> None:
    with pytest.raises(ValueError, match=f"does not end as {status}"):
        ResponseEnd(status=status)


@pytest.mark.parametrize("part", ["output_items", "body"])
def test_each_part_of_an_end_is_bounded(part: str) -> None:
    most = bytes(MAX_PART_BYTES)
    ResponseEnd(status=ResponseStatus.COMPLETED, **{part: most})
    with pytest.raises(ValueError, match=f"at most {MAX_PART_BYTES} bytes"):
        ResponseEnd(status=ResponseStatus.COMPLETED, **{part: most + b" "})
