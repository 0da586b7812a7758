"""Alembic's entry: runs inside the transaction that `weft_serving.store.migrate` opened."""

from alembic import context

from weft_serving.line.past.tables import Base  # with a line's tables

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    transactional_ddl=True,
    render_as_batch=connection.dialect.name == "sqlite",
)
context.run_migrations()
