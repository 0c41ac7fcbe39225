"""Rate cards: versions that only grow, so that a receipt's price can be looked up for ever."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace
from sqlalchemy import select

from bandari.adapters.storage.bounds import check_amount, check_text
from bandari.adapters.storage.database import Connection, Database
from bandari.adapters.storage.group_commit import GroupCommit
from bandari.adapters.storage.schema import rate_cards
from bandari.adapters.storage.statements import compiled, constant, first, given
from bandari.domain.pricing import RateCard

_COLUMNS = (
    "model",
    "asset",
    "version",
    "input_per_million",
    "cached_input_per_million",
    "cache_write_per_million",
    "output_per_million",
    "per_request",
    "cache_hit_per_million",
)
_MAX_RIVALS = 100


class RateCardStatements:
    def __init__(self, database: Database) -> None:
        dialect = database.dialect
        self.latest = compiled(
            dialect,
            first(
                select(rate_cards.c.id, *(rate_cards.c[name] for name in _COLUMNS[2:]))
                .where(rate_cards.c.model == given("model"), rate_cards.c.asset == given("asset"))
                .order_by(rate_cards.c.version.desc()),
                constant(1),
            ),
            *("model", "asset"),
        )
        self.insert = compiled(
            dialect,
            database.insert_unless_there(rate_cards)
            .values({rate_cards.c[name]: given(name) for name in _COLUMNS})
            .returning(rate_cards.c.id),
            *_COLUMNS,
        )


class SqlRateCards:
    """``service.ports.RateCards`` on a database."""

    def __init__(self, database: Database, writer: GroupCommit) -> None:
        self._writer = writer
        self._sql = RateCardStatements(database)

    async def pin(self, cards: Sequence[RateCard]) -> Sequence[RateCard]:
        for card in cards:
            check_text(card.model, card.asset)
            for price in card.prices:
                check_amount(price)
        if not cards:
            return []
        return await self._writer.run((), self._pin, cards)

    def _pin(self, connection: Connection, cards: Sequence[RateCard]) -> Sequence[RateCard]:
        return [self._pin_one(connection, card) for card in cards]

    def _pin_one(self, connection: Connection, card: RateCard) -> RateCard:
        cursor = connection.cursor
        # Another server may pin the same version at the same time; then the loser looks again.
        for _ in range(_MAX_RIVALS):
            latest = cursor.execute(self._sql.latest, (card.model, card.asset)).fetchone()
            if latest is not None and latest[2:] == card.prices:
                return replace(card, id=latest[0], version=latest[1])
            version = 1 if latest is None else latest[1] + 1
            row = (card.model, card.asset, version, *card.prices)
            inserted = cursor.execute(self._sql.insert, row).fetchone()
            if inserted is not None:
                return replace(card, id=inserted[0], version=version)
        raise RuntimeError(f"the rate card of {card.model} never stands still")
