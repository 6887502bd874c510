"""What can go wrong while a snapshot is built: the one that serves stays, and the words name what to do."""

import fcntl
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest
from examples import person_contract

from cordon.errors import Misconfigured
from node import staging
from node.load import load
from node.mapping import Mapping
from node.snapshot import snapshot_path

ROOT = Path(__file__).parents[2]
COLUMNS = {"person": {"source": "ref"}, "role": {"source": "role"}}


class Folder:
    """A node's state folder, with a folder of source files beside it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.state = path / "state"
        self.records = path / "records"
        self.state.mkdir(mode=0o700)
        self.records.mkdir()

    def write(self, name: str, *rows: str, header: str = "ref,role") -> None:
        (self.records / name).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")

    def mapping(self, **more):
        return Mapping.model_validate(
            {
                "dataset": "persons", "version": 1, "domain": "records", "source": {"kind": "csv", "path": self.records},
                "as_at": "2026-01-31", "first_month": "2025-01", "last_month": "2025-12", "columns": COLUMNS,
            }
            | more
        )  # fmt: skip

    def load(self, told=None, **more):
        return load(
            self.mapping(**more), person_contract(), self.state, progress=(told if told is not None else []).append
        ).quality

    def rows(self):
        path = snapshot_path(self.state, "persons", 1).resolve()
        with duckdb.connect(str(path), read_only=True) as database:
            return database.execute("SELECT count(*) FROM snapshot").fetchone()[0]

    def names(self):
        """Files beside the snapshot."""
        return sorted(path.suffix for path in (self.state / "snapshots").iterdir())


@pytest.fixture
def folder(tmp_path):
    """A node that serves one row."""
    made = Folder(tmp_path)
    made.write("a.csv", "p1,suspect")
    made.load()
    return made


WHOLE = [".duckdb", ".snapshot"]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"ref,role\np1,suspect\np2\n", r"b\.csv"),
        (b"ref,role\np1,suspect,more\n", r"b\.csv"),
        (b'ref,role\np1,"suspect\n', r"b\.csv"),
        (b"ref,role\np1,\xff\xfe\n", r"b\.csv"),
        (b"ref,kind\np1,suspect\n", r"b\.csv"),
        (b"", r"b\.csv"),
    ],
    ids=["half a row", "too many values", "open quote", "encoding", "column vanished", "empty"],
)
def test_a_damaged_file_is_named_and_nothing_changes(folder, content, told):
    """No value of a record stands in the message, and the snapshot before serves."""
    (folder.records / "b.csv").write_bytes(content)
    with pytest.raises(Misconfigured, match=told) as refused:
        folder.load()
    assert "suspect" not in str(refused.value)
    assert (folder.rows(), folder.names()[:1]) == (1, [".coding"] if len(folder.names()) > 2 else [".duckdb"])


def test_a_second_load_waits_for_nobody(folder):
    """While one load has the folder, another is refused at once; afterwards it runs."""
    handle = os.open(folder.state / "snapshots", os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    under_way = folder.state / "snapshots" / "persons.v1.building"
    under_way.write_text("of the first")
    try:
        with pytest.raises(Misconfigured, match="another load or check is running"):
            folder.load()
    finally:
        os.close(handle)
    assert under_way.read_text() == "of the first", "nothing of the first load is touched"
    assert folder.load().rows_kept == 1
    assert folder.names() == WHOLE


def test_a_load_that_broke_off_goes_on_behind_what_it_has(folder):
    """Two of three files are read, the third is damaged; mended, only that one is read, and all rows are there."""
    folder.write("b.csv", "p2,victim", "p3,victim")
    folder.write("c.csv", "p4,victim", "broken")
    with pytest.raises(Misconfigured, match=r"c\.csv"):
        folder.load()
    assert folder.rows() == 1
    folder.write("c.csv", "p4,victim", "p5,victim")
    told = []
    assert folder.load(told).rows_kept == 5
    assert "going on with a load that broke off" in told
    assert [line for line in told if line.startswith("reading")] == [line for line in told if "c.csv" in line]
    assert folder.names() == WHOLE


def test_what_a_load_has_left_outlives_a_source_that_is_away_again(folder):
    """A load that finds no source at all takes nothing from the one before it."""
    folder.write("b.csv", "broken")
    with pytest.raises(Misconfigured):
        folder.load()
    folder.records.rename(folder.path / "away")
    with pytest.raises(Misconfigured, match="there is no"):
        folder.load()
    (folder.path / "away").rename(folder.records)
    folder.write("b.csv", "p2,victim")
    told = []
    assert folder.load(told).rows_kept == 2
    assert "going on with a load that broke off" in told


@pytest.mark.parametrize("change", ["file", "mapping", "key", "age"])
def test_what_was_read_under_other_circumstances_is_read_again(folder, change, monkeypatch):
    """A file that changed, another mapping, another key, or too long a break: nothing of before is used."""
    folder.write("b.csv", "broken")
    with pytest.raises(Misconfigured):
        folder.load()
    folder.write("b.csv", "p2,victim")
    more = {}
    if change == "file":
        folder.write("a.csv", "p1,suspect", "p9,suspect")
    elif change == "mapping":
        more = {"columns": {"person": {"source": "ref"}}}
    elif change == "key":
        (folder.state / "identifiers.key").unlink()
    else:
        monkeypatch.setattr(staging, "LONGEST_BREAK_SECONDS", 0)
    told = []
    assert folder.load(told, **more).rows_kept == (3 if change == "file" else 2)
    assert "going on with a load that broke off" not in told


CHILD = f"""
import sys
sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / "tests")!r}]
from pathlib import Path
from unit.test_loading_faults import Folder
from node.load import load
from cordon.contract import Contract
folder = Folder.__new__(Folder)
folder.path = Path(sys.argv[1]); folder.state = folder.path / "state"; folder.records = folder.path / "records"
from examples import person_contract
from cordon.errors import Misconfigured
import resource
if len(sys.argv) > 2:
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    load(folder.mapping(), person_contract(), folder.state, progress=lambda said: print(said, flush=True))
except Misconfigured as error:
    print("refused:", error, flush=True)
"""


def child(folder, *more):
    """A load in a process of its own."""
    return subprocess.Popen([sys.executable, "-c", CHILD, str(folder.path), *more], stdout=subprocess.PIPE, text=True)


def test_a_load_that_is_killed_leaves_the_snapshot_before_and_goes_on(folder):
    """Killed between two files, at a moment of no choice of ours; the next load has every row once."""
    for at in range(200):
        folder.write(f"b{at:03d}.csv", *(f"p{at}-{row},victim" for row in range(4)))
    with child(folder) as process:
        for line in process.stdout:
            if re.match(r"reading .*b01\d\.csv", line):
                break
        time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
    assert folder.rows() == 1
    told = []
    quality = folder.load(told)
    assert (quality.rows_read, quality.rows_kept) == (801, 801)
    assert "going on with a load that broke off" in told
    assert folder.names() == WHOLE


def test_a_full_disk_is_told_and_changes_nothing(folder):
    """Where no file may grow, the load says so; the snapshot before serves, and no half-made file stays."""
    folder.write("b.csv", *(f"person-{at},victim" for at in range(20_000)))
    process = child(folder, str(200_000))
    said, _ = process.communicate(timeout=60)
    assert "refused:" in said
    assert "the disk is full" in said
    assert "person-" not in said.replace("persons", "")
    assert folder.rows() == 1
    assert folder.names() == WHOLE


def test_temporary_files_lie_in_the_state_folder_alone(folder, monkeypatch):
    """What does not fit into memory is written beside the snapshots, and gone after the load."""
    monkeypatch.setattr("node.database.LOAD_MEMORY", "40MB")
    folder.write("b.csv", *(f"person-{at},victim" for at in range(150_000)))
    seen = set()

    def look(_):
        seen.update(path.name for path in (folder.state / "snapshots").glob("*.scratch"))

    contract = person_contract()
    wide = contract.model_copy(update={"unit": contract.unit.model_copy(update={"max_rows_per_force": 10**6})})
    wide._digest = contract.digest
    load(folder.mapping(), wide, folder.state, progress=look)
    assert seen == {"persons.v1.scratch"}
    assert folder.names() == WHOLE


def test_the_unsafe_encryption_of_files_is_never_asked_for():
    """DuckDB encrypts offline only with a flag that it calls unsafe itself: the volume's encryption is relied on."""
    word = "mbedtls" + "_unsafe"
    paths = [
        path
        for top in ("cordon", "node", "coordinator", "demo", "bench", "deploy")
        for path in (ROOT / top).rglob("*.*")
    ]
    naming = [path for path in paths if path.is_file() and word.encode() in path.read_bytes()]
    assert naming == []
    assert not any(b"ENCRYPTION_KEY" in path.read_bytes() for path in paths if path.suffix == ".py")


def test_a_crash_while_loading_dumps_no_memory():
    """Whoever runs a load from the command line has core dumps off before a record is read."""
    code = (
        "import resource\nfrom node.load_cli import _each\nfrom pathlib import Path\n"
        "from cordon.errors import Misconfigured\n"
        "try: _each(Path('/nowhere/node.toml'), None, lambda *_: None)\nexcept Misconfigured: pass\n"
        "print(resource.getrlimit(resource.RLIMIT_CORE))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "(0, 0)"
