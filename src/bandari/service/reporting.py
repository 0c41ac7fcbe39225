"""What is asked of the books afterwards, within bounds: receipts, pages of them, and usage.

Whoever may ask is known by then; whose receipts they may see is the ``account_id`` of what they
ask for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Final

from msgspec import Struct

from bandari.domain.bounds import MAX_INTEGER
from bandari.domain.faults import InvalidRequest, InvalidValue, NotFound
from bandari.domain.ledger import Receipt
from bandari.domain.reports import HOUR_MS, TIME_DIMENSIONS, Dimension, Selection, UsageRow
from bandari.service.ports import Accounts, Ledger, Reports

MAX_PAGE: Final = 1_000
DEFAULT_PAGE: Final = 100
MAX_USAGE_ROWS: Final = 10_000
"""More than that is an error and not a part of the answer, whose totals would be wrong."""

MAX_TEXT_CHARACTERS: Final = 1_000
MAX_RECEIPT_ID_CHARACTERS: Final = 200

NO_RECEIPT: Final = "There is no such receipt."
"""The same for one that does not exist and for one that is another account's."""
NO_ACCOUNT: Final = "There is no account of that name."


class ReceiptPage(Struct, frozen=True):
    """Receipts in the order in which they were charged; ``next`` is the cursor of those behind.

    None: there are no more.
    """

    receipts: Sequence[Receipt]
    next: int | None = None


class Reporting:
    """Answers about receipts and usage. What it refuses is a fault that names the field."""

    def __init__(self, *, reports: Reports, ledger: Ledger, accounts: Accounts) -> None:
        self._reports = reports
        self._ledger = ledger
        self._accounts = accounts

    async def account_id(self, name: str) -> int:
        """Of the account of that name, for a selection. Raises ``NotFound``."""
        account = await self._accounts.find_account(name) if _is_storable(name) else None
        if account is None:
            raise NotFound(NO_ACCOUNT, param="account")
        return account.id

    async def receipt(self, receipt_id: str, account_id: int | None = None) -> Receipt:
        """The receipt of that id; with ``account_id``, only if it is that account's.

        Raises ``NotFound``, with the same words whichever of the two it is.
        """
        is_id = len(receipt_id) <= MAX_RECEIPT_ID_CHARACTERS and _is_storable(receipt_id)
        receipt = await self._ledger.receipt(receipt_id, account_id) if is_id else None
        if receipt is None:
            raise NotFound(NO_RECEIPT)
        return receipt

    async def receipts(
        self, selection: Selection, after: int = 0, limit: int = DEFAULT_PAGE
    ) -> ReceiptPage:
        """The page of at most ``limit`` receipts behind the cursor ``after``."""
        _check_number("after", after, 0, MAX_INTEGER)
        _check_number("limit", limit, 1, MAX_PAGE)
        _check(selection)
        return await self._page(selection, after, limit, None)

    async def each_receipt(self, selection: Selection) -> AsyncIterator[Sequence[Receipt]]:
        """All receipts that had been charged when this began, page by page."""
        _check(selection)
        last = await self._reports.last_number()
        after: int | None = 0
        while after is not None:
            page = await self._page(selection, after, MAX_PAGE, last)
            if page.receipts:
                yield page.receipts
            after = page.next

    async def usage(self, selection: Selection, by: Sequence[Dimension] = ()) -> Sequence[UsageRow]:
        """What the selected receipts add up to, by asset and by what ``by`` tells apart.

        Times are whole hours. More than ``MAX_USAGE_ROWS`` are refused, and not cut off.
        """
        _check(selection)
        _check_hour("start", selection.start_ms)
        _check_hour("end", selection.end_ms)
        if len(set(TIME_DIMENSIONS).intersection(by)) > 1:
            raise InvalidValue("'by' may name one of hour, day and month.", param="by")
        rows = await self._reports.usage(selection, by, MAX_USAGE_ROWS + 1)
        if len(rows) > MAX_USAGE_ROWS:
            raise InvalidRequest(
                f"The answer has more than {MAX_USAGE_ROWS} rows. Ask for a shorter time, for one "
                "account or key, or with fewer names in 'by'.",
                param="by",
            )
        return rows

    async def _page(
        self, selection: Selection, after: int, limit: int, last: int | None
    ) -> ReceiptPage:
        # One more than the page has tells whether there is another.
        found = await self._reports.receipts(selection, after, limit + 1, last)
        page = found[:limit]
        is_last = len(found) <= limit
        return ReceiptPage([receipt for _, receipt in page], None if is_last else page[-1][0])


def _check(selection: Selection) -> None:
    for name, number in (
        ("account_id", selection.account_id),
        ("key_id", selection.key_id),
        ("start", selection.start_ms),
        ("end", selection.end_ms),
    ):
        if number is not None:
            _check_number(name, number, 0, MAX_INTEGER)
    for name, text in (("end_user", selection.end_user), ("model", selection.model)):
        if text is not None and not _is_storable(text):
            raise InvalidValue(
                f"'{name}' must be at most {MAX_TEXT_CHARACTERS} characters, without NUL and "
                "without halves of surrogate pairs.",
                param=name,
            )
    start_ms, end_ms = selection.start_ms, selection.end_ms
    if start_ms is not None and end_ms is not None and start_ms >= end_ms:
        raise InvalidValue("'end' must be later than 'start'.", param="end")


def _check_number(name: str, value: int, least: int, most: int) -> None:
    if not least <= value <= most:
        raise InvalidValue(
            f"'{name}' must be between {least} and {most}, and is {value}.", param=name
        )


def _check_hour(name: str, value_ms: int | None) -> None:
    """Usage is kept by the hour, and rounding would make totals of something else."""
    if value_ms is None or value_ms % HOUR_MS == 0:
        return
    before_ms = value_ms - value_ms % HOUR_MS
    raise InvalidValue(
        f"'{name}' must be a whole hour in UTC: send {before_ms} or {before_ms + HOUR_MS} "
        f"(milliseconds) instead of {value_ms}.",
        param=name,
    )


def _is_storable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return "\0" not in text and len(text) <= MAX_TEXT_CHARACTERS
