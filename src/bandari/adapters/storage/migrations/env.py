"""Run by Alembic: applies the migrations on the connection that ``migrate.py`` has opened."""

from alembic import context

from bandari.adapters.storage.kept_tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
)
context.run_migrations()
