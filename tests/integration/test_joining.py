"""A force joins a federation that runs: `init`, governance's answer, `doctor` from "to do" to "ok"."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from live import BEHIND_PROXY, ONE_PURPOSE, Live, tree_digest

from cordon.cli import run
from cordon.envelope import MANIFEST, KeySigner, from_json, seal, to_json
from cordon.identity import Identity, Role, certify, new_authority, read_request
from cordon.keyfile import read_private_key, read_signing_key
from demo.layout import Design, Layout, lay_out
from demo.processes import Federation, free_port

ROOT = Path(__file__).parents[2]
MAPPING = ROOT / "deploy" / "config" / "mappings" / "stop_search.toml"
FORCE = "kent"


class Governance:
    """Who certifies and signs: a new authority, and manifests by two of the layout's governance keys."""

    def __init__(self, layout: Layout) -> None:
        self.layout = layout
        self.private = ec.generate_private_key(ec.SECP256R1())
        self.authority = new_authority("Joining", self.private)
        self.pem = self.authority.public_bytes(Encoding.PEM)

    def certify(self, identity: Identity, key: Any, *hosts: str) -> bytes:
        """A certificate, as PEM."""
        issued = certify(identity, key, authority=self.authority, private=self.private, hosts=hosts)
        return issued.public_bytes(Encoding.PEM)

    def take_over(self) -> None:
        """Certify the coordinator anew, and sign a manifest that names the new authority."""
        folder = self.layout.coordinator_config.parent
        key = read_private_key(folder / "tls.key").public_key()  # type: ignore[union-attr]
        identity = Identity(Role.COORDINATOR, "coordinator")
        (folder / "tls.pem").write_bytes(self.certify(identity, key, "127.0.0.1"))
        (folder / "authority.pem").write_bytes(self.pem)
        self.sign(1, "")

    def sign(self, version: int, block: str) -> str:
        """Sign the next manifest, with another force in it, and give it to the coordinator."""
        path = self.layout.root / "manifest.json"
        text = from_json(path.read_text(encoding="utf-8")).payload.decode()
        text = re.sub(r"^version = \d+$", f"version = {version}", text, count=1, flags=re.MULTILINE)
        text = re.sub(r'authority = """.*?"""', f'authority = """\n{self.pem.decode()}"""', text, flags=re.DOTALL)
        keys = [KeySigner(read_signing_key(self.layout.root / "governance" / f"{number}.key")) for number in (0, 1)]
        signed = to_json(seal(MANIFEST, (text + block).encode(), *keys))
        path.write_text(signed, encoding="utf-8")
        return signed


class Joining:
    """The new force's side."""

    def __init__(self, folder: Path, layout: Layout, force: str = FORCE) -> None:
        self.folder, self.layout, self.force = folder, layout, force
        self.config = folder / "node.toml"

    @property
    def block(self) -> str:
        """What governance enters in the manifest."""
        return (self.folder / "to-governance" / f"force-{self.force}.toml").read_text(encoding="utf-8")

    def init(self) -> int:
        """Run `init` as a script would."""
        keys = [part for key in self.layout.governance_keys for part in ("--governance-key", key)]
        address = f"127.0.0.1:{self.layout.design.port}"
        return run(["node", "init", str(self.folder), "--force", self.force, "--coordinator", address, *keys])

    def node(self, command: str) -> int:
        """Run a command of the node."""
        return run(["node", command, "--config", str(self.config)])

    def take(self, governance: Governance, manifest: str) -> None:
        """Put in place what governance has sent back."""
        requested = read_request((self.folder / "to-governance" / f"force-{self.force}.csr").read_bytes())
        (self.folder / "keys" / "tls.pem").write_bytes(governance.certify(requested.identity, requested.key))
        (self.folder / "keys" / "authority.pem").write_bytes(governance.pem)
        (self.folder / "manifest.json").write_text(manifest, encoding="utf-8")

    def write_own(self) -> None:
        """Mapping, records and budget, as the force's analyst and officers would."""
        names = re.findall(r'^source = "([^"/]+)"$', MAPPING.read_text(encoding="utf-8"), re.MULTILINE)
        names.append("Policing operation")  # which its exclusion names
        with (self.folder / "stops.csv").open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(names)
            known = {"Month": "2019-06", "Date": "2019-06-03T10:00:00+00:00", "Gender": "F"}
            writer.writerows([known.get(name, "") for name in names] for _ in range(20))
        text = re.sub(r'^path = "/.*"$', 'path = "../stops.csv"', MAPPING.read_text("utf-8"), flags=re.MULTILINE)
        (self.folder / "mappings" / "stop_search.toml").write_text(text, encoding="utf-8")
        settings = self.config.read_text(encoding="utf-8")
        self.config.write_text(settings.replace("mappings = []", 'mappings = ["mappings/stop_search.toml"]'))
        with (self.folder / "policy.toml").open("a", encoding="utf-8") as file:
            file.write('\n[budget.stop_records]\nepsilon_per_year = "10"\nepsilon_lifetime = "100"\n')


@pytest.fixture(scope="module")
def layout(tmp_path_factory: pytest.TempPathFactory) -> Layout:
    """A federation of three; only its coordinator will run."""
    design = Design(forces=("cumbria", "surrey", "sussex"), port=free_port())
    return lay_out(tmp_path_factory.mktemp("joining") / "federation", design)


@pytest.fixture
def processes(layout: Layout) -> Iterator[Federation]:
    """What runs of it."""
    with Federation(layout) as running:
        yield running


@pytest.fixture
def told(capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The doctor's findings of a node by name, and its exit code; standard input is no terminal."""

    def examine(joining: Joining) -> tuple[int, dict[str, dict[str, str]]]:
        capsys.readouterr()
        code = run(["node", "doctor", "--json", "--config", str(joining.config)])
        return code, {found["name"]: found for found in json.loads(capsys.readouterr().out)}

    with (tmp_path / "nothing").open("w+") as nothing:
        monkeypatch.setattr(sys, "stdin", nothing)
        yield examine


def to_do(findings: dict[str, dict[str, str]]) -> set[str]:
    """Names of what is to be done; each says how."""
    assert all((found["level"] == "ok") == (found["remedy"] == "") for found in findings.values())
    return {name for name, found in findings.items() if found["level"] == "to do"}


@pytest.mark.xdist_group("joining")
def test_a_force_joins_and_the_doctor_says_at_each_step_what_is_left(
    tmp_path: Path, layout: Layout, processes: Federation, told: Any
) -> None:
    """From nothing to a node that may serve: each step takes its own lines from the doctor's list, and no other."""
    governance, joining = Governance(layout), Joining(tmp_path / "kent", layout)
    governance.take_over()
    assert joining.init() == 0

    # The first day: keys and configuration are there, and nobody runs a coordinator.
    code, found = told(joining)
    assert code == 1
    assert to_do(found) == {"manifest", "authority", "policy", "connection", "ledger"}
    assert "refused the connection" in found["connection"]["words"]

    # The certificate has come, with a manifest from before this force was in it.
    joining.take(governance, governance.sign(1, ""))
    code, found = told(joining)
    assert (code, to_do(found)) == (1, {"manifest", "mappings", "policy", "connection", "ledger"})
    assert f"{FORCE} is not among them" in found["manifest"]["words"]

    # The next manifest lists it, the coordinator runs, and the force's own people do their part.
    joining.take(governance, governance.sign(2, joining.block))
    processes.start_coordinator()
    joining.write_own()
    assert joining.node("create-ledger") == 0
    code, found = told(joining)
    assert (code, to_do(found)) == (1, {"snapshot stop_search v1"})
    assert joining.node("load") == 0
    before = tree_digest(joining.folder)
    code, found = told(joining)
    assert (code, to_do(found)) == (0, set())
    assert {found[name]["level"] for name in ("membership", "clock", "connection", "source stop_search v1")} == {"ok"}
    assert tree_digest(joining.folder) == before

    # Another force is listed by a manifest that the coordinator does not have yet.
    other = Joining(tmp_path / "dorset", layout, "dorset")
    assert other.init() == 0
    newest = governance.sign(3, other.block)
    other.take(governance, newest)
    assert "dorset is not a member" in told(other)[1]["membership"]["words"]
    joining.take(governance, newest)
    code, found = told(joining)
    assert (code, to_do(found)) == (1, {"membership"})
    assert "install the same on both" in found["membership"]["words"]

    # And a coordinator that is gone.
    processes.kill_coordinator()
    code, found = told(joining)
    assert (code, to_do(found)) == (1, {"connection"})
    assert "refused the connection" in found["connection"]["words"]


@pytest.mark.xdist_group("federation")
@pytest.mark.parametrize("force", [ONE_PURPOSE, BEHIND_PROXY])
def test_a_doctor_beside_a_serving_node_does_not_take_its_place(
    live: Live, force: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Asked beside a node that serves, directly or through a proxy, the coordinator keeps that node's connection."""
    log = live.layout.force_folder(force) / "node.log"
    before = log.read_text(encoding="utf-8")
    assert run(["node", "doctor", "--json", "--config", str(live.layout.node_config(force))]) == 0
    found = {item["name"]: item for item in json.loads(capsys.readouterr().out)}
    assert {found[name]["level"] for name in ("connection", "membership", "clock", "ledger")} == {"ok"}
    assert ("through the proxy" in found["connection"]["words"]) == (force == BEHIND_PROXY)
    assert force in live.connected()
    assert log.read_text(encoding="utf-8") == before


def test_the_doctors_lines_are_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One line a check, with a remedy behind an arrow, and a count at the end."""
    assert run(["node", "doctor", "--config", str(tmp_path / "node.toml")]) == 1
    said = capsys.readouterr()
    first, last = said.out.splitlines()
    assert first.startswith("to do    configuration  cannot read")
    assert " → lay a node out with `cordon node init FOLDER`, or name its node.toml with --config" in first
    assert (last, said.err) == ("0 ok, 0 warnings, 1 to do", "")
