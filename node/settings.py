"""One typed settings object: defaults, then PLAZA_* environment variables, then flags."""

from __future__ import annotations

from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

DAY = 86_400
MAX_OPERATORS = 32


class Settings(BaseSettings):
    """How this node runs. Times are seconds, amounts atomic units."""

    model_config = SettingsConfigDict(env_prefix="PLAZA_", extra="ignore")

    data: Path = Field(Path("data"), description="folder of chain state, database, keys, manifest")
    network: str = Field("plaza", description="name of the network in the manifest")

    chain: str = Field(
        "auto", description='"auto" (anvil, else tester), "anvil", "tester", or a JSON-RPC URL'
    )
    chain_id: int = Field(4242, gt=0)
    rpc_port: int = Field(8545, ge=0, le=65_535, description="JSON-RPC of a local chain; 0: any")
    genesis_time: int | None = Field(None, description="unix time of block 0; None: now")
    anvil: Path | None = Field(None, description="the anvil binary; None: look for it")
    finality_depth: int = Field(0, ge=0, description="blocks to wait before a log counts")

    host: str = "127.0.0.1"
    port: int = Field(8400, ge=0, le=65_535, description="the bridge's port; 0: any")
    bridges: int = Field(
        2, ge=1, le=32, description="bridge processes on that port; one keeps one core busy"
    )
    operators: int = Field(
        1,
        ge=1,
        le=MAX_OPERATORS,
        description="keys that share the load of the operator's transactions; a new purchase names"
        " one of them, and keeps it",
    )
    public_url: str | None = Field(None, description="the bridge as others reach it")
    database_url: str | None = Field(None, description="None: SQLite in the data folder")
    passphrase_file: Path | None = Field(
        None, description="file with the seed's passphrase; None: one made in the data folder"
    )

    default_fee_bps: int = Field(250, ge=0, le=10_000)
    default_dispute_window: int = Field(7 * DAY, ge=0, le=2**32 - 1)
    authorize_within: int = Field(7 * DAY, gt=0)
    reclaim_after: int = Field(120 * DAY, gt=0)
    membership_seconds: int = Field(10 * 365 * DAY, gt=0)
    mint_capacity: int = Field(10**15, description="the treasury's mint limit, in atomic units")
    mint_refill_per_second: int = Field(10**10, description="and how fast it refills")

    # What follows is put on chain by the deployment, once; later changes go through the roles.
    governance_delay: int = Field(
        DAY, ge=0, le=365 * DAY, description="wait of the admin's and the steward's operations"
    )
    treasurer_delay: int = Field(
        DAY, ge=0, le=365 * DAY, description="wait of mint limits and withdrawals of the reserve"
    )
    caps_delay: int = Field(DAY, ge=0, le=365 * DAY, description="wait of new caps of credit lines")
    grant_delay: int = Field(
        DAY, ge=0, le=365 * DAY, description="wait of a new minter, underwriter or steward"
    )
    credit_line_cap: int = Field(
        5 * 10**10, ge=0, lt=2**72, description="most a credit line may allow, in atomic units"
    )
    credit_principal_cap: int = Field(
        10**13, ge=0, lt=2**72, description="most principal of all lines, in atomic units"
    )
    credit_reserve_bps: int = Field(
        1_000, ge=0, le=10_000, description="least first-loss reserve, in 1/10,000 of all principal"
    )

    webhook_networks: str = Field(
        "",
        description="networks that webhooks may go to although they are not public, and by plain"
        " http too: comma-separated, such as 10.1.0.0/16,::1/128",
    )
    webhook_timeout: float = Field(15.0, gt=0, le=120, description="seconds for an answer")
    webhook_concurrency: int = Field(8, ge=1, le=100, description="at once, to one endpoint")
    webhook_retention: int = Field(
        30 * DAY, ge=DAY, description="how long finished deliveries are kept"
    )

    metrics: bool = Field(True, description="GET /metrics of the bridge, for this machine alone")
    metrics_token_file: Path | None = Field(
        None, description="file with a token, with which anybody may read the metrics"
    )
    reconcile_seconds: int = Field(
        3600, ge=0, description="how often the worker compares database and chain; 0: never"
    )
    log_level: Literal["debug", "info", "warning", "error"] = "info"

    @field_validator("webhook_networks")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        _networks(value)
        return value

    @property
    def allowed_networks(self) -> tuple[IPv4Network | IPv6Network, ...]:
        """`webhook_networks`, parsed."""
        return _networks(self.webhook_networks)

    @property
    def store_url(self) -> str:
        return self.database_url or f"sqlite:///{self.data / 'plaza.db'}"

    @property
    def manifest_path(self) -> Path:
        return self.data / "network.json"


def _networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    return tuple(ip_network(part.strip()) for part in text.split(",") if part.strip())
