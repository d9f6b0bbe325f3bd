"""Chain transactions of several operations, and what staff may ask of the outbox

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "chain_tx_operations",
        sa.Column(
            "chain_tx_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("operation_id", sa.String(length=40), nullable=False),
        sa.Column("succeeded", sa.Boolean(), nullable=True),
        sa.ForeignKeyConstraint(["chain_tx_id"], ["chain_txs.id"]),
        sa.ForeignKeyConstraint(["operation_id"], ["operations.id"]),
        sa.PrimaryKeyConstraint("chain_tx_id", "position"),
    )
    op.create_index(
        "ix_chain_tx_operations_operation_id", "chain_tx_operations", ["operation_id"], unique=False
    )
    op.execute(
        "INSERT INTO chain_tx_operations (chain_tx_id, position, operation_id, succeeded)"
        " SELECT id, 0, operation_id, succeeded FROM chain_txs"
    )
    with op.batch_alter_table("chain_txs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("tx_hash", sa.String(length=66), nullable=True))
    op.execute(
        "UPDATE chain_txs SET tx_hash ="
        " (SELECT hash FROM tx_attempts WHERE tx_attempts.chain_tx_id = chain_txs.id)"
    )
    with op.batch_alter_table("chain_txs", schema=None) as batch_op:
        batch_op.alter_column("tx_hash", existing_type=sa.String(length=66), nullable=False)
        batch_op.drop_index("ix_chain_txs_operation_id")
        batch_op.drop_column("operation_id")
    with op.batch_alter_table("operations", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("alone", sa.Boolean(), nullable=False, server_default=sa.false())
        )
    with op.batch_alter_table("tx_attempts", schema=None) as batch_op:
        batch_op.add_column(
            sa.Column("kind", sa.String(length=16), nullable=False, server_default="call")
        )
    op.create_table(
        "outbox_requests",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("action", sa.String(length=16), nullable=False),
        sa.Column(
            "chain_tx_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=True
        ),
        sa.Column("operation_id", sa.String(length=40), nullable=True),
        sa.Column("gas_limit", sa.BigInteger(), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("answer", sa.Text(), nullable=True),
        sa.Column("requested_by", sa.String(length=40), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(["chain_tx_id"], ["chain_txs.id"]),
        sa.ForeignKeyConstraint(["operation_id"], ["operations.id"]),
        sa.ForeignKeyConstraint(["requested_by"], ["api_keys.id"]),
        sa.PrimaryKeyConstraint("id"),
    )
    for name, columns in (
        ("ix_outbox_requests_status", ["status", "id"]),
        ("ix_outbox_requests_chain_tx_id", ["chain_tx_id"]),
        ("ix_outbox_requests_operation_id", ["operation_id"]),
    ):
        op.create_index(name, "outbox_requests", columns, unique=False)


def downgrade() -> None:
    """Possible while no transaction carries several operations: the first of each is kept."""
    op.drop_table("outbox_requests")
    with op.batch_alter_table("tx_attempts", schema=None) as batch_op:
        batch_op.drop_column("kind")
    with op.batch_alter_table("operations", schema=None) as batch_op:
        batch_op.drop_column("alone")
    with op.batch_alter_table("chain_txs", schema=None) as batch_op:
        batch_op.add_column(sa.Column("operation_id", sa.String(length=40), nullable=True))
        batch_op.drop_column("tx_hash")
    op.execute(
        "UPDATE chain_txs SET operation_id = (SELECT operation_id FROM chain_tx_operations"
        " WHERE chain_tx_id = chain_txs.id AND position = 0)"
    )
    with op.batch_alter_table("chain_txs", schema=None) as batch_op:
        batch_op.alter_column("operation_id", existing_type=sa.String(length=40), nullable=False)
        batch_op.create_foreign_key(
            "chain_txs_operation_id_fkey", "operations", ["operation_id"], ["id"]
        )
        batch_op.create_index("ix_chain_txs_operation_id", ["operation_id"], unique=False)
    op.drop_table("chain_tx_operations")
