"""Every setting of a force's node, and who is trusted with each path."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from cordon.configfile import ConfigModel
from cordon.manifest import PublicKey
from cordon.units import ForceId
from cordon.wire.tls import TlsFiles


class NodeConfig(ConfigModel):
    """One force's node. Read once at start-up, never changed while running."""

    force: ForceId
    """This force's id in the manifest."""

    coordinator: Annotated[str, Field(pattern=r"^[^:/]+:\d{1,5}$")]
    """`host:port` of the coordinator: the only address that the node dials."""

    proxy: Annotated[str, Field(pattern=r"^http://[^/]+$")] | None = None
    """HTTP proxy to CONNECT through, `http://host:port`. The environment's proxies are not used."""

    tls: TlsFiles

    signing_key: Path
    """Ed25519 key in PEM form. *Secret*: whoever reads it can charge and decide in this force's name."""

    seal_key: Path
    """X25519 key in PEM form. *Secret*: check seeds are sealed to it."""

    manifest: Path
    """Signed manifest. Not trusted by itself: it must be signed by the governance keys below."""

    governance_keys: Annotated[tuple[PublicKey, ...], Field(min_length=1)]
    """Ed25519 public keys that an officer has entered; more than half must have signed the manifest.
    *Trusted for membership*: they decide who the other forces are."""

    contracts: Path | None = None
    """Folder with contracts beside those that come with Cordon. Not trusted: the manifest lists hashes."""

    policy: Path
    """This force's own rules and budgets. *Trusted for privacy*: it sets what may be spent."""

    state: Path
    """Folder of ledger and snapshots; must exist. *Trusted for privacy*: whoever rolls the ledger
    back to an old copy hands out budget that was already spent. Keep it on an encrypted volume."""

    mappings: tuple[Path, ...] = ()
    """Mappings from this force's sources to contracts; read by `cordon node load` only."""

    linkage_key: Path | None = None
    """File with the 32 bytes that the forces hash linkage identifiers with, as 64 hexadecimal digits; read by
    `cordon node load` only. *Secret*: with it and one force's snapshot, whoever guesses a number can find it. The
    coordinator never has it. Left out, no linkage identifier is stored."""

    log: Path | None = None
    """File for JSON lines; standard error where not given."""

    @property
    def ledger(self) -> Path:
        """The ledger's file."""
        return self.state / "ledger.sqlite"

    @property
    def pause_file(self) -> Path:
        """Exists while the node is paused."""
        return self.state / "paused"
