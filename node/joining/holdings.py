"""What a node holds: ledger, snapshots, and the sources that they are loaded from. Names of columns, never records."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Mapping as ReadOnly
from contextlib import closing
from datetime import UTC, date, datetime
from pathlib import Path

from cordon.catalogue import Catalogue
from cordon.configfile import read_config
from cordon.contract import Contract
from cordon.errors import CordonError, Misconfigured
from cordon.manifest import Manifest
from node.aggregate import Snapshot
from node.coding import columns_named, columns_read
from node.config import NodeConfig
from node.joining.background import Background, Deadline
from node.joining.finding import Finding, from_error, ok, to_do, warning
from node.ledger import Ledger
from node.mapping import Mapping
from node.policy import Policy
from node.snapshot import snapshot_path
from node.source.chunks import check_columns
from node.source.model import Source

LEDGER_SECONDS = 3.0
_INSTRUCTIONS = 10_000
"""Of SQLite between two looks at the clock."""


def ledger_findings(settings: NodeConfig, manifest: Manifest | None) -> list[Finding]:
    """Whether the ledger is there, this force's, and whole; read beside a node that serves."""
    if not settings.ledger.is_file():
        return [
            to_do(
                "ledger",
                f"there is none at {settings.ledger}",
                "only if this force has never answered: cordon node create-ledger; else deploy/RUNBOOK.md, section 2.9",
            )
        ]
    looking = Background(lambda: _ledger_finding(settings, manifest))
    try:
        return [looking.result(LEDGER_SECONDS)]
    except TimeoutError:
        return [
            warning(
                "ledger",
                f"it is there, but was not read to its end in {LEDGER_SECONDS:.0f} seconds",
                "'cordon node history' reads all of it",
            )
        ]


def _ledger_finding(settings: NodeConfig, manifest: Manifest | None) -> Finding:
    remedy = "see deploy/RUNBOOK.md, section 2.9; keep the node stopped"
    try:
        with closing(Ledger(settings.ledger, force=settings.force, read_only=True)) as ledger:
            charges = ledger.sequence
        told, newest = _pages_and_manifest(settings.ledger)
    except CordonError as error:
        return from_error("ledger", error, remedy)
    except sqlite3.Error as error:
        return to_do("ledger", f"{settings.ledger} cannot be read: {error}", remedy)
    if told not in ("ok", ""):
        return to_do("ledger", f"{settings.ledger} is damaged: {told}", remedy)
    if manifest is not None and newest > manifest.version:
        return to_do(
            "ledger",
            f"this node has accepted manifest version {newest}, and version {manifest.version} is in place",
            f"put the newest signed manifest at {settings.manifest}; an older one is never taken back",
        )
    return ok(
        "ledger", f"whole, of this force, {charges} receipts" + ("" if told else "; its pages were not all checked")
    )


def _pages_and_manifest(path: Path) -> tuple[str, int]:
    """What SQLite says of the file, empty where it did not come to an end in time; and the newest manifest accepted."""
    ends = time.monotonic() + LEDGER_SECONDS / 2
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        (newest,) = database.execute("SELECT coalesce(max(version), 0) FROM manifest").fetchone()
        database.set_progress_handler(lambda: int(time.monotonic() > ends), _INSTRUCTIONS)
        try:
            return str(database.execute("PRAGMA quick_check(1)").fetchone()[0]), int(newest)
        except sqlite3.OperationalError:
            if time.monotonic() > ends:
                return "", int(newest)
            raise


def read_mappings(settings: NodeConfig, catalogue: Catalogue) -> tuple[list[Mapping], list[Finding]]:
    """The mappings that can be read and that fit a contract of the manifest; a finding for each other one."""
    mappings, findings = [], []
    for path in settings.mappings:
        name = f"mapping {path.stem}"
        try:
            mapping = read_config(path, Mapping)
            listed = catalogue.get((mapping.dataset, mapping.version))
            if listed is None:
                raise Misconfigured(
                    f"the manifest does not list {mapping.dataset} v{mapping.version}",
                    hint=f"correct `dataset` and `version` in {path}, or ask governance for the contract",
                )
            mapping.check(listed[0])
            mappings.append(mapping)
        except CordonError as error:
            findings.append(from_error(name, error, f"correct {path}"))
    if not settings.mappings:
        findings.append(
            to_do(
                "mappings", "none is listed", "write one for each data set, and list them under `mappings` in node.toml"
            )
        )
    return mappings, findings


def budget_findings(mappings: list[Mapping], policy: Policy, path: Path) -> list[Finding]:
    """Whether each mapping's records may be answered from at all."""
    domains = sorted({mapping.domain for mapping in mappings} - set(policy.budget))
    if not domains:
        return [ok("policy", f"read; budgets for {', '.join(sorted(policy.budget))}")]
    return [
        to_do(
            "policy",
            f"the domain {domain} has no budget, and is never answered from",
            f"add [budget.{domain}] to {path}",
        )
        for domain in domains
    ]


def snapshot_findings(
    settings: NodeConfig, mappings: list[Mapping], catalogue: Catalogue, policy: Policy | None, now: int
) -> list[Finding]:
    """Whether each mapping has a snapshot, for the contract that the manifest lists, and not too old.

    Args:
        now: seconds since 1970-01-01 UTC.
    """
    today = datetime.fromtimestamp(now, UTC).date()
    oldest = None if policy is None else policy.oldest_snapshot_days
    return [
        _snapshot_finding(settings.state, mapping, catalogue[mapping.dataset, mapping.version][0], oldest, today)
        for mapping in mappings
    ]


def _snapshot_finding(state: Path, mapping: Mapping, contract: Contract, oldest: int | None, today: date) -> Finding:
    name = f"snapshot {mapping.dataset} v{mapping.version}"
    load = f"cordon node load --dataset {mapping.dataset}"
    path = snapshot_path(state, mapping.dataset, mapping.version)
    if not path.is_file():
        return to_do(name, "nothing is loaded yet", load)
    try:
        with closing(Snapshot(path, contract)) as snapshot:
            as_at = date.fromisoformat(snapshot.held.as_at)
    except CordonError as error:
        return from_error(name, error, load)
    return age_finding(name, as_at, today, [days for days in (mapping.max_age_days, oldest) if days is not None], load)


def age_finding(name: str, as_at: date, today: date, limits: list[int], load: str) -> Finding:
    """How old a snapshot's declared date is.

    Args:
        limits: days after which the force declines.
        load: the command that loads anew.
    """
    age = (today - as_at).days
    words = f"as at {as_at}, {age} days old"
    if not limits:
        return ok(name, f"{words}; nothing limits its age")
    most = min(limits)
    remedy = f"write the new date into the mapping's as_at, and: {load}"
    if age > most:
        return to_do(name, f"{words}, and it is declined from as stale after {most}", remedy)
    if age > most - most / 10:
        return warning(name, f"{words}; after {most} it is declined from as stale", remedy)
    return ok(name, f"{words}, of {most} that are allowed")


class Sources:
    """Looks at every source at once, each in a thread of its own: a database that hangs holds nothing up."""

    def __init__(self, mappings: list[Mapping], scratch: Path, catalogue: Catalogue | None = None) -> None:
        """Begin.

        Args:
            scratch: folder for what opening a source needs for a moment.
            catalogue: the mappings' contracts.
        """
        self._catalogue = catalogue or {}
        self._looking = [(m, Background(lambda m=m: _columns(m.source, scratch))) for m in mappings]  # type: ignore[misc]

    def findings(self, deadline: Deadline) -> list[Finding]:
        """What was found; one finding a source."""
        return [_source_finding(m, looking, deadline, self._contract(m)) for m, looking in self._looking]

    def _contract(self, mapping: Mapping) -> Contract | None:
        listed = self._catalogue.get((mapping.dataset, mapping.version))
        return None if listed is None else listed[0]


def _source_finding(
    mapping: Mapping,
    looking: Background[tuple[ReadOnly[str, str], tuple[str, ...]]],
    deadline: Deadline,
    contract: Contract | None,
) -> Finding:
    name, words = f"source {mapping.dataset} v{mapping.version}", mapping.source.words
    correct = f"correct `source` in the mapping of {mapping.dataset}"
    try:
        columns, warnings = looking.result(deadline.left())
        missing = sorted(missing_columns(mapping, columns, contract))
    except TimeoutError:
        return warning(name, f"{words} did not open in time", "see whether the source is reached from this machine")
    except CordonError as error:
        return from_error(name, error, correct)
    if missing:
        return to_do(
            name, _lacking(mapping, missing, columns), f"correct [columns] in the mapping of {mapping.dataset}"
        )
    if warnings:
        remedy = (
            "see whether the file is whole" if mapping.source.url is None else "ask for an account that may only read"
        )
        return warning(name, _said_once(words, warnings), remedy)
    return ok(name, f"{words} opens, and has every column that the mapping names")


def _lacking(mapping: Mapping, missing: list[str], columns: ReadOnly[str, str]) -> str:
    """What a source lacks, each with the nearest name that there is, if its first line is a header at all."""
    words, told = mapping.source.words, []
    for name in missing:
        try:
            check_columns(columns, [name, *columns_named(mapping)], words)
        except Misconfigured as error:
            if not str(error).startswith(f"{words} has no column"):
                return f"{error}; {error.hint.rpartition('; ')[2]}"
            told.append(f"{name!r}, and {error.hint}")
    return f"{words} has no column {'; '.join(told)}"


def _said_once(words: str, warnings: tuple[str, ...]) -> str:
    """Warnings of a source behind its name, which each may begin with, and without the advice that the remedy gives."""
    said = "; ".join(text.removeprefix(f"{words}: ").partition("; ask ")[0] for text in warnings)
    return said if said.startswith(words) else f"{words}: {said}"


def missing_columns(mapping: Mapping, columns: ReadOnly[str, str], contract: Contract | None = None) -> set[str]:
    """Columns that the mapping names, also in expressions and exclusions, and the source lacks.

    Args:
        contract: tells whether `deduplicate` names columns of the source; not looked at without it.

    Raises:
        Misconfigured: an expression cannot be read.
    """
    named = columns_named(mapping) if contract is None else columns_read(mapping, contract)
    return set(named) - set(columns)


def _columns(source: Source, scratch: Path) -> tuple[ReadOnly[str, str], tuple[str, ...]]:
    # What opens sources loads libraries for each kind of database: nothing else here needs them.
    from node.source.reading import open_source  # noqa: PLC0415

    with open_source(source, scratch) as opened:
        return dict(opened.columns), tuple(opened.warnings)
