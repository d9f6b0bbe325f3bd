"""Scores, the record of credit lines, and what is decided about them

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from node.store.models import Amount

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("credit_offers", schema=None) as batch_op:
        batch_op.add_column(sa.Column("declined_at", sa.BigInteger(), nullable=True))
    with op.batch_alter_table("credit_lines", schema=None) as batch_op:
        batch_op.add_column(sa.Column("unpaid_fees", Amount(), server_default="0", nullable=False))

    op.create_table(
        "credit_entries",
        sa.Column(
            "id",
            sa.BigInteger().with_variant(sa.Integer(), "sqlite"),
            autoincrement=True,
            nullable=False,
        ),
        sa.Column("seller", sa.String(length=42), nullable=False),
        sa.Column("block_number", sa.BigInteger(), nullable=False),
        sa.Column("block_timestamp", sa.BigInteger(), nullable=False),
        sa.Column("log_index", sa.Integer(), nullable=False),
        sa.Column("tx_hash", sa.String(length=66), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("order_hash", sa.String(length=66), nullable=True),
        sa.Column("principal", Amount(), nullable=False),
        sa.Column("fees", Amount(), nullable=False),
        sa.Column("interest", Amount(), nullable=False),
        sa.Column("recovered", Amount(), nullable=False),
        sa.Column("principal_after", Amount(), nullable=False),
        sa.Column("fees_after", Amount(), nullable=False),
        sa.Column("interest_after", Amount(), nullable=False),
        sa.Column("rate_after", Amount(), nullable=False),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("block_number", "log_index"),
    )
    with op.batch_alter_table("credit_entries", schema=None) as batch_op:
        batch_op.create_index("ix_credit_entries_seller", ["seller", "id"], unique=False)
    _carry_lines()

    op.create_table(
        "line_actions",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("amount", Amount(), nullable=True),
        sa.Column("reason", sa.String(length=200), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["accounts.id"],
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"],
            ["merchants.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("line_actions", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_line_actions_account_id"), ["account_id"], unique=False
        )
        batch_op.create_index(
            batch_op.f("ix_line_actions_merchant_id"), ["merchant_id"], unique=False
        )

    op.create_table(
        "line_holds",
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("reason", sa.String(length=200), nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["accounts.id"],
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"],
            ["merchants.id"],
        ),
        sa.PrimaryKeyConstraint("account_id"),
    )

    op.create_table(
        "scores",
        sa.Column("id", sa.String(length=40), nullable=False),
        sa.Column("merchant_id", sa.String(length=40), nullable=False),
        sa.Column("account_id", sa.String(length=40), nullable=False),
        sa.Column("value", sa.String(length=40), nullable=False),
        sa.Column("grade", sa.String(length=1), nullable=False),
        sa.Column("model_version", sa.String(length=120), nullable=False),
        sa.Column("model_hash", sa.String(length=66), nullable=False),
        sa.Column("features_hash", sa.String(length=66), nullable=False),
        sa.Column("reasons", sa.JSON(), nullable=False),
        sa.Column("cutoff", sa.BigInteger(), nullable=False),
        sa.Column("valid_until", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"],
            ["accounts.id"],
        ),
        sa.ForeignKeyConstraint(
            ["merchant_id"],
            ["merchants.id"],
        ),
        sa.PrimaryKeyConstraint("id"),
    )
    with op.batch_alter_table("scores", schema=None) as batch_op:
        batch_op.create_index("ix_scores_account", ["account_id", "id"], unique=False)
        batch_op.create_index(batch_op.f("ix_scores_merchant_id"), ["merchant_id"], unique=False)


def _carry_lines() -> None:
    """Lines that are open already have no record yet: it begins with what they are now."""
    connection = op.get_bind()
    block = connection.scalar(sa.text("SELECT max(number) FROM blocks"))
    lines = sa.table(
        "credit_lines",
        *(sa.column(name) for name in ("seller", "status", "accrued_at", "opened_at", "apr_bps")),
        *(sa.column(name, Amount()) for name in ("principal", "interest")),
    )
    columns = lines.c
    entries = sa.table(
        "credit_entries",
        *(
            sa.column(name)
            for name in (
                "seller",
                "block_number",
                "block_timestamp",
                "log_index",
                "tx_hash",
                "kind",
            )
        ),
        *(
            sa.column(name, Amount())
            for name in ("principal", "fees", "interest", "recovered", "principal_after")
        ),
        *(sa.column(name, Amount()) for name in ("fees_after", "interest_after", "rate_after")),
    )
    # No log has a negative index.
    for number, line in enumerate(connection.execute(sa.select(*columns).order_by(columns.seller))):
        active = line.status == "active"
        connection.execute(
            sa.insert(entries),
            {
                "seller": line.seller,
                "block_number": block or 0,
                "block_timestamp": line.accrued_at or line.opened_at,
                "log_index": -number - 1,
                "tx_hash": "",
                "kind": "carried",
                **dict.fromkeys(("principal", "fees", "interest", "recovered"), 0),
                "principal_after": line.principal,
                "fees_after": 0,
                "interest_after": line.interest,
                "rate_after": line.principal * line.apr_bps if active else 0,
            },
        )


def downgrade() -> None:
    op.drop_table("scores")
    op.drop_table("line_holds")
    op.drop_table("line_actions")
    op.drop_table("credit_entries")
    with op.batch_alter_table("credit_lines", schema=None) as batch_op:
        batch_op.drop_column("unpaid_fees")
    with op.batch_alter_table("credit_offers", schema=None) as batch_op:
        batch_op.drop_column("declined_at")
