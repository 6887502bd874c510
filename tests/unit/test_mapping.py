"""The mapping language: what a force writes, and what becomes of its records."""

import json
from pathlib import Path

import duckdb
import pytest
from examples import person_contract, row_contract

from cordon.configfile import read_config
from cordon.contract import Contract
from cordon.errors import Misconfigured
from node.coding import coded
from node.engine import DUCKDB
from node.identifiers import Keys
from node.joining.holdings import missing_columns
from node.load import check, load
from node.mapping import Mapping
from node.normalise import PNC_LETTERS
from node.snapshot import snapshot_path
from node.staging import kind_of

LINKED = b"""
dataset = "persons"
version = 1
title = "Persons"
description = "d"
source = "s"
licence = "l"
[unit]
kind = "person"
words = "one person's records in one force"
max_rows_per_unit = 3
max_rows_per_force = 1000
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
name = "pnc"
title = "PNC"
use = "linkage"
scheme = "pnc_id"
[[column]]
kind = "identifier"
name = "vehicle"
title = "Vehicle"
use = "linkage"
scheme = "vehicle"
"""
BASE = {
    "dataset": "persons", "version": 1, "domain": "records", "as_at": "2026-01-31", "first_month": "2025-01",
    "last_month": "2025-12",
}  # fmt: skip


class Force:
    """One force's state folder and source file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.contract = person_contract()

    def write(self, *lines: str, name: str = "records.csv") -> Path:
        """A source file of these lines."""
        path = self.folder / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path

    def mapping(self, columns, **more):
        """A mapping of the source file."""
        return Mapping.model_validate(
            BASE | {"dataset": self.contract.dataset, "source": self.folder / "records.csv", "columns": columns} | more
        )

    def load(self, columns, *, linkage_key=None, **more):
        """Load it; returns the outcome."""
        mapping = self.mapping(columns, **more)
        return load(mapping, self.contract, self.folder, linkage_key=linkage_key, progress=lambda _: None)

    def stored(self, statement):
        """Rows of the snapshot."""
        path = snapshot_path(self.folder, self.contract.dataset, self.contract.version).resolve()
        with duckdb.connect(str(path), read_only=True) as database:
            return database.execute(statement).fetchall()

    def linkage_key(self, digit="7"):
        """A file with the forces' shared key."""
        path = self.folder / f"linkage{digit}.key"
        path.write_text(digit * 64 + "\n", encoding="ascii")
        path.chmod(0o600)
        return path


@pytest.fixture
def force(tmp_path):
    """A force whose contract has role (suspect, victim), loss (halves from -10 to 50) and day (2025)."""
    return Force(tmp_path)


PERSON = {"person": {"source": "ref"}}


# Dates


@pytest.mark.parametrize(
    ("formats", "days"),
    [
        (["%d/%m/%Y"], {"31/05/2025": "2025-05-31", "5/3/2025": "2025-03-05", "31/02/2025": None, "31/05/25": None,
                        "2025-05-31": None, "01/01/1900": None, "": None}),
        (["%d/%m/%Y", "%d-%b-%Y %H:%M", "%d-%b-%Y"], {"31-MAY-2025": "2025-05-31", "31-May-2025 14:05": "2025-05-31"}),
        (["%Y%m%d"], {"20250531": "2025-05-31"}),
        ([], {"2025-05-31": "2025-05-31", "2025-05-31T23:59:00": "2025-05-31", "2025-05-31x": None,
              "2025-05": "2025-05-01", "31/05/2025": None}),
    ],
)  # fmt: skip
def test_a_date_is_read_in_the_formats_that_the_mapping_names_and_no_other(force, formats, days):
    """What no format fits is unknown; so is a day outside the contract."""
    force.write("ref,loss,seen", *(f"p{at},{at},{text}" for at, text in enumerate(days)))
    force.load(PERSON | {"loss": {"source": "loss"}, "day": {"source": "seen", "formats": formats}})
    stored = force.stored("SELECT (DATE '1970-01-01' + day)::VARCHAR FROM snapshot ORDER BY loss")
    assert dict(zip(days, [day for (day,) in stored], strict=True)) == days


def test_a_local_time_stamp_in_utc_is_counted_on_its_civil_day(force):
    """With formats and a time zone, half past eleven in summer is the next day in London."""
    force.write("ref,seen", "p1,30/06/2025 23:30", "p2,31/01/2025 23:30")
    day = {"source": "seen", "formats": ["%d/%m/%Y %H:%M"], "time_zone": "Europe/London"}
    force.load(PERSON | {"day": day})
    assert force.stored("SELECT (DATE '1970-01-01' + day)::VARCHAR FROM snapshot ORDER BY 1") == [
        ("2025-01-31",),
        ("2025-07-01",),
    ]


def test_a_typed_column_of_a_source_needs_no_format(force):
    """Dates, time stamps with and without zone, numbers and truth values come as the source holds them."""
    with duckdb.connect() as database:
        database.execute("SET TimeZone = 'Asia/Tokyo'")
        database.execute(f"""
            COPY (SELECT 7 AS ref, DATE '2025-05-31' AS d, TIMESTAMP '2025-05-31 23:30:00' AS t,
                         TIMESTAMPTZ '2025-06-30 23:30:00+00' AS z, 12.26::DECIMAL(8,2) AS loss, true AS yes)
            TO '{force.folder / "records.parquet"}'
        """)
    expected = {"d": "2025-05-31", "t": "2025-05-31", "z": "2025-07-01"}
    for name, day in expected.items():
        columns = PERSON | {
            "day": {"source": name, "time_zone": "Europe/London" if name == "z" else None},
            "loss": {"source": "loss"},
            "role": {"source": "yes", "codes": {"true": "victim"}},
        }
        force.load(columns, source=force.folder / "records.parquet")
        row = force.stored("SELECT (DATE '1970-01-01' + day)::VARCHAR, loss, role FROM snapshot")
        assert row == [(day, 25, 1)]


# Codes and unknown values


def test_what_the_mapping_calls_unknown_is_missing_and_not_mended(force):
    """N/K is no finding; a value that nobody has thought of is."""
    force.write("ref,role,seen", "p1,N/K,01/01/1900", "p2,bystander,02/01/1900", "p3,V,05/05/2025")
    quality = force.load(
        PERSON
        | {
            "role": {"source": "role", "codes": {"V": "victim"}, "unknown": ["N/K"]},
            "day": {"source": "seen", "formats": ["%d/%m/%Y"], "unknown": ["01/01/1900"]},
        }
    ).quality
    found = {column.column: (column.missing, column.mended, column.examples) for column in quality.columns}
    assert found == {"role": (1, 1, (("bystander", 1),)), "day": (1, 1, (("02/01/1900", 1),))}


@pytest.mark.parametrize("codes", [3, 200])
def test_a_long_code_list_lies_in_a_file_of_its_own(force, codes):
    """Few codes and many lead to the same rows, also for values that no code stands for and for none."""
    lines = [f"K{at},{'suspect' if at % 2 else 'victim'}" for at in range(codes)]
    force.write("local,code", *lines, name="roles.csv")
    force.write("ref,role", "p1,K0", "p2,K1", f"p3,K{codes}", "p4,", "p5,Victim", "p6,k0")
    quality = force.load(PERSON | {"role": {"source": "role", "codes_file": force.folder / "roles.csv"}}).quality
    assert force.stored("SELECT role, count(*) FROM snapshot GROUP BY 1 ORDER BY 1") == [(0, 1), (1, 2), (2, 3)]
    assert (quality.columns[0].missing, quality.columns[0].mended) == (1, 2)


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (["local,code", "S,suspect", "S,victim"], "line 3: 'S' has a code already"),
        (["local,code", "S,no_such"], "line 2: role has no code 'no_such'"),
        (["local;code", "S;suspect"], "first line must be `local,code`"),
        (["local,code", "S"], "line 2: needs exactly two values"),
        (["local,code", "S,suspect,x"], "line 2: needs exactly two values"),
    ],
)
def test_a_bad_code_list_names_its_file_and_line(force, lines, told):
    """A code list with a value twice, with a code that there is not, or broken is refused before anything is read."""
    force.write(*lines, name="roles.csv")
    force.write("ref,role", "p1,S")
    with pytest.raises(Misconfigured, match=told) as refused:
        force.load(PERSON | {"role": {"source": "role", "codes_file": force.folder / "roles.csv"}})
    assert "roles.csv" in str(refused.value)


KINDS = {
    "text": "string", "stamped": "timestamp", "day": "date", "double": "float64", "whole": "int64", "truth": "boolean",
}  # fmt: skip


def coded_row(columns, **row):
    """What becomes of one row of typed values, without a file."""
    rows = coded(KINDS, mapping_of(columns), person_contract(), DUCKDB, Keys(b"\x01" * 32, None))
    given = ", ".join(f"({row.get(name, 'NULL')})::{kind} AS {name}" for name, kind in SQL_KINDS.items())
    with duckdb.connect() as database:
        database.execute(f"SET VARIABLE secret_unit_ = 'a'; CREATE VIEW records AS SELECT {given}")
        found = database.execute(DUCKDB.sql(rows))
        return dict(zip([column[0] for column in found.description], found.fetchone(), strict=True))


SQL_KINDS = {
    "text": "VARCHAR", "stamped": "TIMESTAMP", "day": "DATE", "double": "DOUBLE", "whole": "BIGINT", "truth": "BOOLEAN",
}  # fmt: skip


def mapping_of(columns):
    """A mapping of a file that nothing reads."""
    return Mapping.model_validate(
        BASE | {"source": "records.csv", "columns": {"person": {"source": "double"}} | columns}
    )


def test_unknown_values_and_codes_are_compared_as_what_the_source_holds():
    """A number is one however it is written, a time stamp is of its day, and a default identifier is nobody's."""
    columns = {
        "person": {"source": "double", "unknown": ["0"]},
        "role": {"source": "double", "codes": {" 1 ": "victim"}},
        "loss": {"source": "double", "unknown": ["999"]},
        "day": {"source": "stamped", "unknown": ["01/01/2025"], "formats": ["%d/%m/%Y"]},
    }
    row = coded_row(columns, double="999.0", stamped="TIMESTAMP '2025-01-01 12:00'")
    assert (row["loss__missing"], row["day__missing"], row["unit_"] is None) == (True, True, False)
    row = coded_row(columns, double="1.0", stamped="TIMESTAMP '2025-01-02 00:00'")
    assert (row["role"], row["loss"], row["day__missing"]) == (1, 2, False)
    assert coded_row(columns, double="0.0")["unit_"] is None
    whole, truth = (
        {"source": "whole", "unknown": ["5.0"]},
        {"source": "truth", "codes": {"Y": "victim", "n": "suspect"}},
    )
    row = coded_row(
        {"loss": whole, "role": truth, "day": {"source": "day", "unknown": ["2025-01"]}}, whole="5", truth="true"
    )
    assert (row["loss__missing"], row["role"]) == (True, 1)
    with pytest.raises(Misconfigured, match=r"day: the source holds dates, and '31/12/1899' is none"):
        coded_row({"day": {"source": "day", "unknown": ["31/12/1899"]}})


def test_a_month_stays_a_month_in_every_zone():
    """Its first day is no instant that a zone could move; a time stamp is one."""
    day = {"day": {"source": "text", "time_zone": "America/New_York"}}
    made = {
        text: coded_row(day, text=f"'{text}'")["day"] for text in ("2025-06", "2025-06-01T02:00", "2025-06-01 12:00")
    }
    assert made == {"2025-06": 20240, "2025-06-01T02:00": 20239, "2025-06-01 12:00": 20240}


def test_a_long_text_is_told_by_its_beginning():
    """Of a value that no code stands for, 80 characters are kept for the report."""
    row = coded_row({"role": {"source": "text"}}, text="repeat('x', 1000)")
    assert row["role__local"] == "x" * 80


def test_units_are_told_apart_by_their_text_without_blanks_of_any_kind():
    """Also a blank that does not break, and marks without width; and a whole number is one as a float too."""
    texts = ["'p1'", "' p1 '", "'\u00a0p1\u200b'", "'\ufeffp1'"]
    units = {coded_row({"person": {"source": "text"}}, text=text)["unit_"] for text in texts}
    assert len(units) == 1
    assert coded_row({}, double="5.0")["unit_"] == coded_row({"person": {"source": "whole"}}, whole="5")["unit_"]


@pytest.mark.parametrize(
    ("kind", "read"),
    [
        ("DECIMAL(18,0)", "int64"), ("DECIMAL(19,0)", "string"), ("DECIMAL(10,2)", "float64"), ("decimal(5, 0)", "int64"),
        ("HUGEINT", "string"), ("TIMESTAMP WITH TIME ZONE", "timestamp('UTC')"), ("VARCHAR", "string"),
    ],
)  # fmt: skip
def test_a_source_column_is_read_as_what_it_holds(kind, read):
    """Decimals are whole numbers where they have no places and 64 bits hold them, else floats or texts."""
    assert kind_of(kind) == read


def test_too_much_mended_stops_a_load(force):
    """Where the mapping says how much may be mended, a load with more is refused, and the snapshot before stays."""
    force.write("ref,role", *(f"p{at},S" for at in range(10)))
    columns = PERSON | {"role": {"source": "role", "codes": {"S": "suspect"}, "most_mended_percent": 10}}
    force.load(columns)
    force.write("ref,role", *(f"p{at},{'S' if at > 1 else 'X'}" for at in range(10)))
    with pytest.raises(Misconfigured, match=r"role: 20\.0 % of the values were mended; the mapping allows 10 %"):
        force.load(columns)
    assert force.stored("SELECT role, count(*) FROM snapshot GROUP BY 1") == [(0, 10)]


# Exclusions and deduplication


def test_excluded_records_never_enter(force):
    """The rows for which a rule is true are gone and counted by reason; unknown is not true."""
    force.write("ref,role,mark", "p1,suspect,Y", "p2,suspect,N", "p3,suspect,", "p4,victim,Y", "p5,victim,X")
    exclude = [
        {"where": "mark = 'Y' AND role = 'suspect'", "reason": "protected persons"},
        {"where": "mark IN ('Y', 'X')", "reason": "other marks"},
    ]
    quality = force.load(PERSON | {"role": {"source": "role"}}, exclude=exclude).quality
    assert quality.rows_excluded == {"protected persons": 1, "other marks": 2}
    assert (quality.rows_read, quality.rows_kept) == (5, 2)
    assert force.stored("SELECT count(*) FROM snapshot") == [(2,)]


def test_what_is_excluded_unless_said_otherwise_excludes_the_unmarked_too(force):
    """A condition is true or false of every record: where nothing is marked, it differs from every mark."""
    force.write("ref,role,mark", "p1,suspect,N", "p2,suspect,", "p3,suspect,Y", "p4,suspect, N ")
    exclude = [{"where": "mark <> 'N'", "reason": "marked or not looked at"}]
    quality = force.load(PERSON | {"role": {"source": "role"}}, exclude=exclude).quality
    assert (quality.rows_excluded, quality.rows_kept) == ({"marked or not looked at": 2}, 2)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"exclude": [{"where": "LENGTH(mark)", "reason": "marked"}]}, "is no condition"),
        ({"exclude": [{"where": "(mark = 'Y') IS NULL", "reason": "marked"}]}, "condition is missing"),
        ({"exclude": [{"where": "mark = ''", "reason": "marked"}]}, "empty text"),
        ({"columns": PERSON | {"loss": {"expression": "SUM(loss)"}}}, "which a mapping may not"),
        ({"columns": PERSON | {"day": {"expression": "DATE(seen, '%Q')"}}}, "letter that is not known"),
        ({"columns": PERSON | {"day": {"source": "seen", "formats": [""]}}}, "day: the date format '' has no letter"),
        ({"columns": PERSON | {"day": {"source": "seen", "time_zone": "Europe/Londn"}}}, "no time zone 'Europe/Londn'"),
        ({"columns": PERSON | {"day": {"source": "seen", "time_zone": "../zone"}}}, "no time zone"),
    ],
)
def test_mistakes_show_when_a_mapping_is_read(force, changes, told):
    """Expressions, conditions, formats and zones are looked at before a source is."""
    given = {"columns": PERSON} | changes
    with pytest.raises(Misconfigured, match=told):
        force.mapping(**given).check(force.contract)


def test_a_truth_value_of_the_source_may_be_a_condition_by_itself(force):
    """What kind a column is of is not known before the source is read."""
    force.mapping(PERSON, exclude=[{"where": "hidden", "reason": "hidden"}]).check(force.contract)


def test_two_codes_that_differ_in_blanks_alone_are_refused(force):
    """They would be one value."""
    with pytest.raises(ValueError, match="'V' has two codes"):
        force.mapping(PERSON | {"role": {"source": "role", "codes": {"V": "victim", "V ": "suspect"}}})


def test_repeated_rows_of_one_person_are_kept_once(force):
    """Rows of one person that are alike in the named columns are one; those of two persons are two, and of nobody too."""
    rows = ["p1,S,1,a", "p1,S,1,b", "p1,V,1,c", "p2,S,1,d", ",S,1,e", ",S,1,f"]
    force.write("ref,role,loss,note", *rows)
    columns = PERSON | {
        "role": {"source": "role", "codes": {"S": "suspect", "V": "victim"}},
        "loss": {"source": "loss"},
    }
    quality = force.load(columns, deduplicate=["role", "loss"]).quality
    assert (quality.rows_repeated, quality.rows_over_bound, quality.rows_kept) == (1, 0, 5)


def test_rows_of_a_row_unit_are_one_unit_where_their_key_is_one(force):
    """Where a data set has no persons, the key of deduplication is the unit: one row of it stays, by lot."""
    force.contract = row_contract()
    column = next(column.name for column in force.contract.columns if column.kind == "category")
    force.write("number,kind", "1,a", "1,b", "2,a", ",a", ",a")
    quality = force.load({column: {"source": "kind"}}, deduplicate=["number"]).quality
    assert (quality.rows_repeated, quality.rows_kept) == (1, 4)


def test_a_column_that_tells_rows_apart_is_looked_for_in_the_source():
    """Of a row unit `deduplicate` names columns of the source, of a person those of the contract."""
    given = {"source": "a.csv", "columns": {"colour": {"source": "kind"}}, "deduplicate": ["number"]}
    mapping = Mapping.model_validate(BASE | given)
    assert missing_columns(mapping, {"kind": "VARCHAR"}, row_contract()) == {"number"}
    assert missing_columns(mapping, {"kind": "VARCHAR", "number": "BIGINT"}, row_contract()) == set()
    assert missing_columns(mapping, {"kind": "VARCHAR"}, person_contract()) == set()


@pytest.mark.parametrize("name", ["person", "no_such", "loss"])
def test_only_mapped_and_stored_columns_tell_repeated_rows(force, name):
    """An identifier, a column that there is not, or one that is not mapped cannot."""
    force.write("ref", "p1")
    with pytest.raises(Misconfigured, match=f"deduplicate names {name}"):
        force.load(PERSON, deduplicate=[name])


# Identifiers


def pnc(year, serial):
    """A PNC identifier with its right check letter."""
    return f"{year}/{serial:07d}{PNC_LETTERS[int(f'{year % 100:02d}{serial:07d}') % 23]}"


def linked(force, *rows, key=None):
    """Hashes of (phone, pnc, vehicle) of each row, in order of their persons."""
    force.contract = Contract.from_toml(LINKED)
    force.write("ref,phone,pnc,vrm", *rows)
    columns = {
        "person": {"source": "ref"},
        "phone": {"source": "phone"},
        "pnc": {"source": "pnc"},
        "vehicle": {"source": "vrm"},
    }
    quality = force.load(columns, linkage_key=key or force.linkage_key()).quality
    return force.stored("SELECT phone, pnc, vehicle FROM snapshot ORDER BY rank_"), quality


SPELLINGS = {
    0: ["07700 900123", "+44 7700 900123", "0044 (0)7700-900123", "447700900123", "+44(0)7700 900 123"],
    1: [
        pnc(1999, 12345),
        pnc(1999, 12345).replace("/", ""),
        "99/12345" + pnc(1999, 12345)[-1].lower(),
        f" {pnc(1999, 12345)} ",
    ],
    2: ["AB12 CDE", "ab12cde", "ABI2CDE", "AB 12-CDE"],
}
NOTHING = {
    0: ["999", "withheld", "01632 960123", "0800 001066", "07012 345678", "12345", "0", "x"],
    1: ["99/0012345A", "1999/12345", "junk", "0"],
    2: ["CLONED", "1", "ABCDEFGH", "AB12CD"],
}


def test_spellings_of_one_identifier_are_one_and_what_is_none_is_missing(force):
    """All spellings hash alike, and a default, a switchboard or a wrong check letter is not stored."""
    rows = []
    for place, spellings in SPELLINGS.items():
        for at, text in enumerate(spellings + NOTHING[place]):
            cells = [f"p{place}-{at}", "", "", ""]
            cells[place + 1] = text
            rows.append(",".join(cells))
    hashes, quality = linked(force, *rows)
    mended = {column.column: column.mended for column in quality.columns}
    for place, name in enumerate(("phone", "pnc", "vehicle")):
        found = [row[place] for row in hashes if row[place] is not None]
        assert (len(set(found)), len(found)) == (1, len(SPELLINGS[place])), name
        assert mended[name] == len(NOTHING[place])
    assert all(column.examples == () for column in quality.columns), "no identifier is shown"


def test_identifiers_are_stored_as_hashes_under_keys_alone(tmp_path):
    """Two forces with the shared key agree on linkage hashes and not on units; another key changes every hash."""
    one, two = Force(tmp_path / "one"), Force(tmp_path / "two")
    for force in (one, two):
        force.folder.mkdir()
    row = f"p1,07700 900123,{pnc(2001, 7)},AB12CDE"
    first, _ = linked(one, row)
    second, _ = linked(two, row)
    assert first == second
    assert all(len(value) == 32 for value in first[0])
    assert one.stored("SELECT unit_ FROM snapshot") != two.stored("SELECT unit_ FROM snapshot")
    other, _ = linked(two, row, key=two.linkage_key("8"))
    assert not set(first[0]) & set(other[0])
    data = snapshot_path(one.folder, "persons", 1).resolve().read_bytes()
    assert b"900123" not in data
    assert b"AB12CDE" not in data


def test_without_the_shared_key_no_linkage_identifier_is_stored(force):
    """A node without the forces' key keeps none of them, in no form."""
    force.contract = Contract.from_toml(LINKED)
    force.write("ref,phone", "p1,07700 900123")
    force.load({"person": {"source": "ref"}, "phone": {"source": "phone"}})
    assert [name for name, *_ in force.stored("DESCRIBE snapshot")] == ["unit_", "rank_"]


def test_a_unit_has_the_same_surrogate_in_every_load(force):
    """The node's own key outlives a load, and lies in a file for its owner alone."""
    force.write("ref", "p1", "p2")
    force.load(PERSON)
    before = force.stored("SELECT unit_ FROM snapshot ORDER BY 1")
    force.load(PERSON)
    assert force.stored("SELECT unit_ FROM snapshot ORDER BY 1") == before
    assert (force.folder / "identifiers.key").stat().st_mode & 0o077 == 0


def test_a_linkage_key_that_others_can_read_is_refused(force):
    """As for every secret, with what to do."""
    force.write("ref", "p1")
    key = force.linkage_key()
    key.chmod(0o644)
    with pytest.raises(Misconfigured, match="can be read by others"):
        force.load(PERSON, linkage_key=key)


# Reports


def test_a_check_reports_and_puts_nothing_in_place(force):
    """Whatever it finds, the snapshot that serves stays, and what is otherwise than there is told."""
    force.write("ref,role", *(f"p{at // 4},{'S' if at % 2 else 'V'}" for at in range(40)))
    columns = PERSON | {"role": {"source": "role", "codes": {"S": "suspect", "V": "victim"}}}
    first = force.load(columns)
    assert first.differences is None
    assert first.quality.rows_per_unit == {"4-5": 10}
    link = snapshot_path(force.folder, "persons", 1)
    before = (link.resolve(), sorted(link.parent.iterdir()))
    force.write("ref,role", *(f"p{at},{'S' if at % 4 else 'Z'}" for at in range(60)))
    outcome = check(force.mapping(columns), force.contract, force.folder, progress=lambda _: None)
    assert (link.resolve(), sorted(link.parent.iterdir())) == before
    told = {found.what: (found.before, found.now) for found in outcome.differences or ()}
    assert told["rows read"] == ("40", "60")
    assert told["role mended"] == ("0.0%", "25.0%")
    assert told["role = victim"] == ("50.0%", "0.0%")
    assert told["role: mended for the first time"] == ("", "Z")


def test_records_deleted_at_the_source_vanish_at_the_next_load(force):
    """A snapshot is built whole from what the source holds: who was deleted there is gone."""
    force.write("ref,role", "p1,suspect", "p2,victim")
    columns = PERSON | {"role": {"source": "role"}}
    force.load(columns)
    force.write("ref,role", "p2,victim")
    force.load(columns)
    assert force.stored("SELECT role FROM snapshot") == [(1,)]


# Reading the file


def test_paths_in_a_mapping_count_from_its_folder(tmp_path):
    """Of the source, its password and code lists; the short form too."""
    for text in ('source = "a.csv"', '[source]\npath = "a.csv"\npassword_file = "secret"'):
        head, table = (text, "") if text.startswith("source") else ("", text)
        path = tmp_path / "mapping.toml"
        columns = '[columns]\nx = { source = "x", codes_file = "codes/x.csv" }\n'
        lines = [f"{key} = {json.dumps(value)}" for key, value in BASE.items() if key != "as_at"]
        path.write_text("\n".join([*lines, "as_at = 2026-01-31", head, columns, table]), encoding="utf-8")
        mapping = read_config(path, Mapping)
        assert mapping.source.path == tmp_path / "a.csv"
        assert mapping.columns["x"].codes_file == tmp_path / "codes" / "x.csv"
        assert mapping.source.password_file in (None, tmp_path / "secret")


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ({"kind": "postgresql", "table": "x"}, "needs a url"),
        ({"kind": "csv", "path": "a", "url": "postgresql://h/d"}, "has no url"),
        ({"kind": "postgresql", "url": "postgresql://u:p@h/d", "table": "x"}, "must not hold a password"),
        ({"kind": "postgresql", "url": "postgresql://h/d"}, "either a table or sql"),
        ({"kind": "postgresql", "url": "postgresql://h/d", "table": "x", "sql": "SELECT"}, "either a table or sql"),
        ({"kind": "postgresql", "url": "postgresql://h/d", "sql": "SELECT 1"}, "rows_depend_on_one_unit"),
        ({"path": "a.csv", "kind": "csv", "table": "t"}, "files have neither"),
        ({"url": "postgresql://h/d", "table": "x"}, "needs its kind"),
    ],
)
def test_a_source_that_cannot_be_is_refused_in_words(force, source, told):
    """What is missing or too much is named."""
    with pytest.raises(ValueError, match=told):
        force.mapping(PERSON, source=source)


@pytest.mark.parametrize(
    ("column", "told"),
    [
        ({"source": "a", "expression": "a"}, "either source or expression"),
        ({}, "either source or expression"),
    ],
)
def test_a_column_has_one_origin(force, column, told):
    """A source column or an expression, not both and not neither."""
    with pytest.raises(ValueError, match=told):
        force.mapping(PERSON | {"role": column})


def test_a_format_with_a_letter_that_is_not_known_is_refused(force):
    """Before anything is read."""
    force.write("ref,seen", "p1,x")
    with pytest.raises(Misconfigured, match="has a letter that is not known"):
        force.load(PERSON | {"day": {"source": "seen", "formats": ["%d/%m/%Q"]}})
