"""Policies out of JSON: what they may say, and what is told of what they may not."""

from __future__ import annotations

import pytest

from bandari.domain.accounts import AccountPolicy
from bandari.domain.allowance import Limits, Quota
from bandari.domain.faults import InvalidValue, UnsupportedField
from bandari.domain.keys import KeyPolicy, Scope
from bandari.domain.recordings import CacheUse
from bandari.service.policies import policy_from


def test_a_policy_says_what_json_says():
    assert policy_from(
        {
            "scopes": ["messages", "usage", "messages"],
            "models": ["gpt-*", "é"],
            "quota": {"lifetime": 2**53 - 1, "per_day": 1},
            "limits": {"tokens_per_day": 7, "spend_per_month": {"KES": 5}},
            "networks": ["10.0.0.0/8", "192.0.2.7", "2001:DB8::/32", "0.0.0.0/0"],
            "expires_ms": 5,
            "resume_window_s": 0,
            "cache": "refresh",
            "cache_ttl_s": 31_536_000,
        },
        KeyPolicy,
    ) == KeyPolicy(
        scopes=(Scope.MESSAGES, Scope.USAGE),
        models=("gpt-*", "é"),
        quota=Quota(lifetime=2**53 - 1, per_day=1),
        limits=Limits(tokens_per_day=7, spend_per_month={"KES": 5}),
        networks=("10.0.0.0/8", "192.0.2.7/32", "2001:db8::/32", "0.0.0.0/0"),
        expires_ms=5,
        resume_window_s=0,
        cache=CacheUse.REFRESH,
        cache_ttl_s=31_536_000,
    )
    assert policy_from({"is_suspended": True}, AccountPolicy) == AccountPolicy(is_suspended=True)
    assert policy_from({}, Limits) == Limits()


def test_what_is_not_said_is_as_before_and_null_is_the_default():
    before = KeyPolicy(
        models=("m",),
        quota=Quota(lifetime=1, per_day=2),
        limits=Limits(requests_per_day=3, spend_per_day={"KES": 4, "USD": 5}),
        networks=("10.0.0.0/8",),
        resume_window_s=30,
        cache=CacheUse.USE,
        cache_ttl_s=60,
    )
    said = {
        "resume_window_s": None,
        "cache": None,
        "cache_ttl_s": 90,
        "models": None,
        "quota": {"per_day": 20},
        "limits": {"requests_per_day": None, "spend_per_day": {"KES": None, "TOKEN": 6}},
    }
    assert policy_from(said, KeyPolicy, onto=before) == KeyPolicy(
        quota=Quota(lifetime=1, per_day=20),
        limits=Limits(spend_per_day={"USD": 5, "TOKEN": 6}),
        networks=("10.0.0.0/8",),
        cache_ttl_s=90,
    )
    assert policy_from({"limits": None}, KeyPolicy, onto=before).limits == Limits()
    assert policy_from({}, KeyPolicy, onto=before) == before
    assert before.limits.spend_per_day == {"KES": 4, "USD": 5}


@pytest.mark.parametrize(
    ("document", "param", "message"),
    [
        ([], "p", "must be an object, and is a list"),
        ({"limits": 5}, "p.limits", "must be an object, and is 5"),
        ({"limits": {"tokens_per_day": 0}}, "p.limits.tokens_per_day", "1 to 9007199254740991"),
        ({"limits": {"tokens_per_day": 2**53}}, "p.limits.tokens_per_day", "9007199254740992"),
        ({"limits": {"requests_per_day": 10**9 + 1}}, "p.limits.requests_per_day", "1000000000,"),
        ({"limits": {"requests_per_day": True}}, "p.limits.requests_per_day", "and is true"),
        ({"limits": {"requests_per_day": "5"}}, "p.limits.requests_per_day", "and is '5'"),
        ({"limits": {"requests_per_day": 1.5}}, "p.limits.requests_per_day", "and is 1.5"),
        ({"limits": {"spend_per_day": {"kes": 1}}}, "p.limits.spend_per_day", "An asset is"),
        ({"limits": {"spend_per_day": {"KES": 0}}}, "p.limits.spend_per_day.KES", "from 1"),
        ({"limits": {"spend_per_day": 5}}, "p.limits.spend_per_day", "must be an object"),
        (
            {"limits": {"spend_per_day": {f"A{n}": 1 for n in range(21)}}},
            "p.limits.spend_per_day",
            "at most 20 assets",
        ),
        ({"quota": {"lifetime": 0}}, "p.quota.lifetime", "from 1"),
        ({"scopes": []}, "p.scopes", "at least one scope"),
        ({"scopes": "usage"}, "p.scopes", "must be a list, and is 'usage'"),
        ({"scopes": ["usage", "chat"]}, "p.scopes[1]", "one of chat_completions, .* is 'chat'"),
        ({"scopes": [None]}, "p.scopes[0]", "and is null"),
        ({"models": []}, "p.models", "1 to 100 patterns, and has 0"),
        ({"models": ["m"] * 101}, "p.models", "and has 101"),
        ({"models": ["m", ""]}, "p.models[1]", "1 to 200 printable"),
        ({"models": ["m" * 201]}, "p.models[0]", "1 to 200 printable"),
        ({"models": ["a\nb"]}, "p.models[0]", "1 to 200 printable"),
        ({"models": [5]}, "p.models[0]", "must be a string, and is 5"),
        ({"networks": ["10.0.0.0/8"] * 101}, "p.networks", "at most 100"),
        ({"networks": ["10.0.0.5/8"]}, "p.networks[0]", "the network is 10.0.0.0/8"),
        ({"networks": ["2001:db8::1/32"]}, "p.networks[0]", "the network is 2001:db8::/32"),
        ({"networks": ["10.0.0.0/33"]}, "p.networks[0]", "must be a network like"),
        ({"networks": ["fe80::1%eth0"]}, "p.networks[0]", "must be a network like"),
        ({"networks": ["example.com"]}, "p.networks[0]", "must be a network like"),
        ({"networks": [""]}, "p.networks[0]", "must be a network like"),
        ({"expires_ms": "soon"}, "p.expires_ms", "must be an integer, and is 'soon'"),
        ({"resume_window_s": -1}, "p.resume_window_s", "an integer from 0 to 86400, and is -1"),
        ({"resume_window_s": 86_401}, "p.resume_window_s", "an integer from 0 to 86400"),
        ({"resume_window_s": "cancel"}, "p.resume_window_s", "and is 'cancel'"),
        ({"resume_window_s": True}, "p.resume_window_s", "and is true"),
        ({"cache": "yes"}, "p.cache", "one of use, only, refresh, off, and is 'yes'"),
        ({"cache": True}, "p.cache", "and is true"),
        ({"cache_ttl_s": 0}, "p.cache_ttl_s", "an integer from 1 to 31536000, and is 0"),
        ({"cache_ttl_s": 31_536_001}, "p.cache_ttl_s", "an integer from 1 to 31536000"),
    ],
)
def test_what_a_policy_may_not_say(document, param, message):
    with pytest.raises(InvalidValue, match=message) as caught:
        policy_from(document, KeyPolicy, "p")
    assert caught.value.param == param
    assert caught.value.message.isprintable()


@pytest.mark.parametrize(
    ("document", "kind", "param", "message"),
    [
        ({"scope": []}, KeyPolicy, "scope", "did you mean 'scopes'"),
        ({"limits": {"tokens_per_minut": 1}}, KeyPolicy, "limits.tokens_per_minut", "per_minute'"),
        ({"zzz": None}, AccountPolicy, "zzz", "known: end_user_limits, is_suspended, limits"),
        ({"suspended": True}, AccountPolicy, "suspended", "did you mean 'is_suspended'"),
        ({"a\x1b[31m" * 50: 1}, Limits, None, "is not known"),
    ],
)
def test_a_field_that_is_not_known_has_the_nearest_named(document, kind, param, message):
    with pytest.raises(UnsupportedField, match=message) as caught:
        policy_from(document, kind)
    assert param in (None, caught.value.param)
    assert caught.value.param.isprintable()
    assert caught.value.message.isprintable()


def test_a_truth_is_true_or_false():
    with pytest.raises(InvalidValue, match="must be true or false, and is 1") as caught:
        policy_from({"is_suspended": 1}, AccountPolicy)
    assert caught.value.param == "is_suspended"
