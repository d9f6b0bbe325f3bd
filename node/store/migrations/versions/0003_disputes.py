"""Disputes, and what is said in them

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from node.store.models import Amount

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_ARBITRATION_WINDOW = 30 * 86_400


def upgrade() -> None:
    op.create_table(
        "disputes",
        sa.Column("order_hash", sa.String(length=66), nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("deadline", sa.BigInteger(), nullable=False),
        sa.Column("disputed", Amount(), nullable=False),
        sa.Column("to_payer", Amount(), nullable=False),
        sa.Column("to_seller", Amount(), nullable=False),
        sa.Column("decision_hash", sa.String(length=66), nullable=True),
        sa.Column("decided_to_payer", Amount(), nullable=True),
        sa.Column("decided_to_seller", Amount(), nullable=True),
        sa.Column("closed_at", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("order_hash"),
    )
    with op.batch_alter_table("disputes", schema=None) as batch_op:
        batch_op.create_index("ix_disputes_open_deadline", ["closed_at", "deadline"], unique=False)

    op.create_table(
        "evidence_logs",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("block_timestamp", sa.BigInteger(), nullable=False),
        sa.Column("log_index", sa.Integer(), nullable=False),
        sa.Column("tx_hash", sa.String(length=66), nullable=False),
        sa.Column("order_hash", sa.String(length=66), nullable=False),
        sa.Column("party", sa.String(length=42), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("hash", sa.String(length=66), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("block_number", "log_index"),
    )
    with op.batch_alter_table("evidence_logs", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_evidence_logs_order_hash"), ["order_hash"], unique=False
        )

    op.create_table(
        "statements",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("purchase_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("party", sa.String(length=42), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("reference", sa.String(length=200), nullable=True),
        sa.Column("salt", sa.String(length=66), nullable=True),
        sa.Column("hash", sa.String(length=66), nullable=False),
        sa.Column("operation_id", sa.String(length=40), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["merchant_id"], ["merchants.id"]),
        sa.ForeignKeyConstraint(["operation_id"], ["operations.id"]),
        sa.ForeignKeyConstraint(["purchase_id"], ["purchases.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("purchase_id", "hash"),
    )
    with op.batch_alter_table("statements", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_statements_merchant_id"), ["merchant_id"])

    _keep_known_disputes()


def _keep_known_disputes() -> None:
    """Disputes indexed before this table was: their logs are not read again.

    Of an open one all is known but the hash of its complaint. Of one that is closed the books do
    not say what had left the order before the dispute: all of it is counted as disputed.
    """
    connection = op.get_bind()
    orders = sa.table(
        "escrow_orders",
        sa.column("order_hash", sa.String),
        sa.column("held", Amount()),
        sa.column("voided", Amount()),
        sa.column("released", Amount()),
        sa.column("dispute_deadline", sa.BigInteger),
        sa.column("dispute", sa.String),
    )
    disputes = sa.table(
        "disputes",
        sa.column("order_hash", sa.String),
        sa.column("opened_at", sa.BigInteger),
        sa.column("deadline", sa.BigInteger),
        sa.column("disputed", Amount()),
        sa.column("to_payer", Amount()),
        sa.column("to_seller", Amount()),
        sa.column("closed_at", sa.BigInteger),
    )
    for order in connection.execute(sa.select(orders).where(orders.c.dispute.is_not(None))).all():
        is_open = order.dispute == "open"
        to_payer, to_seller = (0, 0) if is_open else (order.voided, order.released)
        connection.execute(
            disputes.insert().values(
                order_hash=order.order_hash,
                opened_at=order.dispute_deadline - _ARBITRATION_WINDOW,
                deadline=order.dispute_deadline,
                disputed=order.held + to_payer + to_seller,
                to_payer=to_payer,
                to_seller=to_seller,
                closed_at=None if is_open else order.dispute_deadline,
            )
        )


def downgrade() -> None:
    with op.batch_alter_table("statements", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_statements_merchant_id"))

    op.drop_table("statements")
    with op.batch_alter_table("evidence_logs", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_evidence_logs_order_hash"))

    op.drop_table("evidence_logs")
    with op.batch_alter_table("disputes", schema=None) as batch_op:
        batch_op.drop_index("ix_disputes_open_deadline")

    op.drop_table("disputes")
