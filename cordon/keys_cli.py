"""`cordon keys …`: make and inspect keys, certificates and manifests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding
from rich.console import Console
from rich.table import Table

from cordon.envelope import MANIFEST, Envelope, KeySigner, from_json, seal, to_json
from cordon.errors import Malformed, Misconfigured, Untrusted
from cordon.identity import Identity, Role, certify, new_authority, read_request, request_certificate
from cordon.keyfile import (
    new_seal_key,
    new_signing_key,
    new_tls_key,
    read_authority_key,
    read_certificate,
    read_private_key,
    read_signing_key,
    write_certificate,
    write_new,
)
from cordon.manifest import parse_manifest, read_manifest

app = typer.Typer(
    name="keys",
    help="Make and inspect keys, certificates and manifests. Private keys are written readable by their owner only.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

KeyPath = Annotated[Path, typer.Argument(help="File to write the private key to; must not exist.")]


@app.command()
def signing(path: KeyPath) -> None:
    """Make an Ed25519 key to sign with, and print its public half."""
    typer.echo(new_signing_key(path))


@app.command(name="seal")
def seal_key(path: KeyPath) -> None:
    """Make an X25519 key that check seeds are sealed to, and print its public half."""
    typer.echo(new_seal_key(path))


@app.command()
def tls(path: KeyPath) -> None:
    """Make a P-256 key for TLS; ask for its certificate with `request`."""
    new_tls_key(path)


@app.command()
def authority(
    federation: Annotated[str, typer.Option(help="The federation's name.")],
    key: Annotated[Path, typer.Option(help="File to write the authority's private key to.")],
    certificate: Annotated[Path, typer.Option(help="File to write its certificate to.")],
) -> None:
    """Make a federation's authority: it certifies analysts, auditors and every TLS end."""
    private = new_tls_key(key)
    write_certificate(certificate, new_authority(federation, private))


@app.command()
def request(
    key: Annotated[Path, typer.Argument(help="The private key that a certificate is asked for: signing or TLS.")],
    role: Annotated[Role, typer.Option(help="What you are.")],
    name: Annotated[str, typer.Option(help="Who you are in that role, e.g. a force id.")],
    out: Annotated[Path, typer.Option(help="File to write the request to; send it to the authority.")],
    host: Annotated[list[str] | None, typer.Option(help="Name or address that a coordinator is reached by.")] = None,
) -> None:
    """Ask for a certificate: writes a request that the federation's authority can certify."""
    private = read_private_key(key)
    if isinstance(private, X25519PrivateKey):
        raise Misconfigured(f"{key} is a key to seal to; its public half goes into the manifest, without certificate")
    found = request_certificate(Identity(role, name), private, hosts=tuple(host or ()))
    write_new(out, found.public_bytes(Encoding.PEM), mode=0o644)


@app.command(name="certify")
def certify_request(
    path: Annotated[Path, typer.Argument(help="A request made by `request`.")],
    authority_key: Annotated[Path, typer.Option(help="The authority's private key.")],
    authority_certificate: Annotated[Path, typer.Option(help="The authority's certificate.")],
    out: Annotated[Path, typer.Option(help="File to write the certificate to.")],
    days: Annotated[int, typer.Option(help="How long it holds.", min=1, max=3650)] = 825,
) -> None:
    """Certify a request, as the authority. Check first, by another way, that the request is theirs."""
    try:
        requested = read_request(path.read_bytes())
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}") from None
    issued = certify(
        requested.identity,
        requested.key,
        authority=read_certificate(authority_certificate),
        private=read_authority_key(authority_key),
        hosts=requested.hosts,
        days=days,
    )
    write_certificate(out, issued)
    at = f" at {', '.join(requested.hosts)}" if requested.hosts else ""
    typer.echo(f"certified {requested.identity.uri}{at} until {issued.not_valid_after_utc:%Y-%m-%d}", err=True)


@app.command(name="sign-manifest")
def sign_manifest(
    toml: Annotated[Path, typer.Argument(help="The manifest's TOML file.")],
    key: Annotated[list[Path], typer.Option(help="A governance member's signing key; may be given more than once.")],
    out: Annotated[Path, typer.Option(help="Signed manifest to write; signatures there already are kept.")],
) -> None:
    """Sign a manifest as members of the governance; each member may do so in turn."""
    try:
        payload = toml.read_bytes()
    except OSError as error:
        raise Misconfigured(f"cannot read {toml}: {error.strerror}") from None
    manifest = parse_manifest(payload)
    made = seal(MANIFEST, payload, *(KeySigner(read_signing_key(path)) for path in key))
    strangers = [s.key_id for s in made.signatures if s.key_id not in manifest.governance_keys]
    if strangers:
        raise Untrusted("one of these keys is not a governance key of this manifest")
    if out.exists():
        before = _read_envelope(out)
        if before.payload != payload:
            raise Misconfigured(f"{out} is another manifest than {toml}", hint="remove it, or name another file")
        signatures = {s.key_id: s for s in (*before.signatures, *made.signatures)}
        made = Envelope(MANIFEST, payload, tuple(signatures.values()))
    out.write_text(to_json(made), encoding="utf-8")
    typer.echo(f"{len(made.signatures)} of the {manifest.governance.threshold} signatures that are needed", err=True)


@app.command(name="show-manifest")
def show_manifest(
    path: Annotated[Path, typer.Argument(help="A signed manifest.")],
    governance_key: Annotated[list[str], typer.Option(help="Public key that you trust, 64 hexadecimal digits.")],
) -> None:
    """Verify a signed manifest, and print what it says."""
    manifest, _ = read_manifest(path, tuple(governance_key))
    console = Console()
    console.print(f"{manifest.federation}, version {manifest.version}, sha256 {manifest.digest}", highlight=False)
    console.print(
        f"{len(manifest.forces)} forces, {manifest.colluders} tolerated colluders, smallest roster "
        f"{manifest.smallest_roster}, delta {float(manifest.delta):g}, "
        f"epsilon {float(manifest.limits.epsilon):g} a query",
        highlight=False,
    )
    table = Table("force", "name", "signing key", box=None, pad_edge=False)
    for force in manifest.forces:
        table.add_row(force.id, force.name, force.signing_key[:16])
    console.print(table, highlight=False)


@app.command()
def show(path: Annotated[Path, typer.Argument(help="A private key or a certificate in PEM form.")]) -> None:
    """Say what a key or certificate is, without showing any secret."""
    try:
        pem = path.read_bytes()
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}") from None
    if b"BEGIN CERTIFICATE-----" in pem:
        typer.echo(_described(read_certificate(path)))
        return
    key = read_private_key(path)
    if isinstance(key, ec.EllipticCurvePrivateKey):
        typer.echo("P-256 key for TLS or an authority")
        return
    kind = "Ed25519 key to sign with" if isinstance(key, Ed25519PrivateKey) else "X25519 key to seal to"
    typer.echo(f"{kind}, public {key.public_key().public_bytes_raw().hex()}")


def _read_envelope(path: Path) -> Envelope:
    try:
        return from_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, Malformed) as error:
        raise Misconfigured(
            f"{path} is not a signed manifest: {error}", hint="remove it, or name another file"
        ) from None


def _described(certificate: x509.Certificate) -> str:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        whose = ", ".join(names.get_values_for_type(x509.UniformResourceIdentifier))
    except x509.ExtensionNotFound:
        whose = "an authority"
    public = certificate.public_key()
    kind = f"Ed25519 {public.public_bytes_raw().hex()}" if isinstance(public, Ed25519PublicKey) else "TLS"
    return f"{whose}: {kind}, valid until {certificate.not_valid_after_utc:%Y-%m-%d}"
