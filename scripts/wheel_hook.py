"""Hatch build hook: a wheel without the compiled contracts would only fail at first use."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class RequireArtifacts(BuildHookInterface):  # type: ignore[type-arg]
    """Refuses to build a wheel before `make build` has compiled the contracts."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if version == "editable":  # development installs compile after installing
            return
        artifacts = Path(self.root, "contracts", "artifacts")
        if not (artifacts / "PlatformCoin.json").is_file():
            raise FileNotFoundError(
                f"no compiled contracts in {artifacts}: run `make build`, or scripts/compile.py"
            )
