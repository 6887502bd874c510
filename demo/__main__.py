"""`python -m demo`: a federation on this machine, and what a sceptical chief officer would want to see of it.

FORCES=8 takes fewer forces; STAY=1 keeps everything running until Ctrl-C.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from cordon.analyst.client import Client
from cordon.analyst.profile import read_profile
from cordon.errors import CordonError
from demo.layout import Design, Layout, choose_forces, force_names, lay_out
from demo.processes import Federation, free_port
from demo.records import hand_out_records, load_snapshots
from demo.story import Story

FEWEST = 6
"""With fewer, the question that loses two forces would fall under the smallest roster."""

CONTRIBUTE_SECONDS = 10
"""A killed force counts as lost after this; the federation's default of 30 s would only make people wait."""

WIDTH = 118
"""Characters a line where the output goes to a file or pipe."""

PROMPT = """
The federation stays up. In a second terminal:

  export CORDON_PROFILE={profile}
  {cordon} datasets
  {cordon} explain "SELECT COUNT(*) FROM stop_search" --epsilon 1
  {cordon} query "SELECT object, COUNT(*) FROM stop_search GROUP BY object" --epsilon 1 --purpose strategic_assessment
  {cordon} node history --config {node}
  {cordon} audit verify --profile {auditor}
  {cordon} audit budget --profile {auditor} --force {force}

Ctrl-C here stops everything and removes it."""


def main() -> int:
    """Run the demonstration; returns the exit code."""
    _arguments()
    out, progress = Console(width=None if sys.stdout.isatty() else WIDTH), Console(stderr=True)
    try:
        count = int(os.environ.get("FORCES") or len(force_names()))
    except ValueError:
        count = 0
    if not FEWEST <= count <= len(force_names()):
        progress.print(f"error: FORCES is a number from {FEWEST} to {len(force_names())}", highlight=False)
        return 2
    # Stopped from outside, it leaves no process behind either.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    root = Path(tempfile.mkdtemp(prefix="cordon-demo-"))
    try:
        _run(root, count, out, progress)
    except CordonError as error:
        progress.print(f"error: {error}", highlight=False, markup=False)
        return error.exit_code
    except KeyboardInterrupt:
        progress.print("stopped")
        return 130
    finally:
        # Everybody's keys lie here: only a demonstration has them in one place, and it does not keep them.
        shutil.rmtree(root, ignore_errors=True)
    return 0


def _arguments() -> None:
    """Show what may be set, if asked; anything else on the command line is wrong usage."""
    parser = argparse.ArgumentParser(
        prog="python -m demo",
        description="A federation on this machine, and what a sceptical chief officer would want to see of it.",
        epilog=f"Environment: FORCES=8 takes fewer forces, from {FEWEST} to {len(force_names())}; STAY=1 keeps "
        "everything running until Ctrl-C. All files lie in a temporary folder, which is removed at the end.",
    )
    parser.parse_args()


def _run(root: Path, count: int, out: Console, progress: Console) -> None:
    began = time.monotonic()
    forces = choose_forces(count)
    declining = forces[0]
    design = Design(
        forces=forces,
        # One force answers for one purpose only, and the budget for persons holds one question.
        policies={declining: 'purposes = ["strategic_assessment"]'},
        budgets={"stop_records": "10", "crime_records": "10", "nominal_records": "1"},
        # A contract and the next are live together: most forces serve both, some have not yet or no longer both.
        nominals=(1, 2),
        timing={"contribute_seconds": CONTRIBUTE_SECONDS, "cooldown_seconds": 0},
        port=free_port(),
    )
    with ExitStack() as stack:
        layout = _prepare(root / "federation", design, progress)
        federation = stack.enter_context(Federation(layout))
        _start(federation, count, progress)
        client = stack.enter_context(Client(read_profile(layout.profile())))
        ready = time.monotonic() - began
        out.print(f"\n[bold]{count} forces are connected[/bold] (set up in {ready:.0f} s)", highlight=False)
        Story(layout, federation, client, out, progress, declining=declining).tell(began)
        if os.environ.get("STAY"):
            cordon = Path(sys.executable).with_name("cordon")
            out.print(
                PROMPT.format(
                    profile=layout.profile(), cordon=cordon, node=layout.node_config(forces[1]),
                    auditor=layout.auditor_profile, force=forces[1],
                ),
                highlight=False, markup=False, soft_wrap=True,
            )  # fmt: skip
            threading.Event().wait()


def _prepare(root: Path, design: Design, progress: Console) -> Layout:
    with progress.status("keys, certificates, a signed manifest, and each force's own records"):
        layout = lay_out(root, design)
        hand_out_records(layout)
    with _bar(progress) as bar:
        task = bar.add_task("building snapshots", total=len(design.forces))
        for _ in load_snapshots(layout):
            bar.advance(task)
    return layout


def _start(federation: Federation, count: int, progress: Console) -> None:
    with _bar(progress) as bar:
        task = bar.add_task("nodes that have dialled out", total=count)
        federation.start_coordinator()
        federation.start_nodes()
        federation.wait_connected(told=lambda connected: bar.update(task, completed=connected))


def _bar(progress: Console) -> Progress:
    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    return Progress(*columns, console=progress)


if __name__ == "__main__":
    sys.exit(main())
