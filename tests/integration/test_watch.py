"""A watch over real processes: added, asked once, and found to be settled by every force's ledger."""

from __future__ import annotations

import json
import re
import shlex
import signal
import time
from pathlib import Path

import pytest
from live import FORCES, PURPOSE, Live, start_cordon

from cordon.cli import run
from cordon.workbench.session import connect
from cordon.workbench.watch.folder import Watches

pytestmark = pytest.mark.xdist_group("federation")

PAGE = Path(__file__).parents[2] / "docs" / "analysis" / "watch.md"


def commands() -> list[list[str]]:
    """What the page says to type, in its order, each without `cordon`."""
    blocks = re.findall(r"^```console\n(.*?)^```$", PAGE.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    lines = re.findall(r"^\$ cordon (.*?(?<!\\))$", "".join(blocks), re.DOTALL | re.MULTILINE)
    return [shlex.split(line.replace("\\\n", " ")) for line in lines]


def test_what_the_page_says_is_typed_and_asks_once(
    live: Live, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Each command of docs/analysis/watch.md in its order; the account then says what every ledger says."""
    monkeypatch.chdir(tmp_path)
    typed = commands()
    assert [line[1] for line in typed] == ["add", "add", "run", "run", "list", "show", "remove"]
    said = {}
    for at, line in enumerate(typed[:-1]):
        form = ["--format", "json"] if line[1] in ("add", "list", "show") else []
        code = run([*line, *form, *live.profile])
        said[at] = capsys.readouterr()
        assert code == 0, said[at].err
    assert "nothing was kept, asked or spent" in said[0].err
    assert "nothing was asked and nothing was spent" in said[2].err
    planned, listing, shown = (json.loads(said[at].out) for at in (0, 4, 5))
    (listed,) = listing["rows"]
    assert run(["watch", "run", "knives", "--once", *live.profile]) == 0
    assert "was asked already" in capsys.readouterr().err
    (release,) = shown["rows"]
    with connect(live.layout.profile()) as session:
        answer = session.recall(release["query"]).document
    assert listed["releases"] == 1
    assert release["rho"] == answer["rho"] == planned["year"]["rho per release"]
    assert all(live.charges(force, release["query"]) == [1] for force in answer["answered"])
    # What the register says of budgets was read when the question was asked.
    shares = {at["force"]: at["share"] for at in shown["year"]["forces"]}
    assert all(0 < shares[force] < 1 for force in answer["answered"])
    assert run([*typed[-1], *live.profile]) == 0


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
