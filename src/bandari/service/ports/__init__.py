"""The ports: all that the use cases need of the outside world. Adapters implement them.

Every implementation of a port must pass the same contract tests. Failures cross a port only as the
faults of ``domain.faults`` (a store that cannot be reached or written is ``StoreUnavailable``), and
refusals only as values.
"""

from bandari.service.ports.around import Clock, FrameEncoder, Metrics
from bandari.service.ports.books import HoldAlreadyEnded, Ledger, Placement, RateCards
from bandari.service.ports.kept import Responses
from bandari.service.ports.recordings import KeptRecordings
from bandari.service.ports.registry import Accounts, AuditLog, Keys, NameTaken, Users
from bandari.service.ports.reports import Reports
from bandari.service.ports.upstreams import EmbeddingUpstream, Take, Upstream

__all__ = [
    "Accounts",
    "AuditLog",
    "Clock",
    "EmbeddingUpstream",
    "FrameEncoder",
    "HoldAlreadyEnded",
    "KeptRecordings",
    "Keys",
    "Ledger",
    "Metrics",
    "NameTaken",
    "Placement",
    "RateCards",
    "Reports",
    "Responses",
    "Take",
    "Upstream",
    "Users",
]
