"""A watch over real processes: added, asked once, and found to be settled by every force's ledger."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import pytest
from live import FORCES, PURPOSE, Live, start_cordon

from cordon.cli import run
from cordon.workbench.session import connect
from cordon.workbench.watch.folder import Watches

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


def files(folder: Path) -> int:
    """How many files lie below a folder."""
    return sum(path.is_file() for path in folder.rglob("*"))


def spent(live: Live) -> int:
    """What the force that was charged most has charged so far, in nano-rho."""
    return max(int(live.ledger(force, "SELECT coalesce(sum(rho), 0) FROM charge")[0][0]) for force in FORCES)


def added(live: Live, name: str, sql: str, capsys: pytest.CaptureFixture[str]) -> Path:
    """A watch that has a budget for three releases; its folder."""
    terms = ("--every", "month", "--epsilon", "1/2", "--budget", "1.5", "--attempts", "1", "--purpose", PURPOSE)
    code = run(["watch", "add", name, sql, *terms, *live.profile])
    assert code == 0, capsys.readouterr().err
    return live.layout.profile().parent / "workspace" / "watches" / name


def written(live: Live, name: str) -> tuple[int, int]:
    """What a watch has written down, and its budget, in nano-rho."""
    with connect(live.layout.profile()) as session:
        folder = Watches(session.client).open(name)
        return sum(item.nano for item in folder.account().counted), folder.saved.budget.nano


# Six releases over five processes, each killed and taken up again.
@pytest.mark.slow
def test_kill_9_at_whatever_step_never_lets_more_out_than_is_written_down(
    live: Live, capsys: pytest.CaptureFixture[str]
) -> None:
    """A run is killed as soon as its first, second, … file appears; whatever forces have charged is written down."""
    for month, more in enumerate((1, 3, 6, 8, 9, 10), 4):
        name = f"killed-{more}"
        before = spent(live)
        folder = added(live, name, f"SELECT COUNT(*) FROM stop_search WHERE month >= '2019-{month:02d}'", capsys)
        workspace = folder.parents[1]
        there = files(workspace)
        process = start_cordon("watch", "run", name, "--once", *live.profile)
        deadline = time.monotonic() + 60
        while files(workspace) < there + more and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.001)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        for _ in range(2):
            done = live.cordon("watch", "run", name, "--once")
            assert done.code in (0, 3), done.err
            charged, (down, budget) = spent(live) - before, written(live, name)
            assert charged <= down <= budget, (more, done.err)


@pytest.mark.slow
def test_two_processes_at_once_ask_once(live: Live, capsys: pytest.CaptureFixture[str]) -> None:
    """Three runs are started together: one asks, the others find it held or done; one release is charged."""
    before = spent(live)
    added(live, "thrice", "SELECT COUNT(*) FROM stop_search WHERE object = 'firearms'", capsys)
    running = [start_cordon("watch", "run", "thrice", "--once", *live.profile) for _ in range(3)]
    ended = [(process.communicate(timeout=120)[1], process.returncode) for process in running]
    assert min(code for _, code in ended) == 0, ended
    assert all(code == 0 or "another process" in said for said, code in ended), ended
    down, _ = written(live, "thrice")
    assert spent(live) - before == down
    with connect(live.layout.profile()) as session:
        assert len(Watches(session.client).open("thrice").account().releases) == 1
