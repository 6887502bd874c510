"""The federation manifest: who is a member, in which role, and within which limits.

Signed by k of the governance keys; version n+1 by k keys of version n (TUF's root rule). Whoever
holds a manifest has verified it, because the only way to one is `open_manifest`.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Mapping
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from cordon.accounting import epsilon, rho_for_epsilon
from cordon.envelope import MANIFEST, Envelope, from_json, key_id, open_envelope
from cordon.errors import Malformed, Misconfigured, Untrusted
from cordon.units import Digest, ForceId, Name, Positive, Rho

_HEX_KEY = re.compile(r"[0-9a-f]{64}")


def _hex_key(value: str) -> str:
    # Not `bytes.fromhex` alone: it skips blanks, and a key in two spellings would pass for two keys.
    if not _HEX_KEY.fullmatch(value):
        raise ValueError("a key or digest is 64 lower-case hexadecimal digits")
    return value


PublicKey = Annotated[str, AfterValidator(_hex_key)]
"""A raw public key of 32 bytes, in hexadecimal."""

_Sha256 = Annotated[str, AfterValidator(_hex_key)]


class _Model(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Governance(_Model):
    """Who may change this manifest."""

    threshold: Annotated[int, Field(ge=1)]
    """How many of the keys must sign."""

    keys: Annotated[tuple[PublicKey, ...], Field(min_length=1)]
    """Ed25519 public keys."""

    @model_validator(mode="after")
    def _can_be_met(self) -> Self:
        if self.threshold > len(set(self.keys)):
            raise ValueError("the threshold is higher than the number of governance keys")
        return self


class Limits(_Model):
    """What one query may be at most."""

    cells: Annotated[int, Field(ge=1, le=10**7)] = 100_000
    epsilon: Positive
    """Most epsilon per query, over all its attempts, at the federation's delta."""

    attempts: Annotated[int, Field(ge=1, le=10)] = 3
    open_queries: Annotated[int, Field(ge=1)] = 20
    """Queries that one analyst may have open at once."""


class Timing(_Model):
    """How long each side waits; all bounds are public."""

    release_tick_milliseconds: Annotated[int, Field(ge=1, le=60_000)] = 250
    """Contributions leave on whole multiples of this after the roster's arrival."""

    ready_seconds: Annotated[int, Field(ge=1, le=600)] = 5
    """How long an admitted force has to answer Ready."""

    contribute_seconds: Annotated[int, Field(ge=1, le=3600)] = 30
    """How long a force on a roster has to contribute, before it counts as lost."""

    freshness_seconds: Annotated[int, Field(ge=10, le=86_400)] = 600
    """How old the newest checkpoint that a force has accepted may be, and how long a receipt may wait to
    be shown in the register, before the force answers nothing more."""

    clock_tolerance_seconds: Annotated[int, Field(ge=0, le=3600)] = 60
    cooldown_seconds: Annotated[int, Field(ge=0, le=86_400)] = 300
    """How long a force that failed a roster is left out of new ones."""


class Force(_Model):
    """One member force."""

    id: ForceId
    name: Annotated[str, Field(min_length=1, max_length=80)]
    signing_key: PublicKey
    """Ed25519; signs decisions, Ready notes and receipts."""

    seal_key: PublicKey
    """X25519; check seeds are sealed to it (HPKE)."""


Regime = Literal["dpa_2018_part_3", "uk_gdpr"]

_REGIMES: dict[Regime, str] = {"dpa_2018_part_3": "Data Protection Act 2018, Part 3", "uk_gdpr": "UK GDPR"}


class Purpose(_Model):
    """Something that questions may be asked for, with its basis in law."""

    code: Name
    title: str
    regime: Regime
    """Law enforcement (Part 3 of the Data Protection Act 2018), or the general regime."""

    legal_basis: str
    embargo_days: Annotated[int, Field(ge=0)] = 0
    """Days before the opened question is served to the public."""

    @property
    def basis(self) -> str:
        """Regime and provision, for people."""
        return f"{_REGIMES[self.regime]}: {self.legal_basis}"


class ListedContract(_Model):
    """A data contract of this federation, by the SHA-256 of its TOML bytes."""

    dataset: Name
    version: Annotated[int, Field(ge=1)]
    sha256: _Sha256


class Register(_Model):
    """Which register the federation's leaves stand in."""

    origin: Annotated[str, Field(pattern=r"^[^\s+]{1,100}$")]
    """Name of the register, in every checkpoint."""

    replaces_size: Annotated[int, Field(ge=0)] = 0
    replaces_root: _Sha256 | None = None
    """Last checkpoint that members hold of the register before, where that was lost."""


class Manifest(_Model):
    """A verified federation manifest."""

    federation: Annotated[str, Field(min_length=1, max_length=80)]
    version: Annotated[int, Field(ge=1)]
    oldest_protocol: Annotated[int, Field(ge=1)] = 1
    delta: Positive
    """Delta at which people read epsilon; below one over the population."""

    tolerated_colluders: Annotated[int, Field(ge=1)] | None = None
    """Colluding forces c that noise and rosters allow for; a third of the forces where not given."""

    governance: Governance
    coordinator_key: PublicKey
    """Ed25519; signs what the coordinator puts in the register."""

    authority: str
    """PEM certificate of the authority that certifies analysts, auditors and every TLS end."""

    limits: Limits
    timing: Timing = Timing()
    register_: Annotated[Register | None, Field(alias="register")] = None
    """Where not given, the register is named after the federation and replaces none."""

    forces: Annotated[tuple[Force, ...], Field(alias="force", min_length=1)]
    purposes: Annotated[tuple[Purpose, ...], Field(alias="purpose", min_length=1)]
    contracts: Annotated[tuple[ListedContract, ...], Field(alias="contract", min_length=1)]

    _digest: Digest = PrivateAttr()

    @model_validator(mode="after")
    def _members_are_distinct(self) -> Self:
        ids = [force.id for force in self.forces]
        keys = [force.signing_key for force in self.forces] + [self.coordinator_key]
        if len(set(ids)) != len(ids) or len(set(keys)) != len(keys):
            raise ValueError("two members share an id or a signing key")
        if not Fraction(0) < self.delta < Fraction(1, 1000):
            raise ValueError("delta must lie between 0 and 1/1000")
        return self

    @property
    def digest(self) -> Digest:
        """SHA-256 of the TOML bytes."""
        return self._digest

    @property
    def colluders(self) -> int:
        """Tolerated colluding forces c."""
        return self.tolerated_colluders or max(1, len(self.forces) // 3)

    @property
    def origin(self) -> str:
        """Name of the register."""
        if self.register_ is not None:
            return self.register_.origin
        return "cordon/" + re.sub(r"[^a-z0-9]+", "-", self.federation.lower()).strip("-")

    @property
    def coordinator_public(self) -> Ed25519PublicKey:
        """The key that signs leaves and checkpoints."""
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.coordinator_key))

    @property
    def smallest_roster(self) -> int:
        """Fewest forces of an ordinary roster, c + 2: two honest ones always remain."""
        return self.colluders + 2

    @property
    def vouches_needed(self) -> int:
        """Vouches of other forces before a started force opens its ledger: c + 1, as far as there are so many."""
        return min(self.colluders + 1, len(self.forces) - 1)

    @cached_property
    def by_id(self) -> dict[str, Force]:
        """Members by force id."""
        return {force.id: force for force in self.forces}

    @cached_property
    def by_purpose(self) -> dict[str, Purpose]:
        """Purposes by code."""
        return {purpose.code: purpose for purpose in self.purposes}

    @property
    def governance_keys(self) -> dict[Digest, Ed25519PublicKey]:
        """Keys that may sign the next version, by key id."""
        return _keyring(self.governance.keys)

    @property
    def coordinator_keyring(self) -> dict[Digest, Ed25519PublicKey]:
        """The coordinator's key, by key id."""
        return _keyring([self.coordinator_key])

    def keyring(self, force: str) -> dict[Digest, Ed25519PublicKey]:
        """The signing key of one force, by key id.

        Raises:
            Untrusted: no such member.
        """
        if force not in self.by_id:
            raise Untrusted(f"{force} is not a member of {self.federation}")
        return self._keyrings[force]

    @cached_property
    def _keyrings(self) -> dict[str, dict[Digest, Ed25519PublicKey]]:
        return {force.id: _keyring([force.signing_key]) for force in self.forces}

    def seal_key(self, force: str) -> X25519PublicKey:
        """The key that check seeds are sealed to for a member force."""
        return X25519PublicKey.from_public_bytes(bytes.fromhex(self.by_id[force].seal_key))

    def lists(self, dataset: str, version: int, digest: Digest) -> bool:
        """Whether this contract, with exactly these bytes, is one of the federation's."""
        return ListedContract(dataset=dataset, version=version, sha256=digest.hex()) in self.contracts

    @cached_property
    def most_rho(self) -> Rho:
        """Most rho of one query, over all its attempts."""
        return rho_for_epsilon(self.limits.epsilon, float(self.delta))

    def epsilon(self, rho: Rho) -> float:
        """What `rho` is for people: epsilon at the federation's delta."""
        return epsilon(rho, float(self.delta))


def parse_manifest(payload: bytes) -> Manifest:
    """Read a manifest's TOML bytes, without any claim that it is signed.

    Raises:
        Malformed: not TOML or not a manifest; the message names the place.
    """
    try:
        manifest = Manifest.model_validate(tomllib.loads(payload.decode()))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Malformed(f"manifest is not readable as TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise Malformed(f"manifest: {place or 'file'}: {first['msg']}") from None
    manifest._digest = Digest(hashlib.sha256(payload).digest())  # noqa: SLF001 - set once, here only
    return manifest


def open_manifest(envelope: Envelope, *, trusted: Mapping[Digest, Ed25519PublicKey], threshold: int = 1) -> Manifest:
    """A manifest that enough of the trusted governance keys, and enough of its own, have signed.

    Args:
        trusted: governance keys that the reader trusts already: those of the version before, or
            those that an officer entered at installation.
        threshold: how many of them must have signed.

    Raises:
        Malformed: not a manifest.
        Untrusted: too few signatures, or a wrong one.
    """
    payload = open_envelope(envelope, MANIFEST, trusted, threshold=threshold)
    manifest = parse_manifest(payload)
    open_envelope(envelope, MANIFEST, manifest.governance_keys, threshold=manifest.governance.threshold)
    return manifest


def open_manifest_with(envelope: Envelope, governance_keys: tuple[str, ...]) -> Manifest:
    """A manifest that more than half of the governance keys that the reader entered have signed.

    Args:
        governance_keys: Ed25519 public keys in hexadecimal.

    Raises:
        Misconfigured: one of the keys is none.
        Malformed: not a manifest.
        Untrusted: too few signatures, or a wrong one.
    """
    try:
        trusted = _keyring(governance_keys)
    except ValueError:
        raise Misconfigured("a trusted governance key is not 64 hexadecimal digits of an Ed25519 key") from None
    return open_manifest(envelope, trusted=trusted, threshold=len(governance_keys) // 2 + 1)


def read_manifest(path: Path, governance_keys: tuple[str, ...]) -> tuple[Manifest, Envelope]:
    """Read and verify the manifest that lies at `path`.

    Args:
        governance_keys: Ed25519 public keys in hexadecimal, as an officer entered them; more than
            half of them must have signed.

    Raises:
        Misconfigured: the file is missing, truncated, or not signed by the trusted keys.
    """
    try:
        envelope = from_json(path.read_text(encoding="utf-8"))
        return open_manifest_with(envelope, governance_keys), envelope
    except OSError as error:
        raise Misconfigured(f"cannot read the manifest {path}: {error.strerror}") from None
    except (Malformed, Untrusted, UnicodeDecodeError) as error:
        raise Misconfigured(
            f"manifest {path}: {error}", hint="fetch it again, and compare the governance keys with the signers'"
        ) from None


def _keyring(keys: tuple[str, ...] | list[str]) -> dict[Digest, Ed25519PublicKey]:
    publics = [Ed25519PublicKey.from_public_bytes(bytes.fromhex(key)) for key in keys]
    return {key_id(public): public for public in publics}
