"""Every setting of an analyst, and who is trusted with each path."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from pydantic import Field

from cordon.configfile import ConfigModel, read_config
from cordon.errors import Misconfigured
from cordon.manifest import PublicKey
from cordon.wire.tls import TlsFiles

VARIABLE = "CORDON_PROFILE"


class Profile(ConfigModel):
    """One analyst of one federation."""

    coordinator: Annotated[str, Field(pattern=r"^[^:/]+:\d{1,5}$")]
    """`host:port` of the coordinator."""

    proxy: Annotated[str, Field(pattern=r"^http://[^/]+$")] | None = None
    """HTTP proxy to CONNECT through, `http://host:port`."""

    tls: TlsFiles

    signing_key: Path
    """Ed25519 key in PEM form. *Secret*: whoever reads it can ask in this analyst's name."""

    certificate: Path
    """PEM certificate of that key, issued by the federation's authority."""

    governance_keys: Annotated[tuple[PublicKey, ...], Field(min_length=1)]
    """Ed25519 public keys of the federation's governance, from another source than the coordinator.
    *Trusted for membership*: they decide which forces' keys count."""

    workspace: Path
    """Folder for open queries' keys and for answers; owner-only. *Secret* until a query is opened."""


def default_path() -> Path:
    """Where the profile lies unless a command says otherwise."""
    return Path(os.environ.get(VARIABLE) or Path.home() / ".config" / "cordon" / "analyst.toml")


def read_profile(path: Path | None) -> Profile:
    """Read the profile at `path`, or at its default place.

    Raises:
        Misconfigured: missing, truncated or wrong.
    """
    found = path or default_path()
    if not found.is_file():
        raise Misconfigured(
            f"there is no profile at {found}",
            hint=f"name it with --profile or {VARIABLE}; deploy/config/analyst.toml is a commented sample",
        )
    return read_config(found, Profile)
