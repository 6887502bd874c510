"""How fast a register is verified: receipts a second on one core and on all, and what a second reading takes.

`python -m bench.audit [QUERIES [FORCES]]` prints this part alone. The register is synthetic and whole: real
keys, manifest, statements, queries, rosters, receipts and tree, written as static files.
"""

from __future__ import annotations

import importlib.util
import os
import resource
import sys
import tempfile
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from cordon.reading.mirror import FILE, Mirror
from cordon.reading.read import Options, Reader
from cordon.reading.signatures import HAS_SODIUM, verifies
from cordon.reading.static import folder_source
from cordon.reading.verdict import Result

BAR = "at least 10000"
SIGNATURES = 2000


def audited(queries: int, forces: int) -> dict[str, list[tuple[str, str, str]]]:
    """Rows of the table about auditing."""
    register = _registers().Register(tuple(f"force-{at:02d}" for at in range(forces)))
    register.gossip = True
    for _ in range(queries):
        register.round(decisions=False)
    cores = os.cpu_count() or 1
    receipts = queries * forces
    with tempfile.TemporaryDirectory(prefix="cordon-bench-") as name:
        folder = Path(name)
        register.write(folder / "published")
        began = time.process_time()
        one = _seconds(register, folder, "one", 1)
        cpu = time.process_time() - began
        every = _seconds(register, folder, "every", cores)
        unchanged = _seconds(register, folder, "every", cores)
        register.round(decisions=False)
        register.write(folder / "published")
        further = _seconds(register, folder, "every", cores)
    with tempfile.TemporaryDirectory(prefix="cordon-bench-") as name:
        deciding = _registers().Register(register.forces)
        deciding.gossip = True
        for _ in range(max(1, queries // 4)):
            deciding.round()
        deciding.write(Path(name) / "published")
        decisions = _seconds(deciding, Path(name), "every", cores)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    title = f"Auditing {queries} queries × {forces} forces, {len(register.leaves)} leaves"
    library = "libsodium" if HAS_SODIUM else "OpenSSL"
    return {
        title: [
            ("receipts verified in a second, one core", f"{receipts / one:.0f}", BAR),
            ("the same in a second of CPU, which other work on the machine slows less", f"{receipts / cpu:.0f}", ""),
            (f"receipts verified in a second, {cores} cores", f"{receipts / every:.0f}", ""),
            ("ratio", f"{one / every:.2f}", "near the number of cores"),
            (f"part: one signature, {library}", f"{_signature_milliseconds():.3f} ms", ""),
            ("reading again, nothing new", f"{unchanged:.2f} s", ""),
            ("reading again, one query more", f"{further:.2f} s", ""),
            (
                f"leaves verified in a second with a decision of every force, {cores} cores",
                f"{len(deciding.leaves) / decisions:.0f}",
                "",
            ),
            ("largest memory of the process, the making of the register included", f"{peak:.0f} MB", ""),
        ]
    }


def _seconds(register: Any, folder: Path, mirror: str, jobs: int) -> float:
    start = time.monotonic()
    with Mirror(folder / mirror / FILE) as made:
        result: Result = Reader(
            made, folder_source(folder / "published"), Options(register.governance_keys, jobs)
        ).read()
    if result.discrepancies or result.checkpoint.size != len(register.leaves):
        raise RuntimeError(f"the synthetic register does not verify: {result.discrepancies[:1]}")
    return time.monotonic() - start


def _signature_milliseconds() -> float:
    party = _registers().Party()
    public, message = party.private.public_key().public_bytes_raw(), bytes(500)
    signature = party.private.sign(message)
    start = time.process_time()
    for _ in range(SIGNATURES):
        verifies(public, signature, message)
    return (time.process_time() - start) * 1000 / SIGNATURES


def _registers() -> ModuleType:
    """tests/registers.py, which is no package: the tests' own maker of registers."""
    if "registers" not in sys.modules:
        path = Path(__file__).parent.parent / "tests" / "registers.py"
        spec = importlib.util.spec_from_file_location("registers", path)
        if spec is None or spec.loader is None:
            raise RuntimeError(f"cannot load {path}")
        module = importlib.util.module_from_spec(spec)
        sys.modules["registers"] = module
        spec.loader.exec_module(module)
    return sys.modules["registers"]


if __name__ == "__main__":
    sizes = [int(text) for text in sys.argv[1:]] + [2000, 43][len(sys.argv) - 1 :]
    for table_title, table_rows in audited(*sizes).items():
        print(table_title)
        for row in table_rows:
            print(*row, sep=" | ")
