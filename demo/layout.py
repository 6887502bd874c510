"""Lay a whole federation out in one folder: keys, certificates, signed manifest, configs and policies.

Everything that parties would do at home, done here for all of them with the same library calls. Only a
demonstration may hold everybody's keys in one place.
"""

from __future__ import annotations

import csv
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from cordon.catalogue import bundled_contracts
from cordon.contract import Contract
from cordon.envelope import MANIFEST, KeySigner, seal, to_json
from cordon.identity import Identity, Role, certify, new_authority
from cordon.keyfile import write_certificate, write_private_key
from demo.nominals.systems import system_of
from demo.nominals.writing import write_mapping

HERE = Path(__file__).parent
DOMAINS = ("stop_records", "crime_records", "nominal_records")
GOVERNANCE = 3
AUDITOR = "ico"
ONLY_STREET = ("northern-ireland",)
ONLY_STOPS = ("west-midlands", "west-yorkshire")
ONLY_V1 = ("alder",)
"""Records systems whose forces do not serve version 2 of nominals yet, where two are listed."""

NOMINALS_V2 = "nominals.v2"


@dataclass(frozen=True)
class Design:
    """What a laid-out federation is to be like."""

    forces: tuple[str, ...]
    epsilon_per_query: str = "5"
    budgets: Mapping[str, str] = field(default_factory=lambda: dict.fromkeys(DOMAINS, "10"))
    """Epsilon a year, by budget domain; ten times that over a lifetime."""

    policies: Mapping[str, str] = field(default_factory=dict)
    """Lines that stand at the top of a force's policy."""

    nominals: tuple[int, ...] = (1,)
    """Versions of the contract on persons that the manifest lists."""

    timing: Mapping[str, int] = field(default_factory=dict)
    colluders: int | None = None
    proxy: str | None = None
    port: int = 0


@dataclass(frozen=True)
class Layout:
    """Where everything lies."""

    root: Path
    design: Design
    governance_keys: tuple[str, ...]

    @property
    def coordinator_config(self) -> Path:
        """The coordinator's TOML file."""
        return self.root / "coordinator" / "coordinator.toml"

    def node_config(self, force: str) -> Path:
        """A node's TOML file."""
        return self.force_folder(force) / "node.toml"

    def force_folder(self, force: str) -> Path:
        """What lies at one force."""
        return self.root / "forces" / force

    def profile(self, analyst: str = "alice") -> Path:
        """An analyst's TOML file."""
        return self.root / "analysts" / analyst / "analyst.toml"

    @property
    def auditor_profile(self) -> Path:
        """The auditor's TOML file."""
        return self.root / "auditors" / AUDITOR / "auditor.toml"


@cache
def force_names() -> dict[str, str]:
    """Names of the 43 forces of the bundled data, by id."""
    with (HERE / "data" / "forces.csv").open(encoding="utf-8") as file:
        return {row["id"]: row["name"] for row in csv.DictReader(file)}


def choose_forces(count: int) -> tuple[str, ...]:
    """The first `count` forces, those that hold both open data sets first."""
    whole = [force for force in force_names() if force not in ONLY_STREET + ONLY_STOPS]
    return tuple(sorted((whole + list(ONLY_STREET + ONLY_STOPS))[:count]))


def lay_out(root: Path, design: Design, analysts: Sequence[str] = ("alice",)) -> Layout:
    """Make a federation's files in the empty folder `root`."""
    root.mkdir(parents=True, exist_ok=True)
    governance = [Ed25519PrivateKey.generate() for _ in range(GOVERNANCE)]
    (root / "governance").mkdir()
    keys = tuple(key.public_key().public_bytes_raw().hex() for key in governance)
    authority = _Authority()
    layout = Layout(root, design, keys)
    coordinator_key = _coordinator(layout, authority)
    members = [_force(layout, force, authority) for force in design.forces]
    payload = _manifest(layout, authority, coordinator_key, members).encode()
    for number, key in enumerate(governance):
        write_private_key(root / "governance" / f"{number}.key", key)
    signed = seal(MANIFEST, payload, *(KeySigner(key) for key in governance[:2]))
    (root / "manifest.json").write_text(to_json(signed), encoding="utf-8")
    for analyst in analysts:
        _analyst(layout, analyst, authority)
    _auditor(layout, AUDITOR, authority)
    return layout


class _Authority:
    def __init__(self) -> None:
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.certificate = new_authority("Demonstration", self.private)

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    def issue(
        self, identity: Identity, key: Ed25519PrivateKey | ec.EllipticCurvePrivateKey, *hosts: str
    ) -> x509.Certificate:
        return certify(identity, key.public_key(), authority=self.certificate, private=self.private, hosts=tuple(hosts))

    def tls(self, folder: Path, identity: Identity, *hosts: str) -> None:
        key = ec.generate_private_key(ec.SECP256R1())
        write_private_key(folder / "tls.key", key)
        write_certificate(folder / "tls.pem", self.issue(identity, key, *hosts))
        write_certificate(folder / "authority.pem", self.certificate)


_TLS = '[tls]\nauthority = "authority.pem"\ncertificate = "tls.pem"\nkey = "tls.key"\n'


def _coordinator(layout: Layout, authority: _Authority) -> str:
    folder = layout.root / "coordinator"
    folder.mkdir()
    key = Ed25519PrivateKey.generate()
    write_private_key(folder / "signing.key", key)
    authority.tls(folder, Identity(Role.COORDINATOR, "coordinator"), "127.0.0.1", "localhost")
    layout.coordinator_config.write_text(
        f'listen = "127.0.0.1:{layout.design.port}"\nsigning_key = "signing.key"\nmanifest = "../manifest.json"\n'
        f'governance_keys = {list(layout.governance_keys)}\nstore = "store.sqlite"\nlog = "coordinator.log"\n{_TLS}',
        encoding="utf-8",
    )
    return key.public_key().public_bytes_raw().hex()


def _force(layout: Layout, force: str, authority: _Authority) -> str:
    folder = layout.force_folder(force)
    (folder / "state").mkdir(parents=True, mode=0o700)
    (folder / "records").mkdir()
    signing, sealing = Ed25519PrivateKey.generate(), X25519PrivateKey.generate()
    write_private_key(folder / "signing.key", signing)
    write_private_key(folder / "seal.key", sealing)
    authority.tls(folder, Identity(Role.FORCE, force))
    mappings = [f"{name}.toml" for name in _mappings(layout.design, force)]
    proxy = f'proxy = "{layout.design.proxy}"\n' if layout.design.proxy else ""
    layout.node_config(force).write_text(
        f'force = "{force}"\ncoordinator = "127.0.0.1:{layout.design.port}"\n{proxy}'
        'signing_key = "signing.key"\nseal_key = "seal.key"\n'
        f'manifest = "../../manifest.json"\ngovernance_keys = {list(layout.governance_keys)}\n'
        f'policy = "policy.toml"\nstate = "state"\nmappings = {mappings}\nlog = "node.log"\n{_TLS}',
        encoding="utf-8",
    )
    (folder / "policy.toml").write_text(_policy(layout.design, force), encoding="utf-8")
    for name in _mappings(layout.design, force):
        if name == NOMINALS_V2:
            write_mapping(records_system(layout.design, force), folder)
        else:
            (folder / f"{name}.toml").write_text(_mapping(name, force), encoding="utf-8")
    name = force_names().get(force, force)
    signing_hex = signing.public_key().public_bytes_raw().hex()
    sealing_hex = sealing.public_key().public_bytes_raw().hex()
    return f'[[force]]\nid = "{force}"\nname = "{name}"\nsigning_key = "{signing_hex}"\nseal_key = "{sealing_hex}"\n'


def held_by(force: str) -> tuple[str, ...]:
    """Data sets that a force holds."""
    held = []
    if force not in ONLY_STREET:
        held.append("stop_search")
    if force not in ONLY_STOPS:
        held.append("street_crime")
    return (*held, "nominals")


def records_system(design: Design, force: str) -> str:
    """Name of the records system from which a force serves nominals v2."""
    return system_of(design.forces.index(force))


def nominals_held(design: Design, force: str) -> tuple[int, ...]:
    """Versions of nominals that a force serves: all that are listed, but for some that have not come so far yet."""
    if len(design.nominals) == 1:
        return design.nominals
    system = records_system(design, force)
    return tuple(version for version in sorted(design.nominals) if version == 1 or system not in ONLY_V1)


def _mappings(design: Design, force: str) -> list[str]:
    """Names of a force's mapping files."""
    open_data = [dataset for dataset in held_by(force) if dataset != "nominals"]
    return [*open_data, *({1: "nominals", 2: NOMINALS_V2}[version] for version in nominals_held(design, force))]


def _policy(design: Design, force: str) -> str:
    budgets = "".join(
        f'[budget.{domain}]\nepsilon_per_year = "{epsilon}"\nepsilon_lifetime = "{10 * float(epsilon):g}"\n'
        for domain, epsilon in design.budgets.items()
    )
    return f"{design.policies.get(force, '')}\n{budgets}"


def _mapping(dataset: str, force: str) -> str:
    text = (HERE / "mappings" / f"{dataset}.toml").read_text(encoding="utf-8")
    notes = tomllib.loads((HERE / "mappings" / "notes.toml").read_text(encoding="utf-8"))
    note = notes.get(dataset, {}).get(force)
    return text if note is None else text.replace("\n[columns]", f'note = "{note}"\n\n[columns]')


def _manifest(layout: Layout, authority: _Authority, coordinator_key: str, members: list[str]) -> str:
    design = layout.design
    bundled = [Contract.from_toml(payload) for payload in bundled_contracts()]
    contracts = [c for c in bundled if c.dataset != "nominals" or c.version in design.nominals]
    colluders = f"tolerated_colluders = {design.colluders}\n" if design.colluders else ""
    timing = "".join(f"{name} = {value}\n" for name, value in design.timing.items())
    listed = "".join(
        f'[[contract]]\ndataset = "{c.dataset}"\nversion = {c.version}\nsha256 = "{c.digest}"\n' for c in contracts
    )
    return (
        f'federation = "Demonstration"\nversion = 1\ndelta = "1/1000000000"\n{colluders}'
        f'coordinator_key = "{coordinator_key}"\nauthority = """\n{authority.pem}"""\n'
        f"[governance]\nthreshold = 2\nkeys = {list(layout.governance_keys)}\n"
        f'[limits]\nepsilon = "{design.epsilon_per_query}"\n[timing]\n{timing}'
        '[[purpose]]\ncode = "research"\ntitle = "Statistics and research"\nregime = "dpa_2018_part_3"\n'
        'legal_basis = "Data Protection Act 2018, sections 35(2)(b), 36 and 41"\n'
        '[[purpose]]\ncode = "strategic_assessment"\ntitle = "Strategic assessment"\nregime = "dpa_2018_part_3"\n'
        'legal_basis = "Data Protection Act 2018, section 35(2)(b); Crime and Disorder Act 1998, section 6"\n'
        + listed
        + "".join(members)
    )


def _analyst(layout: Layout, name: str, authority: _Authority) -> None:
    folder = layout.root / "analysts" / name
    folder.mkdir(parents=True)
    identity = Identity(Role.ANALYST, name)
    key = Ed25519PrivateKey.generate()
    write_private_key(folder / "signing.key", key)
    write_certificate(folder / "signing.pem", authority.issue(identity, key))
    authority.tls(folder, identity)
    layout.profile(name).write_text(
        f'coordinator = "127.0.0.1:{layout.design.port}"\nsigning_key = "signing.key"\ncertificate = "signing.pem"\n'
        f'governance_keys = {list(layout.governance_keys)}\nworkspace = "workspace"\n{_TLS}',
        encoding="utf-8",
    )


def _auditor(layout: Layout, name: str, authority: _Authority) -> None:
    folder = layout.auditor_profile.parent
    folder.mkdir(parents=True)
    authority.tls(folder, Identity(Role.AUDITOR, name))
    layout.auditor_profile.write_text(
        f'coordinator = "127.0.0.1:{layout.design.port}"\ngovernance_keys = {list(layout.governance_keys)}\n'
        f'mirror = "mirror"\n{_TLS}',
        encoding="utf-8",
    )
