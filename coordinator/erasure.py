"""Erasures: governance signs that what a leaf commits to must go; the leaf and its proof stay.

The signed orders lie as files beside the store until the serving coordinator takes them up. Whoever can
write there cannot erase: only a governance key's signature counts.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

import structlog

from coordinator.store import Store
from cordon.envelope import Envelope, from_json
from cordon.errors import CordonError, Refused, Unavailable
from cordon.manifest import Manifest
from cordon.register.leaf import Erasure, ManifestAdopted, QuerySubmitted
from cordon.units import Digest
from cordon.wire import codec
from cordon.wire.signed import PAYLOAD_TYPES, open_signed, peek


class Erasures:
    """Signed orders on their way into the register."""

    def __init__(
        self, folder: Path, store: Store, manifest: Manifest, log: structlog.typing.FilteringBoundLogger
    ) -> None:
        """Nothing is taken up yet; the folder need not exist."""
        self._folder = folder
        self._store = store
        self._manifest = manifest
        self._log = log
        self._done: set[Path] = set()

    async def take(self) -> None:
        """Carry out every order that waits; a wrong one is told of once, and set aside where that is possible."""
        for path in sorted(self._folder.glob("*.json")):
            if path in self._done:
                continue
            try:
                await self.carry_out(from_json(path.read_text(encoding="utf-8")))
            except Unavailable:
                # The query is still open: its forces may yet need what it asks.
                continue
            except (CordonError, OSError, UnicodeDecodeError) as error:
                self._log.error("an order to erase does not hold", reason=f"{path.name}: {error}")
                self._set_aside(path, path.with_suffix(".refused"))
            else:
                self._set_aside(path, path.with_suffix(".done"))

    def _set_aside(self, path: Path, name: Path) -> None:
        self._done.add(path)
        # The folder may be somebody else's: then the order stays, and is not looked at again.
        with suppress(OSError):
            path.rename(name)

    async def carry_out(self, envelope: Envelope) -> None:
        """Append a signed erasure, and remove what its leaf commits to; once.

        Raises:
            Untrusted: not signed by a governance key.
            Refused: there is no such leaf, or it commits to nothing that is kept.
            Unavailable: the leaf's query is open.
        """
        erasure = open_signed(Erasure, envelope, self._manifest.governance_keys)
        if erasure.leaf_index >= self._store.register.size:
            raise Refused(f"the register has no leaf {erasure.leaf_index}")
        register = self._store.register
        found = register.read(erasure.leaf_index, erasure.leaf_index + 1)
        if not found or not list(register.openings(erasure.leaf_index, erasure.leaf_index + 1, public_by=None)):
            raise Refused(f"leaf {erasure.leaf_index} commits to nothing that is kept")
        leaf = codec.decode_envelope(found[0])
        if leaf.payload_type == PAYLOAD_TYPES[ManifestAdopted]:
            raise Refused("a manifest is what everybody verifies the register with, and cannot be erased")

        def change() -> None:
            query_hash = b""
            if leaf.payload_type == PAYLOAD_TYPES[QuerySubmitted]:
                query_hash = peek(QuerySubmitted, leaf).query_hash
                if not self._store.scrub(Digest(query_hash)):
                    raise Unavailable("the query is still open")
            register.append(envelope)
            register.erase(erasure.leaf_index, query_hash)

        await self._store.write(change)
        self._log.info("erased", leaf=erasure.leaf_index)
