"""Every setting of an analyst, and who is trusted with each path."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Annotated

from pydantic import Field

from cordon.configfile import ConfigModel, read_config
from cordon.errors import Misconfigured
from cordon.manifest import PublicKey
from cordon.wire.tls import TlsFiles

VARIABLE = "CORDON_PROFILE"
DEFAULT = "analyst"


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


def profiles_folder() -> Path:
    """Where profiles lie that are called by name: one for each federation that somebody asks."""
    return Path.home() / ".config" / "cordon"


def known_profiles() -> list[str]:
    """Names of the profiles in `profiles_folder`."""
    return sorted(path.stem for path in profiles_folder().glob("*.toml"))


def find_profile(named: Path | str | None) -> Path:
    """Where a profile lies: at a path, or under a name in `profiles_folder`.

    Args:
        named: a word is a name, anything with a dot or a slash a path; None for what the environment names, or else
            for the profile `analyst`.
    """
    text = str(named or os.environ.get(VARIABLE) or DEFAULT)
    # Whatever lies in the current folder: a file there could name another coordinator and other keys to trust.
    is_name = re.fullmatch(r"[\w-]+", text) is not None
    return profiles_folder() / f"{text}.toml" if is_name else Path(text)


def read_profile(named: Path | str | None) -> Profile:
    """Read the profile at a path or under a name, or the default one.

    Raises:
        Misconfigured: missing, truncated or wrong.
    """
    found = find_profile(named)
    if not found.is_file():
        known = ", ".join(known_profiles())
        raise Misconfigured(
            f"there is no profile at {found}",
            hint=f"name one with --profile or {VARIABLE}; "
            + (f"there are: {known}" if known else "deploy/config/analyst.toml is a commented sample"),
        )
    return read_config(found, Profile)
