"""The operator API: keys, and the people who operate."""

from __future__ import annotations

from typing import Final

from bandari.web.openapi.admin import BASES, SCHEMES, operation
from bandari.web.openapi.operation import Example, Section
from bandari.web.openapi.samples import ADMIN_SECRET, KEY, SECRET, USER, said
from bandari.web.openapi.shapes.operators import (
    Key,
    KeyChangeRequest,
    KeyList,
    NewKey,
    NewKeyRequest,
    NewUser,
    NewUserRequest,
    RoleRequest,
    RotationRequest,
    User,
    UserList,
)
from bandari.wire.admin import answers

ONE_KEY: Final = said(answers.encode(answers.key(KEY)))
A_NEW_KEY: Final = said(answers.encode(answers.new_key(SECRET, KEY)))
ONE_USER: Final = said(answers.encode(answers.user(USER)))
A_NEW_USER: Final = said(answers.encode(answers.new_user(ADMIN_SECRET, USER)))

NEW_KEY: Final[NewKeyRequest] = {
    "account": "amina",
    "name": "laptop",
    "policy": {
        "scopes": ["chat_completions", "usage"],
        "models": ["bandari-*"],
        "quota": {"per_month": 5_000_000},
        "networks": ["10.0.0.0/8"],
    },
}
KEY_CHANGE: Final[KeyChangeRequest] = {
    "name": "desktop",
    "policy": {"quota": {"per_day": 500_000}, "networks": None},
}
ROTATION: Final[RotationRequest] = {"grace_seconds": 3600}
NEW_USER: Final[NewUserRequest] = {"name": "otieno", "role": "auditor"}
ROLE: Final[RoleRequest] = {"role": "operator"}

KEYS: Final = Section(
    "Operating: keys",
    "For operators. A key has its id in the URL, never its text.",
    (
        operation(
            "adminListKeys",
            "get",
            "/keys",
            "List the keys",
            "Of all accounts, or of one. Page by page, by id.",
            KeyList,
            said(answers.encode_page([answers.key(KEY)])),
            parameters=("OfAccount", "AfterId", "PageLimit"),
            failures=(404,),
        ),
        operation(
            "adminCreateKey",
            "post",
            "/keys",
            "Make a key",
            "Its text is in this answer, and nowhere else.",
            NewKey,
            A_NEW_KEY,
            body=NewKeyRequest,
            examples={"key": Example("A key for one use", NEW_KEY)},
            failures=(404,),
        ),
        operation(
            "adminGetKey",
            "get",
            "/keys/{key_id}",
            "Look at a key",
            "Without its secret.",
            Key,
            ONE_KEY,
            parameters=("KeyId",),
            failures=(404,),
        ),
        operation(
            "adminChangeKey",
            "patch",
            "/keys/{key_id}",
            "Change what a key may",
            "What is not said stays, name by name in `quota` and `limits` too; null in the policy "
            "is the default again.",
            Key,
            ONE_KEY,
            parameters=("KeyId",),
            body=KeyChangeRequest,
            examples={"policy": Example("A quota for the day, from anywhere", KEY_CHANGE)},
            failures=(404, 409),
        ),
        operation(
            "adminRotateKey",
            "post",
            "/keys/{key_id}/rotate",
            "Give a key a new secret",
            "The one until now opens too, for as long as the body says. The one before it no more. "
            "The body may be left out.",
            NewKey,
            A_NEW_KEY,
            parameters=("KeyId",),
            body=RotationRequest,
            examples={"grace": Example("With an hour to change it everywhere", ROTATION)},
            failures=(404, 409),
        ),
        operation(
            "adminRevokeKey",
            "post",
            "/keys/{key_id}/revoke",
            "Revoke a key",
            "For good, and within a second. What is running ends as it would.",
            Key,
            ONE_KEY,
            parameters=("KeyId",),
            failures=(404,),
        ),
    ),
    bases=BASES,
    schemes=SCHEMES,
)

USERS: Final = Section(
    "Operating: users",
    "The people who operate. Every role may list them; only an owner may change anything here.",
    (
        operation(
            "adminListUsers",
            "get",
            "/users",
            "List the users",
            "Page by page, by id; disabled ones too.",
            UserList,
            said(answers.encode_page([answers.user(USER)])),
            parameters=("AfterId", "PageLimit"),
        ),
        operation(
            "adminCreateUser",
            "post",
            "/users",
            "Make a user",
            "The admin key is in this answer, and nowhere else.",
            NewUser,
            A_NEW_USER,
            body=NewUserRequest,
            examples={"user": Example("Somebody who may look", NEW_USER)},
            failures=(409,),
        ),
        operation(
            "adminChangeUser",
            "patch",
            "/users/{user_id}",
            "Give a user another role",
            "One owner always stays.",
            User,
            ONE_USER,
            parameters=("UserId",),
            body=RoleRequest,
            examples={"role": Example("May change things from now on", ROLE)},
            failures=(404, 409),
        ),
        operation(
            "adminRotateUser",
            "post",
            "/users/{user_id}/rotate",
            "Give a user a new admin key",
            "The former one opens no more.",
            NewUser,
            A_NEW_USER,
            parameters=("UserId",),
            failures=(404, 409),
        ),
        operation(
            "adminDisableUser",
            "post",
            "/users/{user_id}/disable",
            "Disable a user",
            "For good. One owner always stays.",
            User,
            ONE_USER,
            parameters=("UserId",),
            failures=(404, 409),
        ),
    ),
    bases=BASES,
    schemes=SCHEMES,
)
