"""Policies and limits as text: the JSON of their structs, and back.

Rule: what cannot be read is a fault. It is never taken for a policy that says nothing, because one
that says nothing allows everything.
"""

from __future__ import annotations

import logging
from typing import Generic, TypeVar

import msgspec

from bandari.adapters.storage.bounds import MAX_TEXT_BYTES
from bandari.domain.accounts import AccountPolicy
from bandari.domain.allowance import Limits
from bandari.domain.faults import OwnFault
from bandari.domain.keys import KeyPolicy

P = TypeVar("P", bound=msgspec.Struct)

logger = logging.getLogger(__name__)


class UnreadablePolicy(OwnFault):
    """A policy in the ledger cannot be read; the server's log says which."""


class Policies(Generic[P]):
    """The policies of one kind."""

    def __init__(self, kind: type[P]) -> None:
        self._kind = kind
        self._decoder = msgspec.json.Decoder(kind)

    def text(self, policy: P) -> str:
        """Raises ``ValueError`` for one that could not be read again, or is too large."""
        text = msgspec.json.encode(policy).decode()
        if len(text) > MAX_TEXT_BYTES:
            raise ValueError(f"a policy has at most {MAX_TEXT_BYTES} bytes")
        try:
            self._decoder.decode(text)
        except msgspec.DecodeError as error:
            raise ValueError(f"the policy is not valid: {error}") from error
        return text

    def read(self, text: str, whose: str) -> P:
        """Raises ``UnreadablePolicy``, and logs ``whose`` it is."""
        try:
            return self._decoder.decode(text)
        except msgspec.DecodeError as error:
            logger.error("the %s of %s cannot be read: %s", self._kind.__name__, whose, error)
            raise UnreadablePolicy from error


account_policies = Policies(AccountPolicy)
key_policies = Policies(KeyPolicy)
limits_alone = Policies(Limits)
