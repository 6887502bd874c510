"""A snapshot in Spark, run here for real, against the same one in DuckDB: cell by cell, and text by text.

Slow because Spark takes half a minute to start and some seconds for a load of any size. `make slow` installs it from requirements/spark.txt, and Java.
"""

from __future__ import annotations

import re
import time
from collections import Counter
from random import Random

import duckdb
import ibis
import pytest

from cordon.contract import Contract
from cordon.errors import Declined, Misconfigured
from cordon.query.plan import make_plan, outline, split_evenly
from cordon.query.sql import parse_sql
from cordon.units import Rho
from node.aggregate import Snapshot
from node.cluster import Cluster, ClusterFault, Link
from node.coding import _EPOCH
from node.database import open_to_serve
from node.dates import ISO_INSTANT, iso_day
from node.engine import DUCKDB, SPARK, floor_of, function
from node.load import check, load
from node.mapping import Mapping
from node.normalise import SCHEMES
from node.place import read_place
from node.snapshot import snapshot_path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("spark"),
    # Spark's own code uses what Python has deprecated, and leaves sockets to the collector.
    pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning", "ignore::FutureWarning"),
]

SCHEMA = "cordon"
FORCE = "kent"
OFFENCES = [f"o{at}" for at in range(60)]

CONTRACT = Contract.from_toml(
    f"""
dataset = "persons"
version = 1
title = "Persons"
description = "For tests"
source = "none"
licence = "none"
[unit]
kind = "person"
words = "one person in one force"
max_rows_per_unit = 3
max_rows_per_force = 100000
rows_without_unit = "own unit"
[[column]]
kind = "identifier"
name = "person"
title = "Person"
use = "unit"
[[column]]
kind = "identifier"
name = "phone"
title = "Telephone"
use = "linkage"
scheme = "phone"
[[column]]
kind = "identifier"
name = "vehicle"
title = "Vehicle"
use = "linkage"
scheme = "vehicle"
[[column]]
kind = "category"
name = "role"
title = "Role"
codes = [{{ code = "suspect", label = "Suspect" }}, {{ code = "victim", label = "Victim" }}, {{ code = "unknown", label = "Unknown" }}]
[[column]]
kind = "category"
name = "offence"
title = "Offence"
codes = [{", ".join(f'{{ code = "{code}", label = "Offence {code}" }}' for code in OFFENCES)}, {{ code = "unknown", label = "Unknown" }}]
[[column]]
kind = "number"
name = "loss"
title = "Loss"
unit = "GBP"
min = "-10"
max = "50"
resolution = "1/2"
[[column]]
kind = "number"
name = "age"
title = "Age"
unit = "years"
min = "0"
max = "110"
resolution = "1"
[[column]]
kind = "date"
name = "day"
title = "Day"
grain = "day"
min = 2025-01-01
max = 2025-12-31
[[column]]
kind = "date"
name = "seen"
title = "Seen"
grain = "day"
min = 2025-01-01
max = 2025-12-31
[[column]]
kind = "date"
name = "closed"
title = "Closed"
grain = "month"
min = 2024-01-01
max = 2025-12-31
""".encode()
)

COLUMNS = {
    "person": {"source": "Ref No"},
    "phone": {"source": "phone"},
    "vehicle": {"source": "vrm"},
    "role": {"expression": "CASE WHEN role LIKE 'S%' THEN 'S' WHEN TRIM(role) IN ('V', 'v') THEN 'victim' ELSE role END",
             "codes": {"S": "suspect", "it's \\ odd": "victim"}, "unknown": ["N/K"]},
    "offence": {"source": "offence", "codes": {f"L'{at}\\": code for at, code in enumerate(OFFENCES)}},
    "loss": {"expression": "ROUND(loss * 1.005, 1) + 0.1"},
    "age": {"expression": "COALESCE(age, YEARS_BETWEEN(born, DATE('2025-06-30')))"},
    "day": {"source": "day", "formats": ["%d/%m/%Y", "%d-%b-%y", "%Y-%m-%d"], "unknown": ["01/01/1900"]},
    "seen": {"source": "seen", "time_zone": "Europe/London"},
    "closed": {"source": "closed"},
}  # fmt: skip

QUESTIONS = """
SELECT COUNT(*) FROM persons
SELECT COUNT(DISTINCT person) FROM persons
SELECT role, COUNT(*), COUNT(DISTINCT person) FROM persons GROUP BY role
SELECT offence, COUNT(*), SUM(loss) FROM persons GROUP BY offence
SELECT AVG(age), VARIANCE(loss) FROM persons
SELECT role, MEDIAN(age) FROM persons GROUP BY role
SELECT QUANTILE(loss, 0.9) FROM persons WHERE role <> 'unknown'
SELECT BIN(age, 10), COUNT(*) FROM persons GROUP BY BIN(age, 10)
SELECT BIN(loss, 7), COUNT(*) FROM persons WHERE loss < 20 GROUP BY BIN(loss, 7)
SELECT DATE_TRUNC('day', day), COUNT(*) FROM persons WHERE day BETWEEN '2025-03-01' AND '2025-04-30' GROUP BY DATE_TRUNC('day', day)
SELECT DATE_TRUNC('month', seen), COUNT(DISTINCT person) FROM persons GROUP BY DATE_TRUNC('month', seen)
SELECT DATE_TRUNC('quarter', closed), SUM(loss) FILTER (WHERE age >= 18) FROM persons GROUP BY DATE_TRUNC('quarter', closed)
SELECT DATE_TRUNC('year', closed), COUNT(*) FROM persons GROUP BY DATE_TRUNC('year', closed)
SELECT role, BIN(age, 20), COUNT(*) FROM persons GROUP BY CUBE (role, BIN(age, 20))
SELECT role, SUM(age), COUNT(*) FROM persons GROUP BY ROLLUP (role)
SELECT role, SUM(age * loss), SUM((age - 50) * (loss - 20)), SUM((age - 50) * (age - 50) - 1250) FROM persons GROUP BY role
SELECT COUNT(*) FROM persons WHERE NOT (age IS NULL OR loss > 3.5) AND offence IN ('o1', 'o2', 'o50', 'unknown')
SELECT COUNT(*) FROM persons WHERE day IS NULL OR seen IS NULL
""".strip().splitlines()


def write_records(path, rows_of_a_person):
    """400 persons' records as Parquet: clean, odd and broken values of every kind, in several of the file's types."""
    random = Random(7)
    pick = random.choice
    rows = []
    for person in range(400):
        for _ in range(rows_of_a_person(random)):
            month, day = random.randint(1, 12), random.randint(1, 28)
            rows.append((
                pick(["", None, "  "]) if person % 50 == 0 else pick(["{}", " {} ", "{}\t"]).format(f"P{person:04}"),
                pick([None, "07700 900123", "+44 (0)7700 900124", "00447700900125", "999", f"0770090{person:04}"]),
                pick([None, "AB12 CDE", "a123 bcd", "0B12CDE", "nonsense"]),
                pick(["S", "SUS", " V ", "v", "Victim", "it's \\ odd", "N/K", "", None, "?", "suspect"]),
                pick([f"L'{random.randrange(60)}\\", "o7", "Offence o8", " o9 ", None, "L'77\\", "ß"]),
                pick([f"{random.uniform(-20, 60):.3f}", "1e1", "5d", "nan", "inf", "1_0", "+7", "12,5", "", None, ".5", "24.875", "-0.25"]),
                pick([None, None, random.randint(-3, 130)]),
                pick([None, f"19{random.randint(40, 99)}-{month:02}-{day:02}"]),
                pick([f"{day}/{month}/2025", f"{day:02}/{month:02}/2025", f"{day:02}-{pick(['Jan', 'JUN', 'dec'])}-25", f"2025-{month:02}-{day:02}",
                      "31/02/2025", "01/01/1900", "2025/01/01", "", None, "01/05/24", "1 May 2025"]),
                pick([f"2025-{month:02}-{day:02} 23:30:00", f"2025-{month:02}-{day:02}T23:30:00Z", f"2025-{month:02}-{day:02}",
                      f"2025-{month:02}-{day:02} 00:30+01:00", "2025-1-5", "yesterday", None, "2025-12-31 23:59:59.9999999"]),
                f"202{pick([3, 4, 5])}-{month:02}-{day:02} 22:10:00" if random.random() < 0.9 else None,
                pick(["Y", "N", "N", "N", None]),
            ))  # fmt: skip
    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    kinds = "VARCHAR, phone VARCHAR, vrm VARCHAR, role VARCHAR, offence VARCHAR, loss VARCHAR, age BIGINT, born VARCHAR, day VARCHAR, seen VARCHAR, closed TIMESTAMPTZ, hidden VARCHAR"
    database.execute(f'CREATE TABLE records ("Ref No" {kinds})')
    database.executemany(f"INSERT INTO records VALUES ({', '.join('?' * 12)})", rows)
    database.execute(f"COPY records TO '{path}' (FORMAT parquet)")
    return rows


def mapping_of(path, **changes):
    """The mapping of these records."""
    return Mapping.model_validate(
        {
            "dataset": "persons", "version": 1, "domain": "records", "source": path, "as_at": "2026-01-31",
            "first_month": "2025-01", "last_month": "2025-12", "columns": COLUMNS,
            "exclude": [{"where": "hidden = 'Y'", "reason": "protected persons"}, {"where": "loss = '+7'", "reason": "trials"}],
        }
        | changes
    )  # fmt: skip


class Force:
    """A node's state folder with both keys."""

    def __init__(self, folder):
        self.folder = folder
        folder.mkdir()
        (folder / "identifiers.key").write_text("11" * 32 + "\n")
        (folder / "linkage.key").write_text("22" * 32 + "\n")
        for name in ("identifiers.key", "linkage.key"):
            (folder / name).chmod(0o600)

    def load(self, mapping):
        """Load; returns what was found."""
        self.told = []
        return load(mapping, CONTRACT, self.folder, linkage_key=self.folder / "linkage.key", progress=self.told.append)

    @property
    def path(self):
        """Of the label or the snapshot."""
        return snapshot_path(self.folder, "persons", 1)

    @property
    def place(self):
        """Where the label says that the rows are."""
        with open_to_serve(self.path.resolve()) as database:
            return read_place(database)


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Spark on this machine, up as long as these tests need it."""
    pytest.importorskip("pyspark", reason="make slow installs it from requirements/spark.txt")
    warehouse = tmp_path_factory.mktemp("warehouse")
    options = f"spark.sql.warehouse.dir={warehouse}&spark.sql.shuffle.partitions=2"
    cluster = Cluster(kind="spark", url=f"local://?{options}", schema_name=SCHEMA)
    link = Link(cluster)
    link.rows(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}")
    yield cluster
    link.close()


@pytest.fixture
def forces(tmp_path):
    """Two nodes with the same keys."""
    return Force(tmp_path / "here"), Force(tmp_path / "there")


def tables(cluster):
    """Names of the tables in the schema."""
    link = Link(cluster)
    found = {row[1] for row in link.rows(f"SHOW TABLES FROM {SCHEMA}")}
    link.close()
    return found


def plan_of(sql):
    """The plan of a question."""
    question = parse_sql(sql, {"persons": CONTRACT}, [FORCE]).question
    shares = split_evenly(Rho(10**9), len(outline(question, CONTRACT, most_cells=100_000).parts))
    return make_plan(question, shares, CONTRACT, colluders=0, most_cells=100_000)


def units_of(rows):
    """Rows of each unit that has a name."""
    return Counter(unit for unit, *_ in rows if unit >= 0)


def both(forces, cluster, tmp_path, rows_of_a_person, **changes):
    """Load the same records through DuckDB and through Spark."""
    path = tmp_path / "records.parquet"
    write_records(path, rows_of_a_person)
    here, there = forces
    return here.load(mapping_of(path, **changes)), there.load(mapping_of(path, engine=cluster, **changes))


def test_within_the_bound_every_cell_and_every_figure_of_the_report_is_identical(forces, cluster, tmp_path):
    """Where no row is left out by lot, every vector is the same, and so are the report, surrogates and hashes."""
    one, two = both(forces, cluster, tmp_path, lambda random: random.randint(1, 3))
    assert two.quality == one.quality
    assert one.quality.rows_kept > 500
    assert all(column.mended for column in one.quality.columns if column.column != "closed")
    assert sum(one.quality.rows_excluded.values()) > 50
    here, there = (Snapshot(force.path, CONTRACT) for force in forces)
    for sql in QUESTIONS:
        cells = here.aggregate(plan_of(sql), FORCE)
        assert any(cells), sql
        assert there.aggregate(plan_of(sql), FORCE) == cells, sql
    link = Link(cluster)
    columns = "unit_, phone, vehicle, role, offence, loss, age, day, day__month, seen, closed, closed__month"
    with open_to_serve(forces[0].path.resolve()) as database:
        exact = database.execute(f"SELECT {columns} FROM snapshot WHERE unit_ >= 0").fetchall()
    far = link.rows(f"SELECT {columns} FROM {SCHEMA}.{forces[1].place.table} WHERE unit_ >= 0")
    assert Counter(far) == Counter(exact)
    alone = link.rows(f"SELECT count(*), count(DISTINCT unit_) FROM {SCHEMA}.{forces[1].place.table} WHERE unit_ < 0")
    assert alone[0][0] == alone[0][1] > 5
    here.close()
    there.close()
    link.close()


def test_beyond_the_bound_both_keep_as_many_rows_of_each_unit(forces, cluster, tmp_path):
    """At most three rows of each unit stay, as many in both engines, after duplicates within a unit are gone."""
    changes = {"deduplicate": ["role", "day"]}
    one, two = both(forces, cluster, tmp_path, lambda random: random.choice([1, 2, 5, 12]), **changes)
    assert two.quality == one.quality
    assert one.quality.rows_over_bound > 100
    assert one.quality.rows_repeated > 10
    with open_to_serve(forces[0].path.resolve()) as database:
        exact = units_of(database.execute("SELECT unit_ FROM snapshot").fetchall())
    link = Link(cluster)
    far = units_of(link.rows(f"SELECT unit_ FROM {SCHEMA}.{forces[1].place.table}"))
    link.close()
    assert far == exact
    assert max(far.values()) == 3


def test_a_load_leaves_its_table_and_the_one_before_and_no_other(forces, cluster, tmp_path):
    """The third load drops the first one's table; the one in between is there for whoever began to read it."""
    path = tmp_path / "records.parquet"
    write_records(path, lambda random: 1)
    _, there = forces
    before = tables(cluster)
    made = []
    for _ in range(3):
        there.load(mapping_of(path, engine=cluster))
        made.append(there.place.table)
    assert tables(cluster) - before == set(made[1:])
    assert there.place.before == made[1]


def test_a_load_that_fails_leaves_the_serving_snapshot_and_no_table(forces, cluster, tmp_path):
    """A source without a column, too many mended values, and a check leave nothing behind and change nothing."""
    path = tmp_path / "records.parquet"
    write_records(path, lambda random: 1)
    _, there = forces
    there.load(mapping_of(path, engine=cluster))
    served, before = there.place, tables(cluster)
    with pytest.raises(Misconfigured, match="no column 'lost'"):
        there.load(mapping_of(path, engine=cluster, columns=COLUMNS | {"loss": {"source": "lost"}}))
    strict = COLUMNS | {"loss": {"source": "loss", "most_mended_percent": 1}}
    with pytest.raises(Misconfigured, match="were mended"):
        there.load(mapping_of(path, engine=cluster, columns=strict))
    with pytest.raises(Misconfigured, match="TABLE_OR_VIEW_NOT_FOUND"):
        there.load(mapping_of({"kind": "spark", "url": cluster.url, "table": "cordon.lost"}, engine=cluster))
    with pytest.raises(Misconfigured, match="cannot read"):
        there.load(mapping_of(tmp_path / "records.csv", engine=cluster))
    check(mapping_of(path, engine=cluster), CONTRACT, there.folder, progress=lambda _: None)
    assert there.place == served
    assert tables(cluster) == before


def test_records_are_read_from_a_table_and_from_a_select_of_the_cluster(forces, cluster, tmp_path):
    """A table of the cluster's and the force's own SELECT there come to what the file comes to."""
    path = tmp_path / "records.parquet"
    write_records(path, lambda random: 1)
    here, there = forces
    exact = here.load(mapping_of(path)).quality
    sql = {"sql": f"SELECT * FROM parquet.`{path}` -- all", "rows_depend_on_one_unit": True}
    assert there.load(mapping_of({"kind": "spark", "url": cluster.url, **sql}, engine=cluster)).quality == exact


def test_a_query_that_the_engine_cannot_answer_is_declined_in_the_same_words(forces, cluster, tmp_path):
    """A table that is gone gives the words of any other fault, and the next query is answered when it is back."""
    path = tmp_path / "records.parquet"
    write_records(path, lambda random: 1)
    _, there = forces
    there.load(mapping_of(path, engine=cluster))
    snapshot, plan, link, name = Snapshot(there.path, CONTRACT), plan_of(QUESTIONS[0]), Link(cluster), there.place.table
    cells = snapshot.aggregate(plan, FORCE)
    link.rows(f"ALTER TABLE {SCHEMA}.{name} RENAME TO {SCHEMA}.away")
    with pytest.raises(Declined) as caught:
        snapshot.aggregate(plan, FORCE)
    assert (caught.value.code, str(caught.value)) == ("fault", "this force could not compute its share")
    link.rows(f"ALTER TABLE {SCHEMA}.away RENAME TO {SCHEMA}.{name}")
    assert snapshot.aggregate(plan, FORCE) == cells
    snapshot.close()
    link.close()


def test_no_key_is_in_a_statement_or_in_what_spark_explains_of_it(cluster, forces):
    """Secrets are parameters, and what looks like one is left out of explained plans."""
    secret = "0123456789abcdef" * 2
    link = Link(cluster)
    ((plan,),) = link.rows("EXPLAIN EXTENDED SELECT concat(:secret_unit_, id) FROM range(3)", {"unit_": secret})
    link.close()
    assert secret not in plan
    assert "redacted" in plan


# Texts, one by one


def changed(random, texts, letters, number):
    """Texts that differ from some of these in up to two places."""
    made = []
    for _ in range(number):
        text = list(random.choice(texts))
        for _ in range(random.randint(0, 2)):
            at = random.randrange(len(text) + 1)
            text[at : at + random.randint(0, 1)] = random.choice([[], [random.choice(letters)]])
        made.append("".join(text).strip(" \t\n\r\v\f"))
    return made


def in_both(cluster, make, values, kind="string"):
    """What an expression makes of values in DuckDB and in Spark, where they differ; and how many it makes anything of."""
    table = ibis.table({"place": "int64", "value": kind}, name="texts")
    statement = {
        engine: engine.sql(table.select("place", made=make(engine, table["value"]))) for engine in (DUCKDB, SPARK)
    }
    words = {"string": ("VARCHAR", "STRING"), "float64": ("DOUBLE", "DOUBLE")}[kind]
    database = duckdb.connect()
    database.execute("SET TimeZone = 'UTC'")
    database.execute(f"CREATE TABLE texts (place BIGINT, value {words[0]})")
    database.executemany("INSERT INTO texts VALUES (?, ?)", list(enumerate(values)))
    exact = dict(database.execute(statement[DUCKDB]).fetchall())
    written = ", ".join(f"({at}L, CAST({SPARK.literal(str(value))} AS {words[1]}))" for at, value in enumerate(values))
    link = Link(cluster)
    given = f"WITH texts(place, value) AS (VALUES {written}) SELECT * FROM ({statement[SPARK]}) AS made"
    far = dict(link.rows(given))
    link.close()
    differing = {
        values[at]: (exact[at], far[at]) for at in exact if exact[at] != far[at] and str(exact[at]) != str(far[at])
    }
    return differing, sum(made is not None for made in exact.values())


def days(value):
    """Days since 1970, which no driver's zone changes."""
    return (
        value.date().delta(_EPOCH, unit="day").cast("int64")
        if value.type().is_timestamp()
        else value.delta(_EPOCH, unit="day")
    )


def instant(engine, text):
    """The civil day in London of a text with an offset, as coding reads it."""
    whole = ibis.cases((text.re_search(ISO_INSTANT), text), else_=ibis.null("string"))
    return days(engine.civil_time(engine.instant_of(whole), "Europe/London").date())


FIGURES = "0123456789-/T :+.AaPpMm"
TEXTS = {
    "numbers": (lambda engine, text: engine.number_of(text), "0123456789.eE+-_ dfnai",
        ["5", "12.5", "1e5", "-3.25E-2", "+7", ".5", "5.", "1_000", "nan", "inf", "Infinity", "1e400", "0x1F", "5d", "+-7"]),
    "days": (lambda engine, text: days(iso_day(text)), FIGURES,
        ["2024-01-05", "2024-05", "2024-05-31 14:05", "2024-12-31T23:59:59Z", "2024-02-30", "-024-01-05", "2024/01/05"]),
    "instants": (instant, FIGURES + "Z",
        ["2024-05-31", "2024-05-31T14:05", "2024-05-31 23:05:00+01", "2024-05-31 23:05+01:00", "2024-05-31 23:05Z", "2024-05-31 14:05:00+0100", "2024-05-31 14:05:00.123Z"]),
    "phones": (lambda _, text: SCHEMES["phone"](text), "0123456789+() -",
        ["07700 900123", "+44 7700 900123", "0044 (0)7700900123", "447700900123", "+33123456789"]),
    "people": (lambda _, text: SCHEMES["pnc_id"](text), "0123456789/ABCDEFGHJKLMNPQRTUVWXYZ",
        ["2001/0000001A", "01/1A", "20010000001B", "1999/123K", "2001/0000001Z", "90/12345H"]),
    "vehicles": (lambda _, text: SCHEMES["vehicle"](text), "0123456789ABCOI ",
        ["AB12 CDE", "A123 BCD", "ABC 123D", "AB1", "1A", "0B12CDE", "ab12cde"]),
    "blanks": (lambda engine, text: engine.trimmed(text), " \t\n\r\v\f\\'\"\u00a0é", [" a\t", "\\b", "'", "\u00a0x"]),
}  # fmt: skip
NO_ZONE = r"[+-](1[5-9]|[2-9]|..:?[6-9])"
"""Offsets that no zone has, with which DuckDB reckons all the same."""

FORMATS = {
    "%d/%m/%Y": ["01/05/2024", "1/5/24"],
    "%d-%b-%y": ["01-May-24", "1-JUN-69", "3-dec-68"],
    "%d %B %Y": ["1 May 2024", "31 december 2023", "1 sept 2024"],
    "%Y%m%d": ["20240105", "2024105", "202415"],
    "%d/%m/%Y %I:%M %p": ["01/05/2024 2:05 pm", "1/1/2024 12:59 AM", "01/05/2024 13:00 PM"],
    "%d/%m/%Y %H:%M:%S.%f": ["01/05/2024 14:05:00.5", "01/05/2024 24:00:00.0"],
    "%d/%m/%Y %H:%M %z": ["01/05/2024 14:05 +0100", "01/05/2024 00:05 +01:30"],
    "A%d.%m.%Y": ["A01.05.2024"],
    "%I %d/%m/%Y": ["12 1/5/2024", "9 1/5/2024"],
}


@pytest.mark.parametrize("name", TEXTS)
def test_both_engines_read_the_same_in_any_text(cluster, name):
    """Of texts that nearly are what is looked for, both engines take the same ones, for the same."""
    make, letters, texts = TEXTS[name]
    differing, made = in_both(cluster, make, changed(Random(3), texts, letters, 1000))
    assert not differing
    assert made > 3


@pytest.mark.parametrize("form", FORMATS)
def test_both_engines_read_a_date_by_its_format(cluster, form):
    """What strptime takes in DuckDB is taken in Spark, for the same days and times."""
    texts = [
        text
        for text in changed(Random(4), FORMATS[form], FIGURES, 600)
        if "%z" not in form or not re.search(NO_ZONE, text)
    ]

    def make(engine, text):
        read = engine.time_of(text, [form]).cast("timestamp('UTC')").cast("timestamp")
        return days(read) * 10_000 + read.hour() * 100 + read.minute()

    differing, made = in_both(cluster, make, texts)
    assert not differing
    assert made > 50


def test_both_engines_reckon_alike(cluster):
    """Rounding to whole numbers and to places, whole numbers below, and texts of floats that hold whole numbers."""
    random = Random(5)
    rounded = function("round", ("float64",), "float64")
    halves = [at / 2 for at in range(-50, 50)] + [0.49999999999999994, 1.5e300, 2.675, 1.005]
    numbers = [random.uniform(-100, 100) for _ in range(500)] + halves
    assert not in_both(cluster, lambda _, x: rounded(x), numbers, "float64")[0]
    assert not in_both(cluster, lambda _, x: rounded(x * 100.0) / 100.0, numbers, "float64")[0]
    beyond = [*numbers, 9.3e18, -9.3e18, 1e30]
    assert not in_both(cluster, lambda _, x: floor_of(x).try_cast("int64"), beyond, "float64")[0]
    wholes = [
        0.0,
        1.0,
        7700900123.0,
        1e7,
        12345678.0,
        1e15,
        -3.0,
        0.5,
        1234567.25,
        float("nan"),
        float("inf"),
        float("-inf"),
    ]
    assert not in_both(cluster, lambda engine, x: engine.text_of(x), wholes, "float64")[0]


def test_a_query_that_takes_too_long_is_given_up(cluster):
    """It costs the stated time and no more, nothing of it goes on, and the next query is answered."""
    link = Link(cluster.model_copy(update={"timeout_seconds": 3}))
    start = time.monotonic()
    with pytest.raises(ClusterFault, match="did not answer within 3 seconds"):
        link.rows("SELECT count(*) FROM range(1000000000000) WHERE id % 7 = hash(id) % 11")
    assert time.monotonic() - start < 15
    assert link.rows("SELECT 1", seconds=60) == [(1,)]
    link.close()
