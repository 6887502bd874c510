"""What a party finds wrong with its own files when it starts: one clear line, exit 6, and nothing changed."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from live import Finished, Live, call_cordon, run_cordon, start_cordon, tree_digest, wait_until

pytestmark = pytest.mark.xdist_group("federation")

FORCE = "city-of-london"
MISCONFIGURED = 6


def remove(path: Path) -> None:
    """Take a file away."""
    path.unlink()


def halve(path: Path) -> None:
    """Leave the first half of a file, as a copy that was broken off."""
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])


def open_to_all(path: Path) -> None:
    """Let everybody read a file."""
    path.chmod(0o644)


def alter(path: Path) -> None:
    """Change one letter of a signed payload."""
    text = path.read_text(encoding="utf-8")
    at = text.index('"payload"') + 40
    path.write_text(text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :], encoding="utf-8")


def empty(path: Path) -> None:
    """Leave a file of no bytes."""
    path.write_bytes(b"")


NODE: list[Any] = [
    ("node.toml", remove, "cannot read"),
    ("node.toml", halve, "error: "),
    ("../../manifest.json", remove, "cannot read the manifest"),
    ("../../manifest.json", halve, "manifest"),
    ("../../manifest.json", alter, "manifest"),
    ("signing.key", remove, "cannot read the private key"),
    ("signing.key", halve, "truncated"),
    ("signing.key", open_to_all, "can be read by others"),
    ("seal.key", open_to_all, "can be read by others"),
    ("tls.pem", halve, "truncated"),
    ("tls.key", open_to_all, "can be read by others"),
    ("policy.toml", remove, "cannot read"),
    ("state/ledger.sqlite", remove, "there is no ledger"),
    ("state/ledger.sqlite", halve, "ledger"),
    ("state/ledger.sqlite", empty, "ledger"),
    ("state/snapshots/street_crime.v1.duckdb", halve, "not a whole snapshot"),
]

# Each of these starts an interpreter: a coordinator's loop leaves its files open to the end of its process.
COORDINATOR: list[Any] = [
    pytest.param("coordinator.toml", remove, "cannot read", marks=pytest.mark.slow),
    ("../manifest.json", halve, "manifest"),
    ("signing.key", open_to_all, "can be read by others"),
    pytest.param("tls.key", halve, "truncated", marks=pytest.mark.slow),
    ("store.sqlite", remove, "there is no store"),
    ("store.sqlite", halve, "store"),
]

ANALYST: list[Any] = [
    ("analyst.toml", remove, "there is no profile"),
    ("analyst.toml", halve, "error: "),
    ("signing.key", open_to_all, "can be read by others"),
    ("signing.key", halve, "truncated"),
    ("signing.pem", remove, "cannot read the certificate"),
    ("tls.pem", remove, "cannot read"),
]

Damage = Callable[[Path], None]


def _names(cases: list[Any]) -> list[str]:
    plain = [getattr(case, "values", case) for case in cases]
    return [f"{damage.__name__} {Path(name).name}" for name, damage, _ in plain]


@pytest.fixture
def copied(live: Live, tmp_path: Path) -> Path:
    """A copy of the manifest and of one party's folder of each kind; databases are at rest."""
    root = tmp_path / "copied"
    for folder in (f"forces/{FORCE}", "coordinator", "analysts/alice"):
        shutil.copytree(live.layout.root / folder, root / folder, ignore=shutil.ignore_patterns("*.sqlite*"))
    for path in (f"forces/{FORCE}/state/ledger.sqlite", "coordinator/store.sqlite"):
        _copy_database(live.layout.root / path, root / path)
    shutil.copy(live.layout.root / "manifest.json", root / "manifest.json")
    return root


def _copy_database(source: Path, target: Path) -> None:
    with closing(sqlite3.connect(f"file:{source}?mode=ro", uri=True)) as old, closing(sqlite3.connect(target)) as new:
        old.backup(new)
    target.chmod(0o600)


def _refused(root: Path, words: str, *arguments: str, by: Callable[..., Finished] = call_cordon) -> None:
    before = tree_digest(root)
    done = by(*arguments)
    assert (done.code, done.out) == (MISCONFIGURED, ""), done.err
    lines = done.err.strip().splitlines()
    assert lines[0].startswith("error: ")
    assert words in lines[0]
    assert all(line.startswith("hint: ") for line in lines[1:])
    assert tree_digest(root) == before


@pytest.mark.parametrize(("name", "damage", "words"), NODE, ids=_names(NODE))
def test_a_node_says_what_is_wrong_and_does_not_start(copied: Path, name: str, damage: Damage, words: str) -> None:
    """A node names the file that is missing, truncated, altered or open to others, and changes nothing."""
    folder = copied / "forces" / FORCE
    damage(folder / name)
    _refused(copied, words, "node", "serve", "--config", str(folder / "node.toml"))


@pytest.mark.parametrize(("name", "damage", "words"), COORDINATOR, ids=_names(COORDINATOR))
def test_a_coordinator_says_what_is_wrong_and_does_not_start(
    copied: Path, name: str, damage: Damage, words: str
) -> None:
    """A coordinator names the file that is missing, truncated or open to others, and changes nothing."""
    folder = copied / "coordinator"
    damage(folder / name)
    _refused(copied, words, "coordinator", "serve", "--config", str(folder / "coordinator.toml"), by=run_cordon)


@pytest.mark.parametrize(("name", "damage", "words"), ANALYST, ids=_names(ANALYST))
def test_an_analyst_is_told_what_is_wrong_and_asks_nobody(copied: Path, name: str, damage: Damage, words: str) -> None:
    """A command names the file that is missing, truncated or open to others, and changes nothing."""
    folder = copied / "analysts" / "alice"
    damage(folder / name)
    _refused(copied, words, "datasets", "--profile", str(folder / "analyst.toml"))


def test_a_process_that_does_not_start_ends_as_it_should(copied: Path) -> None:
    """A node and an analyst's command say the same in a process of their own, and exit with 6."""
    node, analyst = copied / "forces" / FORCE, copied / "analysts" / "alice"
    (node / "state" / "ledger.sqlite").unlink()
    _refused(copied, "there is no ledger", "node", "serve", "--config", str(node / "node.toml"), by=run_cordon)
    profile = analyst / "analyst.toml"
    profile.unlink()
    _refused(copied, "there is no profile", "datasets", "--profile", str(profile), by=run_cordon)


@pytest.mark.slow
def test_a_second_process_on_the_same_ledger_or_store_is_refused(live: Live) -> None:
    """Neither a ledger nor a store is ever written by two processes; the first serves on."""
    node = run_cordon("node", "serve", "--config", str(live.layout.node_config(FORCE)))
    assert (node.code, "in use by another node process" in node.err) == (MISCONFIGURED, True)
    config = str(live.layout.coordinator_config)
    coordinator = run_cordon("coordinator", "serve", "--config", config)
    assert (coordinator.code, "in use by another coordinator process" in coordinator.err) == (MISCONFIGURED, True)
    again = run_cordon("coordinator", "init", "--config", config)
    assert (again.code, "never overwritten" in again.err) == (MISCONFIGURED, True)
    ledger = live.node("create-ledger", FORCE)
    assert (ledger.code, "never overwritten" in ledger.err) == (MISCONFIGURED, True)
    assert FORCE in live.connected()


def test_a_stopped_node_and_coordinator_leave_in_good_order(live: Live) -> None:
    """SIGTERM ends node and coordinator with exit 0, and the node comes back by itself after both."""
    node, coordinator = live.processes.node(FORCE), live.processes.coordinator
    node.send_signal(signal.SIGTERM)
    assert node.wait(15) == 0
    coordinator.send_signal(signal.SIGTERM)
    assert coordinator.wait(15) == 0
    live.processes.stop_nodes(FORCE)
    live.processes.start_coordinator()
    live.restart_nodes(FORCE)


def test_a_node_that_cannot_reach_its_coordinator_waits_and_stops_when_told(live: Live, copied: Path) -> None:
    """A node whose coordinator is not there does not give up, and still ends with exit 0."""
    config = copied / "forces" / FORCE / "node.toml"
    text = config.read_text(encoding="utf-8").replace(f"127.0.0.1:{live.layout.design.port}", "127.0.0.1:9")
    config.write_text(text, encoding="utf-8")
    log = config.parent / "node.log"
    log.unlink()
    process = start_cordon("node", "serve", "--config", str(config))
    try:
        wait_until("the node has tried", lambda: log.exists() and "connection lost" in log.read_text(encoding="utf-8"))
        os.kill(process.pid, signal.SIGTERM)
        process.communicate(timeout=20)
        assert process.returncode == 0
    finally:
        process.kill()
        process.communicate()
