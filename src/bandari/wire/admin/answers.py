"""What operators and customers are told of accounts, keys, people and prices."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec

from bandari.domain.accounts import Account, EndUser, User
from bandari.domain.audit_log import AuditEntry
from bandari.domain.catalogue import Group, Model
from bandari.domain.keys import ApiKey
from bandari.domain.ledger import Wallet
from bandari.domain.outcome import LimitState
from bandari.domain.pricing import RateCard

JsonObject = dict[str, Any]

encode: Final = msgspec.json.Encoder().encode


def encode_page(rows: Iterable[object], following: int | str | None = None) -> bytes:
    """A list, or a page of one; ``following`` is the cursor (``after``) of what lies behind it."""
    return encode({"object": "list", "data": list(rows), "next": following})


def wallet(value: Wallet) -> JsonObject:
    """``held`` of the balance is promised to answers that are running, ``free`` is the rest."""
    return {
        "asset": value.asset,
        "balance": value.balance,
        "held": value.held,
        "free": value.free,
        "end_user": value.end_user or None,
    }


def account(value: Account, wallets: Iterable[Wallet] | None = None) -> JsonObject:
    """With its own wallets, where they were looked up."""
    fields: JsonObject = {
        "id": value.id,
        "name": value.name,
        "created_ms": value.created_ms,
        "policy": value.policy,
    }
    if wallets is not None:
        fields["wallets"] = [wallet(each) for each in wallets]
    return fields


def end_user(value: EndUser, wallets: Iterable[Wallet] | None = None) -> JsonObject:
    """With his wallets, where they were looked up. Null limits: those the account has for all."""
    fields: JsonObject = {
        "name": value.name,
        "created_ms": value.created_ms,
        "limits": value.limits,
    }
    if wallets is not None:
        fields["wallets"] = [wallet(each) for each in wallets]
    return fields


def encode_balance(
    owner: Account,
    wallets: Iterable[Wallet],
    used: ApiKey,
    quota: Mapping[str, tuple[int, int]],
    end_user: JsonObject | None,
    limits: Iterable[LimitState],
) -> bytes:
    """What an account has, and what the key that asks may use of it.

    ``quota`` has of each of its parts how many tokens it allows, and how many were charged.
    """
    return encode(
        {
            "object": "balance",
            "account": owner.name,
            "wallets": [wallet(each) for each in wallets],
            "end_user": end_user,
            "key": {
                "id": used.id,
                "name": used.name,
                "group": used.group,
                "expires_ms": used.policy.expires_ms,
                "quota": {
                    name: {"limit": limit, "used": count, "remaining": max(0, limit - count)}
                    for name, (limit, count) in quota.items()
                },
            },
            "limits": [
                {
                    "name": each.name,
                    "limit": each.limit,
                    "used": each.used,
                    "reserved": each.reserved,
                    "remaining": each.remaining,
                    "reset_ms": each.reset_ms,
                }
                for each in limits
            ],
        }
    )


def key(value: ApiKey) -> JsonObject:
    return {
        "id": value.id,
        "account": value.account,
        "name": value.name,
        "group": value.group,
        "hint": value.hint,
        "created_ms": value.created_ms,
        "revoked_ms": value.revoked_ms,
        "policy": value.policy,
        "former_hint": value.former_hint,
        "former_expires_ms": value.former_expires_ms,
    }


def new_key(text: str, value: ApiKey) -> JsonObject:
    """``secret`` is told this once."""
    return {"secret": text, "key": key(value)}


def user(value: User) -> JsonObject:
    return {
        "id": value.id,
        "name": value.name,
        "role": value.role,
        "hint": value.hint,
        "created_ms": value.created_ms,
        "disabled_ms": value.disabled_ms,
    }


def new_user(text: str, value: User) -> JsonObject:
    """``secret`` is told this once."""
    return {"secret": text, "user": user(value)}


def group(value: Group) -> JsonObject:
    return {
        "name": value.name,
        "models": value.models,
        "price_ratio": str(value.price_ratio),
        "priority": value.priority,
        "limits": value.limits,
        "limits_per_account": value.limits_per_account,
        "limits_per_end_user": value.limits_per_end_user,
        "limits_together": value.limits_together,
    }


def model(value: Model) -> JsonObject:
    """As configured: with where it is answered and what it costs."""
    return {
        "id": value.id,
        "aliases": value.aliases,
        "owned_by": value.owned_by,
        "endpoints": value.endpoints,
        "context_window": value.context_window,
        "max_output_tokens": value.max_output_tokens,
        "targets": value.targets,
        "prices": [_price(card) for card in value.rate_cards],
        "limits": value.limits,
        "cache": value.cache,
        "cache_ttl_s": value.cache_ttl_s,
    }


def _price(card: RateCard) -> JsonObject:
    """For a million tokens of a kind, and for a request, in the asset's smallest unit."""
    return {
        "asset": card.asset,
        "input_per_million": card.input_per_million,
        "cached_input_per_million": card.cached_input_per_million,
        "cache_write_per_million": card.cache_write_per_million,
        "output_per_million": card.output_per_million,
        "per_request": card.per_request,
        "cache_hit_per_million": card.cache_hit_per_million,
        "version": card.version,
    }


def audit_entry(value: AuditEntry) -> JsonObject:
    return {
        "id": value.id,
        "at_ms": value.at_ms,
        "who": value.who,
        "action": value.action,
        "subject": value.subject,
        "before": value.before,
        "after": value.after,
        "request_id": value.request_id,
    }
