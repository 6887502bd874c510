"""Options that several of the node's commands take."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

DEFAULT_CONFIG = Path("/etc/cordon/node.toml")


class Format(StrEnum):
    """How a command prints what it found."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


ConfigPath = Annotated[
    Path, typer.Option("--config", "-c", help="The node's TOML file.", envvar="CORDON_NODE_CONFIG", show_default=True)
]
