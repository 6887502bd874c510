"""A download of data.police.uk becomes a folder for each of its forces, or a message that names what is wrong."""

from __future__ import annotations

import csv
import resource
import stat
import zipfile
from datetime import date

import downloads
import pytest

from cordon.catalogue import bundled_contracts
from cordon.cli import run
from cordon.configfile import read_config
from cordon.contract import Contract
from cordon.errors import Misconfigured
from demo.layout import HERE
from node.config import NodeConfig
from node.mapping import Mapping
from node.opendata import download as downloading
from node.opendata.datasets import DATASETS
from node.opendata.download import Kind, Piece, open_download
from node.opendata.examine import count_rows
from node.opendata.holding import Holding, holdings, mapping_text, months_between
from node.policy import Policy

CONTRACTS = [Contract.from_toml(payload) for payload in bundled_contracts()]
KEY = "ab" * 32


def pieces_of(path):
    """Names of what a download has."""
    return [(piece.force, piece.kind.value, piece.month) for piece in open_download(path).pieces]


def silent(_):
    """Nobody watches the progress."""


def tree(folder):
    """Every file below a folder, with its bytes."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("form", [downloads.as_folder, downloads.as_zip], ids=["folder", "zip"])
def test_forces_kinds_and_months_are_found(form, tmp_path):
    """A folder and a zip have the same pieces; what is none of the site's is listed apart."""
    files = downloads.small() | {"2025-01/readme.txt": "hello", "notes.csv": "a,b\n"}
    opened = open_download(form(tmp_path / "download", files))
    assert [(piece.force, piece.kind.value, piece.month) for piece in opened.pieces] == [
        ("essex", "street", "2025-01"),
        ("kent", "outcomes", "2025-01"),
        ("kent", "stop-and-search", "2019-06"),
        ("kent", "stop-and-search", "2019-07"),
        ("kent", "street", "2025-01"),
        ("kent", "street", "2025-03"),
    ]
    assert set(opened.others) == {"2025-01/readme.txt", "notes.csv"}


@pytest.mark.parametrize("form", [downloads.as_folder, downloads.as_zip], ids=["folder", "zip"])
@pytest.mark.parametrize("newline", ["\n", "\r\n"], ids=["lf", "crlf"])
def test_rows_are_counted_as_a_csv_reader_counts_them(form, newline, tmp_path):
    """Rows of each file, whatever its line ends, with a comma inside quotes."""
    opened = open_download(form(tmp_path / "download", downloads.small(newline)))
    rows = count_rows(opened, opened.pieces, progress=silent)
    assert [rows[piece] for piece in opened.pieces] == [1, 2, 2, 2, 3, 2]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("", "is empty"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
        ("Crime ID,Month,Crime type\n", "lacks the column Last outcome category"),
        ("Crime ID\n", "lacks the columns Month, Crime type, Last outcome category"),
        ("Month,Month,Crime type,Last outcome category\n", "names a column twice"),
        ("Month,Crime type,Last outcome category\n2025-01,Dru", "line 2 has 2 values where the header has 3"),
        ('Month,Crime type,Last outcome category\n2025-01,"Dru', "is damaged near line"),
    ],
)
def test_a_bad_file_is_named(content, why, tmp_path):
    """Every bad file is named with what is wrong, and no value of it is shown."""
    files = downloads.small() | {"2025-02/2025-02-kent-street.csv": content, "2025-02/2025-02-essex-street.csv": ""}
    opened = open_download(downloads.as_folder(tmp_path / "download", files))
    with pytest.raises(Misconfigured) as wrong:
        count_rows(opened, opened.pieces, progress=silent)
    assert f"2025-02/2025-02-kent-street.csv: {why}" in str(wrong.value)
    assert "2025-02/2025-02-essex-street.csv: is empty" in str(wrong.value)
    assert "Dru" not in str(wrong.value)


def test_a_file_in_another_month_s_folder_and_a_month_twice_are_refused(tmp_path):
    """What the layout contradicts is not guessed at."""
    header = downloads.text(downloads.STREET, [])
    moved = downloads.as_folder(tmp_path / "moved", {"2025-01/2025-02-kent-street.csv": header})
    with pytest.raises(Misconfigured, match="folder of another month"):
        open_download(moved)
    names = ("2025-01/2025-01-kent-street.csv", "2025-01-kent-street.csv")
    with pytest.raises(Misconfigured, match="same force and month"):
        open_download(downloads.as_folder(tmp_path / "twice", dict.fromkeys(names, header)))


def test_what_is_no_download_is_refused(tmp_path):
    """Nothing, an empty folder, a file that is no zip, and a zip that is cut off: each in words."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.zip").write_text("no zip")
    whole = downloads.as_zip(tmp_path / "whole.zip", downloads.small()).read_bytes()
    (tmp_path / "cut.zip").write_bytes(whole[: len(whole) // 2])
    for name, why in [
        ("none", "there is no download"),
        ("empty", "has no file of data.police.uk"),
        ("text.zip", "is no zip file"),
        ("cut.zip", "is no zip file, or is cut off"),
    ]:
        with pytest.raises(Misconfigured, match=why):
            open_download(tmp_path / name)


@pytest.mark.parametrize(
    "name",
    [
        "../2025-01-kent-street.csv",
        "/2025-01-kent-street.csv",
        "2025-01/../../2025-01-kent-street.csv",
        "..\\2025-01-kent-street.csv",
        "2025-01/2025-01-../../kent-street.csv",
        "deep/er/2025-01/2025-01-kent-street.csv",
    ],
)
def test_a_name_that_leads_elsewhere_is_no_piece(name, tmp_path):
    """A name in an archive never decides where a file is written: what does not fit the layout is not read at all."""
    files = {"2025-01/2025-01-essex-street.csv": downloads.text(downloads.STREET, []), name: "x"}
    opened = open_download(downloads.as_zip(tmp_path / "download.zip", files))
    assert [piece.force for piece in opened.pieces] == ["essex"]
    opened.place(opened.pieces[0], tmp_path / "target.csv")
    assert {path.name for path in tmp_path.iterdir()} == {"download.zip", "target.csv"}


def test_links_encryption_and_bombs_in_an_archive_are_refused(tmp_path, monkeypatch):
    """An entry that is a link, is encrypted, or unpacks to more than a download can hold."""
    name = "2025-01/2025-01-kent-street.csv"

    def archive(change):
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.zip"
        entry = zipfile.ZipInfo(name)
        with zipfile.ZipFile(path, "w") as made:
            change(entry)
            made.writestr(entry, "/etc/passwd")
        return path

    def link(entry):
        entry.external_attr = (stat.S_IFLNK | 0o777) << 16

    with pytest.raises(Misconfigured, match="is a link"):
        open_download(archive(link))
    plain = archive(lambda entry: None)
    locked = bytearray(plain.read_bytes())
    locked[locked.index(b"PK\x01\x02") + 8] |= 1
    (tmp_path / "locked.zip").write_bytes(locked)
    with pytest.raises(Misconfigured, match="is encrypted"):
        open_download(tmp_path / "locked.zip")
    monkeypatch.setattr(downloading, "MOST_BYTES_OF_FILE", 5)
    with pytest.raises(Misconfigured, match="unpacks to 11 bytes"):
        open_download(plain)
    monkeypatch.setattr(downloading, "MOST_BYTES_OF_FILE", 50)
    monkeypatch.setattr(downloading, "MOST_BYTES", 10)
    with pytest.raises(Misconfigured, match="at most 10 are unpacked"):
        open_download(plain)
    monkeypatch.setattr(downloading, "MOST_FILES", 0)
    with pytest.raises(Misconfigured, match="has 1 entries"):
        open_download(plain)


def test_a_damaged_entry_leaves_nothing_behind(tmp_path):
    """An entry whose check sum does not hold is refused, and its half is not kept."""
    path = tmp_path / "download.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(
            "2025-01/2025-01-kent-street.csv", downloads.text(downloads.STREET, [downloads.crime("2025-01")])
        )
    content = bytearray(path.read_bytes())
    content[content.index(b"Burglary")] ^= 1
    path.write_bytes(content)
    opened = open_download(path)
    with pytest.raises(Misconfigured, match="is damaged"):
        opened.place(opened.pieces[0], tmp_path / "target.csv")
    assert not (tmp_path / "target.csv").exists()


def piece(kind, month, force="kent"):
    """A piece of a download."""
    return Piece(force, kind, month, f"{month}/{month}-{force}-{kind}.csv")


def test_months_outside_the_contract_stop_it_unless_they_are_left_out():
    """Months that no version covers are named with the way out; left out, the rest is held."""
    pieces = [piece(Kind.STREET, month) for month in ("2024-11", "2024-12", "2025-01", "2025-02")]
    with pytest.raises(Misconfigured, match="street_crime v1 does not cover 2024-11, 2024-12") as stopped:
        holdings(pieces, CONTRACTS, leave_out_uncovered=False)
    assert "--covered-only" in stopped.value.hint
    (held,) = holdings(pieces, CONTRACTS, leave_out_uncovered=True)
    assert held.months == ("2025-01", "2025-02")
    with pytest.raises(Misconfigured, match="does not cover 2024-11"):
        holdings(pieces[:2], CONTRACTS, leave_out_uncovered=True)


def test_the_version_that_covers_most_is_taken():
    """Of a contract's versions the one that covers most months of the download; of equals the newest."""
    (first,) = [payload for payload in bundled_contracts() if Contract.from_toml(payload).dataset == "street_crime"]
    later = first.replace(b"version = 1", b"version = 2").replace(b"2025-01-01", b"2026-01-01")
    later = Contract.from_toml(later.replace(b"2025-12-31", b"2027-12-31"))
    contracts = [*CONTRACTS, later]
    for months, version in [(("2025-11", "2025-12"), 1), (("2026-01", "2026-02"), 2)]:
        (held,) = holdings([piece(Kind.STREET, month) for month in months], contracts, leave_out_uncovered=False)
        assert held.contract.version == version


def test_gaps_are_the_note_that_analysts_read():
    """A month without a file is named in the mapping's note; too many are counted."""
    contract = next(item for item in CONTRACTS if item.dataset == "outcomes")
    held = Holding(contract, Kind.OUTCOMES, (piece(Kind.OUTCOMES, "2025-11"), piece(Kind.OUTCOMES, "2026-02")))
    assert held.gaps == ("2025-12", "2026-01")
    assert held.note == "missing months: 2025-12, 2026-01"
    long = Holding(contract, Kind.OUTCOMES, (piece(Kind.OUTCOMES, "2016-01"), piece(Kind.OUTCOMES, "2026-02")))
    assert long.note == "120 months are missing"
    assert months_between("2025-12", "2026-01") == ("2025-12", "2026-01")


def test_a_month_that_another_force_has_is_a_gap():
    """At either end too, also where the other force was not chosen; a month that no contract covers is none."""
    months = {"kent": ("2025-01", "2025-03"), "essex": ("2025-02",), "sussex": ("2024-12", "2025-01", "2025-04")}
    pieces = [piece(Kind.STREET, month, force) for force, own in months.items() for month in own]
    held = holdings(pieces, CONTRACTS, leave_out_uncovered=True)
    assert {item.force: item.gaps for item in held} == {
        "kent": ("2025-02", "2025-04"),
        "essex": ("2025-01", "2025-03", "2025-04"),
        "sussex": ("2025-02", "2025-03"),
    }
    (alone,) = holdings(pieces[:2], CONTRACTS, leave_out_uncovered=True, beside=pieces)
    assert alone.note == "missing months: 2025-02, 2025-04"


@pytest.mark.parametrize("kind", list(Kind))
def test_a_mapping_fits_its_contract_and_feeds_every_column(kind, tmp_path):
    """The mapping of each kind is read as any other, and leaves no column of the contract out."""
    contract = next(item for item in CONTRACTS if item.dataset == DATASETS[kind].dataset)
    month = f"{contract.column('month').min:%Y-%m}"
    path = tmp_path / "mappings" / "mapping.toml"
    path.parent.mkdir()
    held = Holding(contract, kind, (piece(kind, month),))
    path.write_text(mapping_text(held, as_at=date(2025, 3, 31), folder=f"../records/{kind}"), encoding="utf-8")
    mapping = read_config(path, Mapping)
    mapping.check(contract)
    assert set(mapping.columns) == {column.name for column in contract.columns}
    assert mapping.source.path.resolve() == tmp_path / "records" / kind


def test_a_command_lays_out_a_node_for_each_force(tmp_path, capsys):
    """Records, mappings, keys and configuration of each force, from a zip, after a summary with months, rows and gaps."""
    archive = downloads.as_zip(tmp_path / "download.zip", downloads.small())
    into = tmp_path / "forces"
    given = ["--coordinator", "127.0.0.1:7443", "--governance-key", KEY]
    arguments = ["node", "open-data", str(archive), "--into", str(into), *given]
    assert run(arguments) == 6
    assert "nothing was written" in capsys.readouterr().err
    assert not into.exists()
    budget = ["--epsilon-per-year", "10", "--epsilon-lifetime", "100"]
    assert run([*arguments, *budget, "--yes"]) == 0
    shown = capsys.readouterr().out
    assert "street_crime v1" in shown
    assert "2025-02" in shown, "the gap"
    assert sorted(path.name for path in into.iterdir()) == ["essex", "kent"]
    settings = read_config(into / "kent" / "node.toml", NodeConfig)
    assert settings.force == "kent"
    mappings = {path.name: read_config(path, Mapping) for path in settings.mappings}
    assert set(mappings) == {"street_crime.toml", "outcomes.toml", "stop_search.toml"}
    assert mappings["street_crime.toml"].note == "missing months: 2025-02"
    assert (mappings["stop_search.toml"].first_month, mappings["stop_search.toml"].last_month) == ("2019-06", "2019-07")
    policy = read_config(settings.policy, Policy)
    assert set(policy.budget) == {mapping.domain for mapping in mappings.values()} == {"crime_records", "stop_records"}
    records = tree(into / "kent" / "records")
    assert set(records) == {
        "outcomes/2025-01-kent-outcomes.csv",
        "stop-and-search/2019-06-kent-stop-and-search.csv",
        "stop-and-search/2019-07-kent-stop-and-search.csv",
        "street/2025-01-kent-street.csv",
        "street/2025-03-kent-street.csv",
    }
    assert (into / "kent" / "keys" / "signing.key").stat().st_mode & 0o777 == 0o600
    before = tree(into)
    assert run([*arguments, "--yes"]) == 6
    assert "already" in capsys.readouterr().err
    assert tree(into) == before


def test_files_that_are_not_read_are_named(tmp_path, capsys):
    """Five of them by their names, and how many more there are, before anything is confirmed."""
    files = downloads.small() | {f"2025-01/{number}.txt": "x" for number in range(7)} | {"2025-01/0\x1b[2J.txt": "x"}
    folder = downloads.as_folder(tmp_path / "download", files)
    assert run(["node", "open-data", str(folder), "--into", str(tmp_path / "into")]) == 6
    named = ", ".join(f"2025-01/{name}.txt" for name in ("0?[2J", 0, 1, 2, 3))
    assert f"not read, because the site's files are called otherwise: {named} and 3 more" in capsys.readouterr().out


def test_without_a_coordinator_records_and_mappings_are_laid_out(tmp_path, capsys):
    """Keys are then left to init; a second run after one that broke off keeps what is the download's."""
    folder = downloads.as_folder(tmp_path / "download", downloads.small("\r\n"))
    into = tmp_path / "forces"
    arguments = ["node", "open-data", str(folder), "--into", str(into), "--force", "kent", "--yes"]
    assert run(arguments) == 0
    assert "cordon node init" in capsys.readouterr().err
    before = tree(into)
    assert "kent/mappings/outcomes.toml" in before
    assert not [name for name in before if name.endswith((".key", "node.toml"))]
    (into / "kent" / "records" / "street" / "2025-03-kent-street.csv").unlink()
    (into / "kent" / "records" / "street" / ".placing-x").mkdir()
    assert run(arguments) == 0
    assert tree(into) == before
    target = into / "kent" / "records" / "street" / "2025-01-kent-street.csv"
    target.unlink()
    target.write_text("another\n")
    assert run(arguments) == 6
    assert "is not the download's" in capsys.readouterr().err
    target.unlink()
    (target.parent / "2023-01-kent-street.csv").write_text("older\n")
    assert run(arguments) == 6
    assert "has other files already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("given", "why"),
    [
        (["--force", "narnia"], "nothing of narnia"),
        (["--dataset", "nominals"], "none of the site's"),
        (["--force", "essex", "--dataset", "outcomes"], "nothing of what was chosen"),
        (["--coordinator", "127.0.0.1:7443"], "needs --coordinator and --governance-key"),
        (
            ["--coordinator", "127.0.0.1:7443", "--governance-key", KEY, "--epsilon-per-year", "1"],
            "needs both --epsilon-per-year and --epsilon-lifetime",
        ),
        (["--epsilon-per-year", "ten"], "--epsilon-per-year: 'ten' is no number above 0"),
        (["--epsilon-per-year", "10", "--epsilon-lifetime", "-1"], "--epsilon-lifetime: '-1' is no number above 0"),
        (["--epsilon-per-year", "10", "--epsilon-lifetime", "9.5"], "9.5 is less than the 10 of a single year"),
        (
            ["--coordinator", "127.0.0.1:77443", "--governance-key", KEY],
            "--coordinator: a port is a number from 1 to 65535",
        ),
    ],
)
def test_what_cannot_be_done_is_said_before_anything_is_written(given, why, tmp_path, capsys):
    """A wrong choice ends with words, and no folder."""
    folder = downloads.as_folder(tmp_path / "download", downloads.small())
    assert run(["node", "open-data", str(folder), "--into", str(tmp_path / "into"), "--yes", *given]) == 6
    assert why in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "into").exists()


def test_the_site_s_names_of_forces_are_the_bundled_ones():
    """Every force of the bundled data has a name that a piece can carry."""
    with (HERE / "data" / "forces.csv").open(encoding="utf-8") as file:
        forces = [row["id"] for row in csv.DictReader(file)]
    for force in forces:
        for kind in Kind:
            name = f"2025-01/2025-01-{force}-{kind}.csv"
            assert downloading._piece(name) == Piece(force, kind, "2025-01", name)


def test_a_crash_while_a_download_is_read_dumps_no_memory(monkeypatch):
    """It holds records."""
    limits = []
    monkeypatch.setattr(resource, "setrlimit", lambda *given: limits.append(given))
    assert run(["node", "open-data", "/nowhere", "--into", "/nowhere"]) == 6
    assert limits == [(resource.RLIMIT_CORE, (0, 0))]
