"""The ledger's store, on SQLite or PostgreSQL: one implementation of the ports for both."""

from bandari.adapters.storage.database import StorageError
from bandari.adapters.storage.store import Store, open_store

__all__ = ["StorageError", "Store", "open_store"]
