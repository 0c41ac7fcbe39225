from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandari.domain.estimate import (
    DEFAULT_RATIO,
    IMAGE_TOKENS,
    LEAST_RATIO,
    MAX_TALLY_TOKENS,
    MOST_RATIO,
    PRIOR_TOKENS,
    Basis,
    Experience,
    Ratios,
    Tally,
    tokens_in,
)
from bandari.domain.usage import Usage


@pytest.mark.parametrize(
    ("size", "ratio", "tokens"),
    [(0, 250_000, 0), (1, 250_000, 1), (4, 250_000, 1), (5, 250_000, 2), (1_000, 333_333, 334)],
)
def test_an_estimate_is_rounded_up(size, ratio, tokens):
    assert tokens_in(size, ratio) == tokens


def test_nothing_is_known_at_first():
    assert Experience().ratios == Ratios(DEFAULT_RATIO, DEFAULT_RATIO)


def test_a_basis_estimates_prompt_images_and_answer():
    basis = Basis(31, 2, 50, Ratios(250_000, 300_000))
    assert (basis.input_tokens, basis.output_tokens) == (8 + 2 * IMAGE_TOKENS, 15)


def test_the_more_was_reported_the_less_the_default_weighs():
    """A model whose tokens are of two bytes."""
    tally = Tally()
    ratios = []
    for _ in range(100):
        tally = tally.plus(2 * PRIOR_TOKENS, PRIOR_TOKENS)
        ratios.append(tally.ratio)
    assert ratios == sorted(ratios)
    assert ratios[0] == 2 * PRIOR_TOKENS * 1_000_000 // (6 * PRIOR_TOKENS)
    assert 495_000 < ratios[-1] < 500_000


def test_a_model_that_changes_is_learned_again():
    tally = Tally().plus(4 * MAX_TALLY_TOKENS, MAX_TALLY_TOKENS)
    for _ in range(10):
        tally = tally.plus(MAX_TALLY_TOKENS, MAX_TALLY_TOKENS // 2)
    assert 490_000 < tally.ratio < 500_000
    assert tally.tokens <= MAX_TALLY_TOKENS


@pytest.mark.parametrize(("size", "tokens"), [(0, 0), (0, 5), (100, 101), (100, 1), (10, 0)])
def test_what_is_not_plausible_teaches_nothing(size, tokens):
    assert Tally(8, 2).plus(size, tokens) == Tally(8, 2)


@given(st.lists(st.tuples(st.integers(0, 2**40), st.integers(0, 2**40)), max_size=50))
def test_whatever_is_reported_a_ratio_stays_believable(texts):
    tally = Tally()
    for size, tokens in texts:
        tally = tally.plus(size, tokens)
        assert LEAST_RATIO * 0.99 <= tally.ratio <= MOST_RATIO


def test_images_and_hidden_reasoning_say_nothing_about_text():
    usage = Usage(1_000, 800, reasoning_tokens=700)
    learned = Experience().plus(usage, Basis(2_000, 1, 400))
    assert learned == Experience()
    learned = Experience().plus(Usage(1_000, 100), Basis(2_000, 0, 400))
    assert learned == Experience(Tally(2_000, 1_000), Tally(400, 100))
