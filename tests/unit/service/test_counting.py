"""Tokens of a prompt that nobody has asked an answer to yet."""

from __future__ import annotations

import pytest
from tests.support.samples import a_model, a_principal, a_request
from tests.support.scripted_upstream import ScriptedUpstream

from bandari.domain.bounds import Bounds
from bandari.domain.catalogue import EMBEDDING, Target
from bandari.domain.chat import Role, Sampling
from bandari.domain.estimate import Experience, Tally
from bandari.domain.faults import InvalidValue, ModelNotFound
from bandari.domain.keys import KeyPolicy
from bandari.service.counting import Counting
from bandari.service.estimates import Estimates
from bandari.service.models import Models

TARGET = Target("a", "a-1")


def counting(upstream: ScriptedUpstream, **model) -> Counting:
    experience = {str(TARGET): Experience(input=Tally(bytes=2_000_000, tokens=1_000_000))}
    models = Models([a_model(targets=(TARGET,), **model)])
    return Counting(models, {"a": upstream}, Estimates(experience))


async def test_the_target_counts():
    upstream = ScriptedUpstream(input_tokens=37)
    assert await counting(upstream).count(a_principal(), a_request()) == 37


async def test_what_it_cannot_count_is_estimated_from_what_it_has_shown():
    request = a_request(input_bytes=1000)
    tokens = await counting(ScriptedUpstream(input_tokens=None)).count(a_principal(), request)
    assert 495 <= tokens <= 505


@pytest.mark.parametrize(
    ("fields", "model", "fault"),
    [
        ({"model": "nothing"}, {}, ModelNotFound),
        (
            {"sampling": Sampling(temperature=1.5)},
            {"bounds": Bounds(temperature=(0, 1))},
            InvalidValue,
        ),
        ({}, {"bounds": Bounds(roles=(Role.SYSTEM,))}, InvalidValue),
        ({}, {"endpoints": EMBEDDING}, InvalidValue),
    ],
)
async def test_what_would_be_refused_is_refused(fields, model, fault):
    with pytest.raises(fault):
        await counting(ScriptedUpstream(), **model).count(a_principal(), a_request(**fields))


async def test_a_model_that_the_key_may_not_use_is_not_there():
    principal = a_principal(policy=KeyPolicy(models=("gpt-*",)))
    with pytest.raises(ModelNotFound):
        await counting(ScriptedUpstream()).count(principal, a_request())
