"""The runbook's own commands start and keep a federation, with the real command line and real processes."""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from cordon.manifest import parse_manifest

pytestmark = pytest.mark.xdist_group("runbook")

ROOT = Path(__file__).parents[2]
RUNBOOK = (ROOT / "deploy" / "RUNBOOK.md").read_text(encoding="utf-8")
BLOCK = re.compile(r"<!-- run: (?P<name>[a-z-]+) -->\n```sh\n(?P<text>.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCKS = {found["name"]: found["text"] for found in BLOCK.finditer(RUNBOOK)}

UNITS = {"node": "cordon-node", "load": "cordon-node-load", "coordinator": "cordon-coordinator"}
FORCES = {"kent": "Kent Police", "surrey": "Surrey Police", "sussex": "Sussex Police"}
JOINS_LATER = "dorset"
WOMEN, MEN = 300, 900
"""Records of each force."""

FAR_OFF = 200
"""More than twenty standard deviations of the noise at the runbook's epsilon."""

WAIT_SECONDS = 120.0
COMMAND_SECONDS = 120.0


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


class Party:
    """One party's machine: its folders, its shell variables, and the service that it runs."""

    used: set[str]
    """Names of the blocks that were executed, by any party."""

    def __init__(self, home: Path, used: set[str], **variables: str) -> None:
        self.home, self.used = home, used
        folders = {name: home / name.lower() for name in ("ETC", "STATE", "SOURCES", "IN", "OUT", "BACKUP")}
        for folder in (*folders.values(), folders["ETC"] / "keys", folders["ETC"] / "mappings"):
            folder.mkdir(parents=True, mode=0o700)
        self.etc, self.state, self.sources = folders["ETC"], folders["STATE"], folders["SOURCES"]
        self.received, self.sent = folders["IN"], folders["OUT"]
        inherited = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
        self.variables = inherited | {name: str(folder) for name, folder in folders.items()} | variables
        self.variables |= {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "RELEASE": str(ROOT),
            # What stands at /etc/cordon and ~/.config/cordon on a real machine.
            "CORDON_NODE_CONFIG": str(self.etc / "node.toml"),
            "CORDON_COORDINATOR_CONFIG": str(self.etc / "coordinator.toml"),
            "CORDON_PROFILE": str(self.etc / "analyst.toml"),
            "CORDON_AUDITOR": str(self.etc / "auditor.toml"),
        }
        self._service: subprocess.Popen[bytes] | None = None

    def run(self, block: str, *, unit: str | None = None, expected: int = 0) -> str:
        """Execute a block to its end; returns what it printed."""
        done = subprocess.run(
            self._command(block, unit),
            env=self.variables,
            cwd=self.home,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        assert done.returncode == expected, f"{block} at {self.home.name}: {done.stdout}{done.stderr}"
        return done.stdout

    def start(self, block: str, unit: str) -> None:
        """Execute a block that serves until it is stopped."""
        with (self.home / "stderr").open("ab") as errors:
            self._service = subprocess.Popen(
                self._command(block, unit),
                env=self.variables,
                cwd=self.home,
                stdout=errors,
                stderr=errors,
                start_new_session=True,
            )

    def stop(self) -> None:
        """Stop the service as systemd does, and demand that it ends in good order."""
        service, self._service = self._service, None
        if service is not None:
            os.killpg(service.pid, signal.SIGTERM)
            assert service.wait(30) == 0, self.errors

    def kill(self) -> None:
        """Leave nothing behind, whatever has failed."""
        if self._service is not None:
            os.killpg(self._service.pid, signal.SIGKILL)
            self._service.wait()

    @property
    def errors(self) -> str:
        """What the service has written to standard error."""
        path = self.home / "stderr"
        return path.read_text(encoding="utf-8")[-2000:] if path.exists() else ""

    def post(self, *parties: Party) -> None:
        """Carry everything that this party sends to others."""
        for path in self.sent.iterdir():
            for party in parties:
                shutil.copy(path, party.received)

    def tidy(self) -> None:
        """Empty what was received and sent, as the runbook asks before something new."""
        for folder in (self.received, self.sent):
            for path in folder.iterdir():
                path.unlink()

    def _command(self, block: str, unit: str | None) -> list[str]:
        self.used.add(block)
        shell = ["bash", "-euc", BLOCKS[block].strip()]
        if unit is None:
            return shell
        restricted = Path(__file__).with_name("restricted.py")
        return [sys.executable, str(restricted), str(ROOT / "deploy" / "systemd" / f"{UNITS[unit]}.service"), *shell]


class Cast:
    """Everybody who acts in the runbook."""

    def __init__(self, root: Path) -> None:
        self.used: set[str] = set()
        self.port = free_port()
        address = f"127.0.0.1:{self.port}"
        self.shared = {"FEDERATION": "Runbook federation", "COORDINATOR": address, "HOST": "127.0.0.1"}
        self.root = root
        self.governance = [self._party(f"governance-{number}") for number in (1, 2, 3)]
        for member in self.governance:
            member.run("governance-key")
        keys = [(member.sent / "governance.pub").read_text().strip() for member in self.governance]
        self.shared |= {f"G{number}": key for number, key in enumerate(keys, start=1)}
        for member in self.governance:
            member.variables |= self.shared
            member.tidy()
        self.coordinator = self._party("coordinator", LISTEN=address)
        self.analyst = self._party("analyst", ANALYST="alice")
        self.auditor = self._party("auditor", AUDITOR="ico")
        self.forces = {force: self.force(force, name) for force, name in FORCES.items()}

    def force(self, force: str, name: str) -> Party:
        """A force's machine with its extract."""
        party = self._party(f"force-{force}", FORCE=force, NAME=name)
        write_extract(party.sources / "stop_search.csv")
        return party

    @property
    def everybody(self) -> list[Party]:
        """Whoever has a configuration."""
        return [self.coordinator, self.analyst, self.auditor, *self.forces.values()]

    def kill(self) -> None:
        """End every service."""
        for party in self.everybody:
            party.kill()

    def wait_listening(self) -> None:
        """Wait until the coordinator listens."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            assert time.monotonic() < deadline, self.coordinator.errors
            time.sleep(0.1)

    def wait_holders(self, *forces: str) -> None:
        """Wait until the analyst sees that exactly these forces hold stop and search records."""
        deadline = time.monotonic() + WAIT_SECONDS
        while (seen := holders(self.analyst.run("analyst-datasets"))) != sorted(forces):
            assert time.monotonic() < deadline, f"{seen}: {[party.errors for party in self.forces.values()]}"
            time.sleep(1)

    def _party(self, name: str, **variables: str) -> Party:
        return Party(self.root / name, self.used, **self.shared, **variables)


def write_extract(path: Path) -> None:
    """A force's stop and search extract, with local codes for gender."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        names = (ROOT / "deploy" / "config" / "mappings" / "stop_search.toml").read_text(encoding="utf-8")
        columns = re.findall(r'^source = "([^"/]+)"$', names, re.MULTILINE)
        writer.writerow(columns)
        values = {"Month": "2019-06", "Date": "2019-06-03T10:00:00+00:00"}
        for code, count in (("F", WOMEN), ("M", MEN)):
            for _ in range(count):
                writer.writerow([code if name == "Gender" else values.get(name, "") for name in columns])


def holders(listed: str) -> list[str]:
    """The forces that hold stop and search records, from what `datasets` prints."""
    held: list[str] = json.loads(listed)["stop_search"]["held_by"]
    return sorted(held)


def figures(answer: str) -> dict[str, float]:
    """An answer's noised counts by gender."""
    rows: list[dict[str, Any]] = json.loads(answer)["rows"]
    return {row["keys"][0].lower(): float(row["values"][0]["estimate"]) for row in rows if row["values"]}


@contextmanager
def cast_in(root: Path) -> Iterator[Cast]:
    """The cast, whose services end with the test."""
    cast = Cast(root)
    try:
        yield cast
    finally:
        cast.kill()


def found(cast: Cast) -> None:
    """Governance founds the federation; every party gets its certificates and the signed manifest."""
    first, second, _ = cast.governance
    first.run("governance-authority")
    cast.coordinator.run("coordinator-keys")
    cast.analyst.run("analyst-keys")
    cast.auditor.run("auditor-keys")
    for party in cast.forces.values():
        party.run("force-keys")
    for party in cast.everybody:
        party.post(first)
    first.run("governance-certify")
    first.run("governance-manifest")
    sign(cast)
    second.post(cast.coordinator)
    cast.coordinator.run("manifest-check")


def sign(cast: Cast) -> None:
    """Two of three sign the manifest that the first has written, and everybody gets it."""
    first, second, _ = cast.governance
    first.post(first)
    (first.received / "manifest.json").unlink(missing_ok=True)
    first.run("governance-sign")
    first.post(second)
    second.run("governance-sign")
    first.post(*cast.everybody)
    second.post(*cast.everybody)


def start_force(party: Party) -> None:
    """A force configures its node, creates its ledger, loads and serves."""
    party.run("force-config")
    party.run("force-create-ledger")
    assert f"{WOMEN + MEN:,} rows read" in party.run("force-load", unit="load")
    assert "0 to do" in party.run("force-doctor")
    party.start("force-serve", "node")


def start_all(cast: Cast) -> None:
    """The coordinator, every force and the analyst go into service."""
    cast.coordinator.run("coordinator-config")
    cast.coordinator.run("coordinator-init")
    cast.coordinator.start("coordinator-serve", "coordinator")
    cast.wait_listening()
    for party in cast.forces.values():
        start_force(party)
    cast.analyst.run("analyst-profile")
    cast.wait_holders(*cast.forces)


def check_answer(cast: Cast) -> None:
    """The runbook's query gives the true counts of all forces, within the noise."""
    counts = figures(cast.analyst.run("analyst-query"))
    assert abs(counts["female"] - WOMEN * len(cast.forces)) < FAR_OFF
    assert abs(counts["male"] - MEN * len(cast.forces)) < FAR_OFF


def audit(cast: Cast) -> None:
    """The auditor verifies the register at the coordinator, and anybody its published files."""
    cast.auditor.run("auditor-profile")
    said = json.loads(cast.auditor.run("auditor-verify"))
    assert (said["verdict"], said["discrepancies"], said["counts"]["queries"]) == ("ok", 0, 1)
    cast.coordinator.run("coordinator-publish")
    assert (cast.coordinator.sent / "register" / "checkpoint").is_file()
    shutil.rmtree(cast.coordinator.sent / "register")


def pause_and_resume(cast: Cast) -> None:
    """A paused force is left out, and three forces less one cannot answer; after resuming they can."""
    kent = cast.forces["kent"]
    kent.run("force-pause")
    cast.analyst.run("analyst-query", expected=3)
    kent.run("force-resume")
    assert "paused" in kent.run("force-history")


def restore_coordinator(cast: Cast) -> None:
    """A coordinator that is restored from a backup made while it served takes every force back."""
    kent = cast.forces["kent"]
    kent.run("force-copy-ledger")
    cast.coordinator.run("coordinator-backup")
    cast.coordinator.stop()
    cast.coordinator.run("coordinator-restore")
    cast.coordinator.start("coordinator-serve", "coordinator")
    cast.wait_listening()
    cast.wait_holders(*cast.forces)


def add_force(cast: Cast) -> None:
    """A fourth force joins by a second version of the manifest; kent takes a new TLS key at the same hour."""
    first, second, _ = cast.governance
    manifest = (first.sent / "manifest.toml").read_bytes()
    for party in (first, second, *cast.everybody):
        party.tidy()
    kent, newcomer = cast.forces["kent"], cast.force(JOINS_LATER, "Dorset Police")
    first.variables["FORCE"] = JOINS_LATER
    kent.run("force-new-tls")
    newcomer.run("force-keys")
    kent.post(first)
    newcomer.post(first)
    first.run("governance-certify")
    (first.received / "manifest.toml").write_bytes(manifest)
    first.run("governance-add-force")
    cast.forces[JOINS_LATER] = newcomer
    sign(cast)
    shutil.copy(first.home / "authority.pem", newcomer.received)
    kent.run("force-new-tls-installed")
    for party in cast.everybody:
        party.stop()
    for party in (cast.coordinator, *(cast.forces[force] for force in FORCES)):
        party.run("install-manifest")
    cast.coordinator.start("coordinator-serve", "coordinator")
    cast.wait_listening()
    for force in FORCES:
        cast.forces[force].start("force-serve", "node")
    start_force(newcomer)
    cast.wait_holders(*cast.forces)


def check_removal(cast: Cast) -> None:
    """The commands that remove a force give the next version, without it and with everybody else."""
    first = cast.governance[0]
    before = parse_manifest((first.sent / "manifest.toml").read_bytes())
    first.post(first)
    first.run("governance-remove-force")
    after = parse_manifest((first.sent / "manifest.toml").read_bytes())
    assert (before.version, after.version) == (2, 3)
    assert set(before.by_id) - set(after.by_id) == {JOINS_LATER}
    assert set(after.by_id) == set(FORCES)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_federation_lives_by_the_runbook_alone(tmp_path: Path) -> None:
    """Every executable block of the runbook, in the order of a real start, does what the runbook says.

    It takes about a minute of two processors, because it starts ten processes of coordinator and nodes and some
    seventy command lines, each of which imports what it needs, as a real officer's would.
    """
    with cast_in(tmp_path) as cast:
        found(cast)
        start_all(cast)
        assert "epsilon per attempt" in cast.analyst.run("analyst-explain")
        check_answer(cast)
        audit(cast)
        pause_and_resume(cast)
        restore_coordinator(cast)
        check_answer(cast)
        add_force(cast)
        check_answer(cast)
        check_removal(cast)
        for party in cast.everybody:
            party.stop()
        assert cast.used == set(BLOCKS)


def test_every_command_block_says_whether_it_was_run() -> None:
    """No block of commands stands in the runbook without a mark, and no name stands twice."""
    marked = re.findall(r"<!-- (?:run: [a-z-]+|not run: [^>]+) -->\n```sh\n", RUNBOOK)
    assert len(marked) == len(re.findall(r"^```\w+$", RUNBOOK, re.MULTILINE))
    assert len(BLOCK.findall(RUNBOOK)) == len(BLOCKS)


def test_files_that_the_runbook_links_to_exist() -> None:
    """A link of the runbook leads to a file that is there."""
    links = re.findall(r"\]\((?!http)([^)#]+)\)", RUNBOOK)
    assert links
    for link in links:
        assert (ROOT / "deploy" / link).exists(), link
