"""One of each thing that operators and customers look at, for examples that are true."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from msgspec import Raw

from bandari.domain.accounts import Account, AccountPolicy, EndUser, Role, User
from bandari.domain.allowance import Limits, Quota
from bandari.domain.audit_log import AuditEntry
from bandari.domain.bounds import Bounds
from bandari.domain.catalogue import Defaults, Group, Model, Target
from bandari.domain.keys import ApiKey, KeyPolicy, Scope
from bandari.domain.ledger import Ending, Receipt, Wallet
from bandari.domain.pricing import PriceRatio, token_card
from bandari.domain.reports import Dimension, UsageRow
from bandari.domain.usage import CountRule, Usage

CREATED_MS: Final = 1_795_272_693_000
_DAY_MS: Final = 86_400_000

ACCOUNT: Final = Account(
    1, "amina", CREATED_MS, AccountPolicy(limits=Limits(requests_per_minute=600))
)
WALLET: Final = Wallet(1, 1, "TOKEN", 1_000_000, 1_300)
SUB_WALLET: Final = Wallet(2, 1, "TOKEN", 50_000, 0, "user-7")
END_USER: Final = EndUser(1, "user-7", CREATED_MS, Limits(tokens_per_day=20_000))
KEY: Final = ApiKey(
    12,
    1,
    "amina",
    "laptop",
    "default",
    "bd_live_…3kQz",
    CREATED_MS,
    policy=KeyPolicy(
        scopes=(Scope.CHAT_COMPLETIONS, Scope.USAGE), quota=Quota(per_month=5_000_000)
    ),
)
SECRET: Final = "bd_live_…"
USER: Final = User(3, "otieno", Role.AUDITOR, "bandari_admin_…9x0B", CREATED_MS)
ADMIN_SECRET: Final = "bandari_admin_…"
GROUP: Final = Group(
    name="students",
    models=("bandari-*",),
    price_ratio=PriceRatio(1, 2),
    limits=Limits(requests_per_minute=60, tokens_per_day=200_000),
)
MODEL: Final = Model(
    id="bandari-tiny",
    targets=(Target("local", "bandari-tiny"),),
    rate_cards=(token_card("bandari-tiny"),),
    context_window=8192,
    max_output_tokens=8192,
    defaults=Defaults(),
    bounds=Bounds(),
)
RECEIPT: Final = Receipt(
    id="rcpt_01m7z9ezq8pz5cqwp2zt3ttm1q",
    account="amina",
    key_id=12,
    model="bandari-tiny",
    target="local:bandari-tiny",
    asset="TOKEN",
    amount=29,
    overrun=0,
    balance_after=999_971,
    rate_card_version=1,
    usage=Usage(input_tokens=17, output_tokens=12),
    rule=CountRule.REPORTED,
    basis=None,
    ending=Ending.COMPLETED,
    created_ms=CREATED_MS + 60_000,
    ended_ms=CREATED_MS + 61_200,
    end_user="user-7",
    finish_reason="stop",
)
BY: Final = (Dimension.DAY, Dimension.MODEL)
USAGE_ROW: Final = UsageRow(
    asset="TOKEN",
    requests=1,
    usage=RECEIPT.usage,
    amount=29,
    overrun=0,
    start_ms=CREATED_MS - CREATED_MS % _DAY_MS,
    model="bandari-tiny",
)
AUDIT_ENTRY: Final = AuditEntry(
    41,
    CREATED_MS,
    "otieno",
    "key.update",
    "key 12",
    before=Raw(b'{"name":"laptop"}'),
    after=Raw(b'{"name":"desktop"}'),
    request_id="req_01m7z9ezq80sxqqxma2n101g6n",
)


def said(body: bytes) -> Any:
    """What an encoder has written, as JSON has it."""
    return msgspec.json.decode(body)
