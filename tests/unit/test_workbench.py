"""An answer in Python, as files and tables; profiles by name; completion of the command line."""

import io
import json
import math
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from rich.console import Console

import cordon
from cordon.analyst.profile import find_profile, known_profiles, read_profile
from cordon.cli import run
from cordon.errors import Misconfigured, QuestionRefused, Refused
from cordon.workbench.answer import Answer
from cordon.workbench.extras import needed
from cordon.workbench.frames import METADATA
from cordon.workbench.output import Format, Sheet, check_output, check_plot, write_answer, write_sheet
from cordon.workbench.pricing import exactly

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
DOCUMENT = json.loads((GOLDEN / "answer.json").read_text())


@pytest.fixture
def answer():
    """One that the code has written, with a force that is absent and values without a bound."""
    document = json.loads(json.dumps(DOCUMENT))
    document["rows"][0]["values"][0]["low"] = None
    return Answer(document)


def test_an_answer_says_what_its_document_says(answer):
    """Columns, rows, forces and cost are the document's; what JSON cannot hold is infinite or no number."""
    assert [column.name for column in answer.columns] == [column["name"] for column in DOCUMENT["columns"]]
    assert len(answer) == len(answer.rows) == len(DOCUMENT["rows"])
    assert answer.rows[0].values[0].low == -math.inf
    assert answer.answered == tuple(DOCUMENT["answered"])
    assert answer.cost.epsilon == DOCUMENT["epsilon"]["charged"]
    assert answer.date == "2026-11-25"
    assert set(answer.absent) == {item["force"] for item in DOCUMENT["declined"]} | set(
        DOCUMENT["did_not_answer"] + DOCUMENT["lost"]
    )


def test_text_and_notebook_show_the_table_and_what_stands_below_it(answer):
    """As people read it on the command line; a notebook gets it escaped."""
    hostile = json.loads(json.dumps(DOCUMENT)) | {"sql": "<script>", "protected_unit": "<b>&"}
    assert "protected: " in str(answer)
    assert "&lt;b&gt;&amp;" in Answer(hostile)._repr_html_()
    assert "<b>" not in Answer(hostile)._repr_html_()


def test_tables_of_other_libraries_hold_every_estimate_with_its_interval(answer):
    """Arrow, pandas and polars agree with the document, and nothing but the rows leaves the metadata."""
    table, frame, polars = answer.to_arrow(), answer.to_pandas(), answer.to_polars()
    name = answer.measures[0]
    expected = [row["values"][0]["estimate"] if row["values"] else None for row in answer.document["rows"]]
    assert table.column(name).to_pylist() == expected
    assert polars[name].to_list() == expected
    assert [None if math.isnan(value) else value for value in frame[name]] == expected
    assert table.column(f"{name} low").to_pylist()[0] is None
    assert table.schema.field(answer.keys[0]).type == pa.string()
    about = json.loads(table.schema.metadata[METADATA])
    assert about == {key: value for key, value in answer.document.items() if key != "rows"}
    assert frame.attrs["cordon.answer"]["query"] == answer.query_id


def test_two_columns_of_one_name_are_both_kept():
    """SQL allows it, and a mapping would lose one."""
    document = json.loads(json.dumps(DOCUMENT))
    for column in document["columns"]:
        column["name"] = "n"
    names = Answer(document).to_arrow().column_names
    assert names.count("n") == len(document["columns"])


@pytest.mark.parametrize("form", [Format.PARQUET, Format.ARROW])
def test_files_for_programs_are_read_back_with_their_metadata(answer, form, tmp_path):
    """Whole: rows, and everything else in the schema."""
    path = tmp_path / "answer"
    write_answer(answer, form, path, Console(), Console())
    table = pq.read_table(path) if form is Format.PARQUET else pa.ipc.open_file(path).read_all()
    assert table.equals(answer.to_arrow())
    assert json.loads(table.schema.metadata[METADATA])["rho"] == answer.cost.rho
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("form", list(Format))
def test_a_result_of_an_analysis_has_every_form(form, tmp_path):
    """The same values in each; what people read is its own matter."""
    sheet = Sheet(("group", "ratio"), (("a", 1.5), ("b", None)), {"query": "ab"})
    path = tmp_path / "result"
    write_sheet(sheet, form, path, Console(), lambda out: out.print("for people"))
    if form is Format.TABLE:
        assert path.read_text() == "for people\n"
    elif form is Format.CSV:
        assert path.read_text() == "group,ratio\na,1.5\nb,\n"
    elif form is Format.JSON:
        assert json.loads(path.read_text()) == {
            "query": "ab",
            "rows": [{"group": "a", "ratio": 1.5}, {"group": "b", "ratio": None}],
        }
    else:
        read = pl.read_parquet(path) if form is Format.PARQUET else pl.read_ipc(path)
        assert read.rows() == [("a", 1.5), ("b", None)]


def test_a_place_that_cannot_be_written_is_found_out_before_anything_is_spent(tmp_path):
    """A missing folder, a folder in the file's place, and an ending that names no picture."""
    with pytest.raises(Misconfigured, match="there is no"):
        check_output(Format.CSV, tmp_path / "none" / "a.csv")
    with pytest.raises(Misconfigured, match="it is a folder"):
        check_output(Format.JSON, tmp_path)
    with pytest.raises(Refused, match="no form of picture"):
        check_plot(tmp_path / "a.jpeg")
    check_output(Format.PARQUET, tmp_path / "a.parquet")
    check_plot(tmp_path / "a.SVG")


def test_a_failed_write_leaves_the_old_file(tmp_path, answer, monkeypatch):
    """Who reads it sees the old one or the new one."""
    path = tmp_path / "answer.csv"
    path.write_text("old")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError(28, "No space left on device")))
    with pytest.raises(Misconfigured, match="No space left"):
        write_answer(answer, Format.CSV, path, Console(file=io.StringIO()), Console(file=io.StringIO()))
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_library_that_is_missing_is_named_with_the_command_that_installs_it():
    """And a fault of our own is not taken for one."""
    with pytest.raises(Misconfigured, match="a picture needs not_there") as refusal, needed("plot", "a picture"):
        import not_there  # noqa: F401
    assert refusal.value.hint == "pip install 'cordon[plot]'"
    with pytest.raises(ModuleNotFoundError), needed("plot", "a picture"):
        import cordon.not_there  # noqa: F401


@pytest.mark.parametrize(
    ("figure", "text"), [(0.1, "1/10"), ("1/3", "1/3"), (2, "2"), ("0.25", "1/4"), (1e-3, "1/1000")]
)
def test_figures_are_exact(figure, text):
    """A float is taken as it is printed: 0.1 is a tenth."""
    assert str(exactly("epsilon", figure)) == text


@pytest.mark.parametrize("figure", ["one", float("nan"), float("inf"), "1e999", "", None])
def test_figures_that_are_none_are_refused(figure):
    """With the option's name."""
    with pytest.raises(QuestionRefused, match="--epsilon"):
        exactly("--epsilon", figure)


def test_profiles_are_called_by_name(tmp_path, monkeypatch):
    """One for each federation; a name that is not there says which are."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("CORDON_PROFILE", raising=False)
    folder = tmp_path / ".config" / "cordon"
    folder.mkdir(parents=True)
    (folder / "north.toml").write_text("not a profile yet")
    assert known_profiles() == ["north"]
    with pytest.raises(Misconfigured, match=r"south\.toml") as refusal:
        read_profile("south")
    assert "there are: north" in refusal.value.hint
    with pytest.raises(Misconfigured, match=r"north\.toml"):
        read_profile("north")


def test_a_file_in_the_current_folder_is_never_taken_for_a_profile_of_that_name(tmp_path, monkeypatch):
    """Whoever can write there would else choose the coordinator, and the keys that are trusted."""
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    for name in ("analyst", "north"):
        (tmp_path / name).write_text('coordinator = "evil:1"')
    assert find_profile("north") == tmp_path / "home" / ".config" / "cordon" / "north.toml"
    monkeypatch.delenv("CORDON_PROFILE", raising=False)
    assert find_profile(None) == tmp_path / "home" / ".config" / "cordon" / "analyst.toml"
    assert find_profile("./north") == Path("north")


def test_the_package_gives_its_names_when_they_are_asked_for():
    """And no other."""
    assert cordon.connect.__module__ == "cordon.workbench.session"
    assert cordon.Answer is Answer
    with pytest.raises(AttributeError, match="nothing_such"):
        _ = cordon.nothing_such


@pytest.mark.parametrize(
    ("typed", "offered"),
    [("cordon hist", "history"), ("cordon query --dry", "--dry-run"), ("cordon history --format par", "parquet")],
)
def test_a_shell_completes_commands_options_and_values(typed, offered):
    """As bash asks."""
    words = typed.split()
    environment = os.environ | {
        "COMP_WORDS": typed,
        "COMP_CWORD": str(len(words) - 1),
        "_CORDON_COMPLETE": "complete_bash",
    }
    done = subprocess.run([sys.executable, "-m", "cordon"], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout.split() == [offered]


def test_the_script_for_a_shell_is_printed_and_another_shell_is_refused(capsys, monkeypatch):
    """With the shells that are known."""
    monkeypatch.setenv("_CORDON_COMPLETE", "")
    monkeypatch.delenv("_CORDON_COMPLETE")
    assert run(["completion", "csh"]) == 3
    assert "bash, zsh, fish" in capsys.readouterr().err
    done = subprocess.run(
        [sys.executable, "-m", "cordon", "completion", "bash"], capture_output=True, text=True, check=True
    )
    assert "complete -o default -F _cordon_completion cordon" in done.stdout
