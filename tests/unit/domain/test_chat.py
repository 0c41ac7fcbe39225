"""What a request's values mean."""

from __future__ import annotations

import pytest

from bandari.domain.chat import Role, Sampling, ToolChoice


@pytest.mark.parametrize(
    ("choice", "forces"),
    [
        (ToolChoice("none"), False),
        (ToolChoice("auto"), False),
        (ToolChoice("required"), True),
        (ToolChoice("named", "weather"), True),
    ],
)
def test_a_choice_forces_a_call_or_does_not(choice: ToolChoice, forces: bool) -> None:
    assert choice.forces_call is forces


def test_nothing_said_is_one_answer_and_the_models_defaults() -> None:
    said = Sampling()
    assert said.n == 1
    assert not said.logprobs
    assert said.stop == ()
    others = ("temperature", "top_p", "max_tokens", "seed", "logit_bias", "top_logprobs")
    assert all(getattr(said, name) is None for name in others)


def test_roles_are_spelled_as_every_protocol_spells_them() -> None:
    assert [str(role) for role in Role] == ["system", "developer", "user", "assistant", "tool"]
