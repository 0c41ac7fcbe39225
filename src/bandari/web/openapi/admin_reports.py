"""The operator API: the configuration in use, receipts, usage, and the log of changes."""

from __future__ import annotations

from typing import Final

from msgspec.structs import replace

from bandari.service.reloading import Changes
from bandari.web.openapi.admin import BASES, SCHEMES, operation
from bandari.web.openapi.headers import IDENTITY
from bandari.web.openapi.operation import Operation, Section
from bandari.web.openapi.samples import AUDIT_ENTRY, BY, GROUP, MODEL, RECEIPT, USAGE_ROW, said
from bandari.web.openapi.shapes.operators import (
    AuditLog,
    ConfiguredModelList,
    GroupList,
    Reloaded,
)
from bandari.web.openapi.shapes.reports import Receipt, ReceiptList, UsageReport
from bandari.wire.admin import answers
from bandari.wire.reports import bodies

EXPORTED: Final = ("text/csv", "application/x-ndjson")

RELOADED: Final[dict[str, object]] = {
    "groups": Changes(changed=("students",)),
    "models": Changes(),
    "providers": Changes(),
    "default_provider": None,
    "needs_restart": [],
}


def exported(described: Operation) -> Operation:
    """The same, with the forms of a file beside JSON."""
    answer = replace(described.answer, texts=EXPORTED, headers=(*IDENTITY, "content-disposition"))
    return replace(described, answer=answer)


CATALOGUE: Final = Section(
    "Operating: configuration",
    "What the configuration says of groups and models at the moment. It is changed in its file.",
    (
        operation(
            "adminListGroups",
            "get",
            "/groups",
            "List the groups",
            "All of them, by name.",
            GroupList,
            said(answers.encode_page([answers.group(GROUP)])),
        ),
        operation(
            "adminListModels",
            "get",
            "/models",
            "List the models as configured",
            "With where they are answered, what they cost, and their limits.",
            ConfiguredModelList,
            said(answers.encode_page([answers.model(MODEL)])),
        ),
        operation(
            "adminReload",
            "post",
            "/reload",
            "Read the configuration anew",
            "While everything goes on. A file with a mistake is refused whole, with every mistake "
            "and its line, and everything stays as it is.",
            Reloaded,
            said(answers.encode(RELOADED)),
            failures=(409,),
        ),
    ),
    bases=BASES,
    schemes=SCHEMES,
)

REPORTS: Final = Section(
    "Operating: receipts and usage",
    "What was charged, of all accounts. With `format` everything that is selected comes as a file, "
    "as fast as it is read; at most four at once for each operator.",
    (
        exported(
            operation(
                "adminListReceipts",
                "get",
                "/receipts",
                "List receipts",
                "In the order in which they were charged.",
                ReceiptList,
                said(bodies.receipts_body([RECEIPT], None)),
                parameters=(
                    "OfAccount",
                    "OfKey",
                    "OfEndUser",
                    "OfModel",
                    "Start",
                    "End",
                    "AfterId",
                    "PageLimit",
                    "Format",
                ),
                failures=(404,),
            )
        ),
        operation(
            "adminGetReceipt",
            "get",
            "/receipts/{receipt}",
            "Look at a receipt",
            "What an answer cost, and why.",
            Receipt,
            said(bodies.receipt_body(RECEIPT)),
            parameters=("ReceiptId",),
            failures=(404,),
        ),
        exported(
            operation(
                "adminGetUsage",
                "get",
                "/usage",
                "Add up usage",
                "It agrees with the receipts to the unit. Without `by` it is one row for each "
                "asset.",
                UsageReport,
                said(bodies.usage_body([USAGE_ROW], BY)),
                parameters=(
                    "OfAccount",
                    "OfKey",
                    "OfEndUser",
                    "OfModel",
                    "Start",
                    "End",
                    "By",
                    "Format",
                ),
                failures=(404,),
            )
        ),
        operation(
            "adminListChanges",
            "get",
            "/audit",
            "Read the log of changes",
            "Who, what, before, after: the latest first. Secrets are not in it.",
            AuditLog,
            said(answers.encode_page([answers.audit_entry(AUDIT_ENTRY)])),
            parameters=("Subject", "Who", "AfterId", "PageLimit"),
        ),
    ),
    bases=BASES,
    schemes=SCHEMES,
)
