"""How much a prompt of embeddings may be, and what of it does not fit."""

from __future__ import annotations

import pytest

from bandari.domain.embeddings import ADDED_TOKENS, EmbeddingsRequest, check_fits
from bandari.domain.faults import ContextLengthExceeded


def request(*inputs: str | tuple[int, ...]) -> EmbeddingsRequest:
    return EmbeddingsRequest("m", inputs)


def test_a_text_has_no_more_tokens_than_bytes_and_what_is_added() -> None:
    assert request("é🦁").most_tokens(100) == 6 + ADDED_TOKENS
    assert request("abc", "d").most_tokens(100) == 4 + 2 * ADDED_TOKENS


def test_no_text_has_more_tokens_than_the_window() -> None:
    assert request("x" * 1000, "abc", "y" * 92).most_tokens(100) == 100 + 3 + ADDED_TOKENS + 100


def test_tokens_are_as_many_as_they_are() -> None:
    assert request((1, 2, 3), (4,)).most_tokens(2) == 4
    assert request((1, 2, 3), (4,)).given_tokens == 4
    assert request("abc").given_tokens is None


def test_tokens_must_fit_into_the_window() -> None:
    check_fits(request((1, 2, 3)), 3)
    check_fits(request("x" * 1000), 3)
    with pytest.raises(ContextLengthExceeded) as raised:
        check_fits(request((1, 2, 3, 4)), 3)
    assert raised.value.param == "input"
    assert raised.value.message == "'input' has 4 tokens; the model's context window holds 3."
    with pytest.raises(ContextLengthExceeded) as raised:
        check_fits(request((1,), (1, 2, 3, 4)), 3)
    assert raised.value.param == "input[1]"
