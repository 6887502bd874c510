"""Certificates: who a key belongs to, and in which role, by the manifest's authority.

Two kinds of certificate name a party by a URI such as `cordon://analyst/alice`: an Ed25519 one
certifies the key that an analyst signs with, a P-256 one authenticates a TLS end (TLS libraries
rarely speak Ed25519). Both are X.509 (RFC 5280), issued by the federation's authority.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from cordon.errors import Untrusted

SCHEME = "cordon"


class Role(StrEnum):
    """What a party is."""

    FORCE = "force"
    COORDINATOR = "coordinator"
    ANALYST = "analyst"
    AUDITOR = "auditor"


@dataclass(frozen=True, slots=True)
class Identity:
    """A party: its role, and its name within that role."""

    role: Role
    name: str

    @property
    def uri(self) -> str:
        """As it stands in certificates."""
        return f"{SCHEME}://{self.role}/{self.name}"

    @classmethod
    def from_uri(cls, uri: str) -> Identity:
        """Read an identity from a certificate's URI.

        Raises:
            Untrusted: not an identity of this federation's kind.
        """
        scheme, _, rest = uri.partition("://")
        role, _, name = rest.partition("/")
        if scheme != SCHEME or role not in set(Role) or not name:
            raise Untrusted(f"{uri!r} names no party of a federation")
        return cls(Role(role), name)


@dataclass(frozen=True, slots=True)
class Certified:
    """An analyst's or auditor's signing key, as the authority certified it."""

    identity: Identity
    key: Ed25519PublicKey


def new_authority(federation: str, private: ec.EllipticCurvePrivateKey, *, years: int = 10) -> x509.Certificate:
    """A self-signed certificate for a federation's authority."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{federation} authority"[:64])])
    return (
        _builder(name, name, private.public_key(), timedelta(days=365 * years))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(private, hashes.SHA256())
    )


def certify(
    identity: Identity,
    public: Ed25519PublicKey | ec.EllipticCurvePublicKey,
    *,
    authority: x509.Certificate,
    private: ec.EllipticCurvePrivateKey,
    hosts: tuple[str, ...] = (),
    days: int = 825,
) -> x509.Certificate:
    """Certify a party's key.

    Args:
        public: an Ed25519 key to sign with, or a P-256 key for TLS.
        hosts: DNS names or addresses that a TLS server is reached by.
        days: how long the certificate holds.

    Raises:
        Untrusted: a host for another role than the coordinator's.
    """
    if hosts and identity.role is not Role.COORDINATOR:
        # Whoever is certified for a host name can stand in for the coordinator there.
        raise Untrusted(f"{identity.uri} asks for the host {hosts[0]}; only a coordinator is reached by a host's name")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{identity.role} {identity.name}"[:64])])
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(identity.uri)]
    names += [_host(host) for host in hosts]
    usages = [ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH][: 2 if hosts else 1]
    return (
        _builder(name, authority.subject, public, timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .sign(private, hashes.SHA256())
    )


def request_certificate(
    identity: Identity, private: Ed25519PrivateKey | ec.EllipticCurvePrivateKey, *, hosts: tuple[str, ...] = ()
) -> x509.CertificateSigningRequest:
    """A request (PKCS #10) that shows possession of a key and says whose it is; goes to the authority."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{identity.role} {identity.name}"[:64])])
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(identity.uri), *(_host(host) for host in hosts)]
    builder = x509.CertificateSigningRequestBuilder().subject_name(name)
    builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(private, None if isinstance(private, Ed25519PrivateKey) else hashes.SHA256())


@dataclass(frozen=True, slots=True)
class Requested:
    """What a certificate request asks for."""

    identity: Identity
    key: Ed25519PublicKey | ec.EllipticCurvePublicKey
    hosts: tuple[str, ...]


def read_request(pem: bytes) -> Requested:
    """Verify a certificate request.

    Raises:
        Untrusted: not a request, not signed by its own key, or for no party of a federation.
    """
    try:
        request = x509.load_pem_x509_csr(pem)
        names = request.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound):
        raise Untrusted("not a certificate request that names a party") from None
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    key = request.public_key()
    if len(uris) != 1 or not request.is_signature_valid:
        raise Untrusted("the request does not name one party, or is not signed by the key that it is for")
    if not isinstance(key, Ed25519PublicKey | ec.EllipticCurvePublicKey):
        raise Untrusted("certificates are for Ed25519 keys (to sign with) and P-256 keys (for TLS)")
    hosts = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    return Requested(Identity.from_uri(uris[0]), key, tuple(hosts))


def verify_certificate(der: bytes, authority_pem: str, *, roles: frozenset[Role], now: int) -> Certified:
    """Check that the authority certified an Ed25519 signing key for one of `roles`.

    Args:
        der: X.509 certificate.
        authority_pem: from the manifest.
        now: seconds since 1970-01-01 UTC.

    Raises:
        Untrusted: not a certificate, not by this authority, expired, or for another role.
    """
    try:
        certificate = x509.load_der_x509_certificate(der)
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(authority_pem.encode()))
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        is_authority = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (ValueError, TypeError, InvalidSignature, x509.ExtensionNotFound):
        raise Untrusted("the signing certificate was not issued by the federation's authority") from None
    at = datetime.fromtimestamp(now, UTC)
    if not certificate.not_valid_before_utc <= at <= certificate.not_valid_after_utc:
        raise Untrusted("the signing certificate is not valid at this time")
    uris = names.get_values_for_type(x509.UniformResourceIdentifier)
    key = certificate.public_key()
    if len(uris) != 1 or is_authority or not isinstance(key, Ed25519PublicKey):
        raise Untrusted("the signing certificate does not certify one party's Ed25519 key")
    identity = Identity.from_uri(uris[0])
    if identity.role not in roles:
        raise Untrusted(f"{identity.uri} may not do this: it takes the role {' or '.join(sorted(roles))}")
    return Certified(identity, key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: Ed25519PublicKey | ec.EllipticCurvePublicKey,
    lifetime: timedelta,
) -> x509.CertificateBuilder:
    # An hour back, so that a party whose clock is a little behind accepts it at once.
    start = datetime.now(UTC) - timedelta(hours=1)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(start)
        .not_valid_after(start + lifetime)
    )


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)
