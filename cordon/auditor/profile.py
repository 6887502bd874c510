"""Every setting of an auditor, and who is trusted with each path."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field

from cordon.configfile import ConfigModel, read_config
from cordon.errors import Misconfigured
from cordon.manifest import PublicKey
from cordon.wire.tls import TlsFiles

VARIABLE = "CORDON_AUDITOR"


class Profile(ConfigModel):
    """One auditor of one federation."""

    coordinator: Annotated[str, Field(pattern=r"^[^:/]+:\d{1,5}$")]
    """`host:port` of the coordinator."""

    proxy: Annotated[str, Field(pattern=r"^http://[^/]+$")] | None = None
    """HTTP proxy to CONNECT through, `http://host:port`."""

    tls: TlsFiles

    governance_keys: Annotated[tuple[PublicKey, ...], Field(min_length=1)]
    """Ed25519 public keys of the federation's governance, from another source than the coordinator.
    *Trusted for membership*: they decide whose signatures count."""

    mirror: Path
    """Folder for the auditor's own copy of the register; owner-only, for it holds opened queries."""


def default_path() -> Path:
    """Where the profile lies unless a command says otherwise."""
    return Path(os.environ.get(VARIABLE) or Path.home() / ".config" / "cordon" / "auditor.toml")


def read_profile(path: Path | None) -> Profile:
    """Read the profile at `path`, or at its default place.

    Raises:
        Misconfigured: missing, truncated or wrong.
    """
    found = path or default_path()
    if not found.is_file():
        raise Misconfigured(
            f"there is no profile at {found}",
            hint=f"name it with --profile or {VARIABLE}; deploy/config/auditor.toml is a commented sample; "
            "for a published register, --governance-key is enough",
        )
    return read_config(found, Profile)
