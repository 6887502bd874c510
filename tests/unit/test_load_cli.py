"""`cordon node load` and `check` as people meet them: several mappings, reports, interruptions."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from live import Finished, call_cordon

from demo.layout import Design, choose_forces, lay_out
from demo.nominals import write_nominals

ROOT = Path(__file__).parents[2]


class Node:
    """One laid-out node with made-up nominals, and its command line."""

    def __init__(self, folder: Path, force: str) -> None:
        self.folder = folder
        self.force = force
        self.config = folder / "node.toml"
        self.mapping = folder / "nominals.toml"
        self.records = folder / "records" / "nominals.csv"
        write_nominals(self.records, number=0, forces=1, persons=40)
        self.list_only("nominals.toml")

    def list_only(self, *names: str) -> None:
        lines = self.config.read_text(encoding="utf-8").splitlines()
        listed = f"mappings = {json.dumps(list(names))}"
        self.config.write_text("\n".join(listed if line.startswith("mappings") else line for line in lines))

    def copy_mapping(self, name: str, *changes: tuple[str, str]) -> None:
        text = self.mapping.read_text(encoding="utf-8")
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (self.folder / name).write_text(text, encoding="utf-8")

    def call(self, *arguments: str) -> Finished:
        """In this process, for what is said."""
        return call_cordon("node", *arguments, "--config", str(self.config))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """In a process of its own, for what a terminal, a pipe or a signal sees."""
        command = [sys.executable, "-m", "cordon", "node", *arguments, "--config", str(self.config)]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    def snapshots(self) -> list[str]:
        return sorted(path.name for path in (self.folder / "state" / "snapshots").glob("*.duckdb"))


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    """Files of a federation, nothing of it running."""
    design = Design(forces=choose_forces(6))
    return lay_out(tmp_path_factory.mktemp("laid"), design), design


@pytest.fixture
def node(federation, tmp_path):
    """A node of it, in a copy of its folder."""
    layout, design = federation
    root = tmp_path / "federation"
    shutil.copytree(layout.root, root)
    return Node(root / "forces" / design.forces[0], design.forces[0])


def test_one_mapping_that_fails_stops_no_other(node):
    """The others are loaded and reported, the failure is told with its file, and the command says so by its code."""
    node.copy_mapping("broken.toml", ('"nominals"', '"stop_search"'), ("records/nominals.csv", "records/none.csv"))
    node.list_only("broken.toml", "nominals.toml")
    done = node.call("load")
    assert done.code == 6
    assert "nominals v1" in done.out
    assert "broken.toml" in done.err
    assert node.snapshots() == ["nominals.v1.duckdb"]


def test_two_mappings_for_one_version_are_refused(node):
    """The second would silently take the first one's place."""
    node.copy_mapping("again.toml")
    node.list_only("nominals.toml", "again.toml")
    done = node.call("check")
    assert done.code == 6
    assert "are both for nominals v1" in done.err
    assert not (node.folder / "state" / "snapshots").exists()


def test_a_data_set_that_no_mapping_is_for_is_told_with_those_that_there_are(node):
    """As a person who has misspelt it needs."""
    done = node.call("check", "--dataset", "nominal")
    assert done.code == 6
    assert "hint: there are mappings for nominals" in done.err


def test_a_report_pipes_and_shows_what_a_person_should_look_at(node):
    """Lines are not broken, values cannot steer a terminal or the layout, and JSON is JSON."""
    lines = node.records.read_text(encoding="utf-8").splitlines()
    fields = lines[0].split(",")
    for at in range(1, len(lines)):
        cells = lines[at].split(",")
        cells[fields.index("role")] = "[/b][red]\x1b[2J SUSPECTED OF A LONG LIST OF THINGS THAT NOBODY CODED"
        lines[at] = ",".join(cells)
    node.records.write_text("\n".join(lines) + "\n", encoding="utf-8")
    done = node.run("load")
    assert (done.returncode, "Traceback" in done.stderr) == (0, False)
    assert "[/b][red]" in done.stdout
    assert "\x1b" not in done.stdout
    assert "! role: 100 % of the values were mended" in done.stdout
    assert "! mapped, and not stored, since node.toml names no linkage_key: phone, vehicle" in done.stdout
    assert any("rows read" in line and "without a unit" in line for line in done.stdout.splitlines())
    found = json.loads(node.call("check", "--format", "json").out)
    assert found["columns"][-1]["column"] == "role"
    assert found["differences"] == []
    written = b"".join(path.read_bytes() for path in (node.folder / "state" / "snapshots").iterdir())
    assert b"NOBODY CODED" not in written, "no text of a record lies in a snapshot"


def test_ctrl_c_ends_a_load_with_a_sentence(node):
    """No traceback; the snapshot before stays, and nothing half-made does."""
    assert node.call("load").code == 0
    before = (node.folder / "state" / "snapshots" / "nominals.v1.duckdb").readlink()
    text = node.records.read_text(encoding="utf-8").splitlines()
    node.records.write_text("\n".join([text[0], *(text[1:] * 12_000)]) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "cordon", "node", "load", "--config", str(node.config)]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        while not list((node.folder / "state" / "snapshots").glob("*.coding")):
            assert process.poll() is None
            time.sleep(0.02)
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in said
    assert "the snapshots before stay" in said
    assert (node.folder / "state" / "snapshots" / "nominals.v1.duckdb").readlink() == before
    assert len(list((node.folder / "state" / "snapshots").iterdir())) == 2


def test_what_killed_loads_have_left_is_removed_by_the_next(node):
    """Scratch folders and half-built files at once, coded rows when they are a day old; and all that stays is the
    owner's alone, whatever umask a person has.
    """
    folder = node.folder / "state" / "snapshots"
    (folder / "stop_search.v1.scratch").mkdir(parents=True)
    (folder / "stop_search.v1.scratch" / "copy.csv").write_text("identifier")
    for name in ("stop_search.v1.building", "stop_search.v1.building.wal", "old.v1.coding", "young.v1.coding"):
        (folder / name).write_text("identifier")
    os.utime(folder / "old.v1.coding", (0, 0))
    assert node.call("load").code == 0
    names = {path.name for path in folder.iterdir()}
    assert {name for name in names if "nominals" not in name} == {"young.v1.coding"}
    assert folder.stat().st_mode & 0o077 == 0
    assert all(path.stat().st_mode & 0o077 == 0 for path in folder.iterdir() if "nominals" in path.name)
