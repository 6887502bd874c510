"""Published answers and costs in people's terms, typed at the command line over real processes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from live import FORCES, NO_CRIMES, PURPOSE, Finished, Live, call_cordon, run_cordon

pytestmark = pytest.mark.xdist_group("federation")

SQL = "SELECT crime_type, COUNT(*) AS n FROM street_crime WHERE crime_type <> 'robbery' GROUP BY crime_type"
"""No other test asks this: it would be shown the published answer."""


def as_bob(live: Live, *arguments: str) -> Finished:
    """The other analyst's command, in this process."""
    done = call_cordon(*arguments, "--profile", str(live.layout.profile("bob")))
    assert "Traceback" not in done.err
    return done


def json_of(done: Finished) -> Any:
    """What a command that went well printed."""
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_an_answer_is_published_read_by_another_and_stands_for_the_same_question(live: Live) -> None:
    """Alice asks and publishes; Bob finds it, is shown it at no cost, and pays only with --anew."""
    answer = live.ask(SQL, epsilon="1/2")
    assert answer["budget"]["unknown"] == []
    assert 0 < answer["budget"]["year"]["largest"]["share"] < answer["budget"]["lifetime"]["largest"]["share"] * 100
    unconfirmed = run_cordon("publish", answer["query"][:16], *live.profile)
    assert (unconfirmed.code, unconfirmed.out) == (3, "")
    assert "becomes public at once" in unconfirmed.err
    assert SQL in unconfirmed.err
    for _ in range(2):
        done = live.cordon("publish", answer["query"][:16], "--yes")
        assert done.code == 0, done.err
        assert "added again and equal" in done.err
    foreign = as_bob(live, "publish", answer["query"][:16], "--yes")
    assert (foreign.code, foreign.out) == (3, "")

    releases = json_of(as_bob(live, "releases", "--format", "json"))
    (release,) = (found for found in releases if found["query"] == answer["query"])
    assert release["published"]["by"] == "alice"
    assert release["rows"] == answer["rows"]
    table = as_bob(live, "releases")
    assert answer["query"][:16] in table.out
    shown = as_bob(live, "releases", answer["query"][:12])
    assert f"published by alice, in leaf {release['published']['leaf']} of the register" in shown.out

    foreseen = json_of(as_bob(live, "explain", SQL, "--epsilon", "1/2", "--format", "json"))
    assert foreseen["published"].startswith("alice has published this answer about the same records")
    before = live.charged()
    again = as_bob(live, "query", SQL, "--epsilon", "1/2", "--purpose", PURPOSE, "--format", "json")
    assert json_of(again)["query"] == answer["query"]
    assert "nothing was spent" in again.err
    assert live.charged() == before
    anew = as_bob(live, "query", SQL, "--epsilon", "1/4", "--purpose", PURPOSE, "--anew", "--format", "json")
    assert json_of(anew)["query"] != answer["query"]
    assert live.charged() != before


@pytest.mark.slow
def test_explain_says_what_would_be_left_and_who_would_decline_from_the_copy_alone(live: Live) -> None:
    """After --refresh, explain shows each force's budget and how old that is; a cost above it says who declines."""
    first = json_of(live.cordon("explain", SQL, "--epsilon", "1", "--refresh", "--format", "json"))
    budgets = {row["force"]: row for row in first["budgets"]["forces"]}
    assert set(budgets) == set(FORCES)
    assert first["budgets"]["age_seconds"] < 600
    assert all(0 < row["year"]["left_share"] <= 1 for force, row in budgets.items() if force != NO_CRIMES)
    assert not any(row["declines"] for row in budgets.values())
    dear = "SELECT COUNT(*) FROM nominals"
    live.ask(dear, epsilon="1/2")
    facts = json_of(live.cordon("explain", dear, "--epsilon", "4", "--attempts", "1", "--refresh", "--format", "json"))
    assert all(row["declines"] and "this year's budget" in row["why"] for row in facts["budgets"]["forces"])
    table = live.cordon("explain", dear, "--epsilon", "4", "--attempts", "1")
    assert f"would decline ({len(FORCES)})" in table.out
