"""Indexes that lists walk from the newest row on

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

# By table: what its list is filtered by, between the merchant and the id; "" for the whole list.
_LISTS = {
    "accounts": ("",),
    "api_keys": ("",),
    "credit_offers": ("", "account_id", "status"),
    "draws": ("account_id",),
    "line_actions": ("account_id",),
    # The last is what SQLite takes where the list is filtered by both: it has the fewer rows.
    "operations": ("", "status", "resource_id"),
    "payment_requests": ("", "payee_account_id", "reference"),
    "pool_deposits": ("",),
    "pool_withdrawals": ("",),
    "purchases": ("",),
    "redemptions": ("", "ref", "status"),
    "repayments": ("account_id",),
    "reserve_fundings": ("",),
    "scores": ("", "account_id", "grade"),
    "sales_facts": ("kind", "order_id", "seller_account_id"),
    "topups": ("", "ref", "status"),
    "transfers": ("", "status"),
    "webhook_endpoints": ("",),
}
_DELIVERIES = {"status": ["endpoint_id", "status", "number"], "event": ["endpoint_id", "event_seq"]}
# The first column of each index of a list does what these did.
_REPLACED = (
    "accounts",
    "api_keys",
    "credit_offers",
    "draws",
    "line_actions",
    "operations",
    "pool_deposits",
    "pool_withdrawals",
    "redemptions",
    "repayments",
    "reserve_fundings",
    "scores",
    "topups",
    "transfers",
    "webhook_endpoints",
)


def upgrade() -> None:
    for table, filters in _LISTS.items():
        for column in filters:
            columns = [name for name in ("merchant_id", column, "id") if name]
            op.create_index(_name(table, column), table, columns)
    for name, columns in _DELIVERIES.items():
        op.create_index(_name("webhook_deliveries", name), "webhook_deliveries", columns)
    op.create_index("ix_chain_txs_sender", "chain_txs", ["sender", "id"])
    for table in _REPLACED:
        op.drop_index(f"ix_{table}_merchant_id", table)


def downgrade() -> None:
    for table in _REPLACED:
        op.create_index(f"ix_{table}_merchant_id", table, ["merchant_id"])
    op.drop_index("ix_chain_txs_sender", "chain_txs")
    for name in _DELIVERIES:
        op.drop_index(_name("webhook_deliveries", name), "webhook_deliveries")
    for table, filters in _LISTS.items():
        for column in filters:
            op.drop_index(_name(table, column), table)


def _name(table: str, column: str) -> str:
    return f"ix_{table}_list{'_' if column else ''}{column}"
