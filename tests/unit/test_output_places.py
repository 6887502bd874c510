"""Where results are written and in which form: what is there is not spoilt, and nothing that was asked for is left out."""

import csv
import io
import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console

from cordon import cli
from cordon.analyst.profile import read_profile
from cordon.analyst.render import csv_text, one_of_each
from cordon.analyst.workspace import StoredQuery, Workspace
from cordon.cli import run
from cordon.envelope import QUERY, KeySigner, seal
from cordon.errors import Misconfigured, Refused
from cordon.keyfile import read_signing_key
from cordon.units import Digest
from cordon.workbench.answer import Answer
from cordon.workbench.options import Terms, rehearsed
from cordon.workbench.output import (
    Format,
    Sheet,
    check_output,
    check_place,
    check_places,
    check_plot,
    standard_output,
    write_answer,
    write_sheet,
)
from demo.layout import Design, lay_out

DOCUMENT = json.loads((Path(__file__).resolve().parents[1] / "golden" / "answer.json").read_text())
SQL = "SELECT COUNT(*) FROM stop_search WHERE " + " AND ".join(["gender = 'female'"] * 20)
SHEET = Sheet(("group", "ratio"), (("a", 1.5),))


@pytest.fixture(scope="module")
def profile(tmp_path_factory):
    """An analyst's, with one query in the workspace that was asked and is open."""
    layout = lay_out(tmp_path_factory.mktemp("places") / "federation", Design(("kent",)))
    path = layout.profile()
    signed = seal(QUERY, b"payload", KeySigner(read_signing_key(read_profile(path).signing_key)))
    Workspace(read_profile(path).workspace).add(StoredQuery(Digest(b"\x0a" * 32), SQL, signed, b"secret", b"seed"))
    return path


def written(path):
    """Write a result there."""
    write_sheet(SHEET, Format.CSV, path, Console(file=io.StringIO()), lambda _: None)


def test_a_link_stays_one_and_what_it_leads_to_is_written(tmp_path):
    """Through a link to a link too; one that leads nowhere yet makes its file."""
    (tmp_path / "target.csv").write_text("old")
    (tmp_path / "one.csv").symlink_to("target.csv")
    (tmp_path / "two.csv").symlink_to(tmp_path / "one.csv")
    (tmp_path / "new.csv").symlink_to("later.csv")
    for name in ("two.csv", "new.csv"):
        check_output(Format.CSV, tmp_path / name)
        written(tmp_path / name)
        assert (tmp_path / name).is_symlink()
    assert (tmp_path / "one.csv").is_symlink()
    assert (tmp_path / "target.csv").read_text() == (tmp_path / "later.csv").read_text() == "group,ratio\na,1.5\n"
    assert {path.name for path in tmp_path.iterdir()} == {"target.csv", "one.csv", "two.csv", "new.csv", "later.csv"}


def test_what_is_no_file_is_not_replaced_by_one(tmp_path):
    """A pipe and a device stay what they are, also behind a link, and also where nobody has checked before."""
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "link.png").symlink_to("pipe.png")
    (tmp_path / "null.png").symlink_to("/dev/null")
    for name in ("pipe.png", "link.png", "null.png"):
        for refused in (check_place, check_plot, written):
            with pytest.raises(Misconfigured, match="it is no file"):
                refused(tmp_path / name)
    assert stat.S_ISFIFO((tmp_path / "pipe.png").stat().st_mode)
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_place_that_cannot_be_is_refused_with_a_sentence(tmp_path):
    """A circle of links, a name too long, and one with a zero in it."""
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    for path in (tmp_path / "a", tmp_path / ("x" * 300), tmp_path / "\0", tmp_path / "none" / "a"):
        with pytest.raises(Misconfigured, match="cannot write"):
            check_place(path)


def test_rows_and_picture_do_not_go_to_one_file(tmp_path):
    """However the two are written."""
    (tmp_path / "link.png").symlink_to("a.png")
    for other in ("a.png", "link.png"):
        with pytest.raises(Refused, match="both name"):
            check_places(Format.CSV, tmp_path / "a.png", tmp_path / other)
    check_places(Format.CSV, tmp_path / "a.csv", tmp_path / "a.png")


FORMULAS = ["=1+1", "+A1", "-A1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "a\r=1", "-", '=HYPERLINK("x")', "-1+1"]


@pytest.mark.parametrize("text", FORMULAS, ids=range(len(FORMULAS)))
def test_a_spreadsheet_computes_no_text_of_an_answer(text, tmp_path):
    """Keys, names of columns and texts of analyses; an apostrophe is put before them, and numbers are as they are."""
    document = json.loads(json.dumps(DOCUMENT))
    for column in document["columns"]:
        column["name"] = text
    row = document["rows"][0] | {"keys": [text, text]}
    row["values"] = [row["values"][0] | {"estimate": -1.5, "low": -2.5, "high": -0.5}]
    document["rows"] = [row]
    write_answer(Answer(document), Format.CSV, tmp_path / "a.csv", Console(), Console(file=io.StringIO()))
    write_sheet(Sheet((text,), ((text,), (-1.5,))), Format.CSV, tmp_path / "b.csv", Console(), lambda _: None)
    files = [io.StringIO(path.read_bytes().decode(), newline="") for path in tmp_path.iterdir()]
    cells = [cell for file in files for line in csv.reader(file) for cell in line]
    assert ("" if text[0] == "a" else "'") + text.replace("\r", "\n") in cells
    assert not any("\r" in cell for cell in cells)
    assert {cell for cell in cells if cell[:1] in ("=", "+", "-", "@", "\t", "\r")} == {"-1.5", "-2.5", "-0.5"}


def test_what_is_no_formula_stays_as_it_is():
    """A key that is a number, and a text in which a sign comes later."""
    assert [csv_text(text) for text in ("-5", "+1.5", "a=b", "", "(all)")] == ["-5", "+1.5", "a=b", "", "(all)"]
    assert one_of_each(["n", "n (2)", "n", "n"]) == ["n", "n (2)", "n (3)", "n (4)"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["query", "SELECT 1", "--epsilon", "1", "--dry-run", "-f", "parquet", "-o", "a"], "no parquet form"),
        (["query", "SELECT 1", "--epsilon", "1", "--dry-run", "--plot", "a.png"], "nothing to draw"),
        (["query", "SELECT 1", "--epsilon", "1", "-o", "a.png", "--plot", "a.png"], "both name"),
        (["datasets", "-f", "csv"], "no csv form"),
        (["datasets", "-f", "parquet"], "no parquet form"),
        (["releases", "-f", "csv"], "no csv form"),
        (["releases", "--plot", "a.png"], "nothing to draw"),
        (["releases", "abc"], "at least 4"),
        (["history", "--plot", "a.png"], "nothing to draw"),
    ],
)
def test_what_a_command_does_not_do_it_refuses_before_anything_else(arguments, said, capsys, tmp_path, monkeypatch):
    """Before a profile is read: nobody is dialled, and nothing is written."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CORDON_PROFILE", str(tmp_path / "none.toml"))
    assert run(arguments) == 3
    assert said in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("form", "plot", "said"),
    [
        (Format.CSV, None, "no csv form"),
        (Format.ARROW, None, "no arrow form"),
        (Format.TABLE, "a.png", "nothing to draw"),
    ],
)
def test_a_rehearsal_of_an_analysis_refuses_what_only_answers_have(form, plot, said, tmp_path):
    """Before a session is used."""
    with pytest.raises(Refused, match=said):
        rehearsed(None, "SELECT 1", Terms(), form, Console(), tmp_path / "a", plot and tmp_path / plot)
    assert not list(tmp_path.iterdir())


def test_a_pipe_has_lines_of_any_length(monkeypatch, capsys, profile):
    """A table that nobody reads in a terminal is not cut to one's width; who sets a width gets it."""
    monkeypatch.delenv("COLUMNS", raising=False)
    assert standard_output().width >= 1000
    monkeypatch.setenv("COLUMNS", "60")
    assert standard_output().width == 60
    monkeypatch.delenv("COLUMNS")
    monkeypatch.setenv("CORDON_PROFILE", str(profile))
    assert run(["history"]) == 0
    assert "0a" * 8 in capsys.readouterr().out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no full device")
@pytest.mark.parametrize("arguments", [["--version"], ["history"]])
def test_standard_output_that_takes_no_more_is_said_in_a_sentence(arguments, profile, monkeypatch, capsys):
    """And no traceback; exit code as for any place that cannot be written."""
    monkeypatch.setenv("CORDON_PROFILE", str(profile))
    with Path("/dev/full").open("w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        assert run(arguments) == Misconfigured.exit_code
    assert capsys.readouterr().err == "error: cannot write to standard output: No space left on device\n"


def test_another_place_that_takes_no_more_is_not_taken_for_standard_output(monkeypatch):
    """A fault of our own is allowed to be seen."""

    def failing(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(cli, "_run_command", failing)
    with pytest.raises(OSError, match="No space left"):
        run(["history"])


def test_a_reader_that_has_gone_away_is_no_error_of_ours():
    """`cordon --help | head -0`: nothing is printed."""
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-m", "cordon", "--help"], stdout=writing, stderr=subprocess.PIPE, text=True, check=False
    )
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, "")
