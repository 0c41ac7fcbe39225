from __future__ import annotations

import pytest
from tests.support.samples import TOKENS, a_model, a_principal, a_request

from bandari.domain.catalogue import Defaults, Group, Target
from bandari.domain.chat import Sampling
from bandari.domain.faults import ModelNotFound
from bandari.domain.keys import KeyPolicy
from bandari.service.models import Models, OpenProvider, with_defaults

FIKRA = a_model(id="fikra-pro", aliases=("fikra", "default"))
SMALL = a_model(id="fikra-small")
OPEN = OpenProvider("acme", 32_000, (TOKENS,))


def models(default_provider: str | None = None) -> Models:
    return Models([FIKRA, SMALL], {"acme": OPEN}, default_provider)


def test_a_model_is_found_by_its_id_and_by_its_aliases():
    assert models().find("fikra-pro") is models().find("fikra") is models().find("default") is FIKRA
    assert list(models().all()) == [FIKRA, SMALL]


def test_an_open_provider_serves_whatever_it_is_asked_for():
    found = models().find("acme:llama:70b")
    assert found.id == "acme:llama:70b"
    assert found.targets == (Target("acme", "llama:70b"),)
    assert found.rate_cards == (TOKENS,)
    assert found.context_window == found.max_output_tokens == 32_000
    assert (found.owned_by, found.label) == ("acme", "acme:*")


def test_a_public_id_comes_before_a_provider():
    shadowing = a_model(id="acme:llama")
    assert Models([shadowing], {"acme": OPEN}).find("acme:llama") is shadowing
    assert shadowing.label == "acme:llama"


def test_a_bare_name_means_the_default_providers_model_if_that_is_open():
    assert models("acme").find("llama").targets == (Target("acme", "llama"),)
    for default in (None, "closed"):
        with pytest.raises(ModelNotFound):
            models(default).find("llama")


@pytest.mark.parametrize("unknown", ["closed:llama", "acme:", ":llama", "", "FIKRA-PRO"])
def test_what_is_not_there_is_not_found(unknown):
    with pytest.raises(ModelNotFound) as caught:
        models().find(unknown)
    assert caught.value.param == "model"
    assert f"'{unknown}' does not exist" in caught.value.message


@pytest.mark.parametrize(
    ("unknown", "hint"),
    [
        ("fikra-prod", "Did you mean 'fikra-pro'"),
        ("Fikra", "'fikra'"),
        ("defualt", "Did you mean 'default'?"),
        ("gpt-4o", "GET /v1/models lists the models."),
    ],
)
def test_the_nearest_ids_are_named(unknown, hint):
    with pytest.raises(ModelNotFound) as caught:
        models().find(unknown)
    assert hint in caught.value.message


def test_several_near_ids_are_joined_in_words():
    with pytest.raises(ModelNotFound, match=r"Did you mean '.*', '.*' or '.*'\?"):
        models().find("fikra-p")


FIKRAS = a_principal(policy=KeyPolicy(models=("fikra-pro", "acme:llama*")))


def test_what_a_principal_may_not_use_is_not_there():
    assert list(models().all(FIKRAS)) == [FIKRA]
    assert models().find("fikra-pro", FIKRAS) is models().find("fikra", FIKRAS) is FIKRA
    assert models().find("acme:llama:70b", FIKRAS).owned_by == "acme"
    for other in ("fikra-small", "acme:gemma"):
        with pytest.raises(ModelNotFound):
            models().find(other, FIKRAS)


def test_it_is_told_of_like_one_that_never_was():
    told = []
    for there in (models(), Models([FIKRA], {}, None)):
        with pytest.raises(ModelNotFound) as caught:
            there.find("fikra-small", FIKRAS)
        told.append((caught.value.message, caught.value.param))
    assert told[0] == told[1]
    assert "'fikra'" in told[0][0]


def test_the_group_has_a_say_too():
    principal = a_principal(group_terms=Group(name="default", models=("fikra-s*",)))
    assert list(models().all(principal)) == [SMALL]
    with pytest.raises(ModelNotFound, match="Did you mean 'fikra-small'"):
        models().find("fikra-smal", principal)


def test_others_can_take_their_place():
    made = models("acme")
    made.replace([SMALL])
    assert list(made.all()) == [SMALL]
    for gone in ("fikra-pro", "acme:llama", "llama"):
        with pytest.raises(ModelNotFound):
            made.find(gone)


def test_a_very_long_id_is_shown_in_part():
    with pytest.raises(ModelNotFound) as caught:
        models().find("x" * 5000)
    assert "x" * 100 + "…" in caught.value.message
    assert len(caught.value.message) < 300


def test_defaults_apply_where_the_request_says_nothing():
    defaults = Defaults(temperature=0.7, max_tokens=100, stop=("END",), seed=3)
    request = with_defaults(a_request(), defaults)
    assert request.sampling == Sampling(temperature=0.7, max_tokens=100, stop=("END",), seed=3)


def test_what_the_request_says_stays():
    said = Sampling(temperature=0.0, max_tokens=5, stop=("X",), top_p=0.5)
    defaults = Defaults(temperature=0.7, max_tokens=100, stop=("END",), presence_penalty=1.0)
    request = with_defaults(a_request(sampling=said), defaults)
    assert request.sampling == Sampling(
        temperature=0.0, max_tokens=5, stop=("X",), top_p=0.5, presence_penalty=1.0
    )


def test_without_defaults_the_request_is_the_same():
    request = a_request()
    assert with_defaults(request, Defaults()) is request
