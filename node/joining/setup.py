"""Lay a new node's folder out: configuration, policy, keys, and what goes to governance.

Everything is made beside its place first and put there when it is whole, `node.toml` last. Nothing that exists is
overwritten. A run that broke off is undone by the next one: nobody was shown its keys.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding
from pydantic import ValidationError

from cordon.configfile import wrong_value
from cordon.errors import Misconfigured
from cordon.identity import Identity, Role, request_certificate
from cordon.keyfile import OWNER_ONLY, new_seal_key, new_signing_key, new_tls_key, write_new
from cordon.manifest import read_manifest
from cordon.wire.tls import TlsFiles
from node.config import NodeConfig
from node.joining.texts import filled, force_block, literal, policy_text, sample

_STAGING = ".cordon-init"
_CONFIG = "node.toml"
_BEGUN = ".begun"
"""Exists once the way was found to be free: from then on, what is alike in both places was put there by us."""

_PARTIAL = re.compile(r"\.[0-9a-f]{16}")
"""How `write_new` ends the name of a file that is not whole yet."""

MOST_PORT = 65_535
_OUTBOX = "to-governance"
_PUBLIC = 0o644


@dataclass(frozen=True, slots=True)
class Answers:
    """What has to be known of a new node."""

    force: str
    """Its id in the manifest."""

    coordinator: str
    """`host:port`."""

    governance_keys: tuple[str, ...]
    """Ed25519 public keys in hexadecimal, from another source than the manifest."""

    name: str = ""
    """The force's name as people read it; made from its id where not given."""

    proxy: str | None = None
    """`http://host:port`."""

    manifest: Path | None = None
    """The signed manifest, where it is at hand: it is verified and copied, and the authority taken from it."""

    state: Path = Path("state")
    """Folder of ledger and snapshots; counts from the node's folder."""

    mappings: Mapping[str, str] = field(default_factory=dict)
    """Mappings that are there already: TOML by file name."""

    budgets: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    """Epsilon a year and over the lifetime, by budget domain; none for a force that has still to decide."""


@dataclass(frozen=True, slots=True)
class Made:
    """What was laid out."""

    config: Path
    force: str
    signing_key: str
    """Public half, in hexadecimal."""
    seal_key: str
    """Public half, in hexadecimal."""
    block: str
    """What governance enters in the manifest."""
    block_file: Path
    """Where the block lies, to be sent."""
    request: Path
    """Certificate request for TLS, to be sent."""
    state: Path
    manifest: Path
    """Where the signed manifest lies, or is to be put."""
    authority: Path
    """Where the authority's certificate lies, or is to be put."""
    certificate: Path
    """Where the certificate is to be put that comes back."""


def set_up(folder: Path, answers: Answers) -> Made:
    """Lay out a new node in `folder`, which may exist, with empty folders in it.

    Raises:
        Misconfigured: an answer cannot be used, or something stands in the way; nothing is left half made.
    """
    folder = folder.absolute()
    settings = settings_for(folder, answers)
    was_there = folder.exists()
    _undo(folder)
    staging = folder / _STAGING
    try:
        staging.mkdir(parents=True, mode=0o700)
        made = _stage(staging, folder, settings, answers)
        _check_way_is_free(folder, settings)
        (staging / _BEGUN).touch()
        _put_in_place(folder, settings.state)
    except OSError as error:
        raise Misconfigured(f"cannot write in {folder}: {error.strerror}") from None
    finally:
        _undo(folder)
        if not was_there and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
    return made


def next_steps(made: Made) -> list[str]:
    """What the force's people do next, in order."""
    folder = made.config.parent
    authority = "" if made.authority.exists() else f", and the federation's authority at {made.authority}"
    return [
        f"Send {made.block_file} and {made.request} to governance, and confirm both public keys by telephone.",
        f"Put the certificate that comes back at {made.certificate}{authority}.",
        f"When governance has signed a manifest that lists {made.force}, put it at {made.manifest}.",
        f"Write a mapping for each data set into {folder / 'mappings'}, and list it under `mappings` in {made.config}.",
        f"Read {folder / 'policy.toml'} with your officers, and enter a [budget.…] table for each domain.",
        f"Once in the life of the force: cordon node create-ledger --config {made.config}",
        f"cordon node load --config {made.config}",
        f"cordon node doctor --config {made.config}   (as often as you like: it says what is left to do)",
        f"cordon node serve --config {made.config}",
    ]


def settings_for(folder: Path, answers: Answers) -> NodeConfig:
    """The configuration that will be written in a folder, checked before anything is.

    Raises:
        Misconfigured: an answer cannot be used.
    """
    folder = folder.absolute()
    keys = folder / "keys"
    tls = TlsFiles(authority=keys / "authority.pem", certificate=keys / "tls.pem", key=keys / "tls.key")
    try:
        settings = NodeConfig(
            force=answers.force,
            coordinator=answers.coordinator,
            proxy=answers.proxy,
            tls=tls,
            signing_key=keys / "signing.key",
            seal_key=keys / "seal.key",
            manifest=folder / "manifest.json",
            governance_keys=answers.governance_keys,
            policy=folder / "policy.toml",
            state=folder / answers.state.expanduser(),
        )
    except ValidationError as error:
        first = error.errors()[0]
        flag = str(first["loc"][0]).replace("_", "-").removesuffix("s")
        raise Misconfigured(f"--{flag}: {wrong_value(first, NodeConfig)}") from None
    _check(settings, folder)
    if answers.manifest is not None:
        read_manifest(answers.manifest, answers.governance_keys)
    return settings


def _check(settings: NodeConfig, folder: Path) -> None:
    """What a configuration's own types do not hold to be wrong, and a new node should not begin with."""
    for flag, address in (("coordinator", settings.coordinator), ("proxy", settings.proxy or "")):
        if fault := port_fault(address):
            raise Misconfigured(f"--{flag}: {fault}")
    if len(set(settings.governance_keys)) < len(settings.governance_keys):
        raise Misconfigured("--governance-key: the same key is given twice", hint="give each member's key once")
    state = settings.state.resolve()
    # A volume that is not mounted must not become a folder on the machine's own disk.
    if not state.is_relative_to(folder.resolve()) and not state.parent.is_dir():
        raise Misconfigured(
            f"--state: there is no folder {state.parent}",
            hint="correct the path, or mount the volume that it is to lie on",
        )


def port_fault(address: str) -> str:
    """What is wrong with the port at the end of an address, in words; empty where nothing is, or there is none."""
    port = re.search(r":(\d+)/?$", address)
    return "" if port is None or 0 < int(port[1]) <= MOST_PORT else f"a port is a number from 1 to {MOST_PORT}"


def _stage(staging: Path, folder: Path, settings: NodeConfig, answers: Answers) -> Made:
    for name in ("keys", "mappings", _OUTBOX):
        (staging / name).mkdir()
    signing = new_signing_key(staging / "keys" / settings.signing_key.name)
    seal = new_seal_key(staging / "keys" / settings.seal_key.name)
    tls = new_tls_key(staging / "keys" / settings.tls.key.name)
    request = request_certificate(Identity(Role.FORCE, settings.force), tls)
    block = force_block(settings.force, answers.name or named(settings.force), signing_key=signing, seal_key=seal)
    request_name, block_name = (f"{_OUTBOX}/force-{settings.force}.{kind}" for kind in ("csr", "toml"))
    texts = {block_name: block, "policy.toml": policy_text(answers.budgets), _CONFIG: _config_text(folder, answers)}
    texts |= {f"mappings/{name}": text for name, text in answers.mappings.items()}
    if answers.manifest is not None:
        manifest, _ = read_manifest(answers.manifest, answers.governance_keys)
        texts |= {"keys/authority.pem": manifest.authority, "manifest.json": answers.manifest.read_text("utf-8")}
    for name, text in texts.items():
        write_new(staging / name, text.encode(), mode=_PUBLIC)
    write_new(staging / request_name, request.public_bytes(Encoding.PEM), mode=_PUBLIC)
    return Made(
        config=folder / _CONFIG,
        force=settings.force,
        signing_key=signing,
        seal_key=seal,
        block=block,
        block_file=folder / block_name,
        request=folder / request_name,
        state=settings.state,
        manifest=settings.manifest,
        authority=settings.tls.authority,
        certificate=settings.tls.certificate,
    )


def _config_text(folder: Path, answers: Answers) -> str:
    values = {
        "force": literal(answers.force),
        "coordinator": literal(answers.coordinator),
        "governance_keys": literal(answers.governance_keys),
        "state": literal(str(answers.state)),
        "mappings": literal([f"mappings/{name}" for name in answers.mappings]),
    }
    if answers.proxy:
        values["proxy"] = literal(answers.proxy)
    return filled(sample(_CONFIG), values).replace("/etc/cordon/", f"{folder}/")


def named(force: str) -> str:
    """A force's name as people read it, made from its id."""
    return " ".join(word.capitalize() for word in force.split("-"))


def _staged(folder: Path) -> list[Path]:
    """Names below the folder of what was made, in the order in which it is put in place."""
    staging = folder / _STAGING
    names = [path.relative_to(staging) for path in sorted(staging.rglob("*")) if path.is_file()]
    # A name that begins with a dot is of a file that was being written when a run broke off.
    whole = [name for name in names if not name.name.startswith(".")]
    return sorted(whole, key=lambda name: (str(name) == _CONFIG, name))


def _check_way_is_free(folder: Path, settings: NodeConfig) -> None:
    there = [folder / name for name in _staged(folder) if (folder / name).exists()]
    if settings.state.is_dir() and any(settings.state.iterdir()):
        there.append(settings.state)
    if there:
        raise Misconfigured(
            f"nothing was written, because there is already: {', '.join(map(str, there))}",
            hint="give another folder, or move away what is no longer needed; a ledger or key may never be replaced",
        )


def _put_in_place(folder: Path, state: Path) -> None:
    if not state.exists():
        state.mkdir(parents=True, mode=0o700)
    (folder / "mappings").mkdir(exist_ok=True)
    for name in _staged(folder):
        source, target = folder / _STAGING / name, folder / name
        target.parent.mkdir(exist_ok=True)
        write_new(target, source.read_bytes(), mode=OWNER_ONLY if target.suffix == ".key" else _PUBLIC)


def _undo(folder: Path) -> None:
    """Take away what a run that broke off has put in place; of one that came to its end, only its workshop."""
    staging = folder / _STAGING
    if not staging.is_dir():
        return
    if (staging / _BEGUN).exists():
        # node.toml comes last: where it stands, all was done, and the keys may have been shown.
        finished = (folder / _CONFIG).exists()
        for name in _staged(folder):
            _undo_file(folder / name, staging / name, finished=finished)
    shutil.rmtree(staging)


def _undo_file(target: Path, made: Path, *, finished: bool) -> None:
    for partial in target.parent.glob(f".{target.name}.*"):
        if _PARTIAL.fullmatch(partial.suffix):
            partial.unlink()
    if not finished and target.is_file() and target.read_bytes() == made.read_bytes():
        target.unlink()
