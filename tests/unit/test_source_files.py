"""CSV, Parquet and DuckDB files as sources: what is read, and what is refused in which words."""

import gzip
import os
import shutil
import sqlite3
import subprocess
from functools import cache, partial
from pathlib import Path

import duckdb
import pytest

from cordon.errors import Misconfigured
from node.source.model import Source
from node.source.reading import open_source, unreadable

SECRET = "Smythe-Featherstonehaugh"
packed = partial(gzip.compress, mtime=0)
"""The same bytes at any time, for they become the names of tests."""

PLAIN = b"id,name\n1,Ann\n2,Bob\n"


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A folder for temporary files, empty again after each reading."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    return folder


@cache
def engine() -> duckdb.DuckDBPyConnection:
    """One for all tests: making one takes longer than most of them."""
    return duckdb.connect()


def read(source: Source, scratch: Path, *columns: str, done=()) -> list[tuple[object, ...]]:
    """All rows of these columns, read as a loader reads them."""
    rows, database = [], engine()
    with open_source(source, scratch) as opened:
        for chunk in opened.chunks(database, columns or list(opened.columns), done=done):
            try:
                rows += database.execute(f"FROM {chunk.relation}").fetchall()
            except duckdb.Error as error:
                raise unreadable(chunk, error) from None
        assert not database.execute("SELECT * FROM duckdb_tables()").fetchall()
        assert not [row for row in database.execute("SHOW DATABASES").fetchall() if row[0] != "memory"]
    assert not list(scratch.iterdir()), "temporary files are gone when they have been read"
    return rows


def refusal(source: Source, scratch: Path, *columns: str) -> str:
    """The message and hint with which a source is refused; they never hold the secret."""
    with pytest.raises(Misconfigured) as caught:
        read(source, scratch, *columns)
    words = f"{caught.value} ({caught.value.hint})"
    assert SECRET not in words
    assert caught.value.__cause__ is None or SECRET not in str(caught.value.__cause__)
    return words


def written(folder: Path, name: str, content: bytes) -> Path:
    path = folder / name
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("name", "content", "encoding"),
    [
        ("plain.csv", PLAIN, "utf-8"),
        ("crlf.csv", PLAIN.replace(b"\n", b"\r\n"), "utf-8"),
        ("cr.csv", PLAIN.replace(b"\n", b"\r"), "utf-8"),
        ("mixed.csv", b"id,name\r\n1,Ann\n2,Bob\r\n", "utf-8"),
        ("mixed_otherwise.csv", b"id,name\n1,Ann\r\n2,Bob", "utf-8"),
        ("bom.csv", b"\xef\xbb\xbf" + PLAIN, "utf-8"),
        ("bom_mixed.csv", b"\xef\xbb\xbf" + b"id,name\r\n1,Ann\n2,Bob\n", "utf-8"),
        ("gzip.csv.gz", packed(PLAIN), "utf-8"),
        ("two_members.csv.gz", packed(PLAIN[:10]) + packed(PLAIN[10:]), "utf-8"),
        ("gzip_mixed.csv.gz", packed(b"id,name\r\n1,Ann\n2,Bob\r\n"), "utf-8"),
        ("utf16.csv", PLAIN.decode().encode("utf-16"), "utf-16"),
        ("utf16be.csv.gz", packed(PLAIN.decode().encode("utf-16-be")), "utf-16-be"),
        ("blank_line.csv", b"id,name\n1,Ann\n\n2,Bob\n\n", "utf-8"),
        ("quotes.csv", b'"id","name"\n"1","Ann"\n"2","Bob"\n', "utf-8"),
        ("dos.csv", PLAIN.decode().encode("cp850"), "CP850"),
        ("[1]*?.csv", PLAIN, "utf-8"),
        ("it's.csv", PLAIN, "utf-8"),
    ],
    ids=lambda part: part if isinstance(part, str) else "",
)
def test_the_same_records_come_out_of_every_form_of_text(tmp_path, scratch, name, content, encoding):
    """Line ends, byte order marks, compression, encodings and names of files make no difference."""
    source = Source(path=written(tmp_path, name, content), encoding=encoding, kind="csv")
    assert read(source, scratch) == [("1", "Ann"), ("2", "Bob")]


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1", "windows-1252", "utf-16", "iso-8859-15", "utf-8-sig"])
@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_letters_beyond_ascii_come_out_of_every_encoding(tmp_path, scratch, encoding, suffix):
    """Names are what they were, also where DuckDB cannot read their encoding itself."""
    content = "id,nom\n1,Zoë Müller\n".encode(encoding)
    path = written(tmp_path, f"a{suffix}", packed(content) if suffix.endswith("gz") else content)
    assert read(Source(path=path, encoding=encoding), scratch) == [("1", "Zoë Müller")]


def test_quoted_values_keep_delimiters_quotes_and_line_breaks(tmp_path, scratch):
    """RFC 4180; an empty value is missing, quoted or not."""
    content = b'id,note\n1,"a,b ""c""\nd"\n2,""\n3,\n'
    rows = read(Source(path=written(tmp_path, "a.csv", content)), scratch)
    assert rows == [("1", 'a,b "c"\nd'), ("2", None), ("3", None)]


def test_another_delimiter_and_columns_in_the_order_that_was_asked(tmp_path, scratch):
    """Only columns that were named are read."""
    path = written(tmp_path, "a.txt", b"a;b;c\n1;2;3\n")
    assert read(Source(path=path, delimiter=";"), scratch, "c", "a") == [("3", "1")]


def test_zstandard_is_read(tmp_path, scratch):
    """A .zst file as DuckDB writes it, with a header that Python cannot see."""
    path = tmp_path / "a.csv.zst"
    duckdb.sql("SELECT 1 AS id, 'Ann' AS name").write_csv(str(path), compression="zstd")
    assert read(Source(path=path), scratch) == [("1", "Ann")]


def test_a_zstandard_file_that_is_cut_off_anywhere_is_refused(tmp_path, scratch):
    """DuckDB would read it as if it ended there."""
    path = tmp_path / "a.csv.zst"
    duckdb.sql("SELECT range AS id, hash(range) AS name FROM range(30000)").write_csv(str(path), compression="zstd")
    content = path.read_bytes()
    assert len(read(Source(path=path), scratch)) == 30_000
    assert len(read(Source(path=written(tmp_path, "two.csv.zst", content * 2)), scratch)) == 60_001
    for length in (0, 1, 4, 5, 9, 1000, len(content) // 2, len(content) - 1):
        cut = written(tmp_path, "cut.csv.zst", content[:length])
        assert "not compressed with Zstandard, or cut off" in refusal(Source(path=cut), scratch)
    plain = written(tmp_path, "plain.csv.zst", PLAIN)
    assert "not compressed with Zstandard" in refusal(Source(path=plain), scratch)
    half = written(tmp_path, "half.csv.zst", content[: len(content) // 2])
    by_duckdb = duckdb.sql(f"FROM read_csv('{half}', all_varchar=true, header=true, null_padding=true)").fetchall()
    assert 0 < len(by_duckdb) < 30_000, "there is something to defend against"
    nul = tmp_path / "nul.csv.zst"
    duckdb.sql(f"SELECT 1 AS id, '{SECRET}' || chr(0) AS name").write_csv(str(nul), compression="zstd")
    assert "nul.csv.zst: a NUL character" in refusal(Source(path=nul), scratch)
    assert "only UTF-8 and Latin-1 can be read" in refusal(Source(path=nul, encoding="cp1252"), scratch)


def test_a_folder_and_a_pattern_are_read_in_the_order_of_names_whatever_the_order_of_columns(tmp_path, scratch):
    """Files of one layout are one source; other files in a folder are left alone."""
    folder = tmp_path / "records"
    (folder / "2024").mkdir(parents=True)
    written(folder, "b.csv", b"name,id\nBob,2\n")
    written(folder, "a.csv.gz", packed(b"id,name\n1,Ann\n"))
    written(folder, "c.txt", b"id,name\n")
    written(folder, "README.md", b"not records")
    written(folder, ".hidden.csv", b"not records")
    written(folder / "2024", "d.csv", b"id,name\n4,Dan\n")
    assert read(Source(path=folder, kind="csv"), scratch) == [("1", "Ann"), ("2", "Bob")]
    assert read(Source(path=folder / "*" / "*.csv"), scratch) == [("4", "Dan")]
    with engine().cursor() as database, open_source(Source(path=folder), scratch) as opened:
        said = [chunk.words for chunk in opened.chunks(database, ["id"])]
    assert said == ["records/a.csv.gz (1 of 3)", "records/b.csv (2 of 3)", "records/c.txt (3 of 3)"]


def test_chunks_that_are_done_are_left_out_until_a_file_changes(tmp_path, scratch):
    """A load that broke off goes on with the next file, unless what it read is no longer what lies there."""
    written(tmp_path, "a.csv", b"id\n1\n")
    written(tmp_path, "b.csv", b"id\n2\n")
    source = Source(path=tmp_path / "*.csv")
    with engine().cursor() as database, open_source(source, scratch) as opened:
        done = {next(opened.chunks(database, ["id"])).name}
        assert opened.continues(done)
    assert read(source, scratch, "id", done=done) == [("2",)]
    written(tmp_path, "a.csv", b"id\n11\n")
    with open_source(source, scratch) as opened:
        assert not opened.continues(done)


def test_a_file_with_a_header_alone_has_no_rows(tmp_path, scratch):
    """A month without records is no fault."""
    assert read(Source(path=written(tmp_path, "a.csv", b"id,name\n")), scratch) == []
    assert read(Source(path=written(tmp_path, "b.csv", b"id,name")), scratch) == []


BIG = b"id,name\n" + b"".join(b"%d,%s\n" % (n, SECRET.encode()) for n in range(50_000))


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("few.csv", b"id,name,x\n1,2,3\n4,%s\n7,8,9\n", "few.csv, line 3: 2 values where the header has 3"),
        ("many.csv", b"id,name\n1,2\n4,%s,5\n", "many.csv, line 3: 3 values where the header has 2"),
        ("half.csv", b"id,name,x\n1,2,3\n4,%s", "half.csv, line 3: 2 values where the header has 3"),
        ("quote.csv", b'id,name\n1,2\n4,"%s\n7,8\n', "quote.csv, line 3: a quote is not closed"),
        ("inside.csv", b'id,name\n4,"%s"x\n7,8\n', "inside.csv, line 2: a quote is not closed, or stands inside"),
        ("nul.csv", b"id,name\n1,2\n4,%s\0\n", "nul.csv, line 3: a NUL character"),
        ("byte.csv", b"id,name\n1,2\n4,%s\xff\n", "byte.csv, line 3: bytes that are not of the encoding"),
        ("mixed_byte.csv", b"id,name\r\n1,2\n4,%s\xff\n", "mixed_byte.csv, line 3: a byte that is not of the encoding"),
        ("empty.csv", b"", "empty.csv is empty"),
        ("spaces.csv", b" \n \n", "spaces.csv is empty"),
        ("empty.csv.gz", packed(b""), "empty.csv.gz is empty"),
        ("cut.csv.gz", packed(BIG)[:-2000], "cut.csv.gz: the compressed file is cut off"),
        ("tail.csv.gz", packed(BIG)[:-4], "tail.csv.gz: the compressed file is cut off"),
        (
            "flipped.csv.gz",
            packed(BIG)[:-8] + b"12345678",
            "flipped.csv.gz: not compressed with gzip, or damaged",
        ),
        ("plain.csv.gz", b"id,name\n1,%s\n", "plain.csv.gz: not compressed with gzip"),
        ("twice.csv", b"id,id\n1,%s\n", "twice.csv: columns 1 and 2 of its first line have the same name"),
    ],
    ids=lambda part: part if isinstance(part, str) and " " not in part else "",
)
def test_a_damaged_file_is_refused_by_name_line_and_kind_and_never_by_a_value(tmp_path, scratch, name, content, words):
    """What DuckDB and Python say of it would quote the record."""
    if (b"%s" in content and not name.endswith("gz")) or name.startswith("plain"):
        content = content.replace(b"%s", SECRET.encode())
    assert words in refusal(Source(path=written(tmp_path, name, content)), scratch)


def test_the_secret_would_stand_in_what_duckdb_says(tmp_path):
    """The defence above has something to defend against."""
    path = written(tmp_path, "few.csv", f"id,name,x\n1,2,3\n4,{SECRET}\n".encode())
    with pytest.raises(duckdb.Error, match=SECRET):
        duckdb.sql(
            f"FROM read_csv('{path}', auto_detect=false, header=true, columns={{'a': 'VARCHAR', 'b': 'VARCHAR', 'c': 'VARCHAR'}})"
        ).fetchall()


def test_a_wrong_encoding_is_told_by_the_line(tmp_path, scratch):
    """Also far into the file, in a stream."""
    content = ("id,name\n" + "1,Zoë\n" * 400_000).encode("windows-1252") + b"2,\x81\n"
    path = written(tmp_path, "a.csv", content)
    assert "a.csv, line 400002: a byte that is not of the encoding windows-1252" in refusal(
        Source(path=path, encoding="windows-1252"), scratch
    )
    for name in ("klingon", "hex", "idna", "undefined", "utf-7", "unicode_escape", "cp037"):
        with pytest.raises(ValueError, match=f"'{name}' is not an encoding that is read; there are utf-8"):
            Source(path=path, encoding=name)
    text = written(tmp_path, "b.csv", PLAIN.decode().encode("utf-16-le"))
    assert "name that as the `encoding`" in refusal(Source(path=text), scratch)
    assert "name utf-16-le or utf-16-be" in refusal(Source(path=text, encoding="utf-16"), scratch)


def test_latin_1_that_is_windows_1252_is_said_to_be(tmp_path, scratch):
    """Its dashes and quotes are bytes that Latin-1 has no letters for; DuckDB would call the file damaged."""
    content = f"id,name\n1,Ann\n2,{SECRET} – “x”\n".encode("windows-1252")
    for name, packing in (("a.csv", bytes), ("a.csv.gz", packed)):
        words = refusal(Source(path=written(tmp_path, name, packing(content)), encoding="latin-1"), scratch)
        assert f"{name}, line 3: a byte that stands for no letter in Latin-1" in words
        assert "windows-1252" in words
    assert read(Source(path=tmp_path / "a.csv", encoding="windows-1252"), scratch)[1] == ("2", f"{SECRET} – “x”")


def test_a_scratch_folder_that_cannot_be_written_is_said(tmp_path):
    """A copy in UTF-8 and the rows of a view both need it."""
    path = written(tmp_path, "a.csv", "id\né\n".encode("windows-1252"))
    nowhere = tmp_path / "nowhere"
    with duckdb.connect(str(tmp_path / "a.duckdb")) as database:
        database.execute("CREATE VIEW v AS SELECT 1 AS id")
    for source in (
        Source(path=path, encoding="cp1252"),
        Source(path=tmp_path / "a.duckdb", sql="SELECT * FROM v", rows_depend_on_one_unit=True),
    ):
        with open_source(source, nowhere) as opened, pytest.raises(Misconfigured, match=f"to {nowhere}: No such file"):
            next(opened.chunks(engine(), ["id"]))


def test_a_column_that_vanished_is_named_with_the_nearest_there_is(tmp_path, scratch):
    """And nothing is read."""
    source = Source(path=written(tmp_path, "a.csv", b"Person_Ref,recorded\n1,2\n"))
    words = refusal(source, scratch, "person_ref", "recordet")
    assert "a.csv has no column 'person_ref'" in words
    words = refusal(source, scratch, "person_ref")
    assert "a.csv has no column 'person_ref'" in words
    assert "the nearest name there is 'Person_Ref'" in words
    assert "none of its 2 columns is called nearly so" in refusal(source, scratch, "recorded", "zzzzz")


def test_a_file_without_a_header_is_not_quoted(tmp_path, scratch):
    """Its first record stands where names would."""
    row = f"{SECRET},01/02/1980,07700900123,{SECRET}\n".encode()
    source = Source(path=written(tmp_path, "a.csv", row))
    assert "columns 1 and 4 of its first line have the same name" in refusal(source, scratch)
    source = Source(path=written(tmp_path, "b.csv", row.replace(b"," + SECRET.encode(), b",M")))
    words = refusal(source, scratch, SECRET[:-1] + "x", "dob")
    assert "has none of the columns that the mapping names" in words.replace(SECRET[:-1] + "x", "")
    assert "its first line does not look like a header" in words
    written(tmp_path, "c.csv", b"name,dob,phone,sex\n")
    words = refusal(Source(path=tmp_path / "[bc].csv"), scratch)
    assert "it lacks what is column 1, 2, 3, 4 there, and its own column 1, 2, 3, 4 is not there" in words
    assert "1980" not in words
    mixed = Source(path=written(tmp_path, "d.csv", b"ref,02/03/1980,07700900124\n"))
    for near in ("02/03/1981", "07700900125"):
        words = refusal(mixed, scratch, "ref", near)
        assert "none of its 3 columns is called nearly so" in words


def test_columns_that_differ_in_capitals_only_are_refused_where_both_are_wanted(tmp_path, scratch):
    """One of them alone can be read."""
    source = Source(path=written(tmp_path, "a.csv", b"id,ID\n1,2\n"))
    assert read(source, scratch, "ID") == [("2",)]
    assert "differ in capitals only" in refusal(source, scratch, "ID", "id")


def test_files_of_other_columns_are_named_with_what_they_lack(tmp_path, scratch):
    """One odd file in a folder is found before anything is read."""
    written(tmp_path, "a.csv", b"id,name\n1,2\n")
    written(tmp_path, "b.csv", b"id,nom,age\n1,2,3\n")
    words = refusal(Source(path=tmp_path / "*.csv"), scratch)
    assert "b.csv has other columns than" in words
    assert "it lacks what is column 2 there, and its own column 2, 3 is not there" in words


def test_a_file_that_changes_while_it_is_read_is_refused(tmp_path, scratch):
    """A snapshot of half an old and half a new export would be neither."""
    path = written(tmp_path, "a.csv", PLAIN)
    with engine().cursor() as database, open_source(Source(path=path), scratch) as opened:
        chunks = opened.chunks(database, ["id"])
        next(chunks)
        with path.open("ab") as file:
            file.write(b"3,Cy\n")
        with pytest.raises(Misconfigured, match=r"a\.csv changed while it was read"):
            next(chunks)
    with engine().cursor() as database, open_source(Source(path=path), scratch) as opened:
        path.unlink()
        with pytest.raises(Misconfigured, match="changed while it was read"):
            next(opened.chunks(database, ["id"]))


def test_a_file_that_may_be_cut_off_in_its_last_value_is_warned_about(tmp_path, scratch):
    """Nobody can tell such a file from a whole one, so it is read."""
    for name, content, warnings in (("a.csv", PLAIN, 0), ("b.csv", PLAIN[:-1], 1), ("c.csv", PLAIN + b"\r\n", 0)):
        with open_source(Source(path=written(tmp_path, name, content)), scratch) as opened:
            assert len(opened.warnings) == warnings, name


def test_what_is_not_there_or_not_ours_to_read_is_said(tmp_path, scratch):
    """Before anything else happens."""
    assert "there is no source at" in refusal(Source(path=tmp_path / "none.csv"), scratch)
    assert "there is no csv file at" in refusal(Source(path=tmp_path / "*.csv"), scratch)
    assert "there is no csv file at" in refusal(Source(path=scratch, kind="csv"), scratch)
    assert "there is no source at" in refusal(Source(path=tmp_path / "none.duckdb", table="t"), scratch)
    assert "there is no source at" in refusal(Source(path=tmp_path / "none.sqlite", table="t"), scratch)


@pytest.mark.skipif(not shutil.which("setpriv") or os.geteuid() != 0, reason="needs another account to read as")
def test_a_copy_of_records_is_readable_by_its_owner_only(tmp_path, scratch):
    """Text that had to be encoded anew lies in the scratch folder while it is read."""
    path = written(tmp_path, "a.csv", "id\né\n".encode("windows-1252"))
    with engine().cursor() as database, open_source(Source(path=path, encoding="cp1252"), scratch) as opened:
        chunks = opened.chunks(database, ["id"])
        next(chunks)
        (copy,) = scratch.iterdir()
        copy.parent.chmod(0o755)
        assert copy.stat().st_mode & 0o777 == 0o600
        chunks.close()
    assert not list(scratch.iterdir())


def parquet(path: Path, query: str) -> Path:
    duckdb.sql(query).write_parquet(str(path))
    return path


def test_parquet_keeps_its_types(tmp_path, scratch):
    """Dates, times with a zone, decimals and integers are what the file declares."""
    query = "SELECT 7::BIGINT AS id, DATE '2024-05-31' AS day, 1.50::DECIMAL(6, 2) AS paid, TIMESTAMPTZ '2024-01-01 00:00+00' AS at"
    source = Source(path=parquet(tmp_path / "a[1].parquet", query))
    with open_source(source, scratch) as opened:
        assert opened.columns == {
            "id": "BIGINT", "day": "DATE", "paid": "DECIMAL(6,2)", "at": "TIMESTAMP WITH TIME ZONE",
        }  # fmt: skip
    ((number, day, paid),) = read(source, scratch, "id", "day", "paid")
    assert (number, str(day), str(paid)) == (7, "2024-05-31", "1.50")


def test_parquet_files_that_are_cut_off_or_differ_are_named(tmp_path, scratch):
    """By file and column."""
    folder = tmp_path / "p"
    folder.mkdir()
    whole = parquet(folder / "a.parquet", f"SELECT 1 AS id, '{SECRET}' AS name FROM range(10000)").read_bytes()
    cut = written(folder, "b.parquet", whole[: len(whole) // 2])
    assert f"{cut} cannot be read: it is cut off, or not a Parquet file" in refusal(Source(path=cut), scratch)
    cut.write_bytes(b"")
    assert f"{cut} is empty" in refusal(Source(path=folder, kind="parquet"), scratch)
    parquet(cut, "SELECT 'x' AS id, 'y' AS name")
    assert "the column 'id' is VARCHAR in" in refusal(Source(path=folder, kind="parquet"), scratch)
    parquet(cut, "SELECT 1 AS id")
    assert "it lacks 'name'" in refusal(Source(path=folder, kind="parquet"), scratch)
    middle = bytearray(whole)
    middle[10:60] = b"\xff" * 50
    assert "c.parquet: it is damaged or cut off" in refusal(
        Source(path=written(tmp_path, "c.parquet", bytes(middle))), scratch
    )


def test_a_duckdb_file_is_read_by_table_by_schema_and_by_sql(tmp_path, scratch):
    """And a view over two tables, which a force may make for it."""
    path = tmp_path / "a.duckdb"
    with duckdb.connect(str(path)) as database:
        database.execute("CREATE SCHEMA s; CREATE TABLE s.t AS SELECT 1 AS id, DATE '2024-01-02' AS day")
        database.execute("CREATE TABLE p AS SELECT 1 AS id, 'Ann' AS name")
        database.execute("CREATE VIEW v AS SELECT id, name, day FROM p JOIN s.t USING (id)")
    assert read(Source(path=path, table="p"), scratch, "name") == [("Ann",)]
    assert [str(row[0]) for row in read(Source(path=path, table="s.t"), scratch, "day")] == ["2024-01-02"]
    view = Source(path=path, table="v", rows_depend_on_one_unit=True)
    assert read(view, scratch, "id", "name") == [(1, "Ann")]
    assert "(v) is a view (name a table, or write rows_depend_on_one_unit" in refusal(
        Source(path=path, table="v"), scratch
    )
    by_sql = Source(path=path, sql="SELECT name, id FROM p -- all\n;", rows_depend_on_one_unit=True)
    assert read(by_sql, scratch, "id", "name") == [(1, "Ann")]
    assert "cannot read" in refusal(Source(path=path, table="none"), scratch)
    assert "none of the columns that the mapping names: 'nam'" in refusal(Source(path=path, table="p"), scratch, "nam")
    path.write_bytes(path.read_bytes()[:5000])
    assert "cannot" in refusal(Source(path=path, table="p"), scratch)


@pytest.mark.parametrize(
    ("view", "words"),
    [
        ("SELECT getvariable('secret_unit') AS id", None),
        ("SELECT content AS id FROM read_text('{other}')", "cannot read"),
        ("SELECT id FROM read_csv('{other}', columns = {{'id': 'VARCHAR'}})", "cannot read"),
        ("FROM query('SELECT id FROM coded')", "cannot read"),
    ],
)
def test_what_a_duckdb_file_defines_sees_nothing_of_a_load(tmp_path, scratch, view, words):
    """Neither its keys, nor its tables, nor another file: whoever makes a source's file is not the node."""
    other, path = written(tmp_path, "other", SECRET.encode()), tmp_path / "a.duckdb"
    with duckdb.connect(str(path)) as database:
        database.execute("CREATE TABLE coded (id INTEGER)")
        database.execute(f"CREATE VIEW v AS {view.format(other=other)}")
        database.execute("CREATE TABLE t (a INTEGER, id VARCHAR GENERATED ALWAYS AS (getvariable('secret_unit')))")
        database.execute("INSERT INTO t VALUES (1)")
        database.execute("DROP TABLE coded")
    engine().execute(f"SET VARIABLE secret_unit = '{SECRET}'; CREATE OR REPLACE TEMP TABLE coded AS SELECT 1 AS id")
    try:
        source = Source(path=path, table="v", rows_depend_on_one_unit=True)
        if words is None:
            with open_source(source, scratch) as opened:
                (found,) = [engine().execute(f"FROM {c.relation}").fetchall() for c in opened.chunks(engine(), ["id"])]
            assert found == [(None,)]
        else:
            with pytest.raises(Misconfigured, match=words) as caught:
                open_source(source, scratch)
            assert SECRET not in str(caught.value)
        with open_source(Source(path=path, table="t"), scratch) as opened:
            (found,) = [engine().execute(f"FROM {c.relation}").fetchall() for c in opened.chunks(engine(), ["id"])]
        assert found == [(None,)], "nor does a generated column"
    finally:
        engine().execute("RESET VARIABLE secret_unit; DROP TABLE coded")
    assert not list(scratch.iterdir())


def test_a_duckdb_source_is_opened_offline_within_bounds_and_beside_nothing(tmp_path, scratch):
    """Its settings are not those of the machine or of whoever made the file, and cannot be changed by it."""
    path = tmp_path / "a.duckdb"
    with duckdb.connect(str(path)) as database:
        database.execute(
            "CREATE TABLE p AS SELECT 170141183460469231731687303715884105727 AS id, DATE '2024-01-02' AS day"
        )
    own = (
        "SELECT current_setting('temp_directory') AS temp, current_setting('TimeZone') AS zone, "
        "current_setting('enable_external_access') AS reach, current_setting('autoload_known_extensions') AS load, "
        "current_setting('lock_configuration') AS locked, id FROM p"
    )
    source = Source(path=path, sql=own, rows_depend_on_one_unit=True)
    ((temp, *settings, number),) = read(source, scratch)
    assert settings == ["UTC", False, False, True]
    assert number == 2**127 - 1, "Parquet would have made a float of it"
    assert Path(temp).parent == scratch
    with open_source(source, scratch) as opened:
        assert opened.longest_break_seconds == 24 * 3600


def sqlite(path: Path, *statements: str) -> Path:
    with sqlite3.connect(path) as database:
        for statement in statements:
            database.execute(statement)
    database.close()
    return path


def test_sqlite_is_read_as_text_whatever_its_columns_declare(tmp_path, scratch):
    """A column of SQLite holds what was put into it: a number, a text, nothing."""
    path = sqlite(
        tmp_path / "a#b?.sqlite",
        'CREATE TABLE "odd ""t" ("id" INTEGER, "da""y" DATE)',
        "INSERT INTO \"odd \"\"t\" VALUES (1, '2024-01-02'), ('x', NULL), (2.5, 3)",
    )
    assert read(Source(path=path, table='odd "t'), scratch) == [("1", "2024-01-02"), ("x", None), ("2.5", "3")]
    sql = Source(path=path, sql='WITH o AS (SELECT id FROM "odd ""t") SELECT * FROM o;', rows_depend_on_one_unit=True)
    assert read(sql, scratch, "id") == [("1",), ("x",), ("2.5",)]
    assert "no such table: none" in refusal(Source(path=path, table="none"), scratch)
    broken = written(tmp_path, "b.sqlite", b"not a database at all" * 100)
    assert "file is not a database" in refusal(Source(path=broken, table="t"), scratch)


def test_sqlite_cannot_be_written_through_the_source(tmp_path, scratch):
    """Neither by a mistake of ours nor by a force's SELECT."""
    path = sqlite(tmp_path / "a.sqlite", "CREATE TABLE t (id)", "INSERT INTO t VALUES (1)")
    with open_source(Source(path=path, table="t"), scratch) as opened, pytest.raises(sqlite3.OperationalError):
        opened._connection.execute("INSERT INTO t VALUES (2)")
    assert read(Source(path=path, table="t"), scratch) == [("1",)]


def numbered(tmp_path: Path, values: str) -> Source:
    path = sqlite(tmp_path / "n.sqlite", "CREATE TABLE t (id, x)", f"INSERT INTO t (id) VALUES {values}")
    return Source(path=path, table="t", resume_by="id")


def test_a_source_is_read_in_pages_by_its_key_and_goes_on_after_the_last(tmp_path, scratch):
    """A chunk is named by the key that it goes up to, so that the next load knows where to go on."""
    source = numbered(tmp_path, ", ".join(f"({n})" for n in (9, 3, -4, 7, 1, 8, 2)))
    with engine().cursor() as database, open_source(source, scratch, batch=3) as opened:
        names = [chunk.name for chunk in opened.chunks(database, ["x"])]
        assert names == ["2", "8", "9"]
        assert opened.continues(names[:1])
        assert not opened.continues({"a.csv 3 4"})
        rest = []
        for chunk in opened.chunks(database, ["id"], done=names[:1]):
            rest += database.execute(f"FROM {chunk.relation}").fetchall()
    assert rest == [("3",), ("7",), ("8",), ("9",)]
    with open_source(source.model_copy(update={"resume_by": None}), scratch) as opened:
        assert opened.continues(())
        assert not opened.continues(names[:1]), "rows without a key have no order"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ("(1), (NULL), (3)", "is null in some rows"),
        ("(1), (2), (2), (3)", "is not unique"),
        ("(1), (2), (3), (3)", "is not unique"),
        ("(1), (2.5)", "does not hold whole numbers only"),
        (f"(1), ('{SECRET}')", "does not hold whole numbers only"),
    ],
)
def test_a_key_that_is_none_is_refused(tmp_path, scratch, values, words):
    """Paging by it would lose rows, also where two pages meet."""
    source = numbered(tmp_path, values)
    with (
        engine().cursor() as database,
        open_source(source, scratch, batch=3) as opened,
        pytest.raises(Misconfigured, match=words) as caught,
    ):
        list(opened.chunks(database, ["x"]))
    assert SECRET not in str(caught.value)


def test_text_that_is_not_unicode_is_told_without_itself(tmp_path, scratch):
    """SQLite's driver quotes it."""
    path = sqlite(
        tmp_path / "a.sqlite",
        "CREATE TABLE t (id)",
        f"INSERT INTO t VALUES (CAST(x'{SECRET.encode().hex()}ff' AS TEXT))",
    )
    assert "broke off after 0 rows" in refusal(Source(path=path, table="t"), scratch)


def test_a_full_disk_is_said(tmp_path):
    """A copy that does not fit into the scratch folder is no fault of the source."""
    if (
        os.geteuid() != 0
        or subprocess.run(
            ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], check=False, capture_output=True
        ).returncode
    ):
        pytest.skip("no small file system can be mounted here")
    source = Source(path=written(tmp_path.parent, "large.csv", b"id\r\n1\n" + b"2\r\n" * 100_000))
    try:
        with engine().cursor() as database, open_source(source, tmp_path) as opened:
            with pytest.raises(Misconfigured, match="No space left on device"):
                list(opened.chunks(database, ["id"]))
            assert not list(tmp_path.iterdir()), "what was written of it is gone"
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)
