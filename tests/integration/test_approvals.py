"""A question that an officer decides about, by real processes from end to end."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
from live import PURPOSE, Live, run_cordon, start_cordon, wait_until

pytestmark = pytest.mark.xdist_group("federation")

OFFICERS_FORCE = "cumbria"
CRIMES = "SELECT COUNT(*) FROM street_crime"


def test_a_question_waits_is_left_approved_and_answered(live: Live, tmp_path: Path) -> None:
    """The analyst leaves with Ctrl-C, an officer approves with a key of their own, `follow` opens the answer."""
    key = tmp_path / "officer.key"
    public = run_cordon("keys", "signing", str(key)).out.strip()
    rules = f'approval_purposes = ["{PURPOSE}"]\nofficer = [{{name = "A. Ames", key = "{public}"}}]'
    with live.policy(OFFICERS_FORCE, rules):
        command = start_cordon("query", CRIMES, "--epsilon", "1/2", "--purpose", PURPOSE, "--wait", "2", *live.profile)
        try:
            wait_until("an officer sees the query", lambda: _pending(live) or command.poll() is not None)
            (waiting,) = _pending(live)
            command.send_signal(signal.SIGINT)
            _, said = command.communicate(timeout=30)
        finally:
            command.kill()
        query = str(waiting["query"])
        assert f"later: cordon follow {query[:16]}" in said
        assert command.returncode == 130
        assert live.store("SELECT open FROM query WHERE query_hash = ?", bytes.fromhex(query)) == [(1,)]
        approved = live.node("approve", OFFICERS_FORCE, query[:12], "--key", str(key))
        assert approved.code == 0, approved.err
        done = live.cordon("follow", query[:16], "--format", "json")
        assert done.code == 0, done.err
        assert OFFICERS_FORCE in json.loads(done.out)["answered"]
        assert live.charges(OFFICERS_FORCE, query) == [1]
        (told,) = json.loads(
            live.node("history", OFFICERS_FORCE, "--query", query, "--format", "json").out
        )["queries"]  # fmt: skip
        assert [said["officer"] for said in told["officers"]] == ["A. Ames"]
        assert _pending(live) == []


def _pending(live: Live) -> list[dict[str, object]]:
    done = live.node("pending", OFFICERS_FORCE, "--format", "json")
    assert done.code == 0, done.err
    found: list[dict[str, object]] = json.loads(done.out)
    return found
