"""Which URL of the operator API is whose, and what a role must allow for it."""

from __future__ import annotations

from typing import Final

from bandari.service.administration import Administration
from bandari.service.models import Models
from bandari.service.ports import Metrics
from bandari.service.reloading import Reload
from bandari.service.reporting import Reporting
from bandari.web.admin.accounts import Accounts
from bandari.web.admin.audit import Audit
from bandari.web.admin.catalogue import Catalogue
from bandari.web.admin.entrance import Entrance
from bandari.web.admin.keys import Keys
from bandari.web.admin.reload import Reloading
from bandari.web.admin.reports import AllReports
from bandari.web.admin.users import Users
from bandari.web.app import Route
from bandari.web.exports import Exports

BASE: Final = "/admin/v1"


def admin_routes(
    *,
    administration: Administration,
    reporting: Reporting,
    models: Models,
    reload: Reload,
    exports: Exports,
    metrics: Metrics,
) -> list[Route]:
    entrance = Entrance(administration.operator, metrics)
    reads, changes, rules = entrance.to_read, entrance.to_change, entrance.to_change_users
    accounts, keys, users = Accounts(administration), Keys(administration), Users(administration)
    catalogue, audit = Catalogue(administration, models), Audit(administration)
    reports = AllReports(reporting, exports)
    one_account = f"{BASE}/accounts/{{account}}"
    one_end_user = f"{one_account}/end-users/{{end_user}}"
    one_key, one_user = f"{BASE}/keys/{{key_id}}", f"{BASE}/users/{{user_id}}"
    return [
        Route(f"{BASE}/accounts", GET=reads(accounts.list), POST=changes(accounts.create)),
        Route(one_account, GET=reads(accounts.one), PATCH=changes(accounts.change)),
        Route(f"{one_account}/wallets", GET=reads(accounts.wallets)),
        Route(f"{one_account}/credits", POST=changes(accounts.credit)),
        Route(f"{one_account}/adjustments", POST=changes(accounts.adjust)),
        Route(f"{one_account}/end-users", GET=reads(accounts.end_users)),
        Route(one_end_user, GET=reads(accounts.end_user), PUT=changes(accounts.put_end_user)),
        Route(f"{one_end_user}/transfers", POST=changes(accounts.transfer)),
        Route(f"{BASE}/keys", GET=reads(keys.list), POST=changes(keys.create)),
        Route(one_key, GET=reads(keys.one), PATCH=changes(keys.change)),
        Route(f"{one_key}/rotate", POST=changes(keys.rotate)),
        Route(f"{one_key}/revoke", POST=changes(keys.revoke)),
        Route(f"{BASE}/users", GET=reads(users.list), POST=rules(users.create)),
        Route(one_user, PATCH=rules(users.change)),
        Route(f"{one_user}/rotate", POST=rules(users.rotate)),
        Route(f"{one_user}/disable", POST=rules(users.disable)),
        Route(f"{BASE}/groups", GET=reads(catalogue.groups)),
        Route(f"{BASE}/models", GET=reads(catalogue.models)),
        Route(f"{BASE}/receipts", GET=reads(reports.receipts)),
        Route(f"{BASE}/receipts/{{receipt}}", GET=reads(reports.receipt)),
        Route(f"{BASE}/usage", GET=reads(reports.usage)),
        Route(f"{BASE}/audit", GET=reads(audit.list)),
        Route(f"{BASE}/reload", POST=changes(Reloading(reload))),
    ]
