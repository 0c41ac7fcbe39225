"""What a type cannot say of a table of limits: the assets that spending is limited in."""

from __future__ import annotations

from collections.abc import Collection

from bandari.config.checks import check_asset
from bandari.config.positions import Path
from bandari.config.tables import Problems, suggestion
from bandari.domain.allowance import Limits


def check_limits(limits: Limits, path: Path, problems: Problems, assets: Collection[str]) -> None:
    """``assets`` are those that anything is paid in: a limit in another would limit nothing."""
    for name in ("spend_per_day", "spend_per_month"):
        for asset in getattr(limits, name):
            here = (*path, name, asset)
            before = len(problems.found)
            check_asset(asset, here, problems)
            if asset not in assets and len(problems.found) == before:
                problems.add(here, f"nothing is priced in '{asset}'; {suggestion(asset, assets)}")
