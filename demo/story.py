"""What the demonstration shows, act by act. Every figure is computed while it runs.

A demonstration may know the truth, because it holds every force's records; nobody else could.
"""

from __future__ import annotations

import math
import time
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from rich.console import Console
from rich.table import Table

from cordon.accounting import rho_for_epsilon
from cordon.analyst.client import Client
from cordon.analyst.compose import cost_of_epsilon, plan_statement
from cordon.analyst.federation import Federation as Known
from cordon.analyst.render import Format, print_answer
from cordon.auditor.profile import read_profile as read_auditor
from cordon.contract import Category, Contract
from cordon.envelope import RECEIPT
from cordon.errors import QueryFailed
from cordon.estimate.interval import REACH_95
from cordon.noise import add_noise_share
from cordon.query.plan import Plan
from cordon.query.sql import Statement, parse_sql
from cordon.reading.mirror import Mirror
from cordon.reading.read import Options, Reader
from cordon.reading.remote import CoordinatorSource
from cordon.reading.static import folder_source
from cordon.reading.verdict import Discrepancy
from cordon.units import Rho
from cordon.wire import messages
from cordon.wire.channel import Channel
from cordon.wire.messages import Event
from demo.layout import Layout
from demo.processes import Federation
from demo.records import truth
from demo.search import megabytes_of_ciphertexts, one_ciphertext, search, search_with_one_hidden
from node.aggregate import Snapshot
from node.ledger import Ledger
from node.snapshot import snapshot_path

NATIONAL = "SELECT object, COUNT(*) AS searches FROM stop_search GROUP BY object ORDER BY searches DESC LIMIT 8"
BY_FORCE = (
    "SELECT force, COUNT(*) AS burglaries FROM street_crime WHERE crime_type = 'burglary' "
    "GROUP BY force ORDER BY burglaries DESC"
)
LOSING = "SELECT outcome, COUNT(*) AS searches FROM stop_search WHERE object = 'drugs' GROUP BY outcome"
PERSONS = "SELECT role, COUNT(DISTINCT person) AS persons, SUM(loss_gbp) AS loss FROM nominals GROUP BY role"
SHOWN_FORCES = 10
SMALLEST_SEARCHED = 1000
"""Smaller totals turn up anywhere as lengths and dates, and would say nothing."""


class Story:
    """One run of the demonstration, over a federation that is up."""

    def __init__(
        self, layout: Layout, federation: Federation, client: Client, out: Console, progress: Console, *, declining: str
    ) -> None:
        """Fetch what any analyst fetches first.

        Args:
            declining: the force whose policy forbids the purpose of act four.
        """
        self._layout = layout
        self._federation = federation
        self._client = client
        self._out = out
        self._progress = progress
        self._declining = declining
        self._known: Known = client.federation()
        self._spent: dict[str, Rho] = {}

    def tell(self, began: float) -> None:
        """All seven acts.

        Args:
            began: monotonic time at which the demonstration began.
        """
        self._national()
        self._by_force()
        self._coordinator_knows_nothing()
        self._decline_and_loss()
        self._budget()
        self._audit()
        self._last_line(began)

    # Acts

    def _national(self) -> None:
        self._title("1. A question to all forces", NATIONAL)
        seconds, answer = self._timed(NATIONAL, "1")
        statement, contract = self._read(NATIONAL)
        rho = cost_of_epsilon(Fraction(1), self._known.manifest, 1).rho
        plan = plan_statement(statement, rho, contract, self._known.manifest)
        answered = answer["answered"]
        true = self._true_by_label("stop_search", contract, "object", "count(*)", answered)
        alone = self._protected_alone(plan, contract, answered)
        alone_width = REACH_95 * float(plan.blocks[0].share(1, plan.colluders)) / plan.blocks[0].scale
        alone_width *= math.sqrt(len(answered))
        table = _table("object", ("searches", "± 95 %", "true total", "each force alone", "± 95 %"))
        for row in answer["rows"]:
            (label,), (value,) = row["keys"], row["values"]
            table.add_row(
                label, f"{value['estimate']:,.0f}", f"{value['high'] - value['estimate']:.0f}", f"{true[label]:,}",
                f"{alone[label]:,.0f}", f"{alone_width:.0f}",
            )  # fmt: skip
        self._out.print(table, highlight=False)
        width = answer["rows"][0]["values"][0]["high"] - answer["rows"][0]["values"][0]["estimate"]
        central = alone_width / math.sqrt(len(answered))
        self._say(
            f"{len(answered)} forces answered in {seconds:.2f} s; "
            f"{self._inside(answer, true)} of {len(answer['rows'])} intervals hold the true total. "
            "'true total' and 'each force alone' are known only here: a demonstration holds everybody's records.",
            f"One trusted curator of all records: ± {central:.1f}. Cordon: ± {width:.1f}, {width / central:.2f} times "
            f"as wide, because it allows for {plan.colluders} colluding forces. Each force protecting itself alone, at "
            f"the same epsilon: ± {alone_width:.1f}, √{len(answered)} = {alone_width / central:.1f} times as wide.",
            f"protected: {answer['protected_unit']}. {answer['caveat']}",
        )

    def _by_force(self) -> None:
        self._title("2. A table by force: each force fills only its own line", BY_FORCE)
        seconds, answer = self._timed(BY_FORCE, "1")
        _, contract = self._read(BY_FORCE)
        code = _category(contract, "crime_type").positions["burglary"]
        true = {
            force: truth(self._layout, force, "street_crime", "count(*)", f"crime_type = {code}").get("", 0)
            for force in answer["answered"]
        }
        table = _table("force", ("burglaries", "± 95 %", "true total"))
        rows = [row for row in answer["rows"] if row["values"]]
        for row in rows[:SHOWN_FORCES]:
            (force,), (value,) = row["keys"], row["values"]
            half = value["high"] - value["estimate"]
            table.add_row(force, f"{value['estimate']:,.0f}", f"{half:.0f}", f"{true[force]:,}")
        self._out.print(table, highlight=False)
        inside = self._inside({"rows": rows}, true)
        self._say(
            f"{len(rows)} lines in {seconds:.2f} s, the first {min(SHOWN_FORCES, len(rows))} shown; "
            f"{inside} of {len(rows)} intervals hold the true total. It costs no more than the national figure.",
            *_declines(answer),
        )

    def _coordinator_knows_nothing(self) -> None:
        self._title("3. What the coordinator has seen of it", "")
        folder = self._layout.coordinator_config.parent
        totals = self._all_totals()
        findings = search(folder, totals)
        force, ciphertext = one_ciphertext(folder)
        control = len(search_with_one_hidden(folder, max(totals)).found)
        self._say(
            f"searched {findings.megabytes:.1f} MB of store and logs, {findings.values:,} values, "
            f"for {len(totals)} true totals of every force and of the federation: "
            f"[bold]{len(findings.found)} found[/bold]",
            *sorted(set(findings.found))[:5],
            f"the same search over a copy with one of those totals hidden in a ciphertext: {control} found",
            f"a ciphertext of {force}, {len(ciphertext):,} bytes, begins {ciphertext[:32].hex(' ', 4)}",
            markup=True,
        )

    def _decline_and_loss(self) -> None:
        victim = next(f for f in reversed(self._layout.design.forces) if f in self._known.holdings
                      and any(held.dataset == "stop_search" for held in self._known.holdings[f]))  # fmt: skip
        self._title(f"4. {self._declining} declines by its policy; {victim} is killed while it computes", LOSING)

        def kill_on_roster(event: Event) -> None:
            if isinstance(event, messages.RosterKnown) and victim in self._federation.running:
                self._federation.kill(victim)

        seconds, answer = self._timed(LOSING, "1/2", purpose="research", on_event=kill_on_roster)
        print_answer(answer, Format.TABLE, self._out, self._out)
        self._say(
            f"The first attempt could not be read without {victim} and was charged; "
            f"the second, among the others, took until {seconds:.1f} s. {victim} is started again."
        )
        self._federation.start_nodes(victim)
        with self._progress.status(f"{victim} dials out"):
            self._federation.wait_connected()

    def _budget(self) -> None:
        self._title("5. A budget that holds (synthetic persons; each force allows epsilon 1 a year)", PERSONS)
        _, answer = self._timed(PERSONS, "4/5")
        table = _table("role", ("persons", "± 95 %", "loss in GBP", "± 95 %"))
        for row in answer["rows"]:
            cells = [
                text for v in row["values"] for text in (f"{v['estimate']:,.0f}", f"{v['high'] - v['estimate']:,.0f}")
            ]
            table.add_row(row["keys"][0], *cells)
        self._out.print(table, highlight=False)
        self._say("The same once more, at epsilon 0.8:")
        try:
            self._timed(PERSONS, "4/5")
        except QueryFailed as refused:
            self._say(f"refused: {refused}")
        else:
            raise AssertionError("a budget of epsilon 1 has paid for epsilon 0.8 twice")

    def _audit(self) -> None:
        self._title("6. An auditor, who trusts nobody but governance's keys", "")
        profile = read_auditor(self._layout.auditor_profile)
        options = Options(profile.governance_keys, jobs=2)
        start = time.monotonic()
        channel = Channel(profile.coordinator, profile.tls.read())
        with self._progress.status("reading the register"), Mirror(None) as mirror:
            result = Reader(mirror, CoordinatorSource(channel, opens_at_once=True), options).read()
            seconds = time.monotonic() - start
            rows = mirror.sql.execute("SELECT force, sum(rho) FROM receipts GROUP BY force").fetchall()
        channel.close()
        found = self._read_with_one_bit_changed(options)
        equal = sum(rho == self._ledger_sum(force) for force, rho in rows)
        counts = result.counts
        self._say(
            f"{result.checkpoint.size:,} leaves, {counts['receipts']} receipts and {counts['queries']} queries "
            f"read and verified in {seconds:.1f} s: {len(result.discrepancies)} discrepancies; "
            f"{result.readded.equal} sums added again from the forces' own ciphertexts, bit for bit equal.",
            f"What the auditor adds up from receipts alone is what {equal} of {len(rows)} forces' own ledgers say.",
            f"Published as files, with one bit of one receipt changed: leaf {found.leaf}, {found.what}",
        )
        if result.discrepancies or equal != len(rows):
            raise AssertionError("the auditor has found what an honest register does not have")

    def _read_with_one_bit_changed(self, options: Options) -> Discrepancy:
        """What an auditor says first of published files in which a receipt was changed."""
        folder = self._layout.root / "published"
        self._federation.publish(folder)
        bundle = min((folder / "tile" / "entries").rglob("*"), key=lambda path: (path.is_dir(), len(path.parts), path))
        data = bytearray(bundle.read_bytes())
        data[data.index(RECEIPT.encode()) + len(RECEIPT) + 60] ^= 1
        bundle.write_bytes(data)
        with Mirror(None) as mirror:
            return Reader(mirror, folder_source(folder), options).read().discrepancies[0]

    def _ledger_sum(self, force: str) -> int:
        ledger = Ledger(self._layout.force_folder(force) / "state" / "ledger.sqlite", force=force, read_only=True)
        total = sum(ledger.spending.lifetime(domain).nano for domain in ledger.spending.domains)
        ledger.close()
        return total

    def _last_line(self, began: float) -> None:
        manifest = self._known.manifest
        parts = []
        for domain, rho in sorted(self._spent.items()):
            budget = rho_for_epsilon(Fraction(self._layout.design.budgets[domain]), float(manifest.delta))
            share = 100 * rho.nano / budget.nano
            parts.append(f"{domain} epsilon {manifest.epsilon(rho):.2f} ({share:.1f} % of the year's budget)")
        moved = megabytes_of_ciphertexts(self._layout.coordinator_config.parent)
        self._out.print(
            f"\ncost at each force: {'; '.join(parts)} · {moved:.1f} MB of ciphertexts · "
            f"{time.monotonic() - began:.0f} seconds in all",
            highlight=False, style="bold", soft_wrap=True,
        )  # fmt: skip

    # Asking

    def _read(self, sql: str) -> tuple[Statement, Contract]:
        statement = parse_sql(sql, self._known.versions, list(self._known.manifest.by_id))
        return statement, self._known.contract_of(statement.question)

    def _timed(
        self, sql: str, epsilon: str, *, purpose: str = "strategic_assessment", on_event: Any = None
    ) -> tuple[float, dict[str, Any]]:
        statement, contract = self._read(sql)
        cost = cost_of_epsilon(Fraction(epsilon), self._known.manifest, None)
        start = time.monotonic()
        with self._progress.status("asking"):
            answer = self._client.ask(
                statement, cost, self._known, purpose=purpose, on_event=on_event or (lambda _: None)
            )
        domain = {"stop_search": "stop_records", "street_crime": "crime_records"}.get(
            contract.dataset, "nominal_records"
        )
        before = self._spent.get(domain, Rho(0))
        self._spent[domain] = before + cost.rho * answer["attempts_charged"]
        return time.monotonic() - start, answer

    # What only a demonstration can know

    def _true_by_label(
        self, dataset: str, contract: Contract, column: str, expression: str, forces: Sequence[str]
    ) -> dict[str, int]:
        codes = _category(contract, column).codes
        totals = {code.label: 0 for code in codes}
        for force in forces:
            for position, value in truth(self._layout, force, dataset, expression, by=column).items():
                totals[codes[int(position)].label] += value
        return totals

    def _protected_alone(self, plan: Plan, contract: Contract, forces: Sequence[str]) -> dict[str, float]:
        """The total if each force's noise had to protect it by itself: drawn once, for real."""
        totals = [0] * plan.cells
        for force in forces:
            path = snapshot_path(self._layout.force_folder(force) / "state", contract.dataset, contract.version)
            snapshot = Snapshot(path, contract)
            noised = add_noise_share(snapshot.aggregate(plan, force), plan, 1)
            snapshot.close()
            totals = [total + cell for total, cell in zip(totals, noised, strict=True)]
        codes = _category(contract, plan.axes[0].key.column)
        labels = {code.code: code.label for code in codes.codes}
        scale = plan.blocks[0].scale
        return {labels[row[0]]: total / scale for row, total in zip(plan.rows, totals, strict=True)}

    def _all_totals(self) -> set[int]:
        """True totals of both questions, of each force and of all, that are large enough to be told from dates."""
        totals: set[int] = set()
        for dataset, by in (("stop_search", "object"), ("street_crime", "crime_type")):
            sums: dict[str, int] = {}
            for force in self._layout.design.forces:
                cells = truth(self._layout, force, dataset, "count(*)", by=by)
                for key, value in cells.items():
                    sums[key] = sums.get(key, 0) + value
                totals |= {*cells.values(), sum(cells.values())}
            totals |= {*sums.values(), sum(sums.values())}
        return {total for total in totals if total >= SMALLEST_SEARCHED}

    @staticmethod
    def _inside(answer: dict[str, Any], true: dict[str, int]) -> int:
        return sum(
            value["low"] <= true[row["keys"][0]] <= value["high"] for row in answer["rows"] for value in row["values"]
        )

    # Showing

    def _title(self, title: str, sql: str) -> None:
        self._out.rule(f"[bold]{title}[/bold]", align="left", style="dim")
        if sql:
            self._out.print(sql, style="cyan", highlight=False, markup=False, soft_wrap=True)

    def _say(self, *lines: str, markup: bool = False) -> None:
        for line in lines:
            self._out.print(line, highlight=False, markup=markup, soft_wrap=True)


def _table(key: str, numbers: Sequence[str]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column(key, no_wrap=True)
    for name in numbers:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _category(contract: Contract, name: str) -> Category:
    column = contract.column(name)
    if not isinstance(column, Category):
        raise AssertionError(f"{name} is a category of the bundled contract")
    return column


def _declines(answer: dict[str, Any]) -> list[str]:
    groups: dict[tuple[str, str], list[str]] = {}
    for item in answer["declined"]:
        groups.setdefault((item["code"], item["text"]), []).append(item["force"])
    return [f"declined, {code} ({text}): {', '.join(forces)}" for (code, text), forces in groups.items()]
