"""What ``bandari receipt show`` says of the price."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace
from tests.unit.cli.test_commands import RECEIPT

from bandari.domain.pricing import PriceRatio


@pytest.mark.parametrize(("ratio", "said"), [(PriceRatio(3, 2), "3/2"), (PriceRatio(0), "0")])
def test_a_price_ratio_is_shown(bandari, store, ratio, said):
    store.receipts["rcpt_1"] = replace(RECEIPT, price_ratio=ratio)
    _, out, _ = bandari("receipt", "show", "rcpt_1")
    assert f"price ratio       {said}\n" in out
    told = json.loads(bandari("receipt", "show", "rcpt_1", "--json")[1])["price_ratio"]
    assert told == said


def test_the_full_price_needs_no_words(bandari, store):
    store.receipts["rcpt_1"] = RECEIPT
    assert "ratio" not in bandari("receipt", "show", "rcpt_1")[1]


def test_what_was_repeated_is_shown(bandari, store):
    store.receipts["rcpt_1"] = replace(RECEIPT, repeated_tokens=70)
    _, out, _ = bandari("receipt", "show", "rcpt_1")
    assert "repeated          70 tokens of an answer that was kept\n" in out
    assert json.loads(bandari("receipt", "show", "rcpt_1", "--json")[1])["repeated_tokens"] == 70


def test_an_answer_that_was_generated_repeats_nothing(bandari, store):
    store.receipts["rcpt_1"] = RECEIPT
    assert "repeated" not in bandari("receipt", "show", "rcpt_1")[1]
