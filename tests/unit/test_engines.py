"""What is sent to distributed engines: compiled by the product's own code, without a server."""

import re
import time
from functools import cache

import duckdb
import ibis
import pytest
import sqlglot
from examples import PERSON_CONTRACT, person_contract

from cordon.contract import Contract
from cordon.errors import Declined, Misconfigured
from cordon.query.plan import make_plan, outline, split_evenly
from cordon.query.sql import parse_sql
from cordon.units import Rho
from node.aggregate import Snapshot
from node.bounding import bounded
from node.cluster import Cluster, ClusterFault, Link, _within
from node.coding import coded
from node.compile import Table, compile_plan
from node.database import open_for_load
from node.dates import DIRECTIVES, iso_day, iso_of, pattern_of
from node.distributed import Workshop, _without_excluded
from node.engine import DUCKDB, SPARK, TRINO
from node.expression import build
from node.identifiers import Keys, secrets_of, table_tag
from node.load import declared
from node.mapping import Mapping
from node.place import Place, read_place, write_place
from node.quality import Quality
from node.snapshot import snapshot_path, write_label

KEYS = Keys(b"\x01" * 32, b"\x02" * 32)
GRAMMARS = {SPARK: "spark", TRINO: "trino"}
PHONE = '[[column]]\nkind = "identifier"\nname = "phone"\ntitle = "Phone"\nuse = "linkage"\nscheme = "phone"\n'
TYPES = {
    "ref": "string", "phone": "string", "role": "string", "loss": "float64", "seen": "string", "hidden": "boolean",
}  # fmt: skip
HOSTILE = "a\\'; DROP TABLE `t`; -- \" \n"


def contract():
    """Persons with a linked telephone number."""
    return Contract.from_toml(PERSON_CONTRACT + PHONE.encode())


def mapping(**changes):
    """A mapping with expressions, formats, a zone, exclusions and hostile values."""
    codes = {f"L{at}": "suspect" for at in range(60)} | {HOSTILE: "victim"}
    return Mapping.model_validate(
        {
            "dataset": "persons", "version": 1, "domain": "records", "source": "records.parquet", "as_at": "2026-01-31",
            "first_month": "2025-01", "last_month": "2025-12", "deduplicate": ["role"],
            "columns": {
                "person": {"source": "ref"}, "phone": {"source": "phone"},
                "role": {"source": "role", "codes": codes, "unknown": [HOSTILE]},
                "loss": {"expression": "ROUND(loss * 1.5, 2) + 0.1"},
                "day": {"source": "seen", "formats": ["%d/%m/%Y %H:%M"], "time_zone": "Europe/London"},
            },
            "exclude": [{"where": "hidden AND loss > 1e2", "reason": "protected persons"}],
        }
        | changes
    )  # fmt: skip


@cache
def load_statements(engine):
    """What codes and bounds the rows in an engine."""
    rows = coded(TYPES, mapping(), contract(), engine, KEYS)
    kept = bounded(ibis.table(rows.schema(), name="coding"), mapping(), contract(), engine, linked=True)
    return engine.sql(rows), engine.sql(kept)


def plan_of(sql):
    """The plan of a question."""
    question = parse_sql(sql, {"persons": person_contract()}, ["kent"]).question
    shares = split_evenly(Rho(10**9), len(outline(question, person_contract(), most_cells=1000).parts))
    return make_plan(question, shares, person_contract(), colluders=0, most_cells=1000)


@pytest.mark.parametrize("engine", GRAMMARS, ids=GRAMMARS.values())
def test_coding_and_bounding_compile_for_every_engine(engine):
    """Both statements of a load are the engine's own language, cast no text that could fail, and rank by lot."""
    code, bound = load_statements(engine)
    for statement in (code, bound):
        assert len(sqlglot.parse(statement, read=GRAMMARS[engine])) == 1
    assert "RAND()" in code
    assert "TRY_CAST" in code
    assert "ROW_NUMBER() OVER (PARTITION BY" in bound
    assert not re.search("try_strptime|getvariable|rowid", code + bound, re.IGNORECASE)


@pytest.mark.parametrize("engine", GRAMMARS, ids=GRAMMARS.values())
def test_expressions_compile_for_every_engine(engine):
    """Comparisons of every kind are the engine's own language, and no reckoning in them can fail on a value."""
    table = ibis.table(TYPES | {"n": "int64", "t": "timestamp", "z": "timestamp('UTC')"}, name="records")
    columns = {name: table[name] for name in table.columns}
    texts = ["role <> 'N'", "(NOT hidden) = TRUE", "n + 1 > n * n", "seen = n", "t = '2025-01-01'", "z < '2025-01-01 10:00'", "role = hidden",
             "CAST(role AS INTEGER)", "loss LIKE '5%'", "role NOT IN ('a', 'b')", "COALESCE(role, '') || n"]  # fmt: skip
    statement = engine.sql(table.select(**{f"v{at}": build(text, columns, engine) for at, text in enumerate(texts)}))
    (parsed,) = sqlglot.parse(statement, read=GRAMMARS[engine])
    assert len(parsed.expressions) == len(texts)
    assert not re.search(r"(?<!TRY_)CAST\(`?\"?t0`?\"?[.]`?\"?(role|seen)", statement), "texts are only tried"


def test_no_secret_is_in_a_statement_for_spark():
    """Keys are parameters there: statements are logged and shown."""
    code, _ = load_statements(SPARK)
    secrets = secrets_of(KEYS, mapping(), contract())
    assert set(secrets) == {"unit_", "phone"}
    for name, secret in secrets.items():
        assert f":secret_{name}" in code
        assert f"':secret_{name}'" not in code
        assert SPARK.takes(name, code)
        assert secret not in code
    assert all(secret in load_statements(TRINO)[0] for secret in secrets.values()), "the look itself works"


def test_trino_hashes_by_its_own_functions():
    """Ibis has no digest for Trino."""
    code, _ = load_statements(TRINO)
    assert "LOWER(TO_HEX(SHA256(TO_UTF8(" in re.sub(r"\s+", "", code)
    assert "FROM_BASE(" in code


def test_numbers_with_places_are_floats_in_spark():
    """Written plainly they would be decimals, which round elsewhere."""
    code, _ = load_statements(SPARK)
    assert "CAST(1.5 AS DOUBLE)" in code
    assert not re.search(r"(?<!CAST\()(?<![\w'.])\d+\.\d+", re.sub(r"'(?:[^'\\]|\\.)*'", "", code))


@pytest.mark.parametrize("engine", GRAMMARS, ids=GRAMMARS.values())
@pytest.mark.parametrize(
    "sql",
    [
        "SELECT COUNT(*), COUNT(DISTINCT person) FROM persons",
        "SELECT role, SUM(loss), VARIANCE(loss) FROM persons WHERE day >= '2025-02-01' GROUP BY role",
        "SELECT role, SUM((loss - 20) * (loss - 20) - 450) FROM persons GROUP BY role",
        "SELECT MEDIAN(loss) FROM persons",
        "SELECT role, BIN(loss, 5), COUNT(*) FILTER (WHERE role = 'victim') FROM persons GROUP BY CUBE (role, BIN(loss, 5))",
        "SELECT DATE_TRUNC('quarter', day), COUNT(*) FROM persons GROUP BY DATE_TRUNC('quarter', day)",
    ],
)
def test_questions_compile_for_every_engine(engine, sql):
    """Each statement of a question is the engine's own language, and reads the one table that the label names."""
    plan = plan_of(sql)
    compiled = compile_plan(plan, person_contract(), Table("persons_v1_ab", "cordon", engine))
    assert list(compiled.scans) == list(compile_plan(plan, person_contract()).scans)
    for scan in compiled.scans:
        (parsed,) = sqlglot.parse(compiled.of(scan), read=GRAMMARS[engine])
        read = {(table.db, table.name) for table in parsed.find_all(sqlglot.exp.Table)}
        assert read == {("cordon", "persons_v1_ab"), ("", "kept")}


def workshop(kind, **changes):
    """A load that has not begun, in a cluster that is not there."""
    return Workshop(cluster(kind=kind, url=f"{kind}://127.0.0.1:1"), mapping(**changes), contract(), KEYS)


@pytest.mark.parametrize("kind", ["spark", "trino"])
def test_a_load_makes_its_table_in_one_statement(kind):
    """Source, code lists and coding are one statement in the engine's own language, over the source's table alone."""
    work = workshop(kind, source={"kind": kind, "url": f"{kind}://127.0.0.1:1", "table": "force.persons"})
    relation, probe = work._relation(work._mapping.source)
    assert probe.endswith("WHERE 1 = 0")
    rows = _without_excluded(coded(TYPES, mapping(), contract(), work._cluster.engine, KEYS))
    statement = f"CREATE TABLE {work._at(work.table)} AS WITH {work._named(TYPES, relation)} {work._over(rows)}"
    (parsed,) = sqlglot.parse(statement, read=kind)
    named = {cte.alias for cte in parsed.find_all(sqlglot.exp.CTE)}
    read = {(table.db, table.name) for table in parsed.find_all(sqlglot.exp.Table) if table.name not in named}
    assert read == {("force", "persons"), ("cordon", work.table)}
    assert {"records", "codes_"} <= named


@pytest.mark.parametrize(
    ("kind", "source"),
    [
        ("trino", "records.parquet"),
        ("spark", "records.csv"),
        ("spark", {"kind": "spark", "url": "spark://elsewhere:1", "table": "persons"}),
        ("spark", {"kind": "trino", "url": "trino://127.0.0.1:1", "table": "persons"}),
    ],
)
def test_an_engine_reads_what_lies_in_it(kind, source):
    """A source elsewhere is refused before anything is made."""
    work = workshop(kind, source=source)
    with pytest.raises(Misconfigured, match=r"cannot read"):
        work._relation(work._mapping.source)


@pytest.mark.parametrize("engine", GRAMMARS, ids=GRAMMARS.values())
def test_hostile_texts_and_names_stay_what_they_are(engine):
    """Nothing in a text or a name ends its quotes."""
    statement = f"SELECT {engine.literal(HOSTILE)} AS {engine.name(HOSTILE)} FROM {engine.name('s', HOSTILE)}"
    (parsed,) = sqlglot.parse(statement, read=GRAMMARS[engine])
    (value,) = parsed.expressions
    assert (value.this.this, value.alias) == (HOSTILE, HOSTILE)
    assert parsed.find(sqlglot.exp.Table).name == HOSTILE


@pytest.mark.parametrize("engine", GRAMMARS, ids=GRAMMARS.values())
def test_statements_of_the_report_are_translated(engine):
    """What is written for DuckDB over `coded` is asked of the engine's own table."""
    said = 'SELECT "role", count(*) FILTER ("loss__mended") AS n FROM coded GROUP BY 1 ORDER BY n DESC, 1 LIMIT 10'
    statement = engine.translated(said, {"coded": ("cordon", "persons_coding")})
    (parsed,) = sqlglot.parse(statement, read=GRAMMARS[engine])
    assert [(table.db, table.name) for table in parsed.find_all(sqlglot.exp.Table)] == [("cordon", "persons_coding")]
    assert "FILTER(WHERE" in statement


@pytest.mark.parametrize(
    ("form", "text", "fits"),
    [
        ("%d/%m/%Y", "1/05/2024", True),
        ("%d/%m/%Y", "001/05/2024", False),
        ("%d/%m/%Y", "01/05/2024x", False),
        ("%d.%m.%Y", "01/05/2024", False),
        ("%d-%b-%y", "01-JUN-24", True),
        ("%d %B %Y", "1 sept 2024", False),
        ("%d/%m/%Y %H:%M", "01/05/2024   14:05", True),
        ("%d/%m/%Y %H:%M", "01/05/202414:05", False),
        ("%Y%m%d", "2024105", True),
        ("[%Y] (%m)", "[2024] (05)", True),
    ],
)
def test_a_format_takes_the_texts_that_strptime_takes(form, text, fits):
    """The regular expression that stands in for strptime in other engines takes what DuckDB's own takes."""
    pattern, order = pattern_of(form)
    assert bool(re.search(pattern, text)) is fits
    # Not the process's own connection: a result that is not fetched to its end keeps other tests from using it.
    with duckdb.connect() as database:
        ((read,),) = database.execute("SELECT try_strptime(?, ?)", [text, form]).fetchall()
    assert (read is not None) is fits
    assert order == tuple(re.findall("%[A-Za-z]", form))


def test_every_directive_compiles():
    """Each letter of a format that a mapping may hold can be read in every engine."""
    text = ibis.table({"a": "string"}, name="t")["a"]
    for engine in GRAMMARS:
        for form in (*DIRECTIVES, " ".join(DIRECTIVES)):
            assert "SELECT" in engine.sql(iso_of(text, form).as_table())


# Reaching an engine


def cluster(**changes):
    """A cluster that is not there."""
    given = {"kind": "trino", "url": "trino://nobody@127.0.0.1:1/records", "schema_name": "cordon"}
    return Cluster.model_validate(given | changes)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"url": "trino://nobody:hunter2@127.0.0.1/records"}, "must not hold a password"),
        ({"schema_name": "a; DROP"}, "schema_name"),
        ({"kind": "duckdb"}, "kind"),
        ({"password_env": "A", "password_file": "/b"}, "not from both"),
        ({"timeout_seconds": 0}, "timeout_seconds"),
    ],
)
def test_a_cluster_is_named_without_a_password_and_with_a_limit(changes, words):
    """What a mapping says of an engine is checked when it is read."""
    with pytest.raises(ValueError, match=words):
        cluster(**changes)


def test_nobody_waits_for_an_engine_longer_than_stated():
    """What takes longer is a fault after that time, whatever it does afterwards."""
    start = time.monotonic()
    with pytest.raises(ClusterFault, match=r"did not answer within 0\.2 seconds"):
        _within(0.2, lambda: time.sleep(3))
    assert time.monotonic() - start < 2
    assert _within(5, lambda: 7) == 7


def test_a_fault_is_told_without_a_value_of_a_record():
    """A driver's own message may quote one; its class and condition cannot."""

    def fail():
        raise ValueError("the value 'Smythe' cannot be cast")

    with pytest.raises(ClusterFault, match=r"^ValueError$"):
        _within(5, fail)


def test_an_engine_that_cannot_be_reached_is_a_fault():
    """No driver, no server and no password are said in words, not by a traceback."""
    with pytest.raises(ClusterFault, match=r"driver|connect|Error"):
        Link(cluster()).rows("SELECT 1")
    with pytest.raises(ClusterFault, match=r"CORDON_NO_SUCH"):
        Link(cluster(password_env="CORDON_NO_SUCH")).rows("SELECT 1")


def test_a_label_names_the_table_and_a_node_declines_while_the_engine_is_away(tmp_path):
    """The node opens the snapshot, says what it holds, and declines a query in the words of any fault."""
    path = snapshot_path(tmp_path, "persons", 1)
    path.parent.mkdir()
    place = Place(cluster(password_env="CORDON_NO_SUCH"), "persons_v1_ab", "")
    quality = Quality(
        dataset="persons", version=1, rows_read=0, rows_without_unit=0, rows_over_bound=0, rows_kept=0, columns=()
    )
    bare = mapping(columns={"person": {"source": "ref"}}, deduplicate=[], exclude=[])
    with open_for_load(path, tmp_path) as database:
        write_label(database, "main", declared(bare, person_contract()), quality)
        assert read_place(database) is None
        write_place(database, place)
        assert read_place(database) == place
        database.execute("UPDATE elsewhere SET cluster = ?", [place.cluster.model_dump_json().replace("trino", "old")])
        with pytest.raises(Misconfigured, match="older version"):
            read_place(database)
        database.execute("UPDATE elsewhere SET cluster = ?", [place.cluster.model_dump_json()])
    snapshot = Snapshot(path, person_contract())
    assert snapshot.held.dataset == "persons"
    with pytest.raises(Declined) as caught:
        snapshot.aggregate(plan_of("SELECT COUNT(*) FROM persons"), "kent")
    assert (caught.value.code, str(caught.value)) == ("fault", "this force could not compute its share")
    snapshot.close()


def test_two_nodes_in_one_schema_have_tables_of_different_names():
    """A node drops its own old tables only."""
    assert table_tag(KEYS) != table_tag(Keys(b"\x03" * 32, None))
    assert re.fullmatch("[0-9a-f]{8}", table_tag(KEYS))


def test_a_day_is_read_strictly_in_duckdb_too():
    """Only ISO 8601: other separators, blanks, words and times that there are not, are missing and counted."""
    days = [
        "2024-01-05",
        "2024-01-05T10:00",
        "2024-01-05 23:59:59.1234567+01:00",
        "2024-01-05 10:00:00 +01:00",
        "2024-01-05T10:00Z",
        "2024-05",
    ]
    none = [
        "2024/01/05", "infinity  x", "2024-01-5  T", "-024-01-05", "2024-02-30", "2024-13", "0000-01-01", "2024-01-05T", "2024-01-05Tx",
        "2024-01-05 garbage", "2024-01-05 99:99", "2024-01-05 10:00 Europe/Moscow", "2024-01-05 10", "2024-01-051",
    ]  # fmt: skip
    texts = days + none
    table = ibis.table({"a": "string"}, name="t")
    statement = DUCKDB.sql(table.select(day=iso_day(table["a"])))
    database = duckdb.connect()
    database.execute("CREATE TABLE t (a VARCHAR)")
    database.executemany("INSERT INTO t VALUES (?)", [[text] for text in texts])
    assert [day is not None for (day,) in database.execute(statement).fetchall()] == [True] * len(days) + [False] * len(
        none
    )
