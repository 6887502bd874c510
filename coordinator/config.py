"""Every setting of the coordinator, and who is trusted with each path."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from cordon.configfile import ConfigModel
from cordon.manifest import PublicKey
from cordon.wire.tls import TlsFiles


class CoordinatorConfig(ConfigModel):
    """The coordinator. Read once at start-up, never changed while running."""

    listen: Annotated[str, Field(pattern=r"^[^/]+:\d{1,5}$")]
    """`address:port` to listen on: the only port of the federation."""

    tls: TlsFiles

    signing_key: Path
    """Ed25519 key in PEM form. *Secret*: signs what the coordinator puts into the register."""

    manifest: Path
    """Signed manifest. Not trusted by itself: it must be signed by the governance keys below."""

    governance_keys: Annotated[tuple[PublicKey, ...], Field(min_length=1)]
    """Ed25519 public keys; more than half must have signed the manifest."""

    contracts: Path | None = None
    """Folder with contracts beside those that come with Cordon. Not trusted: the manifest lists hashes."""

    store: Path
    """SQLite file of queries and register; made by `cordon coordinator init`. Holds no value that
    could be opened without an analyst's key. *Trusted for availability*: a lost register needs a new
    manifest."""

    keep_contributions_days: Annotated[int, Field(ge=1, le=3650)] = 30
    """The audit window: how long single contributions are kept so that sums can be added again."""

    log: Path | None = None
    """File for JSON lines; standard error where not given."""

    @property
    def erasures(self) -> Path:
        """Folder of signed orders to erase, beside the store."""
        return self.store.with_name("erasures")
