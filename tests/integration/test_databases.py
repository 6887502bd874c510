"""Sources against a real PostgreSQL server, started for these tests.

Servers of SQL Server, Oracle, MySQL and Trino cannot run here; tests/unit/test_source_statements.py holds what is sent
to them.
"""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from decimal import Decimal

import duckdb
import psycopg
import pytest
from postgresql import BOSS, BOSS_PASSWORD, Server, server

from cordon.errors import Misconfigured
from node.source import connectors
from node.source.model import Source
from node.source.reading import Opened, open_source

pytestmark = pytest.mark.xdist_group("postgresql")

READER_PASSWORD = "only-to-read%:/@ ü"
SECRET = "Smythe-Featherstonehaugh"
ROWS = 30_000

SCHEMA = (
    "CREATE SCHEMA records",
    """
    CREATE TYPE records.mood AS ENUM ('calm', 'cross');
    CREATE TABLE records.kinds (
        "Mixed Case" text, small smallint, whole integer, large bigint, exact numeric(12, 3), any_number numeric,
        real4 real, real8 double precision, yes boolean, day date, at timestamp, at_zone timestamptz, fixed char(4),
        short varchar(9), id uuid, doc jsonb, raw bytea, mood records.mood, list integer[], span interval, place inet
    );
    INSERT INTO records.kinds VALUES (
        'Zoë', -1, 2147483647, 9223372036854775807, 123456789.125, 12345678901234567890123.5,
        0.1, 0.1, true, '2024-05-31', '2024-05-31 14:05:06.5', '2024-05-31 14:05:06+02', 'ab', 'short',
        '01234567-89ab-cdef-0123-456789abcdef', '{"a": 1}', '\\xdeadbeef', 'cross', '{1,2}', '1 day', '10.0.0.1'
    );
    INSERT INTO records.kinds (any_number, real4, real8, yes, day, at, at_zone)
        VALUES ('NaN', 'NaN', 'Infinity', false, '0044-03-15 BC', 'infinity', '-infinity');
    """,
    "INSERT INTO records.kinds DEFAULT VALUES",
    "CREATE TABLE records.person (id bigint PRIMARY KEY, name text)",
    "CREATE TABLE records.event (no bigint PRIMARY KEY, person bigint, day date, note text)",
    f"INSERT INTO records.person SELECT n, 'name ' || n FROM generate_series(1, {ROWS // 10}) n",
    f"""INSERT INTO records.event SELECT n * 3, n % {ROWS // 10} + 1, date '2024-01-01' + n % 365, 'note ' || n
        FROM generate_series(1, {ROWS}) n""",
    "CREATE VIEW records.known AS SELECT e.no, p.name, e.day FROM records.event e JOIN records.person p ON p.id = e.person",
    "CREATE TABLE records.faults (no bigint, amount text)",
    f"INSERT INTO records.faults SELECT n, CASE WHEN n = {ROWS} THEN '{SECRET}' ELSE n::text END FROM generate_series(1, {ROWS}) n",
    "CREATE TABLE records.keys (no bigint, part numeric, word text)",
    "INSERT INTO records.keys VALUES (1, 1, 'a'), (2, 2.5, 'b'), (2, 3, 'c'), (NULL, 4, 'd')",
    "CREATE TABLE records.hidden (no bigint)",
    f"CREATE ROLE reader LOGIN PASSWORD '{READER_PASSWORD}'",
    f"CREATE ROLE writer LOGIN PASSWORD '{READER_PASSWORD}'",
    "GRANT USAGE ON SCHEMA records TO reader, writer",
    "GRANT SELECT ON ALL TABLES IN SCHEMA records TO reader, writer",
    "REVOKE SELECT ON records.hidden FROM reader",
    "GRANT UPDATE ON records.event TO writer",
)  # fmt: skip


@pytest.fixture(scope="module")
def postgres() -> Iterator[Server]:
    """The server with a small records system on it."""
    with server() as started:
        started.run(*SCHEMA)
        yield started


@pytest.fixture(autouse=True)
def _passwords(monkeypatch):
    monkeypatch.setenv("READER_PASSWORD", READER_PASSWORD)
    monkeypatch.setenv("BOSS_PASSWORD", BOSS_PASSWORD)


def source(postgres: Server, user: str = "reader", password_env: str = "READER_PASSWORD", **given) -> Source:
    url = f"postgresql://{user}@127.0.0.1:{postgres.port}/postgres"
    if "sql" in given:
        given["rows_depend_on_one_unit"] = True
    return Source(kind="postgresql", url=url, password_env=password_env, **given)


def rows(opened: Opened, *columns: str, done=()) -> list[tuple[object, ...]]:
    found = []
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'UTC'")
        for chunk in opened.chunks(database, columns or list(opened.columns), done=done):
            found += database.execute(f"FROM {chunk.relation}").fetchall()
    return found


def test_types_are_kept_or_become_exact_text(postgres, tmp_path):
    """Every type a records system uses, its ends, and what DuckDB has no like for."""
    with open_source(source(postgres, table="records.kinds"), tmp_path) as opened:
        assert opened.columns == {
            "Mixed Case": "VARCHAR", "small": "BIGINT", "whole": "BIGINT", "large": "BIGINT", "exact": "DECIMAL(12,3)",
            "any_number": "VARCHAR", "real4": "DOUBLE", "real8": "DOUBLE", "yes": "BOOLEAN", "day": "DATE",
            "at": "TIMESTAMP", "at_zone": "TIMESTAMP WITH TIME ZONE", "fixed": "VARCHAR", "short": "VARCHAR",
            "id": "VARCHAR", "doc": "VARCHAR", "raw": "VARCHAR", "mood": "VARCHAR", "list": "VARCHAR", "span": "VARCHAR",
            "place": "VARCHAR",
        }  # fmt: skip
        with duckdb.connect() as database:
            database.execute("SET TimeZone = 'UTC'")
            (chunk,) = opened.chunks(database, list(opened.columns))
            described = {}
            for chunk in opened.chunks(database, list(opened.columns)):
                described = {row[0]: row[1] for row in database.execute(f"DESCRIBE FROM {chunk.relation}").fetchall()}
                as_text = database.execute(f"SELECT COLUMNS(*)::VARCHAR FROM {chunk.relation}").fetchall()
            assert described == opened.columns
    assert as_text[0] == (
        "Zoë", "-1", "2147483647", "9223372036854775807", "123456789.125", "12345678901234567890123.5", "0.1", "0.1",
        "true", "2024-05-31", "2024-05-31 14:05:06.5", "2024-05-31 12:05:06+00", "ab  ", "short",
        "01234567-89ab-cdef-0123-456789abcdef", '{"a": 1}', "\\xdeadbeef", "cross", "{1,2}", "1 day", "10.0.0.1/32",
    )  # fmt: skip
    assert as_text[2] == (None,) * 21
    assert as_text[1][5:12] == ("NaN", "nan", "inf", "false", None, "infinity", "-infinity")


def test_tables_views_and_selects_are_read_by_their_names(postgres, tmp_path):
    """A view over two tables and a SELECT over them are the same records."""
    with open_source(source(postgres, table="records.known"), tmp_path) as opened:
        by_view = rows(opened, "name", "day")
    own = "WITH e AS (SELECT * FROM records.event) SELECT name, day FROM e JOIN records.person p ON p.id = e.person -- all"
    with open_source(source(postgres, sql=own), tmp_path) as opened:
        assert opened.columns == {"name": "VARCHAR", "day": "DATE"}
        assert sorted(rows(opened, "name", "day")) == sorted(by_view)
    assert len(by_view) == ROWS


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"table": "event"}, 'relation "event" does not exist'),
        ({"table": "records.none"}, 'relation "records.none" does not exist'),
        ({"table": "records.hidden"}, "permission denied for table hidden"),
        ({"sql": "SELECT nam FROM records.person"}, 'column "nam" does not exist'),
        ({"sql": "SELECT id, id FROM records.person"}, "has two columns 'id'"),
        ({"sql": "DELETE FROM records.person RETURNING id"}, "is not exactly one SELECT"),
        ({"sql": "SELECT 1) x; DELETE FROM records.person; SELECT (1"}, "cannot be read as SQL of postgresql"),
    ],
)
def test_what_cannot_be_read_is_said_when_the_source_is_opened(postgres, tmp_path, given, words):
    """In the server's words, which are about names: no record has been read yet."""
    with pytest.raises(Misconfigured) as caught:
        open_source(source(postgres, **given), tmp_path)
    assert words in str(caught.value)
    with postgres.connected() as boss:
        assert boss.execute("SELECT count(*) FROM records.person").fetchone() == (ROWS // 10,)


def test_a_missing_column_is_named_before_anything_is_read(postgres, tmp_path):
    """With the nearest name that there is."""
    with (
        open_source(source(postgres, table="records.person"), tmp_path) as opened,
        pytest.raises(Misconfigured, match=r"\(records.person\) has no column 'Name'") as caught,
    ):
        opened.chunks(duckdb.connect(), ["Name"])
    assert "the nearest name there is 'name'" in caught.value.hint


def running(postgres: Server) -> list[str]:
    """What readers' sessions asked last, as the server sees it."""
    with postgres.connected() as boss:
        return [row[0] for row in boss.execute("SELECT query FROM pg_stat_activity WHERE usename = 'reader'")]


def test_rows_arrive_in_batches_and_are_not_held(postgres, tmp_path):
    """Memory is that of a batch, not of the table: six times the rows take no more, and the server holds the rest."""
    peaks = {}
    for limit in (2000, 12_000):
        own = f"SELECT no, repeat(note, 30) AS note FROM records.event WHERE no <= {limit * 3}"
        with open_source(source(postgres, sql=own), tmp_path, batch=1000) as opened, duckdb.connect() as database:
            tracemalloc.start()
            counted = []
            for chunk in opened.chunks(database, ["no", "note"]):
                counted += database.execute(f"SELECT count(*) FROM {chunk.relation}").fetchall()
                assert running(postgres) == ['FETCH FORWARD 1000 FROM "cordon_records"']
            peaks[limit] = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        assert counted == [(1000,)] * (limit // 1000)
        assert chunk.words == f"{limit:,} rows"
    assert peaks[12_000] < 1.5 * peaks[2000]


def test_a_load_that_broke_off_goes_on_after_its_last_key(postgres, tmp_path):
    """Pages by the key together are the whole table, each row once."""
    given = source(postgres, table="records.event", resume_by="no")
    with open_source(given, tmp_path, batch=7000) as opened:
        names = [chunk.name for chunk in opened.chunks(duckdb.connect(), ["no"])]
        assert names == ["21000", "42000", "63000", "84000", "90000"]
        first = rows(opened, "no", "day")
    with open_source(given, tmp_path, batch=7000) as again:
        assert again.continues(names[:2])
        rest = rows(again, "no", "day", done=names[:2])
    assert first[14_000:] == rest
    assert [row[0] for row in first] == [3 * n for n in range(1, ROWS + 1)]


@pytest.mark.parametrize(
    ("key", "words"),
    [("no", "is null in some rows"), ("part", "does not hold whole numbers"), ("word", "does not hold whole numbers")],
)
def test_a_key_that_is_none_is_refused(postgres, tmp_path, key, words):
    """Before rows are lost to it."""
    with (
        open_source(source(postgres, table="records.keys", resume_by=key), tmp_path) as opened,
        pytest.raises(Misconfigured, match=words),
    ):
        list(opened.chunks(duckdb.connect(), ["word"]))


def test_a_key_that_repeats_is_refused_also_where_pages_meet(postgres, tmp_path):
    """The next page begins after the key, and would leave the second row out."""
    own = "SELECT no, word FROM records.keys WHERE no IS NOT NULL"
    with (
        open_source(source(postgres, sql=own, resume_by="no"), tmp_path, batch=2) as opened,
        pytest.raises(Misconfigured, match="is not unique"),
    ):
        list(opened.chunks(duckdb.connect(), ["word"]))


def test_everything_read_is_of_one_moment(postgres, tmp_path):
    """What is written to the source during a load is not in it."""
    postgres.run(
        "CREATE TABLE records.moving AS SELECT n AS no FROM generate_series(1, 10) n",
        "GRANT SELECT ON records.moving TO reader",
    )
    for key in (None, "no"):
        with open_source(source(postgres, table="records.moving", resume_by=key), tmp_path, batch=3) as opened:
            chunks = opened.chunks(duckdb.connect(), ["no"])
            next(chunks)
            postgres.run("INSERT INTO records.moving SELECT max(no) + 1 FROM records.moving")
            last = [chunk.words for chunk in chunks][-1]
        assert last == ("10 rows" if key is None else "11 rows"), "11 since the first load's row was written"


def test_the_session_can_only_read_and_says_so_of_an_account_that_could_write(postgres, tmp_path):
    """A writer's session refuses to write; that the account could, its owners are told."""
    with open_source(source(postgres, table="records.event"), tmp_path) as opened:
        assert opened.warnings == ()
    for user, secret in (("writer", "READER_PASSWORD"), (BOSS, "BOSS_PASSWORD")):
        with open_source(source(postgres, user, secret, table="records.event"), tmp_path) as opened:
            (warning,) = opened.warnings
            assert "the account can write; ask for one that can only read" in warning
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                opened._connection.execute("UPDATE records.event SET note = 'changed'")
            next(chunks := opened.chunks(duckdb.connect(), ["no"]))
            with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
                opened._connection.execute("UPDATE records.event SET note = 'changed'")
            with pytest.raises(Misconfigured, match="broke off"):
                list(chunks)
    with postgres.connected("writer", READER_PASSWORD) as writer:
        assert writer.execute("UPDATE records.event SET note = note WHERE no = 3").rowcount == 1, "it could otherwise"


def test_a_statement_that_got_past_the_parser_still_cannot_leave_the_transaction(postgres, tmp_path):
    """Of an account that could write: the server itself takes one statement at a time, and reads only."""
    statements = (
        "SELECT 1; COMMIT; BEGIN READ WRITE; DELETE FROM records.person; COMMIT; SELECT 1",
        "SELECT set_config('transaction_read_only', 'off', true)",
        "WITH gone AS (DELETE FROM records.person RETURNING id) SELECT * FROM gone",
    )
    with open_source(source(postgres, BOSS, "BOSS_PASSWORD", table="records.event"), tmp_path) as opened:
        for statement in statements:
            with (
                pytest.raises(psycopg.Error) as caught,
                connectors.transaction(opened._connector, opened._connection, psycopg.Error),
            ):
                opened._fetched(statement)
            assert caught.value.sqlstate in {"42601", "25001", "0A000"}, "as a statement, not for want of a right"
    own = "SELECT person.* FROM records.person, (SELECT set_config('default_transaction_read_only', 'off', false)) AS x"
    given = source(postgres, BOSS, "BOSS_PASSWORD", sql=own)
    with open_source(given, tmp_path) as opened:
        next(opened.chunks(duckdb.connect(), ["id"]))
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            opened._connection.execute("DELETE FROM records.person")
    with postgres.connected() as boss:
        assert boss.execute("SELECT count(*) FROM records.person").fetchone() == (ROWS // 10,)


def test_decimals_that_duckdb_has_none_for_are_missing_or_text(postgres, tmp_path):
    """One NaN keeps nobody from loading; more digits behind the point than digits at all is a type too."""
    postgres.run(
        "CREATE TABLE records.odd (paid numeric(10, 2), small numeric(3, 5))",
        "INSERT INTO records.odd VALUES ('NaN', 0.00123), (1.5, NULL)",
        "GRANT SELECT ON records.odd TO reader",
    )
    with open_source(source(postgres, table="records.odd"), tmp_path) as opened:
        assert opened.columns == {"paid": "DECIMAL(10,2)", "small": "VARCHAR"}
        assert rows(opened, "paid", "small") == [(None, "0.00123"), (Decimal("1.50"), None)]
        assert opened.longest_break_seconds == 1800


def test_an_account_that_may_write_one_column_can_write(postgres, tmp_path):
    """A grant on a column is none on the table."""
    postgres.run(
        f"CREATE ROLE part_writer LOGIN PASSWORD '{READER_PASSWORD}'",
        "GRANT USAGE ON SCHEMA records TO part_writer",
        "GRANT SELECT, UPDATE (note) ON records.event TO part_writer",
    )
    with open_source(source(postgres, "part_writer", table="records.event"), tmp_path) as opened:
        assert "the account can write" in opened.warnings[0]


def test_a_wrong_password_is_said_without_any(postgres, tmp_path, monkeypatch):
    """Neither the one that was tried nor the right one."""
    monkeypatch.setenv("READER_PASSWORD", "another password")
    with pytest.raises(Misconfigured, match='password authentication failed for user "reader"') as caught:
        open_source(source(postgres, table="records.event"), tmp_path)
    said = f"{caught.value} {caught.value.hint} {caught.value!r}"
    assert "another password" not in said
    assert READER_PASSWORD not in said


def test_a_fault_while_reading_is_told_without_the_value_that_caused_it(postgres, tmp_path):
    """PostgreSQL quotes it."""
    own = "SELECT no, amount::bigint AS amount FROM records.faults"
    with (
        open_source(source(postgres, sql=own), tmp_path, batch=1000) as opened,
        pytest.raises(Misconfigured) as caught,
    ):
        list(opened.chunks(duckdb.connect(), ["no", "amount"]))
    assert "broke off after 29,000 rows: invalid text representation (22P02)" in str(caught.value)
    assert SECRET not in f"{caught.value} {caught.value.hint}"
    with postgres.connected() as boss, pytest.raises(psycopg.Error, match=SECRET):
        boss.execute(own).fetchall()


def test_a_server_that_dies_during_a_load_is_said_with_how_far_it_came(postgres, tmp_path):
    """The session is ended as an administrator or a crash would."""
    with open_source(source(postgres, table="records.event"), tmp_path, batch=1000) as opened:
        chunks = opened.chunks(duckdb.connect(), ["note"])
        next(chunks)
        postgres.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'reader'")
        with pytest.raises(Misconfigured, match=r"\(records.event\) broke off after 1,000 rows: admin shutdown"):
            list(chunks)


def test_a_whole_server_that_is_killed_and_a_server_that_is_gone(tmp_path):
    """The one breaks off, the other cannot be connected to; neither leaves a traceback's worth of driver behind."""
    with server() as own:
        own.run("CREATE TABLE t AS SELECT n AS no FROM generate_series(1, 5000) n")
        given = source(own, BOSS, "BOSS_PASSWORD", table="t", resume_by="no")
        with open_source(given, tmp_path, batch=1000) as opened:
            chunks = opened.chunks(duckdb.connect(), ["no"])
            next(chunks)
            own.process.kill()
            own.process.wait(10)
            with pytest.raises(Misconfigured, match=r"\(t\) broke off after 1,000 rows: "):
                list(chunks)
        with pytest.raises(Misconfigured, match=r"cannot connect to .* refused"):
            open_source(given, tmp_path)


@pytest.mark.slow  # Spark takes half a minute to start
@pytest.mark.timeout(300)
@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # py4j leaves its sockets to the collector
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_spark_is_read_by_the_same_path(tmp_path):
    """In local mode, where the extra is installed: types, batches, a key, and what is not there."""
    pytest.importorskip("pyspark", reason="the extra `spark` is not installed")
    path = tmp_path / "records.parquet"
    duckdb.sql("""
        SELECT range AS id, DATE '2024-05-31' AS day, TIMESTAMPTZ '2024-05-31 12:00+00' AS at,
               1.5::DECIMAL(6, 2) AS paid, [1, 2] AS list, 'Zoë' AS name FROM range(5)
    """).write_parquet(str(path))
    given = Source(
        kind="spark",
        url="local://here?spark.ui.enabled=false",
        sql=f"SELECT * FROM parquet.`{path}`",
        rows_depend_on_one_unit=True,
    )
    with open_source(given, tmp_path, batch=2) as opened:
        assert opened.columns == {
            "id": "BIGINT", "day": "DATE", "at": "TIMESTAMP", "paid": "DECIMAL(6,2)", "list": "VARCHAR", "name": "VARCHAR",
        }  # fmt: skip
        assert "could not be found out" in opened.warnings[0]
        found = rows(opened, *opened.columns)
        assert [tuple(map(str, row)) for row in found] == [
            (str(n), "2024-05-31", "2024-05-31 12:00:00", "1.50", "[1, 2]", "Zoë") for n in range(5)
        ]
        with open_source(given.model_copy(update={"resume_by": "id"}), tmp_path, batch=2) as paged:
            assert [chunk.name for chunk in paged.chunks(duckdb.connect(), ["name"])] == ["1", "3", "4"]
        with pytest.raises(Misconfigured, match="cannot be found"):
            open_source(given.model_copy(update={"sql": "SELECT * FROM nowhere"}), tmp_path)
