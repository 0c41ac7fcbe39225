"""Seals on their way through a client of another protocol."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bandari.domain.chat import Seal
from bandari.wire.seals import unwrap, wrap

seals = st.builds(
    Seal, st.sampled_from(["messages", "responses"]), st.text(max_size=40), st.booleans()
)


@given(seals, st.booleans())
def test_a_wrapped_seal_comes_back_as_it_was(seal: Seal, is_thought: bool) -> None:
    assert unwrap(wrap(seal), "other", is_thought=is_thought) == seal


@pytest.mark.parametrize(
    "text", ["", "c2ln", "bandari", "bandari:messages:wish:x", "bandari::thought:x", "bandari:a:b"]
)
def test_any_other_text_is_a_seal_of_the_protocol_it_came_in(text: str) -> None:
    assert unwrap(text, "messages", is_thought=False) == Seal("messages", text, is_thought=False)
