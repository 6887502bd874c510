"""`cordon watch` as it is typed, over a federation in one process: its clock and its records are the test's."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest
import typer
from members import COUNT, PURPOSE, Members
from watches import moved_on

from cordon.catalogue import read_catalogue
from cordon.cli import run
from cordon.configfile import read_config
from cordon.errors import Refused, Unavailable
from cordon.manifest import read_manifest
from cordon.units import Rho
from cordon.workbench.session import Session
from cordon.workbench.watch import cli, loop
from cordon.workbench.watch.account import BudgetEnded
from cordon.workbench.watch.alert import stopped_alert
from cordon.workbench.watch.folder import Watches
from cordon.workbench.watch.held import Busy
from cordon.workbench.watch.schedule import Every
from demo.nominals import write_nominals
from node.config import NodeConfig
from node.load import load
from node.mapping import Mapping


@pytest.fixture(scope="module")
def members(tmp_path_factory):
    """One federation for all of them."""
    made = Members(tmp_path_factory.mktemp("watch-cli") / "federation")
    while datetime.fromtimestamp(made.now, UTC).timetuple().tm_yday > 360:
        # A new year would begin in the middle of a test, with a budget of its own.
        moved_on(made, Every.DAY)
    yield made
    made.close()


@pytest.fixture
def cordon(members, monkeypatch, capsys):
    """Types a command; returns its exit code, standard output and what else it said."""

    @contextmanager
    def session(profile, notes):
        yield Session(members.client(), note=notes.print)

    monkeypatch.setattr(cli, "session", session)
    monkeypatch.setattr(cli, "_now", lambda: int(members.now))
    monkeypatch.setenv("COLUMNS", "250")

    def typing(*arguments):
        code = run(["watch", *arguments])
        said = capsys.readouterr()
        return code, said.out, said.err

    return typing


def grow(members, force: str, persons: int) -> None:
    """A force loads other records, and its node takes them up."""
    settings = read_config(members.layout.node_config(force), NodeConfig)
    folder = members.layout.force_folder(force)
    (folder / "records" / "nominals.csv").unlink()
    write_nominals(folder / "records" / "nominals.csv", number=0, forces=5, persons=persons)
    manifest, _ = read_manifest(settings.manifest, settings.governance_keys)
    mapping = read_config(folder / "nominals.toml", Mapping)
    load(mapping, read_catalogue(manifest)["nominals", 1][0], settings.state, progress=lambda _: None)
    members.restart_node(force)
    members.open_ledgers()


TERMS = ("--every", "day", "--epsilon", "1", "--budget", "1.45", "--attempts", "1", "--purpose", PURPOSE)
"""A budget that covers two releases."""


def test_a_watch_from_its_plan_to_its_end(members, cordon, tmp_path):
    """Planned, added, asked, not asked over the same records, asked over others with an alert, stopped by its budget."""
    alerts = tmp_path / "alerts.jsonl"
    add = ("add", "roles", COUNT, *TERMS, "--alert-file", str(alerts))
    code, out, err = cordon(*add, "--dry-run")
    assert code == 0, err
    assert "up to 366 releases: rho 5.480" in out
    assert "covers 2 of them and then stops with an alert" in out
    assert "a cell of count(*) must differ by more than" in out
    assert "nothing was kept, asked or spent" in err
    assert cordon("list")[1] == "there is no watch yet\n"
    assert cordon(*add)[0] == 0
    assert cordon(*add)[0] == Refused.exit_code

    code, out, err = cordon("run", "roles", "--once")
    assert (code, out) == (0, ""), err
    assert "nothing to compare it with" in err
    moved_on(members, Every.DAY)
    assert "the next release is due now; nothing was asked" in cordon("run", "roles", "--dry-run")[2]
    code, out, err = cordon("run", "roles", "--once")
    assert (code, out) == (0, "")
    assert "no force declares other records" in err
    assert "nothing was spent" in err

    grow(members, "essex", 900)
    code, out, err = cordon("run", "roles", "--once")
    assert code == 0, err
    assert "changed from" in out.splitlines()[0]
    assert "p at most" in out.splitlines()[1]
    (told,) = [json.loads(line) for line in alerts.read_text().splitlines()]
    assert (told["watch"], told["kind"]) == ("roles", "change")
    assert all(cell["now"]["low"] < cell["now"]["estimate"] < cell["now"]["high"] for cell in told["cells"])
    assert told["protected_unit"]

    moved_on(members, Every.DAY)
    for first in (True, False):
        code, out, err = cordon("run", "roles", "--once", "--anew", "--format", "json")
        assert code == Refused.exit_code
        assert "does not cover another release" in err
        # The alert is told once; the exit code each time.
        assert [json.loads(line)["kind"] for line in out.splitlines()] == ["budget"] * first
    assert len(alerts.read_text().splitlines()) == 2

    shown = json.loads(cordon("show", "roles", "--format", "json")[1])
    assert [row["outcome"] for row in shown["rows"]] == ["answered", "answered"]
    assert [row["alerts"] for row in shown["rows"]] == [0, 1]
    assert (shown["spent_rho"], shown["year"]["releases covered"]) == ("0.029946114", 0)
    assert "changed from" in cordon("show", "roles")[1]
    (listed,) = csv.DictReader(io.StringIO(cordon("list", "--format", "csv")[1]))
    assert (listed["name"], listed["releases"], listed["every"]) == ("roles", "2", "day")
    _check_damage(members, cordon)
    code, out, _ = cordon("remove", "roles")
    assert (code, out.startswith("removed; its releases lie in ")) == (0, True)
    assert cordon("show", "roles")[0] == Refused.exit_code


def _check_damage(members, cordon):
    """A damaged watch is named in the list, and stops nothing."""
    entry = next((members.layout.profile().parent / "workspace" / "watches" / "roles" / "entries").glob("*.json"))
    genuine = entry.read_bytes()
    entry.write_bytes(genuine[:100])
    assert ",damaged," in cordon("list", "--format", "csv")[1]
    entry.write_bytes(genuine)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (("--budget", "0.5"), "does not cover one release"),
        (("--budget", "-1"), "--budget takes an epsilon above zero"),
        (("--budget", "99999999"), "--budget"),
        (("--webhook", "https://a.example.org/", "--webhook-secret-env", "MY-SECRET"), "--webhook-secret-env cannot"),
        (("--alert-file", "/nowhere/alerts.jsonl"), "/nowhere"),
        (("--alert-file", "/dev/full"), "no regular file"),
        (("--natural", "0.5"), "--natural takes"),
        (("--budget", "much"), "takes a number above zero"),
        (("--purpose", "curiosity"), "no purpose"),
        (("--epsilon", "1000"), "limit"),
        (("--webhook", "http://alerts.example.org/"), "must be https"),
        (("--webhook-secret-env", "HOOK"), "one secret signs"),
        (("--least-change", "some"), "takes a number"),
        (("--every", "hour"), "Invalid value"),
    ],
)
def test_a_watch_that_makes_no_sense_is_refused_before_it_is_kept(cordon, change, words):
    """Each is said in words, and nothing is kept."""
    code, out, err = cordon("add", "odd", COUNT, *TERMS, *change)
    assert code in (2, 3, 6), err
    assert words in err
    assert (out, cordon("show", "odd")[0]) == ("", Refused.exit_code)


def test_a_statement_with_what_cannot_be_seen_is_refused_in_words(cordon):
    """A no-break space in an alias is named, and no library's words come out."""
    code, _, err = cordon("add", "odd", COUNT.replace("COUNT(*)", 'COUNT(*) AS "n\u00a0m"'), *TERMS, "--dry-run")
    assert code == Refused.exit_code
    assert "the statement cannot be kept: holds characters" in err


def test_a_damaged_watch_can_be_put_aside_and_a_twin_is_named(members, cordon):
    """Whatever is wrong with its file, it is listed with the way out, and its name is free again."""
    assert cordon("add", "one", COUNT, *TERMS)[0] == 0
    assert "watch 'one' asks the same" in cordon("add", "two", COUNT, *TERMS, "--dry-run")[2]
    (members.layout.profile().parent / "workspace" / "watches" / "one" / "watch.json").write_bytes(b"\xff\xfe")
    assert "cordon watch remove one" in cordon("list", "--format", "csv")[1]
    assert cordon("remove", "one")[0] == 0
    assert cordon("add", "one", COUNT, *TERMS)[0] == 0
    assert cordon("remove", "one")[0] == 0
    assert cordon("remove", "one")[0] == Refused.exit_code


def test_a_broken_standard_output_stops_no_other_way_and_is_said(members, cordon, monkeypatch, tmp_path):
    """The file has the alert; the exit code says that one way has not; a damaged alert is named and holds up none."""
    path = tmp_path / "alerts.jsonl"
    assert cordon("add", "ways", COUNT, *TERMS, "--alert-file", str(path))[0] == 0
    folder = Watches(members.client()).open("ways")
    folder.post(stopped_alert(folder.saved, folder.watch_id, "budget", "x", "it stopped", int(members.now)))
    (folder.path / "alerts" / f"{'0' * 64}.json").write_text("{}")
    with monkeypatch.context() as patched, Path("/dev/full").open("w", encoding="utf-8") as full:
        patched.setattr(sys, "stdout", full)
        assert run(["watch", "run", "ways", "--once"]) == Unavailable.exit_code
    assert [json.loads(line)["text"] for line in path.read_text().splitlines()] == ["it stopped"]
    code, out, err = cordon("run", "ways", "--once")
    assert (code, "it stopped" in out) == (0, True)
    assert f"an alert is passed over: {folder.path / 'alerts' / ('0' * 64)}" in err
    (row,) = [row for row in csv.DictReader(io.StringIO(cordon("list", "--format", "csv")[1])) if row["name"] == "ways"]
    assert row["damaged_alerts"] == "1"


def test_sums_are_watched_only_where_an_alert_says_no_more_than_it_can(cordon):
    """How a sum varies by itself is not known: it needs --natural none."""
    sql = "SELECT SUM(loss_gbp) FROM nominals"
    assert "--natural none" in cordon("add", "losses", sql, *TERMS, "--dry-run")[2]
    assert cordon("add", "losses", sql, *TERMS, "--dry-run", "--natural", "none")[0] == 0


def test_the_loop_goes_on_where_nobody_answers_and_ends_where_the_watch_ends(monkeypatch):
    """A federation that cannot be reached is tried again; what stops a watch stops the loop."""
    told, slept, clock = [], [], [0.0]
    runs = iter([Unavailable("gone"), 2.5 * loop.AGAIN_SECONDS, Refused("the budget ended")])

    def one():
        came = next(runs)
        if isinstance(came, Exception):
            raise came
        return came

    async def sleep(seconds):
        slept.append(seconds)
        clock[0] += seconds

    class Notes:
        def print(self, text, **_):
            told.append(text)

    monkeypatch.setattr(loop.asyncio, "sleep", sleep)
    with pytest.raises(Refused, match="budget ended"):
        asyncio.run(loop.keep_running(one, Notes(), now=lambda: clock[0]))
    assert slept == [loop.AGAIN_SECONDS * part for part in (1, 1, 1, 0.5)]
    assert told == ["warning: gone; trying again later"]


def test_the_loop_sleeps_to_the_years_end_and_tries_again_beside_another_run(monkeypatch):
    """A budget that ended begins anew with the year: looked at daily until then; a held watch is tried again."""
    told, slept = [], []
    clock = [datetime(2026, 12, 29, 18, tzinfo=UTC).timestamp()]
    ended = BudgetEnded(SimpleNamespace(name="w", budget=Rho(1), most=Rho(1)), 2026, Rho(1))
    runs = iter([Busy("is being run"), *[ended] * 3, Refused("it is over")])

    def one():
        raise next(runs)

    async def sleep(seconds):
        slept.append(seconds)
        clock[0] += seconds

    monkeypatch.setattr(loop.asyncio, "sleep", sleep)
    notes = SimpleNamespace(print=lambda text, **_: told.append(text))
    with pytest.raises(Refused, match="it is over"):
        asyncio.run(loop.keep_running(one, notes, now=lambda: clock[0]))
    assert clock[0] == datetime(2027, 1, 1, tzinfo=UTC).timestamp()
    assert ["asleep until the year ends" in text for text in told] == [False, True, True, True]


UNITS = Path(__file__).parents[2] / "deploy" / "systemd" / "user"


def test_the_timers_unit_starts_a_command_that_exists():
    """What the analyst's unit starts is today's command line, and the timer is of the unit's name."""
    service = (UNITS / "cordon-watch@.service").read_text(encoding="utf-8")
    (line,) = re.findall(r"^ExecStart=(.*)$", service, re.MULTILINE)
    program, command, sub, name, *options = line.split()
    assert (program, command, name) == ("/opt/cordon/bin/cordon", "watch", "%i")
    known = {option for parameter in typer.main.get_group(cli.app).commands[sub].params for option in parameter.opts}
    assert {option for option in options if option.startswith("--")} <= known
    assert (UNITS / "cordon-watch@.timer").is_file()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd-analyze")
def test_systemd_finds_nothing_wrong_with_the_units(tmp_path):
    """`systemd-analyze verify` accepts both, for a watch of some name."""
    here = str(Path(sys.executable).with_name("cordon"))
    made = []
    for kind in ("service", "timer"):
        text = (UNITS / f"cordon-watch@.{kind}").read_text(encoding="utf-8").replace("/opt/cordon/bin/cordon", here)
        (tmp_path / f"cordon-watch@.{kind}").write_text(text, encoding="utf-8")
        made.append(str(tmp_path / f"cordon-watch@stops.{kind}"))
        (tmp_path / f"cordon-watch@stops.{kind}").symlink_to(tmp_path / f"cordon-watch@.{kind}")
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *made], capture_output=True, text=True, check=False
    )  # fmt: skip
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
