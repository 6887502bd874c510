"""What a force was asked, decided, was charged and sent, for its own people and for an inspection.

Everything here is read from the ledger alone. docs/policy.md §5.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from cordon.errors import CordonError
from cordon.manifest import Manifest
from cordon.query.model import Query
from cordon.query.words import describe
from cordon.register.leaf import Receipt
from cordon.units import Digest, Rho
from cordon.wire import codec
from cordon.wire.messages import Approval
from cordon.wire.signed import peek
from node.approvals import ENTRY as APPROVAL
from node.ledger import HistoryRow, Ledger
from node.pausing import ENTRY as PAUSE
from node.pausing import Order, open_order
from node.policy import Policy

S62_FIELDS = (
    "operation", "time", "identity", "justification", "recipients", "dataset", "question", "decision", "receipt",
)  # fmt: skip
"""What section 62 of the Data Protection Act 2018 asks of a log of consultation, disclosure and combination."""


@dataclass(frozen=True, slots=True)
class Left:
    """What left this force for one attempt."""

    at: int
    receipt: Receipt


@dataclass(frozen=True, slots=True)
class Said:
    """What an officer said about a query."""

    at: int
    officer: str
    approval: Approval


@dataclass(frozen=True, slots=True)
class Entry:
    """The whole life of one query at this force."""

    row: HistoryRow
    query: Query
    said: tuple[Said, ...]
    left: tuple[Left, ...]

    @property
    def decision(self) -> str:
        """What was decided, in words."""
        if self.row.outcome == "ENDED":
            return "ended while it waited"
        return self.row.outcome.lower().replace("_", " ")

    @property
    def charged(self) -> Rho:
        """Rho over all attempts."""
        return sum((left.receipt.rho for left in self.left), Rho(0))


@dataclass(frozen=True, slots=True)
class Reader:
    """What is needed beside the ledger to say things in words."""

    manifest: Manifest
    policy: Policy

    def facts(self, entry: Entry) -> dict[str, object]:
        """One query, for JSON and CSV."""
        row, query = entry.row, entry.query
        return {
            "query": row.query_hash.hex(),
            "decided_at": moment(row.decided_at),
            "analyst": row.analyst,
            "purpose": query.terms.purpose,
            "legal_basis": self.basis(query.terms.purpose),
            "question": describe(query.question),
            "decision": entry.decision,
            "code": row.code if row.outcome == "DECLINED" else "",
            "text": row.text,
            "officers": [
                {
                    "officer": said.officer,
                    "verdict": said.approval.verdict.name.lower(),
                    "text": said.approval.text,
                    "recorded_at": moment(said.at),
                }
                for said in entry.said
            ],
            "epsilon": round(self.manifest.epsilon(entry.charged), 6) if entry.left else 0.0,
            "share_of_year": self.share_of_year(entry),
            "left": [
                {
                    "receipt": left.receipt.number,
                    "attempt": left.receipt.attempt,
                    "committed_at": moment(left.at),
                    "domain": left.receipt.domain,
                    "epsilon": round(self.manifest.epsilon(left.receipt.rho), 6),
                    "ciphertext_hash": left.receipt.ciphertext_hash.hex(),
                }
                for left in entry.left
            ],
        }

    def share_of_year(self, entry: Entry) -> float | None:
        """Share of the year's rho, by the policy as it is now; None where it has no budget for the domain."""
        if not entry.left:
            return 0.0
        limits = self.policy.limits(entry.left[0].receipt.domain, self.manifest)
        return None if limits is None else round(entry.charged.nano / limits.period.nano, 6)

    def basis(self, purpose: str) -> str:
        """Regime and provision of a purpose; empty where the manifest lists it no more."""
        listed = self.manifest.by_purpose.get(purpose)
        return "" if listed is None else listed.basis

    def s62(self, entry: Entry) -> Iterator[dict[str, object]]:
        """The operations of one query, as the Data Protection Act 2018, section 62, asks for them.

        A query that was not answered is named too, as no operation, so that a refusal can be inspected.
        """
        query, terms = entry.query, entry.query.terms
        common: dict[str, object] = {
            "identity": entry.row.analyst,
            "justification": f"{terms.purpose}: {self.basis(terms.purpose)}",
            "recipients": "",
            "dataset": f"{query.question.dataset} v{query.question.contract_version}",
            "question": describe(query.question),
            "decision": entry.decision if not entry.row.text else f"{entry.decision}: {entry.row.text}",
        }
        if not entry.left:
            yield common | {"operation": "none", "time": moment(entry.row.decided_at), "receipt": ""}
        for left in entry.left:
            done = common | {"time": moment(left.at), "receipt": left.receipt.number}
            yield done | {"operation": "consultation"}
            if len(query.question.forces) > 1:
                yield done | {"operation": "combination"}
            yield done | {"operation": "disclosure", "recipients": f"{entry.row.analyst}, as a protected statistic"}


def read_history(ledger: Ledger, policy: Policy) -> list[Entry]:
    """Every query that a force was asked, oldest first."""
    names = {key_id: officer.name for key_id, officer in policy.by_key_id.items()}
    said: dict[Digest, list[Said]] = {}
    for at, payload in ledger.notes(APPROVAL):
        envelope = codec.decode_envelope(payload)
        approval = peek(Approval, envelope)
        signer = envelope.signatures[0].key_id
        said.setdefault(approval.query_hash, []).append(
            Said(at, names.get(signer, f"key {signer.hex()[:12]}"), approval)
        )
    left: dict[Digest, list[Left]] = {}
    for at, envelope in ledger.receipts():
        receipt = peek(Receipt, envelope)
        left.setdefault(receipt.query_hash, []).append(Left(at, receipt))
    return [
        Entry(
            row,
            peek(Query, row.envelope),
            tuple(said.get(row.query_hash, ())),
            tuple(left.get(row.query_hash, ())),
        )
        for row in ledger.history()
    ]


def read_orders(ledger: Ledger, policy: Policy, manifest: Manifest, force: str, waiting: Iterable[str]) -> list[Order]:
    """Every order to pause or to go on, oldest first.

    Args:
        waiting: texts of orders that the node has not taken up yet.
    """
    keys = {name: officer.public for name, officer in policy.by_key_id.items()} | manifest.keyring(force)
    texts = dict.fromkeys([*(payload.decode() for _, payload in ledger.notes(PAUSE)), *waiting])
    orders = []
    for text in texts:
        try:
            orders.append(open_order(text, keys, force))
        except CordonError:
            # By an officer whom the policy lists no more, or left by somebody else: nobody vouches for it.
            continue
    return sorted(orders, key=lambda order: order.pause.at)


def as_json(entries: Iterable[Entry], orders: Iterable[Mapping[str, object]], reader: Reader) -> str:
    """History as one JSON object."""
    return json.dumps({"queries": [reader.facts(entry) for entry in entries], "pauses": list(orders)}, indent=2) + "\n"


def as_csv(entries: Iterable[Entry], reader: Reader) -> str:
    """History as CSV, one line a query."""
    rows = []
    for entry in entries:
        facts = reader.facts(entry)
        facts["officers"] = "; ".join(f"{said.officer}: {said.approval.verdict.name.lower()}" for said in entry.said)
        facts["left"] = "; ".join(
            f"receipt {left.receipt.number} at {moment(left.at)}, ciphertext {left.receipt.ciphertext_hash.hex()}"
            for left in entry.left
        )
        rows.append(facts)
    return _csv(rows, tuple(rows[0]) if rows else ("query",))


def as_s62(entries: Iterable[Entry], reader: Reader) -> str:
    """The section 62 export as CSV, one line an operation."""
    return _csv([line for entry in entries for line in reader.s62(entry)], S62_FIELDS)


def moment(seconds: int) -> str:
    """A time as people and spreadsheets read it, UTC."""
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _csv(rows: Iterable[Mapping[str, object]], fields: tuple[str, ...]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


def _cell(value: object) -> object:
    # A spreadsheet runs a cell that begins like a formula.
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@")) else value
