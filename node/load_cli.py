"""`cordon node load` and `cordon node check`: build snapshots, and look at the records before they serve."""

from __future__ import annotations

import resource
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from cordon.catalogue import read_catalogue
from cordon.configfile import read_config
from cordon.errors import Misconfigured
from cordon.manifest import read_manifest
from node.config import NodeConfig
from node.mapping import Mapping
from node.options import DEFAULT_CONFIG, ConfigPath, Format

if TYPE_CHECKING:
    from node.load import Outcome
    from node.quality import ColumnQuality, Finding, Quality

Dataset = Annotated[str | None, typer.Option(help="Only this data set.")]
MOST_SHOWN = 3
"""Examples shown of a column."""


def add_load_commands(app: typer.Typer) -> None:
    """Give a command line `load` and `check`."""
    app.command(name="load")(_load)
    app.command(name="check")(_check)


def _load(config: ConfigPath = DEFAULT_CONFIG, dataset: Dataset = None) -> None:
    """Build snapshots from the force's sources, and print what was mended in them.

    The snapshot before serves until the new one is whole, and stays if anything goes wrong. A load that broke off
    goes on from where it was. The report is for the force's own people: no figure of it leaves the node.
    """
    for outcome in _each(config, dataset, keep=True):
        _print_outcome(Console(), outcome)


def _check(
    config: ConfigPath = DEFAULT_CONFIG,
    dataset: Dataset = None,
    format: Annotated[Format, typer.Option(help="How to print.")] = Format.TABLE,  # noqa: A002 - the option's name
) -> None:
    """Read the force's sources as a load would, print how good the records are, and put nothing in place.

    Local values that no code stands for, missing and clamped values, duplicates, rows per unit before and after
    bounding, and what is otherwise than in the snapshot that serves.
    """
    if format is Format.CSV:
        raise Misconfigured("a check is printed as a table or as JSON", hint="--format json")
    for outcome in _each(config, dataset, keep=False):
        if format is Format.JSON:
            differences = None if outcome.differences is None else [found.model_dump() for found in outcome.differences]
            Console(soft_wrap=True).print_json(data=outcome.quality.model_dump() | {"differences": differences})
        else:
            _print_outcome(Console(), outcome)


def _each(config: ConfigPath, dataset: str | None, *, keep: bool) -> list[Outcome]:
    # What reads records takes a while to import; the other commands do without it.
    from node.load import check, load  # noqa: PLC0415

    # A crash must not write records to a disk.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    settings = read_config(config, NodeConfig)
    manifest, _ = read_manifest(settings.manifest, settings.governance_keys)
    catalogue = read_catalogue(manifest, settings.contracts)
    mappings = [read_config(path, Mapping) for path in settings.mappings]
    chosen = [mapping for mapping in mappings if dataset in (None, mapping.dataset)]
    if not chosen:
        raise Misconfigured(
            f"no mapping for {dataset}" if dataset else "no mappings", hint=f"list mapping files in {config}"
        )
    for mapping in chosen:
        if (mapping.dataset, mapping.version) not in catalogue:
            raise Misconfigured(
                f"the manifest does not list {mapping.dataset} v{mapping.version}",
                hint="it lists " + ", ".join(f"{name} v{version}" for name, version in sorted(catalogue)),
            )
    outcomes = []
    for mapping in chosen:
        contract = catalogue[mapping.dataset, mapping.version][0]
        with Console(stderr=True).status(f"{mapping.dataset}: starting") as status:
            outcomes.append(
                (load if keep else check)(
                    mapping,
                    contract,
                    settings.state,
                    linkage_key=settings.linkage_key,
                    progress=lambda stage, status=status, name=mapping.dataset: status.update(f"{name}: {stage}"),  # type: ignore[misc]
                )
            )
    return outcomes


def _print_outcome(console: Console, outcome: Outcome) -> None:
    quality = outcome.quality
    console.print(f"[bold]{quality.dataset} v{quality.version}[/bold]", highlight=False)
    for line in _lines(quality):
        console.print(f"  {line}", highlight=False, markup=False)
    table = Table("column", "missing", "mended", "how", "most frequent", box=None, pad_edge=False)
    for column in quality.columns:
        how = column.how if column.mended else ""
        table.add_row(column.column, f"{column.missing:,}", f"{column.mended:,}", how, _examples(column))
    console.print(table)
    _print_differences(console, outcome.differences)


def _lines(quality: Quality) -> list[str]:
    first = (
        f"{quality.rows_read:,} rows read, {quality.rows_kept:,} kept ({100 * quality.usable_share:.1f} %); "
        f"{quality.rows_over_bound:,} beyond the bound per unit, {quality.rows_repeated:,} repeated, "
        f"{quality.rows_without_unit:,} without a unit"
    )
    lines = [first]
    lines += [f"{rows:,} rows excluded: {reason}" for reason, rows in quality.rows_excluded.items()]
    if quality.units:
        spread = ", ".join(f"{step}: {units:,}" for step, units in quality.rows_per_unit.items())
        lines.append(f"{quality.units:,} units; units by their rows before bounding: {spread}")
    return lines


def _examples(column: ColumnQuality) -> str:
    return ", ".join(f"{local} ({count:,})" for local, count in column.examples[:MOST_SHOWN])


def _print_differences(console: Console, differences: tuple[Finding, ...] | None) -> None:
    if differences is None:
        return
    if not differences:
        console.print("  much as in the snapshot that serves", highlight=False)
        return
    table = Table("since the snapshot that serves", "before", "now", box=None, pad_edge=False)
    for found in differences:
        table.add_row(found.what, found.before, found.now)
    console.print(table)
