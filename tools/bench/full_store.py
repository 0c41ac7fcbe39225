"""(g): Bandari with a store that has been in use for long, against one that is new.

Both are asked with the keys of as many accounts, in turns, so that the full one is not asked for
the same few pages again and again.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.support.full_ledger import write_full_ledger
from tools.bench.gateways import Gateway, bandari
from tools.bench.own_house import customers

EMPTY: Final = "empty store"
FULL: Final = "full store"


@dataclass(frozen=True)
class Size:
    """Rows of the full store, and of how many of its accounts keys are used."""

    receipts: int
    keys: int
    accounts: int
    asking: int

    def __str__(self) -> str:
        return f"{self.receipts:,} receipts, {self.keys:,} keys, {self.accounts:,} accounts"


WHOLE: Final = Size(receipts=1_000_000, keys=100_000, accounts=10_000, asking=1_000)
SMALL: Final = Size(receipts=20_000, keys=2_000, accounts=200, asking=100)


def gateways(size: Size) -> list[Gateway]:
    """The two rows. The full store is written when the second is started."""
    names = [f"customer {number}" for number in range(1, size.asking + 1)]

    def new(config: Path, data: Path) -> tuple[str, ...]:
        return customers(config, data, names)

    def used(config: Path, data: Path) -> tuple[str, ...]:
        data.mkdir(mode=0o700)
        write_full_ledger(
            f"sqlite:///{data}/bandari.db",
            size.receipts,
            accounts=size.accounts,
            keys=size.keys - size.asking,
        )
        return customers(config, data, names)

    fills: dict[str, Callable[[Path, Path], tuple[str, ...]]] = {EMPTY: new, FULL: used}
    return [Gateway(name, bandari(fill=fill)) for name, fill in fills.items()]
