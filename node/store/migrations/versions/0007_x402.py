"""Transfers paid by x402: by whom ever, for a resource

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("transfers", schema=None) as batch_op:
        batch_op.add_column(sa.Column("resource", sa.String(length=2000), nullable=True))
        batch_op.alter_column("from_account_id", existing_type=sa.String(length=40), nullable=True)


def downgrade() -> None:
    with op.batch_alter_table("transfers", schema=None) as batch_op:
        batch_op.alter_column("from_account_id", existing_type=sa.String(length=40), nullable=False)
        batch_op.drop_column("resource")
