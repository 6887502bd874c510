"""A watch over real processes: added, asked once, and found to be settled by every force's ledger."""

from __future__ import annotations

import json

import pytest
from live import PURPOSE, Live

from cordon.cli import run
from cordon.workbench.session import connect

pytestmark = pytest.mark.xdist_group("federation")

SQL = "SELECT gender, COUNT(*) AS n FROM stop_search WHERE object <> 'drugs' GROUP BY gender"


def test_a_watch_asks_once_and_writes_down_what_every_force_has_charged(
    live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    """Added, run twice: the second run asks nothing, and the account says what each ledger says."""

    def watch(*arguments: str) -> tuple[int, str, str]:
        code = run(["watch", *arguments, *live.profile])
        said = capsys.readouterr()
        return code, said.out, said.err

    add = ("add", "stops", SQL, "--every", "month", "--epsilon", "1/2", "--budget", "4", "--purpose", PURPOSE)
    code, out, err = watch(*add, "--format", "json")
    assert code == 0, err
    planned = json.loads(out)
    assert planned["year"]["releases a year"] == 12
    code, out, err = watch("run", "stops", "--once")
    assert (code, out) == (0, ""), err
    code, out, err = watch("run", "stops", "--once")
    assert (code, out) == (0, "")
    assert "was asked already" in err
    code, out, err = watch("show", "stops", "--format", "json")
    assert code == 0, err
    shown = json.loads(out)
    (release,) = shown["rows"]
    with connect(live.layout.profile()) as session:
        answer = session.recall(release["query"]).document
    assert release["rho"] == answer["rho"] == planned["year"]["rho per release"]
    assert all(live.charges(force, release["query"]) == [1] for force in answer["answered"])
    # What the register says of budgets was read when the question was asked.
    shares = {at["force"]: at["share"] for at in shown["year"]["forces"]}
    assert all(0 < shares[force] < 1 for force in answer["answered"])
    assert watch("remove", "stops")[0] == 0
