"""The measurements run, and fill every row of their tables; what they measure is no test's business.

Takes over 10 s because it starts six real nodes, three of them twice.
"""

import re
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("runbook")]


def test_a_quick_run_fills_every_row():
    """Three forces, two questions: eleven tables, each row with a figure and its unit or ratio."""
    done = subprocess.run(
        [sys.executable, "-m", "bench", "--quick"], capture_output=True, text=True, timeout=150, check=False
    )

    assert done.returncode == 0, done.stderr
    rows = [line for line in done.stdout.splitlines() if line.startswith("| ") and "---" not in line]
    measured = [line.split("|")[2].strip() for line in rows if "| measured |" not in line]
    assert done.stdout.count("### ") == 11
    assert len(measured) >= 20
    assert all(re.fullmatch(r"\d+(\.\d+)?( (s|ms|kB|MB))?", value) for value in measured)
