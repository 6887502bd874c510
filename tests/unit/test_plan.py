"""From a question to cells, sensitivities, scales and a parameter set; and to DuckDB's statement."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from examples import PERSON_CONTRACT, person_contract, row_contract
from hypothesis import given
from hypothesis import strategies as st

from cordon.accounting import MARGIN
from cordon.contract import Contract
from cordon.errors import QuestionRefused
from cordon.query.model import Grain, Grouping, Key, Measure, MeasureKind, Member, Missing, Question, Range
from cordon.query.plan import (
    CHECK_CELLS,
    NOISE_REACH,
    SMALL,
    WIDE,
    _reach,
    blinded,
    make_plan,
    outline,
    split_evenly,
)
from cordon.query.sql import parse_sql
from cordon.units import Digest, Rho
from node.compile import compile_plan

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
CONTRACTS = {"events": row_contract(), "persons": person_contract()}
FORCES = ("essex", "kent", "norfolk", "suffolk", "surrey")
RHO = Rho(14_970_000)
COUNT = Measure(MeasureKind.COUNT)
UNITS = Measure(MeasureKind.COUNT_UNIT)
LOSS = Measure(MeasureKind.SUM, "loss")


def planned(sql, *, rho=RHO, forces=FORCES, colluders=1, most_cells=100_000, contracts=CONTRACTS):
    """The plan of a statement."""
    question = parse_sql(sql, contracts, forces).question
    shares = split_evenly(rho, len(question.measures))
    return make_plan(question, shares, contracts[question.dataset], colluders=colluders, most_cells=most_cells)


def planned_question(question):
    """The plan of a question about persons, its cost split evenly."""
    contract = person_contract()
    parts = outline(question, contract, most_cells=100_000).parts
    return make_plan(question, split_evenly(RHO, len(parts)), contract, colluders=1, most_cells=100_000)


def person_contract_with(before, after):
    """The contract of persons with one part changed."""
    assert before in PERSON_CONTRACT
    return Contract.from_toml(PERSON_CONTRACT.replace(before, after))


# Cells


def test_cells_are_the_product_of_public_values_first_key_slowest():
    """Codes come in the contract's order, months and forces in theirs, and blocks one behind the other."""
    plan = planned("SELECT role, MONTH(day), force, COUNT(*), SUM(loss) FROM persons GROUP BY role, MONTH(day), force")
    months = tuple(f"2025-{month:02}" for month in range(1, 13))
    assert [axis.values for axis in plan.axes] == [("suspect", "victim", "unknown"), months, FORCES]
    assert plan.rows == tuple((r, m, f) for r in ("suspect", "victim", "unknown") for m in months for f in FORCES)
    assert [(block.start, block.cells) for block in plan.blocks] == [(0, 180), (180, 180)]
    assert plan.cells == 360


def test_without_keys_there_is_one_cell():
    """One row without a key value."""
    plan = planned("SELECT COUNT(*) FROM events")
    assert (plan.rows, plan.cells, plan.ciphertexts) == (((),), 1, 1)


@pytest.mark.parametrize(
    ("where", "months"),
    [
        ("day BETWEEN '2025-03-31' AND '2025-05-01'", ["2025-03", "2025-04", "2025-05"]),
        ("day >= '2025-11'", ["2025-11", "2025-12"]),
        ("day > '2025-11-30'", ["2025-12"]),
        ("day < '2025-02-01'", ["2025-01"]),
        ("day = '2025-07'", ["2025-07"]),
        ("day >= '2025-05' AND (day <= '2025-06' AND colour = 'red')", ["2025-05", "2025-06"]),
        ("day = '2025-07' OR colour = 'red'", [f"2025-{month:02}" for month in range(1, 13)]),
    ],
)
def test_a_conjunct_on_the_date_narrows_the_months(where, months):
    """Only months that a row of the answer can lie in are cells; a disjunction narrows nothing."""
    plan = planned(f"SELECT MONTH(day), COUNT(*) FROM events WHERE {where} GROUP BY MONTH(day)")
    assert list(plan.axes[0].values) == months


def test_a_conjunct_on_the_category_narrows_its_codes():
    """Codes keep the contract's order, not that of the condition."""
    plan = planned("SELECT colour, COUNT(*) FROM events WHERE colour IN ('blue', 'red') GROUP BY colour")
    assert plan.axes[0].values == ("red", "blue")


def test_force_cells_are_the_forces_of_the_question():
    """Forces that are not asked have no cell."""
    plan = planned("SELECT force, COUNT(*) FROM events WHERE force IN ('surrey', 'kent', 'essex') GROUP BY force")
    assert plan.axes[0].values == ("essex", "kent", "surrey")


@pytest.mark.parametrize(("cells", "ciphertexts"), [(SMALL.slots - CHECK_CELLS, 1), (SMALL.slots - CHECK_CELLS + 1, 2)])
def test_check_cells_share_the_last_ciphertext_or_get_one(cells, ciphertexts):
    """Cells and the three check cells fill as few ciphertexts as they can."""
    plan = planned("SELECT COUNT(*) FROM persons")
    plan = replace(plan, blocks=(replace(plan.blocks[0], cells=cells),))
    assert plan.ciphertexts == ciphertexts


# Sensitivities and noise


@pytest.mark.parametrize(
    ("measure", "keys", "d_squared", "bound"),
    [
        (COUNT, (), 9, 1000),
        (COUNT, (Key("role"),), 9, 1000),
        (UNITS, (), 1, 1000),
        (UNITS, (Key("force"),), 1, 1000),
        (UNITS, (Key("role"),), 3, 1000),
        (UNITS, (Key("role"), Key("force")), 3, 1000),
        (UNITS, (Key("day", Grain.MONTH),), 3, 1000),
        (LOSS, (), (3 * 100) ** 2, 100_000),
        (LOSS, (Key("role"),), (3 * 100) ** 2, 100_000),
    ],
)
def test_sensitivities_of_a_person_unit(measure, keys, d_squared, bound):
    """A count moves by k, distinct units by the root of the groups they may fall in, a sum by k of the larger bound."""
    question = Question("persons", 1, (measure,), None, keys, FORCES)
    plan = make_plan(question, (RHO,), person_contract(), colluders=1, most_cells=1000)
    assert (plan.blocks[0].d_squared, plan.blocks[0].bound) == (d_squared, bound)


@pytest.mark.parametrize(
    ("measure", "d_squared"),
    [
        (Measure(MeasureKind.COUNT, where=Missing("loss")), [9]),
        (Measure(MeasureKind.SUM, "loss", centre=40), [(3 * 60) ** 2]),
        (Measure(MeasureKind.SUM, "loss", centre=100), [(3 * 120) ** 2]),
        (Measure(MeasureKind.SQUARES, "loss"), [(3 * 100**2) ** 2]),
        (Measure(MeasureKind.SQUARES, "loss", centre=40), [(3 * 60**2) ** 2]),
        (Measure(MeasureKind.SQUARES, "loss", centre=40, offset=1800), [(3 * 1800) ** 2]),
        (Measure(MeasureKind.SQUARES, "loss", centre=40, offset=3599), [(3 * 3599) ** 2]),
        (Measure(MeasureKind.SQUARES, "loss", centre=40, offset=9000), [(3 * 9000) ** 2]),
        (Measure(MeasureKind.HISTOGRAM, "loss", widths=(7, 70)), [9, 9]),
    ],
)
def test_sensitivities_of_centred_numbers_and_histograms(measure, d_squared):
    """A centre shortens the reach of a number, an offset halves that of its square at best, and each width costs k."""
    plan = planned_question(Question("persons", 1, (measure,), None, (), FORCES))
    assert [block.d_squared for block in plan.blocks] == d_squared


def test_blocks_stand_measure_by_measure_table_by_table_width_by_width():
    """A histogram's blocks have the cells of its groups times its bins, the last of which may be narrower."""
    measures = (COUNT, Measure(MeasureKind.HISTOGRAM, "loss", widths=(50, 100)))
    keys, groupings = (Key("role"), Key("force")), (Grouping((0, 1)), Grouping((0,)), Grouping(()))
    plan = planned_question(Question("persons", 1, measures, None, keys, FORCES, groupings))
    found = [(block.measure.kind.name, block.keys, block.width, block.cells) for block in plan.blocks]
    assert found == [
        ("COUNT", (0, 1), 0, 15), ("COUNT", (0,), 0, 3), ("COUNT", (), 0, 1),
        ("HISTOGRAM", (0, 1), 50, 45), ("HISTOGRAM", (0, 1), 100, 30),
        ("HISTOGRAM", (0,), 50, 9), ("HISTOGRAM", (0,), 100, 6),
        ("HISTOGRAM", (), 50, 3), ("HISTOGRAM", (), 100, 2),
    ]  # fmt: skip
    ends = [block.start + block.cells for block in plan.blocks]
    assert [block.start for block in plan.blocks] == [0, *ends[:-1]]


@pytest.mark.parametrize(
    ("key", "where", "values", "stored"),
    [
        (Key("day", Grain.QUARTER), Range("day", 20_200, 20_300), ("2025-Q2", "2025-Q3"), (8101, 8102)),
        (Key("day", Grain.YEAR), None, ("2025",), (2025,)),
        (Key("day", Grain.DAY), Range("day", 20_089, 20_091), ("2025-01-01", "2025-01-02", "2025-01-03"), (20089, 20090, 20091)),
        (Key("loss", Grain.BIN, 50), None, ("-50", "0", "50", "100"), (-1, 0, 1, 2)),
        (Key("loss", Grain.BIN, 50), Range("loss", 1, 99), ("0", "50"), (0, 1)),
        (Key("loss", Grain.BIN, 2**53), None, (str(-(2**53)), "0"), (-1, 0)),
    ],
)  # fmt: skip
def test_axes_of_grains_and_bins(key, where, values, stored):
    """Values are public, and rows hold the quarter, year, day or bin that each stands for."""
    (axis,) = planned_question(Question("persons", 1, (COUNT,), where, (key,), FORCES)).axes
    assert (axis.values, axis.stored) == (values, stored)


def test_the_larger_magnitude_of_the_bounds_counts():
    """A negative lower bound further from zero than the upper one sets the sensitivity."""
    contract = person_contract_with(b'min = "-10"', b'min = "-80"')
    plan = planned("SELECT SUM(loss) FROM persons", contracts={"persons": contract})
    assert plan.blocks[0].d_squared == (3 * 160) ** 2


def test_a_row_unit_moves_a_count_by_one():
    """One row is in one cell once."""
    assert planned("SELECT colour, COUNT(*) FROM events GROUP BY colour").blocks[0].d_squared == 1


@given(
    st.integers(1, 10**9),
    st.integers(1, 60),
    st.integers(0, 5),
    st.sampled_from(("COUNT(*)", "COUNT(DISTINCT person)", "SUM(loss)")),
)
def test_every_share_is_wide_enough_at_every_roster(nano, forces, colluders, measure):
    """At any roster that may be fixed a share has sigma of at least 4 scaled units, and scale is no larger than needed."""
    names = tuple(sorted(f"f{at}" for at in range(forces)))
    try:
        plan = planned(f"SELECT {measure} FROM persons", rho=Rho(nano) + MARGIN, forces=names, colluders=colluders)
    except QuestionRefused:
        assert nano < 1000, "only the smallest costs need so much noise"
        return
    (block,) = plan.blocks
    assert min(block.share(roster, colluders) for roster in range(1, forces + 1)) >= 4
    assert block.scale & (block.scale - 1) == 0
    if block.scale > 1:
        assert replace(block, scale=block.scale // 2).share(forces, colluders) < 4


def test_sigma_is_that_of_the_whole_noise_in_the_measures_integers():
    """At epsilon 1 over five forces, one colluding, a count of rows has standard deviation 6.46."""
    (block,) = planned("SELECT COUNT(*) FROM events").blocks
    promised = (1 / (2 * block.rho.nano / 1e9)) ** 0.5
    assert block.sigma(5, 1) == pytest.approx(promised * (5 / 4) ** 0.5, rel=1e-4)
    assert block.sigma(1, 1) == pytest.approx(promised, rel=1e-4)


@given(st.integers(1, 16), st.integers(2, 10**9))
def test_the_budget_is_split_to_the_last_nano(blocks, nano):
    """Blocks differ by at most one nano-rho, and with the margin they sum to what is charged."""
    if nano - MARGIN.nano < blocks:
        with pytest.raises(QuestionRefused, match="too small"):
            split_evenly(Rho(nano), blocks)
        return
    shares = [share.nano for share in split_evenly(Rho(nano), blocks)]
    assert sum(shares) + MARGIN.nano == nano
    assert max(shares) - min(shares) <= 1
    assert shares == sorted(shares, reverse=True)


# Parameter sets


def sized(rows):
    """The largest row bound's plan over events, and its reach."""
    contract = Contract.from_toml(
        PERSON_CONTRACT.replace(b"max_rows_per_force = 1000", b"max_rows_per_force = %d" % rows)
    )
    return planned("SELECT COUNT(*) FROM persons", contracts={"persons": contract})


def test_the_small_set_is_used_up_to_half_its_modulus_and_no_further():
    """The most rows whose totals, noise included, fit below t/2 take the small set; one more the wide one."""
    (block,) = sized(1).blocks
    noise = _reach(block, len(FORCES), 1) - len(FORCES) * block.scale
    most = ((SMALL.modulus - 1) // 2 - noise) // (len(FORCES) * block.scale)
    fits, over = sized(most), sized(most + 1)
    assert 2 * _reach(fits.blocks[0], len(FORCES), 1) < SMALL.modulus <= 2 * _reach(over.blocks[0], len(FORCES), 1)
    assert (fits.parameters, over.parameters) == (SMALL, WIDE)


def test_what_fits_no_set_is_refused():
    """The most of what the wide set holds is answered, one more is refused with a hint."""

    def summed(rows):
        text = PERSON_CONTRACT.replace(b"max_rows_per_force = 1000", b"max_rows_per_force = %d" % rows)
        text = text.replace(b'max = "50"', b'max = "500000000000"')
        return planned("SELECT SUM(loss) FROM persons", contracts={"persons": Contract.from_toml(text)})

    (block,) = summed(1).blocks
    noise = _reach(block, len(FORCES), 1) - len(FORCES) * block.scale * block.bound
    most = ((WIDE.modulus - 1) // 2 - noise) // (len(FORCES) * block.scale * block.bound)
    assert summed(most).parameters is WIDE
    with pytest.raises(QuestionRefused, match="too large to travel exactly") as refusal:
        summed(most + 1)
    assert "--epsilon" in refusal.value.hint


@pytest.mark.parametrize("colluders", [0, 1, 2, 4])
def test_reach_covers_twelve_deviations_at_every_roster(colluders):
    """What must fit below t/2 is the most that all forces can hold and twelve deviations of all noise."""
    (block,) = planned("SELECT SUM(loss) FROM persons", colluders=colluders).blocks
    for roster in range(1, len(FORCES) + 1):
        noise = NOISE_REACH * float(block.share(roster, colluders)) * roster**0.5
        assert _reach(block, len(FORCES), colluders) >= roster * block.scale * block.bound + noise


# Refusals


@pytest.mark.parametrize(
    ("question", "message", "hint"),
    [
        (Question("persons", 2, (COUNT,), None, (), FORCES), "not the contract at hand", ""),
        (Question("events", 1, (COUNT,), None, (), FORCES), "not the contract at hand", ""),
        (Question("persons", 1, (Measure(MeasureKind.SUM, "role"),), None, (), FORCES), "role is a category", "loss"),
        (Question("persons", 1, (Measure(MeasureKind.SUM, "nothing"),), None, (), FORCES), "no column nothing", "role"),
        (Question("persons", 1, (COUNT,), None, (Key("person"),), FORCES), "cannot be grouped by", "MONTH"),
        (Question("persons", 1, (COUNT,), None, (Key("loss"),), FORCES), "cannot be grouped by", "MONTH"),
        (Question("persons", 1, (COUNT,), None, (Key("day"),), FORCES), "cannot be grouped by", "MONTH"),
        (Question("persons", 1, (COUNT,), None, (Key("role", Grain.MONTH),), FORCES), "cannot be grouped by", "MONTH"),
        (Question("persons", 1, (COUNT,), None, (Key("force", Grain.MONTH),), FORCES), "nothing is left", "WHERE"),
        (Question("persons", 1, (COUNT,), Missing("person"), (), FORCES), "identifier", ""),
        (Question("persons", 1, (COUNT,), Range("role", 1, 2), (), FORCES), "cannot be compared", ""),
        (Question("persons", 1, (COUNT,), Missing("role"), (), FORCES), "cannot be compared", ""),
        (Question("persons", 1, (COUNT,), Member("loss", ("a",)), (), FORCES), "cannot be compared", ""),
        (Question("persons", 1, (COUNT,), Member("role", ("nobody",)), (), FORCES), "no code 'nobody'", ""),
        (Question("persons", 1, (COUNT,), Range("nothing", 1, 2), (), FORCES), "no column nothing", "role"),
        (
            Question("persons", 1, (COUNT,), Range("day", 0, 1), (Key("day", Grain.MONTH),), FORCES),
            "nothing is left to group day by",
            "WHERE",
        ),
    ],
)
def test_a_question_that_does_not_fit_the_contract_is_refused(question, message, hint):
    """A node checks what it is sent by itself, and the refusal says what to do."""
    with pytest.raises(QuestionRefused, match=message) as refusal:
        make_plan(question, (RHO,), person_contract(), colluders=1, most_cells=1000)
    assert hint in refusal.value.hint


def test_distinct_units_of_a_row_unit_are_refused():
    """Where each row is its own unit, there is nothing else to count."""
    question = Question("events", 1, (UNITS,), None, (), FORCES)
    with pytest.raises(QuestionRefused, match="own unit") as refusal:
        make_plan(question, (RHO,), row_contract(), colluders=1, most_cells=1000)
    assert refusal.value.hint == "use COUNT(*)"


def test_the_limit_of_cells_is_the_most_and_not_the_least_too_many():
    """As many cells as allowed are planned; one less allowed, and the same question is refused."""
    sql = "SELECT role, COUNT(*), SUM(loss) FROM persons GROUP BY role"
    assert planned(sql, most_cells=6).cells == 6
    with pytest.raises(QuestionRefused, match="6 cells; the federation allows 5") as refusal:
        planned(sql, most_cells=5)
    assert "fewer columns" in refusal.value.hint


@pytest.mark.parametrize("shares", [(), (RHO,), (RHO, RHO, RHO), (RHO, Rho(0))])
def test_each_measure_has_a_share_of_the_cost(shares):
    """Too few, too many and empty shares are refused, and never divided by."""
    question = Question("persons", 1, (COUNT, LOSS), None, (), FORCES)
    with pytest.raises(QuestionRefused, match="needs a share"):
        make_plan(question, shares, person_contract(), colluders=1, most_cells=1000)


# Names and texts


def test_digests_tell_plans_and_rosters_apart():
    """Any change of question, cost, roster or nonce gives another digest."""
    sql = "SELECT role, COUNT(*) FROM persons GROUP BY role"
    plan = planned(sql)
    assert plan.digest == planned(sql).digest
    others = [planned(sql, rho=Rho(RHO.nano + 1)), planned(sql, colluders=2), planned(sql, forces=FORCES[:4])]
    assert len({plan.digest, *(other.digest for other in others)}) == 4
    assert len({plan.completed_digest(roster) for roster in (3, 4, 5)} | {plan.digest}) == 4
    assert len({blinded(bytes(32), plan.digest), blinded(b"\x01" * 32, plan.digest), plan.digest}) == 3


STATEMENTS = {
    "count_by_colour": "SELECT colour, COUNT(*) FROM events WHERE day BETWEEN '2025-01-15' AND '2025-03' GROUP BY colour",
    "persons_by_month": (
        "SELECT force, MONTH(day), COUNT(*), COUNT(DISTINCT person), SUM(loss) FROM persons "
        "WHERE NOT (role = 'victim' OR loss > 10) AND (day >= '2025-11' OR role = 'unknown') GROUP BY force, MONTH(day)"
    ),
}


VICTIMS = Member("role", ("victim",))
QUESTIONS = {
    "numbers_by_bin": Question(
        "persons", 1,
        (
            Measure(MeasureKind.COUNT, where=VICTIMS),
            Measure(MeasureKind.SUM, "loss", where=Range("day", None, None), centre=40),
            Measure(MeasureKind.SQUARES, "loss", centre=-3, offset=50),
        ),
        None, (Key("loss", Grain.BIN, 25), Key("day", Grain.QUARTER)), FORCES,
    ),
    "histogram_by_year": Question(
        "persons", 1, (Measure(MeasureKind.HISTOGRAM, "loss", where=VICTIMS, widths=(4, 12, 60)),),
        Range("day", 20_100, None), (Key("day", Grain.YEAR), Key("force")), FORCES,
    ),
    "units_in_tables": Question(
        "persons", 1, (COUNT, Measure(MeasureKind.COUNT_UNIT, where=Missing("loss"))), Range("day", 20_089, 20_093),
        (Key("day", Grain.DAY), Key("role"), Key("force")), FORCES, (Grouping((0, 1, 2)), Grouping((1,)), Grouping(())),
    ),
}  # fmt: skip
"""What SQL has no words for by itself, or several of."""


def named_plan(name):
    """The plan of one that is kept as a file."""
    return planned(STATEMENTS[name]) if name in STATEMENTS else planned_question(QUESTIONS[name])


@pytest.mark.parametrize("name", [*STATEMENTS, *QUESTIONS])
@pytest.mark.parametrize("form", ["txt", "sql"])
def test_plans_and_statements_are_as_they_were(name, form):
    """The base plan's text and the compiled statements do not change unnoticed.

    To accept a change on purpose: `CORDON_WRITE_GOLDEN=1 pytest tests/unit/test_plan.py`, and read the difference.
    """
    plan = named_plan(name)
    statements = compile_plan(plan, CONTRACTS[plan.question.dataset])
    parts = [statements.kept, *statements.scans.values()]
    text = plan.text() if form == "txt" else ";\n".join(parts) + "\n"
    path = GOLDEN / f"{name}.{form}"
    if os.environ.get("CORDON_WRITE_GOLDEN"):
        path.write_text(text)
    assert path.read_text() == text


def test_a_digest_has_the_length_of_its_hash():
    """A cut digest never stands for a plan."""
    with pytest.raises(ValueError, match="32 bytes"):
        Digest(planned("SELECT COUNT(*) FROM events").digest[:31])
