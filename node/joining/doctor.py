"""Every check of `cordon node doctor`, in the order in which a force mends what they find.

Nothing is changed, and nothing hangs: what waits for others has a deadline, and runs beside the rest.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from cordon.catalogue import Catalogue, read_catalogue
from cordon.configfile import read_config
from cordon.errors import CordonError
from cordon.manifest import Manifest, read_manifest
from node.config import NodeConfig
from node.joining.background import Background, Deadline
from node.joining.finding import Finding, Level, from_error, ok, to_do
from node.joining.holdings import Sources, budget_findings, ledger_findings, read_mappings, snapshot_findings
from node.joining.introduction import introduction_findings
from node.joining.machine import machine_findings, timer_findings
from node.joining.papers import certificate_findings, files_findings, key_findings, manifest_finding
from node.joining.reach import NAME, Way, connection_finding
from node.mapping import Mapping
from node.policy import Policy

OTHERS_SECONDS = 8.0
"""Most that is waited for anybody else: coordinator, proxy, name server, sources."""

_GRACE_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class _Papers:
    """What could be read of a node's files, and what was found on the way."""

    settings: NodeConfig
    manifest: Manifest | None
    catalogue: Catalogue
    policy: Policy | None
    mappings: list[Mapping]
    findings: list[Finding]

    def holds(self, *names: str) -> bool:
        """Whether nothing is to do about any of these."""
        return not any(f.level is Level.TO_DO for f in self.findings if f.name in names)


def examine(config: Path, *, now: Callable[[], float], root: Path = Path("/")) -> list[Finding]:
    """Look at a node and its machine; see the modules beside this one for what each check holds to be well.

    Args:
        now: this machine's clock, seconds since 1970-01-01 UTC.
        root: where proc, sys and etc are.
    """
    try:
        settings = read_config(config, NodeConfig)
    except CordonError as error:
        remedy = f"correct {config}"
        if not config.exists():
            remedy = "lay a node out with `cordon node init FOLDER`, or name its node.toml with --config"
        return [from_error("configuration", error, remedy)]
    deadline = Deadline(OTHERS_SECONDS)
    papers = _read(config, settings, int(now()))
    machine = machine_findings(settings.state, root)
    with ExitStack() as stack:
        sources = _sources(stack, papers)
        connecting = Background(lambda: _connection_findings(papers, now, deadline))
        held = ledger_findings(settings, papers.manifest)
        held += snapshot_findings(settings, papers.mappings, papers.catalogue, papers.policy, int(now()))
        return [
            *papers.findings,
            *_waited(connecting, deadline),
            *held,
            *(sources.findings(deadline) if sources else []),
            *machine,
            *timer_findings(root),
        ]


def _read(config: Path, settings: NodeConfig, now: int) -> _Papers:
    findings = [ok("configuration", f"{config} is read"), files_findings([config, settings.policy, *settings.mappings])]
    manifest, catalogue = None, Catalogue()
    try:
        manifest, _ = read_manifest(settings.manifest, settings.governance_keys)
        findings.append(manifest_finding(manifest, settings.force))
        catalogue = read_catalogue(manifest, settings.contracts)
        findings.append(ok("contracts", f"all {len(catalogue)} that the manifest lists are at hand"))
    except CordonError as error:
        remedy = f"put the manifest that governance has signed at {settings.manifest}"
        findings.append(from_error("manifest" if manifest is None else "contracts", error, remedy))
    findings += key_findings(settings, manifest)
    findings += certificate_findings(settings, manifest, now)
    mappings: list[Mapping] = []
    if catalogue:
        mappings, wrong = read_mappings(settings, catalogue)
        findings += wrong
    policy = None
    try:
        policy = read_config(settings.policy, Policy)
        findings += budget_findings(mappings, policy, settings.policy)
    except CordonError as error:
        remedy = f"correct {settings.policy}; a [budget.…] table for each `domain` of a mapping is needed"
        findings.append(from_error("policy", error, remedy))
    return _Papers(settings, manifest, catalogue, policy, mappings, findings)


def _sources(stack: ExitStack, papers: _Papers) -> Sources | None:
    if not papers.mappings:
        return None
    try:
        # Inside the state folder: what opening a source writes for a moment stays on the encrypted volume.
        scratch = stack.enter_context(
            tempfile.TemporaryDirectory(prefix=".doctor-", dir=papers.settings.state, ignore_cleanup_errors=True)
        )
    except OSError:
        # That the folder cannot be written is said by its own check.
        return None
    return Sources(papers.mappings, Path(scratch), papers.catalogue)


def _connection_findings(papers: _Papers, now: Callable[[], float], deadline: Deadline) -> list[Finding]:
    certified = papers.holds("certificate") and papers.holds("authority")
    found = connection_finding(Way.of(papers.settings, certified=certified), deadline)
    ready = certified and papers.manifest is not None and papers.holds("manifest", "signing key")
    if found.level is not Level.OK or not ready or papers.manifest is None:
        return [found]
    seconds = deadline.left(OTHERS_SECONDS / 2)
    return [found, *introduction_findings(papers.settings, papers.manifest, now=int(now()), seconds=seconds)]


def _waited(connecting: Background[list[Finding]], deadline: Deadline) -> list[Finding]:
    try:
        return connecting.result(deadline.left() + _GRACE_SECONDS)
    except TimeoutError:
        return [to_do(NAME, "the coordinator was not reached in time", "ask again; then look at firewall and proxy")]
