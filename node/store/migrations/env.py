"""Alembic's entry point; `node.store.migrate` passes the connection in."""

from alembic import context

from node.store.models import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    transactional_ddl=True,  # SQLite's too, though Alembic does not take it for granted
)
with context.begin_transaction():
    context.run_migrations()
connection.commit()
