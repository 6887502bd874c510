"""`cordon disparity` over real processes: what it asks, says and writes, and what it does not ask."""

from __future__ import annotations

import json

import pytest
from live import FORCES, NO_STOPS, ONE_PURPOSE, PURPOSE, Live

import cordon
from cordon.analyst.residents import bundled_residents
from cordon.cli import run
from cordon.workbench.disparity.asking import disparity

pytestmark = pytest.mark.xdist_group("federation")

POSITIONS = {"White": "0", "Black": "1"}
"""What a snapshot stores for the codes of officer_defined_ethnicity."""


def test_a_disparity_is_asked_once_read_again_for_nothing_and_holds_the_truth(
    live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    """One question; its rates within six sigma of the records'; a second reading and a rehearsal ask nobody."""
    options = ["disparity", "stop_search", "--by", "ethnicity", *live.profile]
    assert run([*options, "--epsilon", "1", "--purpose", PURPOSE, "--format", "json"]) == 0
    shown = capsys.readouterr()
    found = json.loads(shown.out)
    answered = sorted(set(FORCES) - {NO_STOPS})
    assert found["answered"] == answered
    assert found["left_out"] == [NO_STOPS]
    assert ONE_PURPOSE in answered
    counts = live.true(answered, "stop_search", "count(*)", by="officer_defined_ethnicity")
    rows = {row["group"]: row for row in found["rows"]}
    for group, row in rows.items():
        if group not in POSITIONS:
            continue
        people = sum(bundled_residents().forces[force][group.lower()] for force in answered)
        true = 1000 * counts[POSITIONS[group]] / people
        assert row["over"] == people
        assert abs(row["rate"] - true) < 6 * (row["rate high"] - row["rate"]) / 1.96
    assert rows["Black"]["finding"] == "higher"
    assert any("neither proves nor rules out" in line for line in found["not_concluded"])
    before = live.store("SELECT count(*) FROM query")[0][0]
    assert run([*options, "--from-query", found["query"][:16], "--format", "csv"]) == 0
    again = capsys.readouterr()
    assert again.out.splitlines()[2].startswith("all that answered,Black,")
    assert run([*options, "--epsilon", "1", "--by-force", "--dry-run"]) == 0
    assert "would ask: SELECT force, officer_defined_ethnicity, COUNT(*)" in capsys.readouterr().out
    assert run([*options, "--outcome", "arrest", "--from-query", found["query"][:16]]) == 3
    assert "hint: this would do: SELECT officer_defined_ethnicity, outcome, COUNT(*)" in capsys.readouterr().err
    with cordon.connect(live.layout.profile()) as session:
        recalled = disparity(session, "stop_search", by="ethnicity", answer=session.recall(found["query"]))
    assert recalled.found.as_dict()["comparisons"][0]["ratio"]["estimate"] == rows["Black"]["ratio"]
    assert live.store("SELECT count(*) FROM query")[0][0] == before
