"""Whose key counts at which leaf: the manifests that the register adopted, each trusted by the one before."""

from __future__ import annotations

from bisect import bisect_left

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from cordon.envelope import Envelope
from cordon.errors import Untrusted
from cordon.manifest import Manifest, open_manifest, open_manifest_with
from cordon.reading.mirror import Mirror
from cordon.units import Digest
from cordon.wire import codec


class Membership:
    """The manifests adopted so far, by leaf."""

    def __init__(self, governance_keys: tuple[str, ...]) -> None:
        """Nothing is adopted yet.

        Args:
            governance_keys: what the reader trusts, in hexadecimal.
        """
        self._governance_keys = governance_keys
        self._leaves: list[int] = []
        self._manifests: list[Manifest] = []
        self.keys: dict[bytes, bytes] = {}
        """Key id → raw key of everybody who was ever a member or governs."""
        self.coordinator = b""
        """Key id of the coordinator by the newest manifest."""
        self.forces: dict[str, bytes] = {}
        """Force → key id, by the newest manifest."""
        self._ever: set[tuple[str, bytes]] = set()
        """(force, key id) by any manifest so far."""
        self.replaces = False
        """Whether this register replaces one that was lost, by any manifest so far."""

    @property
    def newest(self) -> Manifest:
        """The newest manifest; there is one."""
        return self._manifests[-1]

    @property
    def first(self) -> Manifest | None:
        """The oldest manifest."""
        return self._manifests[0] if self._manifests else None

    def opened(self, document: Envelope) -> Manifest:
        """A manifest that whoever the newest one names has signed; the first, the reader's own keys.

        Raises:
            Untrusted: too few signatures, or it does not follow the newest one.
            Malformed: not a manifest.
        """
        if not self._manifests:
            return open_manifest_with(document, self._governance_keys)
        before = self.newest
        found = open_manifest(document, trusted=before.governance_keys, threshold=before.governance.threshold)
        if found.version != before.version + 1 or found.origin != before.origin:
            raise Untrusted(
                f"version {found.version} for {found.origin!r} does not follow version {before.version} for "
                f"{before.origin!r}"
            )
        return found

    def adopt(self, leaf: int, manifest: Manifest) -> None:
        """From the next leaf on, this manifest counts."""
        self._leaves.append(leaf)
        self._manifests.append(manifest)
        members = {force.id: bytes.fromhex(force.signing_key) for force in manifest.forces}
        self.keys |= ids_of(manifest)
        by_key = {raw: key for key, raw in self.keys.items()}
        self.coordinator = by_key[bytes.fromhex(manifest.coordinator_key)]
        self.forces = {force: by_key[raw] for force, raw in members.items()}
        self._ever |= set(self.forces.items())
        register = manifest.register_
        self.replaces |= register is not None and register.replaces_root is not None

    def was_key_of(self, force: str, key: bytes) -> bool:
        """Whether a key id is or was that of a force, by any manifest so far."""
        return (force, key) in self._ever

    def at(self, leaf: int) -> Manifest:
        """The manifest in force at a leaf: the newest before it, or the first."""
        return self._manifests[max(bisect_left(self._leaves, leaf) - 1, 0)]

    def governs(self, key: bytes, leaf: int) -> bool:
        """Whether a key id is of a governance key at a leaf."""
        return key in self.at(leaf).governance_keys


def members_of(mirror: Mirror, governance_keys: tuple[str, ...]) -> Membership:
    """The manifests that a mirror's leaves adopted, verified anew."""
    members = Membership(governance_keys)
    for leaf, data in mirror.sql.execute("SELECT leaf, envelope FROM manifests ORDER BY leaf").fetchall():
        members.adopt(leaf, members.opened(codec.decode_envelope(data)))
    return members


def ids_of(manifest: Manifest) -> dict[bytes, bytes]:
    """Key id → raw key of everybody whom a manifest lists, but analysts."""
    rings: list[dict[Digest, Ed25519PublicKey]] = [manifest.coordinator_keyring, manifest.governance_keys]
    rings += [manifest.keyring(force.id) for force in manifest.forces]
    return {bytes(key): public.public_bytes_raw() for ring in rings for key, public in ring.items()}
