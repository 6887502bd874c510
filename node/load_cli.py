"""`cordon node load` and `cordon node check`: build snapshots, and look at the records before they serve."""

from __future__ import annotations

import os
import resource
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NamedTuple

import typer
from rich.console import Console

from cordon.catalogue import Catalogue, read_catalogue
from cordon.configfile import read_config
from cordon.contract import Contract
from cordon.errors import CordonError, Misconfigured
from cordon.manifest import read_manifest
from node.config import NodeConfig
from node.options import DEFAULT_CONFIG, ConfigPath

if TYPE_CHECKING:
    from node.load import Outcome
    from node.mapping import Mapping

Dataset = Annotated[str | None, typer.Option(help="Only this data set.")]


class ReportFormat(StrEnum):
    """How a report is printed."""

    TABLE = "table"
    JSON = "json"


class Job(NamedTuple):
    """One mapping to be loaded or checked."""

    path: Path
    mapping: Mapping
    contract: Contract


def add_load_commands(app: typer.Typer) -> None:
    """Give a command line `load` and `check`."""
    app.command(name="load")(_load)
    app.command(name="check")(_check)


def _load(config: ConfigPath = DEFAULT_CONFIG, dataset: Dataset = None) -> None:
    """Build snapshots from the force's sources, and print what was mended in them.

    The snapshot before serves until the new one is whole, and stays if anything goes wrong. A load that broke off
    goes on from where it was. The report is for the force's own people: no figure of it leaves the node.
    """
    # What reads records and prints reports takes a while to import; the other commands do without it.
    from node.load import load  # noqa: PLC0415
    from node.report import print_outcome  # noqa: PLC0415

    def work(job: Job, settings: NodeConfig, progress: Callable[[str], None], note: Callable[[str], None]) -> None:
        found = load(
            job.mapping,
            job.contract,
            settings.state,
            linkage_key=settings.linkage_key,
            progress=progress,
            note=note,
        )
        print_outcome(found)

    _each(config, dataset, work)


def _check(
    config: ConfigPath = DEFAULT_CONFIG,
    dataset: Dataset = None,
    form: Annotated[ReportFormat, typer.Option("--format", "-f", help="How to print it.")] = ReportFormat.TABLE,
) -> None:
    """Read the force's sources as a load would, print how good the records are, and put nothing in place.

    Local values that no code stands for, missing and clamped values, duplicates, rows per unit before and after
    bounding, and what is otherwise than in the snapshot that serves.
    """
    from node.load import check  # noqa: PLC0415
    from node.report import print_outcome  # noqa: PLC0415

    def work(job: Job, settings: NodeConfig, progress: Callable[[str], None], note: Callable[[str], None]) -> None:
        found: Outcome = check(
            job.mapping,
            job.contract,
            settings.state,
            linkage_key=settings.linkage_key,
            progress=progress,
            note=note,
        )
        if form is ReportFormat.JSON:
            sys.stdout.write(found.as_json() + "\n")
        else:
            print_outcome(found)

    _each(config, dataset, work)


Work = Callable[[Job, NodeConfig, Callable[[str], None], Callable[[str], None]], None]


def _each(config: Path, dataset: str | None, work: Work) -> None:
    """Do the work of every chosen mapping; one that fails stops no other.

    Raises:
        CordonError: the only one failed.
        SystemExit: several were chosen, and some failed; each was told on standard error.
    """
    # A crash must not write records to a disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    settings = read_config(config, NodeConfig)
    manifest, _ = read_manifest(settings.manifest, settings.governance_keys)
    jobs, failures = _jobs(settings, read_catalogue(manifest, settings.contracts), dataset)
    if not jobs and len(failures) == 1:
        raise failures[0]
    for job in jobs:
        try:
            with _for_the_owner_only():
                _do(job, settings, work)
        except CordonError as error:
            named = Misconfigured(f"{job.path}: {error}", hint=error.hint)
            if len(jobs) == 1 and not failures:
                raise named from None
            failures.append(named)
        except KeyboardInterrupt:
            sys.stderr.write("the snapshots before stay; the next load goes on where it can\n")
            raise
    for failure in failures:
        sys.stderr.write(f"error: {failure}\n" + (f"hint: {failure.hint}\n" if failure.hint else ""))
    if failures:
        raise typer.Exit(Misconfigured.exit_code)


@contextmanager
def _for_the_owner_only() -> Iterator[None]:
    """Whatever umask a person has, nothing that is written is for others."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def _do(job: Job, settings: NodeConfig, work: Work) -> None:
    console = Console(stderr=True)
    with console.status(f"{job.mapping.dataset}: starting") as status:
        work(
            job,
            settings,
            lambda stage: status.update(f"{job.mapping.dataset}: {stage}"),
            lambda text: console.print(f"note: {text}", highlight=False, markup=False, soft_wrap=True),
        )


def _jobs(settings: NodeConfig, catalogue: Catalogue, dataset: str | None) -> tuple[list[Job], list[CordonError]]:
    from node.mapping import Mapping  # noqa: PLC0415 - as above

    jobs: list[Job] = []
    failures: list[CordonError] = []
    for path in settings.mappings:
        try:
            mapping = read_config(path, Mapping)
            if dataset in (None, mapping.dataset):
                jobs.append(Job(path, mapping, _listed(path, mapping, catalogue)))
        except CordonError as error:
            failures.append(error)
    _refuse_twice(jobs)
    if not jobs and not failures:
        held = sorted({read_config(path, Mapping).dataset for path in settings.mappings})
        raise Misconfigured(
            f"no mapping is for {dataset}" if held else "node.toml lists no mapping",
            hint=f"there are mappings for {', '.join(held)}" if held else "list their files under `mappings`",
        )
    return jobs, failures if dataset is None or not jobs else []


def _listed(path: Path, mapping: Mapping, catalogue: Catalogue) -> Contract:
    found = catalogue.get((mapping.dataset, mapping.version))
    if found is None:
        raise Misconfigured(
            f"{path}: the manifest does not list {mapping.dataset} v{mapping.version}",
            hint="it lists " + ", ".join(f"{name} v{version}" for name, version in sorted(catalogue)),
        )
    return found[0]


def _refuse_twice(jobs: list[Job]) -> None:
    """One mapping a version, and one budget domain a data set: other domains would be other budgets."""
    seen: dict[tuple[str, int], Job] = {}
    domains: dict[str, Job] = {}
    for job in jobs:
        mapping = job.mapping
        other = seen.setdefault((mapping.dataset, mapping.version), job)
        if other is not job:
            raise Misconfigured(
                f"{other.path} and {job.path} are both for {mapping.dataset} v{mapping.version}",
                hint="list one mapping for each version of a contract",
            )
        first = domains.setdefault(mapping.dataset, job)
        if first.mapping.domain != mapping.domain:
            raise Misconfigured(
                f"{first.path} and {job.path} name two budget domains for {mapping.dataset}",
                hint="versions of one data set draw on one budget: give both the same domain",
            )
