"""What the commands of a force's own people read: the node's files, beside the node that serves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from cordon.catalogue import Catalogue, read_catalogue
from cordon.configfile import read_config
from cordon.errors import Misconfigured
from cordon.manifest import Manifest, read_manifest
from cordon.register.leaf import NO_DIGEST, Receipt
from cordon.register.spending import Spending
from cordon.units import Digest
from cordon.wire.signed import peek
from node.config import NodeConfig
from node.gate import Holding
from node.ledger import Ledger
from node.policy import Policy


@dataclass(frozen=True, slots=True)
class Office:
    """One force's files, open to be read; use as a context manager."""

    settings: NodeConfig
    manifest: Manifest
    catalogue: Catalogue
    policy: Policy
    ledger: Ledger

    @classmethod
    def open(cls, config: Path) -> Self:
        """Read the files that a node's configuration names.

        Raises:
            Misconfigured: one of them is missing, truncated or wrong.
        """
        settings = read_config(config, NodeConfig)
        manifest, _ = read_manifest(settings.manifest, settings.governance_keys)
        catalogue = read_catalogue(manifest, settings.contracts)
        policy = read_config(settings.policy, Policy)
        return cls(settings, manifest, catalogue, policy, Ledger(settings.ledger, force=settings.force, read_only=True))

    def __enter__(self) -> Self:
        """Everything is open already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the ledger."""
        self.ledger.close()

    def holdings(self) -> dict[tuple[str, int], Holding]:
        """What this force holds, by data set and version.

        Raises:
            Misconfigured: a snapshot is truncated or for another contract.
        """
        # Reading a snapshot takes a library that loads slowly; most commands do without.
        from node.aggregate import Snapshot  # noqa: PLC0415
        from node.snapshot import snapshot_path  # noqa: PLC0415

        held = {}
        for name, (contract, _) in self.catalogue.items():
            path = snapshot_path(self.settings.state, *name)
            if path.is_file():
                snapshot = Snapshot(path, contract)
                held[name] = Holding.of(contract, snapshot.vintage)
                snapshot.close()
        return held

    def spending(self) -> Spending:
        """What was charged, added up from this force's own receipts."""
        spending = Spending()
        for _, envelope in self.ledger.receipts():
            spending.add(peek(Receipt, envelope))
        return spending

    def key_of(self, analyst: str) -> Digest:
        """Key id that an analyst of this name was last charged under; that of nobody where none was."""
        names = {row.query_hash: row.analyst for row in self.ledger.history()}
        receipts = [peek(Receipt, envelope) for _, envelope in self.ledger.receipts()]
        found = [receipt.analyst_key_id for receipt in receipts if names.get(receipt.query_hash) == analyst]
        return found[-1] if found else NO_DIGEST

    def find(self, prefix: str) -> Digest:
        """The query whose id begins with `prefix`.

        Raises:
            Misconfigured: none does, or several do.
        """
        found = [row.query_hash for row in self.ledger.history() if row.query_hash.hex().startswith(prefix.lower())]
        if len(found) != 1:
            told = "several queries have" if found else "this force was asked no query with"
            raise Misconfigured(f"{told} an id that begins with {prefix!r}", hint="ids: cordon node history")
        return found[0]
