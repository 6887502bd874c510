"""Made-up persons: one population over all forces, in seven records systems, and a truth that is exact."""

import csv
import gzip
import json
import re
import sqlite3
from collections import Counter

import duckdb
import numpy as np
import pytest

from cordon.catalogue import bundled_contracts
from cordon.configfile import read_config
from cordon.contract import Category, Contract
from demo.layout import Design, choose_forces, lay_out, nominals_held
from demo.nominals.__main__ import main
from demo.nominals.draws import chosen, scattered, shares
from demo.nominals.facts import DAYS, FIRST_DAY, PHONES, PNC_IDS, VEHICLES, batches
from demo.nominals.population import make_population, persons_for
from demo.nominals.spelling import MACROS
from demo.nominals.systems import SYSTEMS, system_of
from demo.nominals.truth import overlap_of
from demo.nominals.values import CODES, ETHNICITIES
from demo.nominals.writing import MAPPINGS, write_force, write_mapping
from demo.records import hand_out_records
from node.config import NodeConfig
from node.load import load
from node.mapping import Mapping
from node.snapshot import snapshot_path

CONTRACT = next(c for c in map(Contract.from_toml, bundled_contracts()) if (c.dataset, c.version) == ("nominals", 2))
BOUND = CONTRACT.unit.max_rows_per_unit

pytestmark = pytest.mark.xdist_group("nominals")
"""Seven loads take some seconds: once is enough."""


def all_rows(population, force, seen_as=()):
    """Every row of a force, as one table of facts."""
    found = list(batches(population, force, dict(seen_as)))
    return {name: np.ma.concatenate([batch[name] for batch in found]) for name in found[0]}


def said(expression, **numbers):
    """What DuckDB makes of an expression over numbers."""
    with duckdb.connect() as database:
        database.execute(MACROS)
        database.register("facts", {name: np.array(some) for name, some in numbers.items()})
        return [text for (text,) in database.execute(f"SELECT {expression} FROM facts").fetchall()]


# Values


def test_codes_are_the_contracts():
    """Positions mean the same in the generator and in the contract."""
    categories = {c.name: tuple(code.code for code in c.codes) for c in CONTRACT.columns if isinstance(c, Category)}
    assert categories == CODES


def test_version_2_changes_nothing_that_version_1_says():
    """The bound, the unit and the codes of version 1 are in version 2, so that what is asked of both agrees."""
    first = next(c for c in map(Contract.from_toml, bundled_contracts()) if (c.dataset, c.version) == ("nominals", 1))
    assert first.unit.max_rows_per_unit == BOUND
    for column in first.columns:
        if isinstance(column, Category):
            assert set(column.codes) <= set(CONTRACT.column(column.name).codes)


@pytest.mark.parametrize(
    ("year", "serial", "written"),
    [(2003, 62_845, "2003/0062845E"), (2001, 171_310, "2001/0171310W"), (1999, 0, "1999/0000000F")],
)
def test_pnc_ids_end_in_their_check_letter(year, serial, written):
    """Letters agree with ids that the courts' and prisons' open code tests its own check with; the last by hand."""
    number = (year - 1996) * 10_000_000 + serial
    assert said("pnc_long(n, 0)", n=[number]) == [written]
    assert said("pnc_short(n, 0)", n=[number]) == [f"{year % 100:02d}/{serial}{written[-1]}"]
    assert said("pnc_bare(n, 0)", n=[number]) == [written.replace("/", "")]
    assert said("pnc_long(n, 1)", n=[number]) != [written]


def test_identifiers_have_the_forms_that_are_issued():
    """Mobile numbers have ten digits after the nought; registrations are two letters, an age and three letters."""
    some = np.random.default_rng(1).integers(0, 10**8, 2_000)
    plates = said("vrm_right(n, ' ')", n=some % VEHICLES)
    form = re.compile(r"[A-HK-PR-Y]{2}(0[2-9]|1\d|2[0-5]|5[1-9]|6\d|7[0-4]) [A-HJ-PR-Z]{3}")
    assert all(form.fullmatch(plate) for plate in plates)
    numbers = 7_100_000_000 + some
    dialled = [re.sub(r"\D", "", text)[-10:] for text in said("phone_text(n, n)", n=numbers)]
    assert dialled == [str(number) for number in numbers]


def test_a_wrong_registration_differs_in_o_and_0_only():
    """What somebody mistypes is mended by position: letters, digits, letters."""
    some = np.arange(0, VEHICLES, 90_001)
    right, wrong = said("vrm_right(n, ' ')", n=some), said("vrm_wrong(n)", n=some)
    mended = [text[:2].replace("0", "O") + text[2:4].replace("O", "0") + text[4:].replace("0", "O") for text in wrong]
    assert mended == right
    assert wrong != right


@pytest.mark.parametrize("most", [PNC_IDS, PHONES, VEHICLES, 1_000])
def test_no_two_persons_are_given_one_identifier(most):
    """Scattering is a permutation."""
    some = np.arange(min(most, 200_000))
    given = scattered(some, most)
    assert len(np.unique(given)) == len(some)
    assert given.max() < most
    assert given.min() >= 0


def test_draws_follow_from_what_is_drawn_for():
    """The same numbers draw the same, in whatever company; shares are spread evenly and choices as they weigh."""
    numbers = np.arange(40_000)
    drawn = shares(7, "gender", numbers)
    assert (shares(7, "gender", numbers[5:9]) == drawn[5:9]).all()
    assert abs(np.corrcoef(drawn, shares(7, "phones", numbers))[0, 1]) < 0.03
    assert abs(np.corrcoef(drawn, shares(8, "gender", numbers))[0, 1]) < 0.03
    counts = np.bincount(chosen(drawn, (0.5, 0.3, 0.2)))
    assert np.abs(counts / len(numbers) - (0.5, 0.3, 0.2)).max() < 0.02


# Population


def test_the_same_seed_makes_the_same_persons():
    """Everything follows from the seed, and another seed makes others."""
    first, again, other = (make_population(5, persons=400, seed=seed) for seed in (1, 1, 2))
    assert (first.persons(3) == again.persons(3)).all()
    assert all((all_rows(first, 3)[name] == some).all() for name, some in all_rows(again, 3).items())
    assert first.homes.tolist() != other.homes.tolist()


def test_persons_are_known_in_as_many_forces_as_intended():
    """Of whom several forces know, four fifths are known to two; half of the others are neighbours; a few to many."""
    population = make_population(43, persons=200_000, overlap=0.05)
    reach = Counter(int(of) for known in population.known for of in known.sum(axis=1))
    shared = sum(reach.values())
    assert reach[2] / shared == pytest.approx(0.80, abs=0.03)
    assert reach[3] / shared == pytest.approx(0.13, abs=0.03)
    assert 10 < max(reach) <= 20
    both = [(home, other) for home, known in enumerate(population.known) for other in np.nonzero(known)[1]]
    beside = sum((other - home) % 43 in (1, 2, 41, 42) for home, other in both if home != other)
    assert beside / sum(home != other for home, other in both) == pytest.approx(0.55, abs=0.08)
    known = overlap_of(population).known_to
    elsewhere = sum(count * of for of, count in known.items() if of > 1)
    assert elsewhere / sum(count * of for of, count in known.items()) == pytest.approx(0.05, abs=0.005)


def test_some_persons_are_met_very_often():
    """The share met at least r times falls as the square of r, up to the bound on rows."""
    population = make_population(1, persons=50_000)
    met = population.rows(population.persons(0), 0)
    for least in (2, 3, 5, 10):
        assert (met >= least).mean() == pytest.approx(least**-2.0, rel=0.2)
    assert met.max() == population.most_rows
    assert met.mean() == pytest.approx((np.arange(1.0, 61) ** -2).sum(), rel=0.05)


@pytest.mark.parametrize("forces", [1, 2, 6, 43, 60])
def test_populations_of_any_size_come_out_as_asked(forces):
    """So many rows are made as were asked for, give or take; and every force has some."""
    population = make_population(forces, persons=persons_for(30_000, forces))
    rows = [population.rows(population.persons(force), force).sum() for force in range(forces)]
    assert sum(rows) == pytest.approx(30_000, rel=0.1)
    assert min(rows) > 0


def test_the_overlap_is_what_sets_of_persons_say():
    """The matrix of forces agrees with the persons of each, one by one, without those who are restricted there."""
    population = make_population(6, persons=3_000, overlap=0.3)
    sets = []
    for force in range(6):
        persons = population.persons(force)
        assert len(np.unique(persons)) == len(persons)
        sets.append(set(persons[~population.restricted(persons, force)].tolist()))
    overlap = overlap_of(population)
    assert overlap.pairs.tolist() == [[len(some & others) for others in sets] for some in sets]
    assert overlap.known_to == Counter(Counter(person for some in sets for person in some).values())
    assert (overlap.pairs_by_pnc < overlap.pairs).all()


def test_nobody_is_met_twice_on_a_day_in_one_force():
    """Rows that are alike in everything are repeats of one row, and nothing else."""
    population = make_population(2, persons=3_000)
    rows = all_rows(population, 1)
    known = ~np.ma.getmaskarray(rows["person"]) & ~np.ma.getmaskarray(rows["day"])
    assert max(Counter(zip(rows["person"][known].tolist(), rows["day"][known].tolist(), strict=True)).values()) == 1
    assert rows["day"].min() >= FIRST_DAY
    assert rows["day"].max() < FIRST_DAY + DAYS


def test_persons_stay_who_they_are():
    """Gender, ethnic group, birth and PNC id are the same on all rows in all forces; roles are not."""
    population = make_population(4, persons=2_000, overlap=0.4)
    seen, roles = {}, {}
    for force in range(4):
        rows = all_rows(population, force)
        named = ~np.ma.getmaskarray(rows["person"])
        who = zip(*(rows[name][named].tolist() for name in ("person", "gender", "ethnic_group", "born")), strict=True)
        for (person, *stable), role in zip(who, rows["role"][named].tolist(), strict=True):
            assert seen.setdefault(person, stable) == stable
            roles.setdefault(person, set()).add(role)
    assert {0, 1} in roles.values(), "victims of one record are suspects of another"


# Records systems


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Seven forces, each with another records system, within the bound on rows: folders and truths, by system."""
    root = tmp_path_factory.mktemp("nominals")
    population = make_population(len(SYSTEMS), persons=6_000, overlap=0.2, most_rows=BOUND)
    truths = {}
    for number, system in enumerate(SYSTEMS):
        assert system_of(number) == system
        (root / system / "records").mkdir(parents=True)
        truths[system] = write_force(population, number, system, root / system / "records")
        write_mapping(system, root / system)
    return root, truths, population


@pytest.mark.parametrize("system", SYSTEMS)
def test_each_mapping_fits_the_contract(system, made):
    """A force's files and mapping lie where the mapping says, and it maps every column."""
    root = made[0]
    mapping = read_config(root / system / "nominals.v2.toml", Mapping)
    mapping.check(CONTRACT)
    assert set(mapping.columns) == {column.name for column in CONTRACT.columns}
    assert mapping.source.path.parent == root / system / "records"
    assert bool(mapping.deduplicate) == SYSTEMS[system].repeats


def test_there_is_a_mapping_for_each_system():
    """And none for any other."""
    assert {path.stem for path in MAPPINGS.glob("*.toml")} == set(SYSTEMS)


def test_files_are_as_messy_as_they_are_said_to_be(made):
    """Encodings, separators, line ends, parts and compression are those of the records system."""
    root = made[0]
    birch = (root / "birch" / "records" / "Nominal extract.csv").read_bytes()
    assert birch.count(b"\r\n") == birch.count(b"\n")
    assert "£" in birch.decode("windows-1252")
    assert "Ynys Môn" in birch.decode("windows-1252")
    cedar = (root / "cedar" / "records" / "nominals.txt").read_bytes()
    assert cedar[:2] == b"\xff\xfe"
    text = cedar.decode("utf-16")
    assert 0 < text.count("\r\n") < text.count("\n")
    elm = sorted((root / "elm" / "records").glob("*.gz"))
    assert len(elm) >= 2
    assert all(gzip.decompress(path.read_bytes()).startswith(b"\xef\xbb\xbfnominal_no|") for path in elm)
    assert len(list((root / "hazel" / "records" / "nominals").glob("*.parquet"))) >= 2


def test_the_truth_is_in_the_files(made):
    """Rows, repeats and persons of the files, read without a mapping, are those of the truth."""
    root, truths, _ = made
    with (root / "alder" / "records" / "persons.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["restricted"] == "N"]
    true = truths["alder"]
    assert len(rows) == true.rows
    assert len({row["person_ref"] for row in rows} - {""}) == true.persons
    assert Counter(row["role"] for row in rows)["MIS"] == true.counts["role"]["missing_person"]
    assert sum(row["recorded_on"] == "" for row in rows) == true.months[""]
    assert sum(int(row["age"]) for row in rows if row["age"] and int(row["age"]) <= 110) <= true.totals["age"]

    with sqlite3.connect(root / "willow" / "records" / "records.sqlite") as database:
        (events,) = database.execute(
            "SELECT count(*) FROM events LEFT JOIN persons ON id = person_id WHERE restricted IS NOT 1"
        )
        (persons,) = database.execute("SELECT count(*) FROM persons WHERE NOT restricted")
    database.close()
    true = truths["willow"]
    assert true.repeated > 0
    assert events == (true.rows + true.repeated,)
    assert persons == (true.persons,)


def test_what_a_system_cannot_say_is_not_in_its_truth(made):
    """Officers' identity codes have no mixed group: such rows are unknown there, and counted as unknown."""
    _, truths, _ = made
    assert "mixed" not in truths["cedar"].counts["ethnicity"]
    assert "not_stated" not in truths["cedar"].counts["ethnicity"]
    assert set(truths["alder"].counts["ethnicity"]) == set(ETHNICITIES)


# Loaded through the mappings


@pytest.fixture(scope="module")
def loaded(made):
    """Every force's snapshot, opened, and what its load reported, by system."""
    root = made[0]
    key = root / "linkage.key"
    key.write_text("5e" * 32 + "\n")
    key.chmod(0o600)
    found = {}
    for system in SYSTEMS:
        state = root / system / "state"
        state.mkdir(mode=0o700)
        mapping = read_config(root / system / "nominals.v2.toml", Mapping)
        outcome = load(mapping, CONTRACT, state, linkage_key=key, progress=lambda _: None)
        database = duckdb.connect(str(snapshot_path(state, "nominals", 2)), read_only=True)
        found[system] = (database, outcome.quality)
    yield found
    for database, _ in found.values():
        database.close()


def grouped(database, key, value="count(*)"):
    """An aggregate over a snapshot, by the values of an expression."""
    return dict(database.execute(f"SELECT {key}, {value} FROM snapshot GROUP BY ALL").fetchall())


@pytest.mark.parametrize("system", SYSTEMS)
def test_each_mapping_brings_back_what_is_true(system, made, loaded):
    """Whatever the spelling, the snapshot has each code, month, sum, identifier and person exactly as often as is so."""
    true, (database, _) = made[1][system], loaded[system]
    for column in CONTRACT.columns:
        if isinstance(column, Category):
            codes = {column.codes[at].code: count for at, count in grouped(database, column.name).items()}
            assert codes == true.counts[column.name], column.name
    months = grouped(database, "recorded__month")
    named = {"" if at is None else f"{at // 12}-{at % 12 + 1:02d}": count for at, count in months.items()}
    assert named == true.months
    one = database.execute(
        f"SELECT {', '.join(f'count({name})' for name in true.given)}, {', '.join(f'sum({n})' for n in true.totals)} "
        "FROM snapshot"
    ).fetchone()
    assert one == (*true.given.values(), *true.totals.values())
    assert Counter(grouped(database, "CASE WHEN unit_ >= 0 THEN unit_ END").values()) == Counter(
        [true.rows_without_person, *(met for met, persons in true.rows_per_person.items() for _ in range(persons))]
    )


@pytest.mark.parametrize("system", SYSTEMS)
def test_the_load_reports_what_it_left_out(system, made, loaded):
    """Restricted rows, repeats and rows without a person are counted as they are; nothing is over the bound."""
    true, (_, quality) = made[1][system], loaded[system]
    assert sum(quality.rows_excluded.values()) == true.restricted
    assert quality.rows_repeated == true.repeated
    assert quality.rows_without_unit == true.rows_without_person
    assert quality.rows_over_bound == 0
    assert quality.rows_read == true.rows + true.restricted + true.repeated


def test_every_value_is_understood(loaded):
    """No local value is left that no code stands for, in any force."""
    for _, quality in loaded.values():
        for column in quality.columns:
            if column.column in CODES:
                assert column.mended == 0, column


def test_the_same_person_is_the_same_in_every_force(made, loaded):
    """Hashed PNC ids of two forces agree for exactly the persons whose id stands right in both."""
    ids = [set(grouped(database, "pnc_id")) - {None} for database, _ in loaded.values()]
    shared = [[len(some & others) for others in ids] for some in ids]
    population = made[2]
    assert shared == overlap_of(population).pairs_by_pnc.tolist()
    assert min(min(line) for line in shared) > 0


# In the demonstration


def test_two_versions_live_together_where_both_are_listed(tmp_path):
    """Most forces serve both versions, some the first alone; a node lists mappings that are there."""
    design = Design(choose_forces(43), nominals=(1, 2))
    held = Counter(nominals_held(design, force) for force in design.forces)
    assert set(held) == {(1,), (1, 2)}
    assert held[1, 2] > 43 / 2
    assert {nominals_held(Design(design.forces), force) for force in design.forces} == {(1,)}

    few = Design(("cleveland", "cumbria", "dorset", "essex", "kent"), nominals=(1, 2))
    layout = lay_out(tmp_path / "federation", few)
    for force in few.forces:
        config = read_config(layout.node_config(force), NodeConfig)
        versions = [
            m.version for m in (read_config(path, Mapping) for path in config.mappings) if m.dataset == "nominals"
        ]
        assert tuple(versions) == nominals_held(few, force)
    hand_out_records(layout, persons=20)
    for force in few.forces:
        for path in read_config(layout.node_config(force), NodeConfig).mappings:
            source = read_config(path, Mapping).source.path
            assert list(source.parent.glob(source.name)), source


# Command line


def test_the_command_writes_forces_and_truth(tmp_path, capsys):
    """Each force has records and a mapping of its own, and truth.json adds up."""
    assert main(["--forces", "8", "--rows", "2,000", "--into", str(tmp_path / "made")]) == 0
    truth = json.loads((tmp_path / "made" / "truth.json").read_text())
    assert len(truth["forces"]) == 8
    for name, of in truth["forces"].items():
        read_config(tmp_path / "made" / name / "nominals.v2.toml", Mapping).check(CONTRACT)
        assert sum(of["counts"]["role"].values()) == of["rows"] == sum(of["months"].values())
    assert f"{sum(of['rows'] for of in truth['forces'].values()):,} records" in capsys.readouterr().out


def test_the_command_writes_over_nothing(tmp_path, capsys):
    """A folder that holds anything is left alone."""
    (tmp_path / "mine").write_text("kept")
    assert main(["--into", str(tmp_path)]) == 2
    assert "is not empty" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
