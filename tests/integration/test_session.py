"""The same federation from Python: sessions, answers, history, and what costs nothing."""

from __future__ import annotations

import asyncio
import csv
import json
import os
import re
from pathlib import Path

import nbformat
import pyarrow.parquet as pq
import pytest
from live import FORCES, NO_STOPS, PURPOSE, Live, sigmas_off
from nbclient import NotebookClient

import cordon
from cordon.errors import QuestionRefused, Refused
from cordon.workbench.history import Standing

pytestmark = pytest.mark.xdist_group("federation")

HOLD_STOPS = sorted(set(FORCES) - {NO_STOPS})
NOTEBOOK = Path(__file__).parents[2] / "docs" / "examples" / "stop_search.ipynb"


def submitted(live: Live) -> int:
    """Queries that the coordinator has heard of."""
    return int(live.store("SELECT count(*) FROM query")[0][0])


def test_a_session_asks_and_remembers(live: Live) -> None:
    """An answer is within six sigma, says what it cost, and is recalled and listed without anybody's hearing of it."""
    said: list[str] = []
    with cordon.connect(live.layout.profile(), note=said.append) as session:
        answer = session.query("SELECT COUNT(*) AS n FROM stop_search", epsilon=0.5, purpose=PURPOSE)
        (row,) = answer.rows
        true = sum(live.true(HOLD_STOPS, "stop_search", "count(*)").values())
        value = {"estimate": row.values[0].value, "low": row.values[0].low, "high": row.values[0].high}
        assert sigmas_off(value, true) < 6
        assert list(answer.answered) == HOLD_STOPS
        assert answer.absent[NO_STOPS] == "declined: not held"
        assert answer.cost.epsilon == pytest.approx(0.5, rel=1e-3)
        assert answer.to_polars()["n"][0] == row.values[0].value
        before = submitted(live)
        recalled = session.recall(answer.query_id[:16])
        assert recalled.rows == answer.rows
        assert session.follow(answer.query_id[:16]).rows == answer.rows
        newest = session.history()[0]
        assert (newest.query_id, newest.standing, newest.purpose) == (answer.query_id, Standing.ANSWERED, PURPOSE)
        assert newest.answered == len(HOLD_STOPS)
        explanation = session.explain("SELECT COUNT(*) FROM stop_search", epsilon=1)
        assert "epsilon per attempt" in str(explanation)
        with pytest.raises(QuestionRefused, match="no column"):
            session.query("SELECT nothing FROM stop_search", epsilon=1, purpose=PURPOSE)
        with pytest.raises(Refused, match="begins with"):
            session.recall("ff" * 8 + "00")
        assert submitted(live) == before
        session.query("SELECT COUNT(*) AS n FROM stop_search", epsilon=0.5, purpose=PURPOSE)
        noted = [text for text in said if f"cordon history {answer.query_id[:16]}" in text]
        assert noted
        session.query("SELECT COUNT(*) AS n FROM stop_search", epsilon=0.5, purpose=PURPOSE, anew=True)
        assert [text for text in said if "you asked this" in text][-1] == noted[-1], "who says anew knows it"


def test_sessions_are_awaited_side_by_side(live: Live) -> None:
    """Two questions of two sessions are asked at once, and the loop goes on meanwhile."""

    async def ask(sql: str) -> float:
        async with cordon.connect_async(live.layout.profile("bob"), note=lambda _: None) as session:
            return (await session.query(sql, epsilon=0.25, purpose=PURPOSE)).rows[0].values[0].value

    async def both() -> list[float]:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.create_task(tick())
        found = await asyncio.gather(*(ask(f"SELECT COUNT(*) FROM {name}") for name in ("stop_search", "street_crime")))
        ticking.cancel()
        assert ticks > 5
        return list(found)

    stops, crimes = asyncio.run(both())
    assert stops > 1000
    assert crimes > 1000


def without_age(text: str) -> list[str]:
    """The lines of an explanation, without how old the copy of the register is: a second passes between two."""
    return re.sub(r"as of \d+ \w+ ago", "as of a while ago", text).splitlines()


def test_a_dry_run_asks_nobody(live: Live, tmp_path: Path) -> None:
    """It prints what 'cordon explain' prints, needs no purpose, and the coordinator hears of no query."""
    before = submitted(live)
    done = live.cordon("query", "SELECT COUNT(*) FROM stop_search", "--epsilon", "1", "--dry-run")
    assert done.code == 0, done.err
    assert "would ask: SELECT COUNT(*) FROM stop_search" in done.out
    assert "nothing was asked and nothing was spent" in done.out
    kept = tmp_path / "rehearsed.txt"
    written = live.cordon("query", "SELECT COUNT(*) FROM stop_search", "--epsilon", "1", "--dry-run", "-o", str(kept))
    assert (written.code, written.out, without_age(kept.read_text())) == (0, "", without_age(done.out))
    told = live.cordon("query", "SELECT COUNT(*) FROM stop_search", "--epsilon", "1")
    assert (told.code, "--purpose" in told.err, PURPOSE in told.err) == (2, True, True)
    assert submitted(live) == before


def test_history_lists_and_shows_again_also_as_files(live: Live, tmp_path: Path) -> None:
    """What was asked comes first; its answer is shown again in any form, and its files hold what it cost."""
    asked = live.ask("SELECT gender, COUNT(*) AS n FROM stop_search GROUP BY gender")
    before = submitted(live)
    listed = json.loads(live.cordon("history", "--format", "json").out)["rows"]
    assert listed[0]["query_id"] == asked["query"]
    path = tmp_path / "answer.parquet"
    done = live.cordon("history", asked["query"][:12], "-f", "parquet", "-o", str(path))
    assert done.code == 0, done.err
    assert pq.read_table(path).column("n").to_pylist() == [row["values"][0]["estimate"] for row in asked["rows"]]
    again = live.cordon("history", asked["query"][:12], "-f", "csv")
    assert [line["gender"] for line in csv.DictReader(again.out.splitlines())] == [
        row["keys"][0] for row in asked["rows"]
    ]
    assert submitted(live) == before


def test_the_example_notebook_runs_as_it_stands(live: Live, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a real kernel, against a running federation; every cell ends, and answers are shown as tables and pictures."""
    monkeypatch.setenv("CORDON_PROFILE", str(live.layout.profile()))
    for name in [name for name in os.environ if "proxy" in name.lower()]:
        monkeypatch.delenv(name)
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    shown = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    kinds = {kind for output in shown if "data" in output for kind in output["data"]}
    assert {"text/html", "image/png"} <= kinds
    assert not [output for output in shown if output["output_type"] == "error"]
