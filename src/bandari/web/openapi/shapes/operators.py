"""Keys, users, the catalogue as configured, the log of changes, and what a reload changed."""

from __future__ import annotations

from typing import Annotated, Any, Literal, NotRequired, TypedDict

from msgspec import Meta

from bandari.domain.bounds import MAX_INTEGER
from bandari.domain.recordings import MAX_CACHE_TTL_S, MAX_RESUME_WINDOW_S
from bandari.web.openapi.shapes.accounts import Milliseconds, Name, NextId
from bandari.web.openapi.shapes.allowance import Limits, Quota
from bandari.web.openapi.shapes.chat_answer import Count
from bandari.web.openapi.shapes.models import Endpoint
from bandari.wire.admin.bodies import MAX_GRACE_S

ScopeName = Literal[
    "chat_completions",
    "completions",
    "messages",
    "responses",
    "typed_stream",
    "embeddings",
    "usage",
    "end_users",
]
CacheUseName = Literal["use", "only", "refresh", "off"]
RoleName = Annotated[
    Literal["owner", "operator", "auditor"],
    "An owner may do everything, an operator everything but change users, an auditor only look.",
]
Secret = Annotated[str, "The key itself. It is told this once, and kept nowhere."]
Hint = Annotated[str, "Enough of the key to tell it from others."]


class KeyPolicy(TypedDict):
    """What a key may do, within what its group and its account may. What is not said is all."""

    scopes: NotRequired[
        Annotated[list[ScopeName] | None, "What it may be used for; null is everything."]
    ]
    models: NotRequired[
        Annotated[list[str] | None, "Patterns like `gpt-*`; null is all that its group may use."]
    ]
    quota: NotRequired[Quota | None]
    limits: NotRequired[
        Annotated[Limits | None, "In place of its group's where both say something."]
    ]
    networks: NotRequired[
        Annotated[list[str] | None, "Where it may come from, like `10.0.0.0/8`; none is anywhere."]
    ]
    expires_ms: NotRequired[
        Annotated[int | None, Meta(ge=0, le=MAX_INTEGER), "In milliseconds since 1970, UTC."]
    ]
    resume_window_s: NotRequired[
        Annotated[
            int | None,
            Meta(ge=0, le=MAX_RESUME_WINDOW_S),
            "How long its answers go on, and can be read again, while nobody reads. Null: as long "
            "as the surface says.",
        ]
    ]
    cache: NotRequired[
        Annotated[
            CacheUseName | None,
            "What it may have of the answers kept for equal requests. Null: what the model says.",
        ]
    ]
    cache_ttl_s: NotRequired[
        Annotated[
            int | None,
            Meta(ge=1, le=MAX_CACHE_TTL_S),
            "How long its answers are kept for equal requests. Null: as long as the model says.",
        ]
    ]


class Key(TypedDict):
    """A key, without its secret."""

    id: int
    account: str
    name: str
    group: Annotated[str, "Decides models, price ratio, limits and priority."]
    hint: Hint
    created_ms: Milliseconds
    revoked_ms: Annotated[int | None, "Since when it is revoked, for good."]
    policy: KeyPolicy
    former_hint: Annotated[str | None, "Of the secret that a rotation has replaced."]
    former_expires_ms: Annotated[int | None, "Until when that one opens too."]


class KeyList(TypedDict):
    """A page of the keys, by id; revoked ones too."""

    object: Literal["list"]
    data: list[Key]
    next: NextId


class NewKeyRequest(TypedDict):
    """A key to be made."""

    account: Name
    name: NotRequired[Name | None]
    group: NotRequired[Annotated[str | None, "One that is configured. Default `default`."]]
    policy: NotRequired[KeyPolicy | None]


class NewKey(TypedDict):
    """A key that was just made, or has a new secret."""

    secret: Secret
    key: Key


class KeyChangeRequest(TypedDict):
    """What is to change. What is not said stays; null in the policy is the default again."""

    name: NotRequired[Name | None]
    group: NotRequired[str | None]
    policy: NotRequired[KeyPolicy | None]


class RotationRequest(TypedDict):
    """How a key gets a new secret."""

    grace_seconds: NotRequired[
        Annotated[
            int | None,
            Meta(ge=0, le=MAX_GRACE_S),
            "How long the secret until now opens too. Default 0.",
        ]
    ]


class User(TypedDict):
    """A person who operates."""

    id: int
    name: Name
    role: RoleName
    hint: Hint
    created_ms: Milliseconds
    disabled_ms: Annotated[int | None, "Since when he is disabled, for good."]


class UserList(TypedDict):
    """A page of them, by id."""

    object: Literal["list"]
    data: list[User]
    next: NextId


class NewUserRequest(TypedDict):
    """A person who is to operate."""

    name: Name
    role: RoleName


class NewUser(TypedDict):
    """A user who was just made, or has a new admin key."""

    secret: Secret
    user: User


class RoleRequest(TypedDict):
    """The role that he is to have."""

    role: RoleName


class Group(TypedDict):
    """What the keys of a group may do, and what they pay of a model's price."""

    name: str
    models: Annotated[list[str] | None, "Patterns like `gpt-*`; null is all."]
    price_ratio: Annotated[str, "An exact fraction: `1`, `3/4`."]
    priority: Annotated[int, "Where the server is nearly full, lower ones are refused first."]
    limits: Annotated[Limits, "For each key by itself."]
    limits_per_account: Annotated[Limits, "For the keys of each account."]
    limits_per_end_user: Limits
    limits_together: Annotated[Limits, "For all keys of the group."]


class GroupList(TypedDict):
    """All of them, by name."""

    object: Literal["list"]
    data: list[Group]
    next: None


class Target(TypedDict):
    """Where a model's answers come from. Lower priorities first; among equals, by weight."""

    provider: str
    model: Annotated[str, "As the provider calls it."]
    priority: int
    weight: int


class Price(TypedDict):
    """For a million tokens of a kind, and for a request, in the asset's smallest unit."""

    asset: str
    input_per_million: Count
    cached_input_per_million: Count
    cache_write_per_million: Count
    output_per_million: Count
    per_request: Count
    cache_hit_per_million: Annotated[Count, "Of an answer that is repeated from the cache."]
    version: Annotated[Count, "Of the rate card; receipts name it."]


class ConfiguredModel(TypedDict):
    """A model as it is configured."""

    id: str
    aliases: list[str]
    owned_by: str
    endpoints: list[Endpoint]
    context_window: Annotated[Count, "How many tokens prompt and answer may have together."]
    max_output_tokens: Annotated[Count, "How many tokens an answer may have."]
    targets: Annotated[list[Target], "In the order of the file."]
    prices: list[Price]
    limits: Annotated[Limits, "For all who ask it together."]
    cache: Annotated[CacheUseName, "What a request may have of the answers kept for equal ones."]
    cache_ttl_s: Annotated[int | None, "How long they are kept, in seconds. Null: as long as any."]


class ConfiguredModelList(TypedDict):
    """All of them."""

    object: Literal["list"]
    data: list[ConfiguredModel]
    next: None


class AuditEntry(TypedDict):
    """One change."""

    id: int
    at_ms: Milliseconds
    who: Annotated[str, "A user's name, `admin`, `cli:NAME`, or `key:ID` for a customer."]
    action: Annotated[str, "Like `key.revoke`."]
    subject: Annotated[str, "Like `key 12`."]
    before: Annotated[dict[str, Any] | None, "Null where there was nothing."]
    after: Annotated[dict[str, Any] | None, "Null where there is nothing."]
    request_id: Annotated[str | None, "The `x-request-id` of the request, if it was one."]


class AuditLog(TypedDict):
    """A page of the log, the latest first."""

    object: Literal["list"]
    data: list[AuditEntry]
    next: NextId


class Changes(TypedDict):
    """Names of one kind, sorted."""

    added: list[str]
    removed: list[str]
    changed: list[str]


class Reloaded(TypedDict):
    """What a reload changed."""

    groups: Changes
    models: Changes
    providers: Changes
    default_provider: Annotated[str | None, "The new one, where it changed."]
    needs_restart: Annotated[
        list[str], "Keys whose new values count only after a restart; the old ones stay."
    ]
