"""When a contribution leaves tells nothing of how long the records took, up to a tick. docs/protocol.md §5.4.

The node's own clock and sleep are replaced, so that seconds of work take none; what leaves is written down.
"""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import structlog

from cordon.envelope import Envelope
from cordon.manifest import parse_manifest
from cordon.register.leaf import NO_DIGEST
from cordon.wire.messages import Fixed, NodeAnswer
from node import service
from node.ledger import Contribution
from node.service import Node

SAMPLE = Path(__file__).parents[2] / "deploy" / "config" / "manifest.toml"
ARRIVED = 1000.0
TICK = 0.25

CONTRIBUTION = Contribution(NO_DIGEST, Envelope("", b"", ()), ())
DECLINE = NodeAnswer(None, None, None)


class Working(Node):
    """A node whose work on a roster takes a given time, and whose wire is a list of (what, when)."""

    def __init__(self, seconds, made, monkeypatch):
        self.now = ARRIVED
        self.left = []
        self._seconds, self._made = seconds, made
        self._manifest = parse_manifest(SAMPLE.read_bytes())
        self._log = structlog.wrap_logger(structlog.ReturnLogger())
        self._tasks = SimpleNamespace(contribute=self._work)
        monkeypatch.setattr(service, "time", SimpleNamespace(monotonic=lambda: self.now, sleep=self._sleep))

    def _work(self, _fixed):
        self.now += self._seconds
        return self._made

    def _sleep(self, seconds):
        self.now += seconds

    def _send(self, contribution):
        self.left.append((contribution, self.now))

    def _answer(self, answer):
        self.left.append((answer, self.now))


def leaves_after(seconds, made, monkeypatch):
    """How long after the roster's arrival something left, where the work for it took `seconds`."""
    node = Working(seconds, made, monkeypatch)
    node._contribute(Fixed(NO_DIGEST, 1, (), b""), ARRIVED)
    ((what, when),) = node.left
    assert what is made
    return round(when - ARRIVED, 9)


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.1, 0.249])
def test_times_within_a_tick_are_not_told_apart(seconds, monkeypatch):
    """Whatever took less than a tick leaves when the tick is over, be it of no record or of millions."""
    assert leaves_after(seconds, CONTRIBUTION, monkeypatch) == TICK


@pytest.mark.parametrize(("seconds", "ticks"), [(0.251, 2), (0.6, 3), (7.3, 30)])
def test_what_takes_longer_leaves_on_a_later_tick(seconds, ticks, monkeypatch):
    """A long aggregate tells how many ticks it took, and no more: a whole number of them."""
    assert leaves_after(seconds, CONTRIBUTION, monkeypatch) == ticks * TICK


@pytest.mark.parametrize("seconds", [0.0, 0.1, 0.249])
def test_a_decline_of_a_roster_leaves_on_the_tick_too(seconds, monkeypatch):
    """That a force declined shows in what it sends, and not in when it does."""
    assert leaves_after(seconds, DECLINE, monkeypatch) == TICK


def test_without_the_tick_the_time_of_the_work_shows(monkeypatch):
    """The look itself works: what leaves at once leaves after as long as the work took."""
    monkeypatch.setattr(Node, "_await_tick", lambda _node, _arrived: None)
    assert leaves_after(0.1, CONTRIBUTION, monkeypatch) == 0.1
