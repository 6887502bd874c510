"""What a node is by its papers: configuration, manifest, keys and certificate."""

from __future__ import annotations

import stat
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from cordon.errors import CordonError
from cordon.identity import Identity, Role
from cordon.keyfile import read_certificate, read_private_key, read_seal_key, read_signing_key
from cordon.manifest import Manifest
from node.config import NodeConfig
from node.joining.finding import Finding, from_error, ok, to_do, warning

SOON = timedelta(days=30)
"""A certificate that ends sooner is to be renewed."""


def files_findings(paths: Iterable[Path]) -> Finding:
    """Whether nobody but their owner can write the files that privacy and membership rest on."""
    loose = [path for path in paths if _others_may_write(path)]
    if not loose:
        return ok("permissions", "nobody but their owners can write the configuration files")
    words = ", ".join(map(str, loose))
    return to_do("permissions", f"others than the owner can write {words}", f"chmod go-w {' '.join(map(str, loose))}")


def _others_may_write(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & (stat.S_IWGRP | stat.S_IWOTH))
    except OSError:
        # What is missing is said by the check that reads it.
        return False


def manifest_finding(manifest: Manifest, force: str) -> Finding:
    """The manifest, and whether this force is in it."""
    words = f"{manifest.federation}, version {manifest.version}, signed, {len(manifest.forces)} forces"
    if force in manifest.by_id:
        return ok("manifest", words)
    return to_do(
        "manifest",
        f"{words}, but {force} is not among them",
        "send governance your [[force]] block; put the next manifest that they sign in this one's place",
    )


def key_findings(settings: NodeConfig, manifest: Manifest | None) -> list[Finding]:
    """Both of the force's keys, and whether they are those that the manifest lists."""
    listed = None if manifest is None else manifest.by_id.get(settings.force)
    signing = _key_finding("signing key", settings.signing_key, listed.signing_key if listed else None)
    seal = _key_finding("seal key", settings.seal_key, listed.seal_key if listed else None)
    return [signing, seal]


def _key_finding(name: str, path: Path, listed: str | None) -> Finding:
    remedy = f"let the node's user own and read {path}, or put the force's own {name} back there from your safe"
    try:
        key = _read_key(name, path)
    except CordonError as error:
        return from_error(name, error, remedy)
    if listed is None:
        return ok(name, f"{path} is readable by its owner only; no manifest lists it yet")
    if key.public_key().public_bytes_raw().hex() != listed:
        return to_do(name, f"{path} is not the key that the manifest lists for this force", remedy)
    return ok(name, "readable by its owner only, and the one that the manifest lists")


def _read_key(name: str, path: Path) -> Ed25519PrivateKey | X25519PrivateKey:
    return read_signing_key(path) if name == "signing key" else read_seal_key(path)


def certificate_findings(settings: NodeConfig, manifest: Manifest | None, now: int) -> list[Finding]:
    """The authority's certificate, and our own for TLS.

    Args:
        now: seconds since 1970-01-01 UTC.
    """
    try:
        authority = read_certificate(settings.tls.authority)
    except CordonError as error:
        return [from_error("authority", error, f"put the federation's authority.pem at {settings.tls.authority}")]
    first = _authority_finding(authority, settings.tls.authority, manifest)
    return [first, _own_finding(settings, authority, datetime.fromtimestamp(now, UTC))]


def _authority_finding(authority: x509.Certificate, path: Path, manifest: Manifest | None) -> Finding:
    words = f"{path}: {authority.subject.rfc4514_string()}"
    if manifest is None:
        return ok("authority", words)
    if authority != x509.load_pem_x509_certificate(manifest.authority.encode()):
        return to_do(
            "authority",
            f"{path} is not the authority that the manifest names",
            f"put that one, from governance, at {path}",
        )
    return ok("authority", f"{words}, as the manifest names it")


def _own_finding(settings: NodeConfig, authority: x509.Certificate, at: datetime) -> Finding:
    name, path = "certificate", settings.tls.certificate
    renew = f"make a request with 'cordon keys request', and put what governance certifies at {path}"
    try:
        certificate = read_certificate(path)
    except CordonError as error:
        return from_error(name, error, renew)
    try:
        key = read_private_key(settings.tls.key)
    except CordonError as error:
        return from_error(name, error, f"let the node's user own and read {settings.tls.key}")
    wanted = Identity(Role.FORCE, settings.force).uri
    if not _is_by(certificate, authority):
        return to_do(name, f"{path} is not by the authority in {settings.tls.authority}", renew)
    if _names(certificate) != [wanted]:
        words = ", ".join(_names(certificate)) or "nobody"
        return to_do(name, f"{path} is for {words}, not for {wanted}", renew)
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        return to_do(
            name,
            f"{path} is for another key than {settings.tls.key}",
            f"put the key that it was asked for with at {settings.tls.key}",
        )
    return _validity(certificate, at, renew)


def _validity(certificate: x509.Certificate, at: datetime, renew: str) -> Finding:
    start, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if at < start:
        return to_do(
            "certificate", f"it holds only from {start:%Y-%m-%d %H:%M} on", "set this machine's clock: timedatectl"
        )
    if at > end:
        return to_do("certificate", f"it ended on {end:%Y-%m-%d}", renew)
    if end - at < SOON:
        return warning("certificate", f"it ends on {end:%Y-%m-%d}, in {(end - at).days} days", renew)
    return ok("certificate", f"by the authority, for this force and key, until {end:%Y-%m-%d}")


def _is_by(certificate: x509.Certificate, authority: x509.Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(authority)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def _names(certificate: x509.Certificate) -> list[str]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return []
    return names.get_values_for_type(x509.UniformResourceIdentifier)
