"""`cordon regress` over real processes: asked, fitted, shown again from the stored answer, and nothing asked on a dry run."""

import json
from pathlib import Path

import pytest
from live import PURPOSE, Live

pytestmark = pytest.mark.xdist_group("federation")

FORMULA = "outcome = 'arrest' ~ gender"
ASK = ("--from", "stop_search", "--format", "json")


def test_a_regression_is_asked_once_and_fitted_again_at_no_cost(live: Live, tmp_path: Path) -> None:
    """Shares of arrests by gender from five forces; sums of products pass every node; a dry run tells nobody."""
    rehearsed = live.cordon("regress", FORMULA, *ASK, "--epsilon", "2", "--dry-run")
    assert rehearsed.code == 0, rehearsed.err
    assert "COUNT_IF(outcome = 'arrest')" in json.loads(rehearsed.out)["sql"]

    done = live.cordon("regress", FORMULA, *ASK, "--epsilon", "2", "--purpose", PURPOSE, "--reference", "gender=male")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    intercept, female = found["rows"][0], found["rows"][1]
    assert (female["level"], female["reference"]) == ("Female", "Male")
    assert 0 < intercept["low"] <= intercept["coefficient"] <= intercept["high"] < 100
    again = live.cordon(
        "regress", FORMULA, *ASK, "--from-query", found["query"][:12], "--plot", str(tmp_path / "a.svg")
    )
    assert json.loads(again.out)["rows"] == found["rows"]
    assert (tmp_path / "a.svg").stat().st_size > 1000

    sql = "SELECT SUM((age - 55) * (loss_gbp - 2500)) AS both FROM nominals"
    products = live.ask(sql, "--attempts", "1", epsilon="1/50")
    assert len(products["answered"]) == len(live.layout.design.forces)
