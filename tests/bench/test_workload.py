"""The year's workload is measured with noise that is drawn, and the peers stay outside the project."""

import math
import re
import subprocess
import sys
import tomllib
from fractions import Fraction
from pathlib import Path

import pytest

from cordon.accounting import rho_for_epsilon

ROOT = Path(__file__).parent.parent.parent
PEERS = ROOT / "bench" / "peers" / "requirements.txt"


@pytest.mark.slow
def test_a_quick_run_draws_noise_of_the_promised_size():
    """Four tables come out, and Cordon's errors are those of rho over 100 tables, with and without colluders.

    False alarms: the error over 1,148 cells of Gaussian noise is off by 15 % less than once in 1e11 runs.
    """
    done = _run("-m", "bench", "--quick", "--only", "workload")

    assert done.returncode == 0, done.stderr
    assert done.stdout.count("### ") == 4
    year = done.stdout.split("### ")[1]
    sigma = math.sqrt(100 / (2 * rho_for_epsilon(Fraction(4), 1e-9).nano / 1e9))
    assert 0.85 < _figure(year, "a trusted curator, Cordon's accounting") / sigma < 1.15
    assert 0.85 < _figure(year, "Cordon, distributed") / (sigma * math.sqrt(41 / 28)) < 1.15
    assert 0.85 < _figure(year, "a central OpenDP curator: discrete Gaussian, zCDP") / sigma < 1.15


def test_a_peer_that_does_not_answer_is_named_with_what_it_said():
    """Asked in an environment without the peers, a script ends the comparison with its own error."""
    done = _run(
        "-c",
        "import sys; from pathlib import Path; from bench import outside\n"
        "try: outside.answered(Path(sys.executable), 'pipelinedp', {})\n"
        "except outside.PeerFailed as failure: print(failure)",
    )

    assert done.stdout.startswith("pipelinedp.py ended with 1: ")
    assert "No module named 'pipeline_dp'" in done.stdout


def test_peers_are_pinned_exactly_and_are_no_dependency():
    """Each line of the peers' file is one name and version, and neither the project nor its extras name a peer."""
    lines = [line for line in PEERS.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + [name for extra in project["optional-dependencies"].values() for name in extra]
    locked = (ROOT / "requirements" / "dev.txt").read_text(encoding="utf-8")

    assert all(re.fullmatch(r"[A-Za-z0-9_.-]+==[0-9][0-9a-z.]*", line) for line in lines)
    for peer in ("smartnoise-sql", "pipeline-dp", "dp-accounting"):
        assert any(line.startswith(f"{peer}==") for line in lines)
        assert not any(peer in dependency for dependency in wanted)
        assert peer not in locked


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, timeout=100, check=False, cwd=ROOT
    )


def _figure(table: str, name: str) -> float:
    found = re.search(rf"^\| {re.escape(name)} \(\d+ cells drawn\) \| ([\d.]+) \|", table, re.MULTILINE)
    assert found, table
    return float(found[1])
