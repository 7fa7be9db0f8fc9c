"""Alembic runs this: migrations in the transaction, and under the lock, of the connection that was handed over."""

from alembic import context

from dokja.serve.store.tables import Base

context.configure(connection=context.config.attributes["connection"], target_metadata=Base.metadata,
                  transactional_ddl=True, transaction_per_migration=False, render_as_batch=True)
context.run_migrations()
