"""What the operating system says of a process: CPU, proportional and resident memory (Linux)."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """User and system CPU that a process has used, in seconds (proc(5), stat fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def proportional_megabytes(pid: int) -> float:
    """Pss: memory of a process, shared pages divided among those that share them."""
    return _bytes(Path(f"/proc/{pid}/smaps_rollup"), "Pss:") / 1e6


def resident_megabytes(pid: int) -> float:
    """Rss: all pages of a process that are in memory."""
    return _bytes(Path(f"/proc/{pid}/status"), "VmRSS:") / 1e6


def _bytes(path: Path, name: str) -> int:
    for line in path.read_text(encoding="ascii").splitlines():
        if line.startswith(name):
            return 1024 * int(line.split()[1])
    raise ValueError(f"{path} has no {name}")
