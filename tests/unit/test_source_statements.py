"""What is sent to each kind of database: compiled by the product's own code, without a server."""

import re
from types import SimpleNamespace

import pytest

from cordon.errors import Misconfigured
from node.source import connectors, drivers
from node.source.columntypes import can_be_key, duckdb_type, travels_as_it_is
from node.source.databases import fault
from node.source.model import EMBEDDED, FILES, Kind, Source
from node.source.reading import open_source
from node.source.selects import check_select
from node.source.statements import Origin, Page, layout, select, without_key

HOSTILE = 'a"; DROP TABLE [t]; -- `x'
"""A column's name with every letter that ends a quoted name somewhere."""

BY_TEXT = sorted(set(Kind) - FILES - {Kind.DUCKDB})
QUOTES = {Kind.SQL_SERVER: "[]", Kind.MYSQL: "``", Kind.SPARK: "``"}
PAGED = Page("id", 41, 1000)


def quoted(kind: Kind, name: str) -> str:
    """A name as this kind of database reads it; what closes a name is doubled in it."""
    opening, closing = QUOTES.get(kind, '""')
    return opening + name.replace(closing, 2 * closing) + closing


def without_names(kind: Kind, statement: str) -> str:
    """A statement with every quoted name taken out, as its server's scanner would see it."""
    opening, closing = map(re.escape, QUOTES.get(kind, '""'))
    return re.sub(f"{opening}(?:[^{closing}]|{closing}{closing})*{closing}", "NAME", statement)


@pytest.mark.parametrize("kind", BY_TEXT)
def test_hostile_names_stay_names(kind):
    """A column or table can be called anything, and ends no quote."""
    for page in (None, PAGED):
        statement = select(Origin(kind, table=HOSTILE.replace(".", "")), {HOSTILE: True, "b": False}, page)
        assert quoted(kind, HOSTILE) in statement
        rest = without_names(kind, statement)
        assert "DROP" not in rest
        assert ";" not in rest
        assert "--" not in rest


@pytest.mark.parametrize(
    ("kind", "statement"),
    [
        (Kind.SQLITE, 'SELECT CAST("t0"."day" AS TEXT) AS "c0", "t0"."name" AS "c1" FROM "s"."t" AS "t0"'),
        (Kind.POSTGRESQL, 'SELECT CAST("t0"."day" AS VARCHAR) AS "c0", "t0"."name" AS "c1" FROM "s"."t" AS "t0"'),
        (Kind.SQL_SERVER, "SELECT CAST([t0].[day] AS VARCHAR(max)) AS [c0], [t0].[name] AS [c1] FROM [s].[t] AS [t0]"),
        (Kind.ORACLE, 'SELECT CAST("t0"."day" AS VARCHAR2(4000)) AS "c0", "t0"."name" AS "c1" FROM "s"."t" "t0"'),
        (Kind.MYSQL, "SELECT CAST(`t0`.`day` AS CHAR) AS `c0`, `t0`.`name` AS `c1` FROM `s`.`t` AS `t0`"),
        (Kind.TRINO, 'SELECT CAST("t0"."day" AS VARCHAR) AS "c0", "t0"."name" AS "c1" FROM "s"."t" AS "t0"'),
        (Kind.SPARK, "SELECT CAST(`t0`.`day` AS STRING) AS `c0`, `t0`.`name` AS `c1` FROM `s`.`t` AS `t0`"),
    ],
)
def test_a_table_in_a_schema_is_read_in_each_dialect(kind, statement):
    """Exactly this text; the server's part of it is what cannot be tested here."""
    assert select(Origin(kind, table="s.t"), {"day": True, "name": False}) == statement


@pytest.mark.parametrize(
    ("kind", "limit"),
    [
        (Kind.SQLITE, 'ORDER BY "t0"."id" ASC LIMIT 1000'),
        (Kind.POSTGRESQL, 'ORDER BY "t0"."id" ASC LIMIT 1000'),
        (Kind.SQL_SERVER, "ORDER BY [t0].[id] ASC"),
        (Kind.ORACLE, 'ORDER BY "t0"."id" ASC FETCH FIRST 1000 ROWS ONLY'),
        (Kind.MYSQL, "ORDER BY `t0`.`id` ASC LIMIT 1000"),
        (Kind.TRINO, 'ORDER BY "t0"."id" ASC LIMIT 1000'),
        (Kind.SPARK, "ORDER BY `t0`.`id` ASC LIMIT 1000"),
    ],
)
def test_a_page_is_taken_by_the_key_so_that_an_index_serves_it(kind, limit):
    """No offset, no expression around the key, and no order of nulls but the server's own."""
    statement = select(Origin(kind, table="t"), {"name": False, "id": True}, PAGED)
    assert f"{quoted(kind, 't0')}.{quoted(kind, 'id')} > 41" in statement
    assert statement.endswith(limit)
    assert ("TOP 1000" in statement) == (kind is Kind.SQL_SERVER)
    assert "OFFSET" not in statement
    first = select(Origin(kind, table="t"), {"name": False}, Page("id", None, 1000))
    assert "WHERE" not in first


@pytest.mark.parametrize("kind", BY_TEXT)
def test_what_a_table_is_made_of_and_which_keys_are_null_is_asked_in_each_dialect(kind):
    """No row is asked for the one, and one row for the other."""
    statement = layout(Origin(kind, table="c.s.t"))
    assert statement.startswith("SELECT * FROM " + ".".join(quoted(kind, part) for part in "cst"))
    assert statement.endswith("WHERE 1 = 0")
    assert f"{quoted(kind, 'id')} IS NULL" in without_key(Origin(kind, table="t"), "id")


@pytest.mark.parametrize("kind", BY_TEXT)
def test_a_forces_own_select_goes_in_as_it_was_written(kind):
    r"""Not as a parser understood it: hints, comments, backslashes and all."""
    own = r"SELECT /*+ FULL(p) */ a, '\1;' AS b FROM p JOIN q ON p.x = q.x -- the lot"
    for statement in (
        select(Origin(kind, sql=own + ";\n"), {"a": True}),
        select(Origin(kind, sql=own), {"a": True}, PAGED),
        layout(Origin(kind, sql=own)),
    ):
        assert f"FROM ({own}\n)" in statement
        assert "records_" not in statement


@pytest.mark.parametrize("kind", [*BY_TEXT, Kind.DUCKDB])
def test_a_forces_own_statement_is_one_select_in_its_dialect(kind):
    """Whatever would end it, follow it, or change, lock or make something is refused."""
    for own in (
        "SELECT a FROM t; DELETE FROM t",
        "SELECT * FROM t) x; DELETE FROM t; SELECT * FROM (SELECT * FROM t",
        "WITH d AS (DELETE FROM t RETURNING a) SELECT a FROM d",
        "SELECT a INTO copied FROM t",
        "SELECT a FROM t FOR UPDATE",
        "DELETE FROM t",
        "INSERT INTO t SELECT a FROM t",
        "SELECT a /*! , b */ FROM t",
        "SELECT a FROM t /* /* */ ; DELETE FROM t */ -- */",
        "SELECT a FROM (",
        "VALUES (1)",
        "-- nothing",
        "",
    ):
        with pytest.raises(Misconfigured, match="the `sql` of a source"):
            check_select(own, kind)
    for own in (
        "WITH p AS (SELECT a FROM t) SELECT a FROM p WHERE b = ';' -- all; of it",
        "SELECT a FROM t UNION ALL (SELECT a FROM u) /* both */ ;",
    ):
        check_select(own, kind)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("int4", "BIGINT"), ("bigint", "BIGINT"), ("smallint", "BIGINT"), ("integer", "BIGINT"), ("int", "BIGINT"),
        ("interval", "VARCHAR"), ("int4range", "VARCHAR"), ("float8", "DOUBLE"), ("double", "DOUBLE"), ("bool", "BOOLEAN"),
        ("bit(3)", "VARCHAR"), ("date", "DATE"), ("datetime", "TIMESTAMP"), ("timestamp(6)", "TIMESTAMP"),
        ("timestamptz(3)", "TIMESTAMP WITH TIME ZONE"), ("timestamp(3) with time zone", "TIMESTAMP WITH TIME ZONE"),
        ("numeric(3,5)", "VARCHAR"), ("numeric(5,5)", "DECIMAL(5,5)"), ("numeric(10,2)", "DECIMAL(10,2)"), ("decimal(38, 0)", "DECIMAL(38,0)"), ("numeric(99,2)", "VARCHAR"),
        ("numeric", "VARCHAR"), ("varchar(20)", "VARCHAR"), ("jsonb", "VARCHAR"), ("uuid", "VARCHAR"), ("date[]", "VARCHAR"),
        ("daterange", "VARCHAR"), ("int4[]", "VARCHAR"), ("str", "VARCHAR"), ("any", "VARCHAR"),
    ],
)  # fmt: skip
def test_a_type_in_a_drivers_words_is_one_of_duckdbs(words, kind):
    """What has no like is text."""
    assert duckdb_type(words) == kind


def test_keys_are_whole_numbers_and_only_texts_and_floats_travel_as_they_are():
    """An array of numbers is no number, a decimal without declared digits may be one."""
    assert [w for w in ("int4", "numeric", "decimal(10,0)", "decimal(10,2)", "date", "text", "any") if can_be_key(w)] == [
        "int4", "numeric", "decimal(10,0)", "any",
    ]  # fmt: skip
    assert [w for w in ("text", "varchar(3)", "float8", "date", "jsonb", "numeric") if travels_as_it_is(w)] == [
        "text", "varchar(3)", "float8",
    ]  # fmt: skip


def column(kind: object, precision: int | None = None, scale: int | None = None) -> tuple[object, ...]:
    """A column as DB-API cursors describe it."""
    return ("name", kind, None, None, precision, scale, True)


def test_each_drivers_descriptions_are_understood():
    """By the driver's own constants, as its documentation lists them."""
    oracle = connectors.CONNECTORS[Kind.ORACLE].described
    assert duckdb_type(oracle(column(SimpleNamespace(name="DB_TYPE_NUMBER"), 10, 2))) == "DECIMAL(10,2)"
    assert duckdb_type(oracle(column(SimpleNamespace(name="DB_TYPE_NUMBER"), 0, -127))) == "VARCHAR"
    assert duckdb_type(oracle(column(SimpleNamespace(name="DB_TYPE_DATE")))) == "TIMESTAMP"
    assert duckdb_type(oracle(column(SimpleNamespace(name="DB_TYPE_CLOB")))) == "VARCHAR"
    mysql = connectors.CONNECTORS[Kind.MYSQL].described
    assert [duckdb_type(mysql(column(code, 10, 2))) for code in (3, 8, 5, 246, 10, 12, 253, 245)] == [
        "BIGINT", "HUGEINT", "DOUBLE", "DECIMAL(10,2)", "DATE", "TIMESTAMP", "VARCHAR", "VARCHAR",
    ]  # fmt: skip
    server = connectors.CONNECTORS[Kind.SQL_SERVER].described
    assert [duckdb_type(server(column(kind, 10, 2))) for kind in (int, float, str, bool)] == [
        "BIGINT", "DOUBLE", "VARCHAR", "BOOLEAN",
    ]  # fmt: skip
    trino = connectors.CONNECTORS[Kind.TRINO].described
    assert duckdb_type(trino(column("timestamp(3) with time zone"))) == "TIMESTAMP WITH TIME ZONE"


def test_every_kind_of_server_has_its_read_only_session():
    """By a statement, a parameter of the connection, or, where the kind has neither, a warning."""
    assert set(connectors.CONNECTORS) == set(BY_TEXT)
    for kind, engine in connectors.CONNECTORS.items():
        said = " ".join((*engine.prepare, *engine.begin)).upper()
        assert (
            "READ ONLY" in said or "READ_ONLY" in said or kind in {Kind.SQLITE, Kind.SQL_SERVER, Kind.TRINO, Kind.SPARK}
        )
        if kind in {Kind.TRINO, Kind.SPARK}:
            assert engine.can_write is None, "so that it is said that nobody knows"


def test_sql_server_is_told_in_its_connection_that_nothing_will_be_written():
    """Values from the URL and the password end no part of the text."""
    said = []
    module = SimpleNamespace(connect=lambda text, **options: said.append((text, options)))
    source = Source(kind="sql_server", url="sql_server://reader@db.example.org/records?Encrypt=yes", table="t")
    connectors.CONNECTORS[Kind.SQL_SERVER].connect(module, drivers.address(source), "a;UID=sa}b")
    text, options = said[0]
    assert "ApplicationIntent=ReadOnly" in text
    assert "SERVER=db.example.org,1433;DATABASE=records" in text
    assert "PWD={a;UID=sa}}b}" in text
    assert "Encrypt=yes" in text
    assert options["readonly"] is True


@pytest.mark.parametrize("kind", sorted(set(Kind) - FILES - EMBEDDED - {Kind.POSTGRESQL}))
def test_a_driver_that_is_not_installed_is_named_with_the_extra_that_has_it(kind, tmp_path, monkeypatch):
    """Whether or not somebody has it here."""
    monkeypatch.setattr(connectors.importlib, "import_module", _without_drivers)
    source = Source(kind=kind, url=f"{kind}://reader@127.0.0.1/x", table="t")
    with pytest.raises(Misconfigured, match="cannot be loaded") as caught:
        open_source(source, tmp_path)
    assert caught.value.hint == f"pip install 'cordon[{kind}]'"


def _without_drivers(name: str) -> object:
    raise ImportError(name)


def test_a_drivers_error_keeps_its_class_and_code_and_no_text():
    """Its text may quote a value."""

    class UniqueViolation(Exception):
        sqlstate = "23505"

    assert fault(UniqueViolation("Smythe exists")) == "unique violation (23505)"
    assert fault(ValueError("Smythe")) == "value error"
    assert fault(ValueError("42S02", "Smythe")) == "value error (42S02)"
    assert fault(ValueError(1146, "Smythe")) == "value error (1146)"
    assert fault(ValueError(SimpleNamespace(full_code="ORA-00942", message="Smythe"))) == "value error (ORA-00942)"
