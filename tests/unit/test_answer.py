"""What an opened vector is shown as, what an answer costs, and what an analyst's disk remembers."""

import io
import json
import math
import os
import re
from fractions import Fraction
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from examples import PERSON_CONTRACT, person_contract, row_contract
from rich.console import Console
from rich.table import Table

from cordon.accounting import MARGIN
from cordon.analyst.answer import Declining, Participation, Record, _estimate_as_dict, costs, make_answer
from cordon.analyst.compose import cost_of_epsilon, cost_of_half_width, plan_question, plan_statement
from cordon.analyst.forecast import widest
from cordon.analyst.render import Format, print_answer, print_whole, too_noisy
from cordon.analyst.rows import Estimate
from cordon.analyst.workspace import StoredQuery, Workspace
from cordon.contract import Contract
from cordon.envelope import QUERY, KeySigner, seal
from cordon.errors import Misconfigured, QuestionRefused, Refused, Untrusted
from cordon.manifest import read_manifest
from cordon.query.sql import parse_sql
from cordon.register.leaf import Checkpoint, Receipt
from cordon.units import Digest, Rho
from demo.layout import Design, lay_out

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
CONTRACTS = {"events": row_contract(), "persons": person_contract()}
FORCES = ("essex", "kent", "norfolk", "suffolk", "surrey")
RHO = Rho(14_970_000)
ALL = Participation(FORCES, (), (), ())


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Five forces, one tolerated colluder, at most epsilon 5 a query."""
    layout = lay_out(tmp_path_factory.mktemp("federation") / "root", Design(forces=FORCES, colluders=1))
    return read_manifest(layout.root / "manifest.json", layout.governance_keys)[0]


def record(forces, rho):
    """What stands in the register of an answer by these forces."""
    none = Digest(bytes(32))
    receipts = tuple(
        Receipt(
            force=force, query_hash=none, attempt=1, transcript_hash=none, analyst_key_id=none, purpose="research",
            domain="event_records", period=2026, rho=rho, period_sum=rho, lifetime_sum=rho * 2, number=7,
            previous=none, ciphertext_hash=none, plan=none, checkpoint=Checkpoint(),
        )
        for force in forces
    )  # fmt: skip
    vintage = {"contract": "cd" * 32, "as_at": "2020-04-01", "first_month": "2019-04", "last_month": "2020-03"}
    vintages = {force: {**vintage, "load_id": "ef" * 16} for force in forces}
    return Record(1, 41, Checkpoint(42, none), receipts, vintages)


def answered(sql, opened, manifest, *, participation=ALL, rho=RHO, attempts=1, contracts=CONTRACTS):
    """An answer whose opened cells are whole units, by the cell's index."""
    statement = parse_sql(sql, contracts, FORCES)
    contract = contracts[statement.question.dataset]
    plan = plan_statement(statement, rho, contract, manifest)
    vector = [opened[at] * block.scale for block in plan.blocks for at in range(block.start, block.start + block.cells)]
    return make_answer(
        vector, statement, plan, contract, manifest, participation,
        query_id="ab" * 32, rho=rho, attempts_charged=attempts, record=record(participation.answered, rho),
        opened_at="2026-11-25T09:40:34+00:00", checked="everything",
    )  # fmt: skip


INTERVAL_95 = 1.959963984540054


def half_width(estimate):
    """Of an interval that is as long on both sides."""
    return (estimate.high - estimate.low) / 2


def cost_within(width, sql, manifest, contract):
    """The cost of a half-width, and what the widest column of a statement has at a rho."""
    statement = parse_sql(sql, {contract.dataset: contract}, FORCES)

    def at(rho):
        return widest(statement, plan_statement(statement, rho, contract, manifest), contract, rows=None)

    return cost_of_half_width(Fraction(width), at, len(statement.question.measures), manifest, None), at


# Estimates


def test_estimates_are_in_the_measures_own_unit(manifest):
    """A count is whole rows, a sum of half pounds is shown in pounds, and so is its interval."""
    answer = answered("SELECT COUNT(*), SUM(loss) FROM persons", [42, 30], manifest)
    (row,) = answer.rows
    assert [value.value for value in row.values] == [42, 15]
    count, total = (half_width(value) for value in row.values)
    # D is 3 rows, and 3 times 100 half pounds: in pounds a sum's interval is 50 times as wide as that of a count.
    assert total / count == pytest.approx(50, rel=1e-3)


@pytest.mark.parametrize("roster", [1, 3, 5])
def test_half_widths_are_those_of_the_noise_that_was_added(manifest, roster):
    """1.96 deviations of the summed shares, which grow as fewer forces add theirs."""
    some = Participation(FORCES[:roster], (), FORCES[roster:], ())
    (row,) = answered("SELECT COUNT(*) FROM persons", [10], manifest, participation=some).rows
    sigma = 3 / math.sqrt(2 * (RHO.nano - 1) / 1e9) * math.sqrt(roster / max(1, roster - 1))
    assert row.values[0].value == 10
    assert half_width(row.values[0]) == pytest.approx(INTERVAL_95 * sigma, rel=1e-3)


@pytest.mark.parametrize("sign", [1, -1])
def test_an_estimate_is_too_noisy_where_its_interval_is_as_wide_as_itself(sign):
    """Both signs; as wide as itself is too noisy, and so is what has no end or no value."""
    assert not too_noisy(_estimate_as_dict(Estimate(sign * 4.1, -2.0, 2.0, 0.0)))
    assert too_noisy(_estimate_as_dict(Estimate(sign * 4.0, -2.0, 2.0, 0.0)))
    assert too_noisy(_estimate_as_dict(Estimate(sign * 1e9, -math.inf, 2.0, 0.0)))
    assert too_noisy(_estimate_as_dict(Estimate(math.nan, -2.0, 2.0, 0.0)))


BY_ROLE = "SELECT role, COUNT(*) AS n FROM persons GROUP BY role"


@pytest.mark.parametrize(
    ("end", "rows"),
    [
        ("", [("Suspect", 20), ("Victim", 30), ("Unknown", 10)]),
        ("ORDER BY n", [("Unknown", 10), ("Suspect", 20), ("Victim", 30)]),
        ("ORDER BY n DESC", [("Victim", 30), ("Suspect", 20), ("Unknown", 10)]),
        ("ORDER BY role DESC", [("Victim", 30), ("Unknown", 10), ("Suspect", 20)]),
        ("ORDER BY 2 DESC LIMIT 1", [("Victim", 30)]),
        ("LIMIT 2", [("Suspect", 20), ("Victim", 30)]),
        ("LIMIT 99", [("Suspect", 20), ("Victim", 30), ("Unknown", 10)]),
    ],
)
def test_rows_are_ordered_and_cut_after_the_noise(manifest, end, rows):
    """Order and limit choose among the rows; labels stand for codes."""
    answer = answered(f"{BY_ROLE} {end}", [20, 30, 10], manifest)
    assert [(row.keys[0], row.values[0].value) for row in answer.rows] == rows


def test_ties_are_broken_by_the_next_key_and_then_by_the_contracts_order(manifest):
    """Sorting is stable, and the first key counts most."""
    sql = "SELECT role, force, COUNT(*) AS n FROM persons WHERE force <> 'suffolk' AND force <> 'surrey' GROUP BY 1, 2"
    answer = answered(f"{sql} ORDER BY n DESC, force DESC", [1, 2, 1, 2, 1, 1, 1, 1, 1], manifest)
    assert [row.keys for row in answer.rows[:3]] == [("Suspect", "kent"), ("Victim", "essex"), ("Suspect", "norfolk")]


@pytest.mark.parametrize("direction", ["ASC", "DESC"])
def test_a_force_that_is_not_in_the_answer_has_a_note_and_no_value(manifest, direction):
    """Zero would be a lie: its row says why, and stands last in either direction."""
    out = Participation(("essex", "kent", "norfolk"), (Declining("surrey", "paused", ""),), ("suffolk",), ())
    sql = f"SELECT force, COUNT(*) AS n FROM persons GROUP BY force ORDER BY n {direction}"
    answer = answered(sql, [3, 1, 2, 0, 0], manifest, participation=out)
    assert {row.keys[0]: row.note for row in answer.rows[3:]} == {
        "surrey": "declined: paused",
        "suffolk": "did not answer",
    }
    assert not any(row.values for row in answer.rows[3:])
    kept = [row.values[0].value for row in answer.rows[:3]]
    assert kept == sorted(kept, reverse=direction == "DESC")


def test_columns_may_be_selected_in_any_order_and_twice(manifest):
    """Values follow the SELECT list, not the plan's blocks."""
    answer = answered("SELECT SUM(loss), COUNT(*), SUM(loss) AS again FROM persons", [8, 5], manifest)
    assert answer.columns == ("sum(loss)", "count(*)", "again")
    assert [value.value for value in answer.rows[0].values] == [4, 5, 4]


# Costs


def test_levels_of_an_answer_are_ordered(manifest):
    """The public learns least, colluding forces what was charged, everybody else together most."""
    found = costs(RHO, 2, 5, manifest)
    assert found.against_public < found.against_colluders < found.epsilon < found.against_all_others
    assert found.against_colluders == manifest.epsilon(RHO)
    assert found.epsilon == manifest.epsilon(RHO * 2)
    assert found.against_all_others == manifest.epsilon(RHO * 4)
    alone = costs(RHO, 1, 1, manifest)
    assert alone.against_public == alone.against_colluders == alone.epsilon == alone.against_all_others


@pytest.mark.parametrize("epsilon", ["0.01", "1", "2.5"])
def test_the_cost_of_an_epsilon_is_the_most_that_it_buys(manifest, epsilon):
    """One nano-rho more would be more than the epsilon."""
    cost = cost_of_epsilon(Fraction(epsilon), manifest, None)
    assert manifest.epsilon(cost.rho) <= Fraction(epsilon) < manifest.epsilon(Rho(cost.rho.nano + 1))
    assert cost.attempts == 2


@pytest.mark.parametrize(
    ("epsilon", "attempts", "message"),
    [
        ("0", None, "above zero"), ("-1", None, "above zero"), ("5.01", None, "over the federation's limit"),
        ("1e-9", None, "too small"), ("1", 0, "at most 3"), ("1", 4, "at most 3"), ("5", 2, "at most 1"),
    ],
)  # fmt: skip
def test_costs_outside_the_limits_are_refused(manifest, epsilon, attempts, message):
    """Neither one attempt nor all of them together exceed what the federation allows."""
    with pytest.raises(QuestionRefused, match=message):
        cost_of_epsilon(Fraction(epsilon), manifest, attempts)


def test_all_attempts_together_stay_within_the_limit(manifest):
    """The limit buys one attempt at epsilon 5, and without a wish fewer attempts are planned than it would not allow."""
    assert cost_of_epsilon(Fraction(5), manifest, None).attempts == 1
    cost = cost_of_epsilon(Fraction(3), manifest, None)
    assert (cost.rho * cost.attempts).nano <= manifest.most_rho.nano


RESOLUTIONS = {
    "1/2": (b'resolution = "1/2"', b'max = "50"'),
    "10": (b'resolution = "10"', b'max = "50"'),
    "1/100": (b'resolution = "1/100"', b'max = "50"'),
}


@pytest.mark.parametrize("resolution", RESOLUTIONS)
@pytest.mark.parametrize("width", ["500", "2000", "10000"])
def test_the_cost_of_a_half_width_is_the_least_that_keeps_it_in_the_sums_own_unit(manifest, resolution, width):
    """A half-width in pounds is kept whatever the resolution is, and one nano-rho less does not keep it."""
    contract = Contract.from_toml(PERSON_CONTRACT.replace(b'resolution = "1/2"', RESOLUTIONS[resolution][0]))
    sql = "SELECT SUM(loss) FROM persons"
    cost, at = cost_within(width, sql, manifest, contract)
    answer = answered(sql, [0], manifest, rho=cost.rho, contracts={"persons": contract})
    assert half_width(answer.rows[0].values[0]) <= float(width)
    assert at(Rho(cost.rho.nano - 1)) > float(width)
    assert half_width(answer.rows[0].values[0]) == pytest.approx(float(width), rel=1e-3)


def test_the_widest_measure_sets_the_cost(manifest):
    """Every measure of a question keeps the half-width."""
    sql = "SELECT COUNT(*), SUM(loss) FROM persons"
    cost, _ = cost_within(700, sql, manifest, person_contract())
    answer = answered(sql, [0, 0], manifest, rho=cost.rho)
    assert [half_width(value) <= 700 for value in answer.rows[0].values] == [True, True]


@pytest.mark.parametrize(("width", "message"), [("0", "above zero"), ("-3", "above zero"), ("0.01", "at best")])
def test_half_widths_that_cannot_be_bought_are_refused(manifest, width, message):
    """The refusal says what the limit buys."""
    with pytest.raises(QuestionRefused, match=message):
        cost_within(width, "SELECT COUNT(*) FROM persons", manifest, person_contract())


def test_a_hair_of_cost_buys_a_very_wide_interval(manifest):
    """The least cost is the margin and one nano-rho for each measure, or the question does not fit."""
    cost, _ = cost_within(10**9, "SELECT COUNT(*) FROM events", manifest, row_contract())
    assert cost.rho.nano == MARGIN.nano + 1


def test_two_forces_are_never_asked_alone(manifest):
    """Each could subtract its own value from the sum."""
    question = parse_sql("SELECT COUNT(*) FROM events WHERE force IN ('kent', 'essex')", CONTRACTS, FORCES).question
    with pytest.raises(QuestionRefused, match="two forces"):
        plan_question(question, (RHO,), row_contract(), manifest)


# Formats


def shown(answer, form):
    """What is printed: rows, and what stands beside them."""
    out, notes = (Console(file=io.StringIO(), width=120, force_terminal=False) for _ in range(2))
    print_answer(answer.as_dict(), form, out, notes)
    beside = notes.file.getvalue()
    return out.file.getvalue() + (f"--- notes\n{beside}" if beside else "")


@pytest.mark.parametrize("form", list(Format))
def test_formats_are_as_they_were(manifest, form):
    """Rows, notes of forces that are missing, marks of noise and costs, in each format.

    To accept a change on purpose: `CORDON_WRITE_GOLDEN=1 pytest tests/unit/test_answer.py`, and read the difference.
    """
    contract = CONTRACTS["events"]
    assert contract.unit.caveat
    out = Participation(
        ("essex", "kent", "norfolk"), (Declining("surrey", "policy", "no lines by force"),), (), ("suffolk",)
    )
    sql = "SELECT force, COUNT(*) AS n, colour FROM events WHERE colour <> 'unknown' GROUP BY force, colour ORDER BY n DESC"
    cells = [1234567, -40, 3, 0, 500, 61, 0, 0, 0, 0]
    text = shown(answered(sql, cells, manifest, participation=out, attempts=2), form)
    # The last digits of an exponential are the machine's, not ours.
    text = re.sub(r"\d+\.\d{10,}", lambda number: f"{float(number[0]):.9g}", text)
    path = GOLDEN / f"answer.{form.value}"
    if os.environ.get("CORDON_WRITE_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text


def test_a_force_that_waits_for_a_person_has_not_declined(manifest):
    """Notes tell waiting, declining and silence apart."""
    out = Participation(("essex", "kent", "norfolk"), (Declining("surrey", "awaiting approval", ""),), ("suffolk",), ())
    text = shown(answered("SELECT COUNT(*) FROM events", [1], manifest, participation=out), Format.TABLE)
    assert "waits, awaiting approval (1): surrey" in text
    assert "did not answer (1): suffolk" in text
    assert "declined" not in text


def test_json_is_json_and_unrounded(manifest):
    """Programs read what was estimated, not what was printed."""
    found = json.loads(shown(answered("SELECT SUM(loss) FROM persons", [3], manifest), Format.JSON))
    (row,) = found["rows"]
    assert row["values"][0]["estimate"] == 1.5
    assert row["values"][0]["low"] < 1.5 < row["values"][0]["high"]


# The analyst's disk

QUERY_HASH = Digest(b"\x0a" * 32)
FIRST_SUM, SECOND_SUM = Digest(b"\x01" * 32), Digest(b"\x02" * 32)


@pytest.fixture
def workspace(tmp_path):
    """A workspace with one stored query."""
    found = Workspace(tmp_path / "workspace")
    envelope = seal(QUERY, b"payload", KeySigner(Ed25519PrivateKey.generate()))
    found.add(StoredQuery(QUERY_HASH, "SELECT 1 -- £", envelope, b"secret", b"seed"))
    return found


def test_a_stored_query_comes_back_and_only_its_owner_can_read_it(workspace):
    """Statement, envelope and keys; every file and folder is the owner's alone."""
    stored = workspace.query(QUERY_HASH)
    assert (stored.sql, stored.secret, stored.seed) == ("SELECT 1 -- £", b"secret", b"seed")
    assert all(path.stat().st_mode & 0o077 == 0 for path in [workspace._path, *workspace._path.rglob("*")])
    assert workspace.find("0A0a") == QUERY_HASH


def test_one_key_opens_one_sum(workspace):
    """The first sum that is written down may be opened again after a crash; no other ever is."""
    workspace.record_opening(QUERY_HASH, FIRST_SUM)
    Workspace(workspace._path).record_opening(QUERY_HASH, FIRST_SUM)
    with pytest.raises(Untrusted, match="another sum"):
        workspace.record_opening(QUERY_HASH, SECOND_SUM)
    with pytest.raises(Untrusted, match="another sum"):
        Workspace(workspace._path).record_opening(QUERY_HASH, SECOND_SUM)


@pytest.mark.parametrize("answer", [None, {"rows": []}])
def test_a_closed_query_has_no_key_any_more(workspace, answer):
    """Key and seed are erased whether it was answered or failed; the answer can be read again."""
    workspace.close(QUERY_HASH, answer)
    names = {path.name for path in workspace._path.rglob("*")}
    assert not names & {"secret.key", "check.seed"}
    with pytest.raises(Refused, match="not here any more"):
        workspace.query(QUERY_HASH)
    assert workspace.answer(QUERY_HASH) == (None if answer is None else json.dumps(answer, indent=2))


def test_a_crash_before_erasing_is_made_up_for(workspace):
    """A key that a crash has left beside an answer is erased when the answer is read."""
    folder = workspace._path / QUERY_HASH.hex()
    (folder / "answer.json").write_text("{}")
    (folder / ".secret.key.123").write_bytes(b"secret")
    assert workspace.answer(QUERY_HASH) == "{}"
    assert {path.name for path in folder.iterdir()} == {
        "answer.json", "query.json", "statement.sql", "vintages.json",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("prefix", "said"),
    [
        ("0b0b", "no query"), ("0a0a0a", "2 queries"), ("0a0a0c", "no query in"),
        ("", "at least 4"), ("0a0", "at least 4"), (None, "at least 4"), ("zzzz", "hexadecimal"), ("../0a", "not"),
    ],
)  # fmt: skip
def test_a_prefix_names_one_query_or_none(workspace, prefix, said):
    """No query and several are both refused; and what names one by chance, were it the only one there."""
    if said in ("2 queries", "no query"):
        envelope = seal(QUERY, b"payload", KeySigner(Ed25519PrivateKey.generate()))
        workspace.add(StoredQuery(Digest(b"\x0a" * 31 + b"\x0c"), "SELECT 2", envelope, b"secret", b"seed"))
    with pytest.raises(Refused, match=said):
        workspace.find(prefix)


def test_a_manifest_never_goes_back(workspace):
    """The same one again and a newer one are taken; an older one and another of the same version are not."""
    workspace.accept_manifest(2, FIRST_SUM)
    workspace.accept_manifest(2, FIRST_SUM)
    with pytest.raises(Untrusted, match="version 2 was seen"):
        workspace.accept_manifest(2, SECOND_SUM)
    workspace.accept_manifest(3, SECOND_SUM)
    with pytest.raises(Untrusted, match="version 3 was seen"):
        Workspace(workspace._path).accept_manifest(2, FIRST_SUM)


@pytest.mark.parametrize("content", [b"", b"2", b"x y", b"2 a b", b"\xff \xff"])
def test_a_damaged_memory_of_the_manifest_is_not_an_empty_one(workspace, content):
    """What a crash or a hand has spoilt is named, and no older manifest is taken for it."""
    (workspace._path / "manifest").write_bytes(content)
    with pytest.raises(Misconfigured, match="is damaged"):
        workspace.accept_manifest(1, FIRST_SUM)


def test_a_workspace_that_others_can_read_is_refused(tmp_path):
    """Keys are not written where others could take them."""
    (tmp_path / "open").mkdir(mode=0o755)
    (tmp_path / "open").chmod(0o755)
    with pytest.raises(Misconfigured, match="open to others") as refusal:
        Workspace(tmp_path / "open")
    assert refusal.value.hint.startswith("chmod 700")
    (tmp_path / "file").write_text("")
    with pytest.raises(Misconfigured, match="cannot make"):
        Workspace(tmp_path / "file" / "below")


def test_the_newest_catalogue_is_remembered(workspace):
    """`explain` can do without the coordinator."""
    assert workspace.catalogue() is None
    workspace.keep_catalogue(b"first")
    workspace.keep_catalogue(b"second")
    assert workspace.catalogue() == b"second"


def test_a_damaged_query_file_is_named(workspace):
    """What is no envelope any more is a fault of the disk, with its place."""
    (workspace._path / QUERY_HASH.hex() / "query.json").write_text("{")
    with pytest.raises(Misconfigured, match=QUERY_HASH.hex()):
        workspace.query(QUERY_HASH)


@pytest.mark.parametrize("width", [20, 80, 400])
def test_a_table_that_is_wider_than_the_terminal_loses_no_figure(width):
    """A figure that is cut is another figure; lines go on instead."""
    table = Table("a column with a long name", "another", box=None, pad_edge=False)
    table.add_row(
        "12,345,678 to 12,345,999", "9.24 (8.85 to 9.64) and more than fits into eighty columns of a terminal"
    )
    out = Console(file=io.StringIO(), width=width)
    print_whole(table, out)
    text = out.file.getvalue()
    assert "12,345,678 to 12,345,999" in text
    assert "9.24 (8.85 to 9.64) and more than fits into eighty columns of a terminal" in text
    assert "\u2026" not in text
