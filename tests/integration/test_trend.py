"""`cordon trend` over a federation of real processes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from live import PURPOSE, Live

from cordon.cli import run

pytestmark = pytest.mark.xdist_group("federation")


def test_a_trend_is_one_question_and_is_looked_at_again_at_no_cost(
    live: Live, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A dry run asks nobody; what is asked has a series for each group and a reading; --from-query asks nobody again."""
    profile = list(live.profile)
    asking = ["trend", "stop_search", "--by", "type", *profile, "--epsilon", "1", "--purpose", PURPOSE]
    assert run([*asking, "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "would ask: SELECT MONTH(month) AS period, type, COUNT(*) AS records FROM stop_search GROUP BY" in said
    assert "nothing was spent" in said

    assert run([*asking, "--anew", "--format", "json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert {row["period"] for row in found["rows"]} >= {"2019-04", "2020-03"}
    assert len(found["readings"]) == len(found["groups"]) > 1
    assert found["tests"] > 0

    picture = tmp_path / "trend.svg"
    again = ["trend", "stop_search", "--from-query", found["query"][:16], *profile]
    assert run([*again, "--format", "csv", "--output", str(tmp_path / "trend.csv")]) == 0
    lines = (tmp_path / "trend.csv").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + len(found["rows"])
    assert run(again) == 0
    assert "What the records show" in capsys.readouterr().out
    assert run([*again, "--plot", str(picture)]) == 0
    assert picture.stat().st_size > 0
