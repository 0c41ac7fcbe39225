"""Bringing a database to the schema of this program.

The stored revision is asked first with a plain SELECT: Alembic takes longer to import than a server
that has nothing to migrate takes to start.
"""

from __future__ import annotations

from pathlib import Path

from bandari.adapters.storage.database import (
    Connection,
    Database,
    DatabaseMissing,
    DatabaseNotMigrated,
    DatabaseTooNew,
    StorageError,
    Verdict,
)

REVISIONS = ("0001", "0002", "0003", "0004", "0005")
"""All revisions that this program knows, oldest first; a test holds them equal to the files."""

MIGRATIONS = Path(__file__).parent / "migrations"


def bring_up(database: Database, *, create: bool = True, migrate: bool = True) -> None:
    """Make sure that the database has this program's schema, or raise a ``StorageError``.

    Several processes may do so at the same moment: one migrates, the others wait for it.
    """
    try:
        if not database.exists():
            if not create:
                raise DatabaseMissing
            database.create()
        if _is_current(database):
            return
        if not migrate:
            raise DatabaseNotMigrated
        upgrade(database, REVISIONS[-1])
    except StorageError as error:
        raise type(error)(*error.args or (type(error).__doc__,)) from error.__cause__
    except Exception as error:
        if not _is_of_driver(database, error):
            raise
        raise StorageError(f"The database cannot be opened: {error}") from error


def stored_revision(database: Database) -> str | None:
    """The revision of the schema in the database, None if there is none."""
    if not database.exists():
        return None
    connection = database.connect_reader()
    try:
        return _revision(database, connection)
    finally:
        connection.close()


def upgrade(database: Database, revision: str) -> None:
    """Bring the schema to ``revision``, all in one transaction."""
    # They cost 200 ms, and nearly no start needs them.
    from alembic import command  # noqa: PLC0415
    from alembic.config import Config  # noqa: PLC0415

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    engine = database.migration_engine()
    try:
        # Alembic looks at the revision again inside the transaction, which only one process is in.
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    finally:
        engine.dispose()


def _is_current(database: Database) -> bool:
    revision = stored_revision(database)
    if revision is not None and revision not in REVISIONS:
        raise DatabaseTooNew(
            f"The database has revision {revision}, and this version of Bandari knows only"
            f" {REVISIONS[-1]} and older ones: use the newer version, or a backup."
        )
    return revision == REVISIONS[-1]


def _revision(database: Database, connection: Connection) -> str | None:
    try:
        row = connection.cursor.execute("SELECT version_num FROM alembic_version").fetchone()
    except Exception as error:
        if database.is_driver_error(error) and database.judge(error) is Verdict.CULPRIT:
            return None  # there is no such table yet
        raise
    return None if row is None else str(row[0])


def _is_of_driver(database: Database, error: Exception) -> bool:
    cause = getattr(error, "orig", None)  # SQLAlchemy wraps what the driver raised
    return database.is_driver_error(cause if isinstance(cause, Exception) else error)
