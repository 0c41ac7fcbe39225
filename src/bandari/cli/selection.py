"""Which receipts are asked for, as options."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from cyclopts import Parameter

from bandari.cli.moments import hour_past, moment_past
from bandari.domain.reports import Selection
from bandari.service.administration import Administration


@Parameter(name="*")
@dataclass(frozen=True)
class ReceiptFilter:
    """What is not said is not asked."""

    account: str | None = None
    """Only this account's."""

    key: str | None = None
    """Only this key's; its id, or the key itself."""

    model: str | None = None
    """Only this model's."""

    end_user: str | None = None
    """Only this end user's."""

    from_: Annotated[str | None, Parameter(name="--from", metavar="WHEN")] = None
    """From this date or time (UTC) on, like 2027-01-31; or a span before now, like 30d."""

    to: Annotated[str | None, Parameter(metavar="WHEN")] = None
    """Before this date or time (UTC); or a span before now."""

    async def selection(self, admin: Administration, *, by_the_hour: bool = False) -> Selection:
        """Raises ``NotFound`` for an account or a key that there is not.

        ``by_the_hour``: times are whole hours, as for usage.
        """
        past = hour_past if by_the_hour else moment_past
        account_id = key_id = None
        if self.account is not None:
            account_id = (await admin.account(self.account)).account.id
        if self.key is not None:
            key_id = (await admin.find_key(self.key)).id
        return Selection(
            account_id=account_id,
            key_id=key_id,
            model=self.model,
            end_user=self.end_user,
            start_ms=past(self.from_, "--from"),
            end_ms=past(self.to, "--to"),
        )


EVERYTHING = ReceiptFilter()
