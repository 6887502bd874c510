"""A proposed mapping finds what is there, is never sure of what is wrong, and prints nothing that names somebody."""

from __future__ import annotations

import csv
import random
import re
import resource
import sqlite3
import tempfile
import tomllib
from collections import Counter
from contextlib import closing
from functools import cache
from pathlib import Path

import duckdb
import messysources
import pytest

from cordon.catalogue import bundled_contracts
from cordon.cli import run
from cordon.configfile import read_config
from cordon.contract import Category, Contract
from cordon.errors import Misconfigured
from demo.layout import HERE, Design, lay_out
from demo.nominals import write_nominals
from demo.nominals.population import make_population
from demo.nominals.systems import SYSTEMS
from demo.nominals.writing import write_force, write_mapping
from node.config import NodeConfig
from node.expression import names_in
from node.load import load
from node.mapping import Mapping
from node.snapshot import snapshot_path
from node.source.model import Kind, Source
from node.suggest.cli import source_of
from node.suggest.codes import Confidence, propose_codes
from node.suggest.names import name_likeness, words
from node.suggest.propose import suggest
from node.suggest.reading import completed as completed_source
from node.suggest.reading import read_samples
from node.suggest.sample import Sample
from node.suggest.toml import text
from node.suggest.write import as_toml

CONTRACTS = {
    contract.dataset: contract for contract in map(Contract.from_toml, bundled_contracts()) if contract.version == 1
}
SECOND = next(
    contract
    for contract in map(Contract.from_toml, bundled_contracts())
    if (contract.dataset, contract.version) == ("nominals", 2)
)
SOURCE = Source.model_validate({"path": "/records/records.csv"})


def sampled(relation, rows=3000):
    """Samples of the columns of what DuckDB can select from."""
    found = duckdb.sql(f"SELECT * FROM {relation} LIMIT {rows}")
    names, lines = found.columns, found.fetchall()
    return {
        name: Sample(Counter(str(value) for value in values if value not in (None, "")), 0)
        for name, values in zip(names, zip(*lines, strict=True), strict=True)
    }


@cache
def proposed(make):
    """What is suggested for a made-up source."""
    messy = make()
    samples = {name: Sample(*messysources.counted(values)) for name, values in messy.columns.items()}
    return suggest(CONTRACTS[messy.dataset], samples)


def confirmed(content):
    """A proposal in which a person has confirmed every marker of which it is not sure."""
    return re.sub(r'^  # (".*",   # guess: check)', r"  \1", content, flags=re.MULTILINE)


def completed(content):
    """A proposal in which a person has filled in what is required."""
    return (
        content.replace('# domain = "…"', 'domain = "some_records"')
        .replace("# as_at", "as_at")
        .replace("# first_month", "first_month")
        .replace("# last_month", "last_month")
    )


@pytest.mark.parametrize("dataset", ["stop_search", "street_crime", "nominals"])
def test_every_column_of_the_bundled_sources_is_found(dataset, tmp_path):
    """For each bundled source the proposal feeds every column from where the force's own mapping does."""
    if dataset == "nominals":
        write_nominals(tmp_path / "nominals.csv", number=1, forces=3, persons=400)
        samples = sampled(f"read_csv('{tmp_path}/nominals.csv', all_varchar = true)")
    else:
        samples = sampled(f"'{HERE}/data/{dataset}.parquet'")
    mapping = read_config(HERE / "mappings" / f"{dataset}.toml", Mapping)
    found = suggest(CONTRACTS[dataset], samples)
    assert {item.column.name: item.source for item in found.columns} == {
        name: mapped.source for name, mapped in mapping.columns.items()
    }
    for item in found.columns:
        mapped = mapping.columns[item.column.name]
        assert {code.local: code.code for code in item.found.codes if not code.as_it_is and code.code} == mapped.codes
        assert item.found.time_zone == mapped.time_zone
        assert item.confidence > Confidence.GUESS


@pytest.mark.parametrize("make", messysources.SOURCES, ids=lambda make: make.__name__)
def test_most_columns_of_a_messy_source_are_found_and_what_is_sure_is_right(make):
    """At least four of five columns are found in sources with names and codes of their own; none that is sure is wrong."""
    messy = make()
    found = proposed(make)
    right = [item for item in found.columns if messy.truth.get(item.column.name) == item.source]
    assert len(right) >= 0.8 * len(messy.truth)
    wrong = [item for item in found.columns if item not in right]
    assert [item.column.name for item in wrong if item.confidence is Confidence.SURE] == []


def test_what_values_alone_tell_is_a_guess():
    """Columns whose names say nothing are found by values that tell, and are never more than a guess."""
    found = proposed(messysources.nameless)
    assert {item.column.name: item.source for item in found.columns} == messysources.nameless().truth
    assert {item.confidence for item in found.columns} == {Confidence.GUESS}


def test_a_name_is_no_proof_against_its_values():
    """A column of the right name with values of another kind is at best a guess."""
    samples = {"gender": Sample({str(at): 5 for at in range(30)}), "recorded": Sample({"yes": 50, "no": 50})}
    found = suggest(CONTRACTS["nominals"], samples)
    assert {item.confidence for item in found.columns} <= {Confidence.GUESS}


def test_two_columns_that_could_both_be_it_leave_it_unsure():
    """Where a second column is nearly as like, the first is not sure."""
    days = Sample(Counter(messysources.days(random.Random(1), "%Y-%m-%d")))
    alone = suggest(CONTRACTS["nominals"], {"recorded_date": days})
    both = suggest(CONTRACTS["nominals"], {"recorded_date": days, "reported_date": days})
    assert [item.confidence for item in alone.columns] == [Confidence.SURE]
    assert [item.confidence for item in both.columns] == [Confidence.LIKELY]


def test_each_source_column_feeds_one_contract_column():
    """The proposal is one to one."""
    for make in (*messysources.SOURCES, messysources.nameless):
        sources = [item.source for item in proposed(make).columns]
        assert len(set(sources)) == len(sources)


@pytest.mark.parametrize("make", messysources.SOURCES, ids=lambda make: make.__name__)
def test_a_proposal_is_a_mapping_once_a_person_has_completed_it(make, tmp_path):
    """As written it is refused for what is required; completed, it fits its contract."""
    messy = make()
    path = tmp_path / "mapping.toml"
    content = as_toml(proposed(make), SOURCE, rows=messysources.ROWS)
    path.write_text(content, encoding="utf-8")
    with pytest.raises(Misconfigured, match="the keys domain, as_at, first_month and last_month are missing"):
        read_config(path, Mapping)
    contract = CONTRACTS[messy.dataset]
    last = max(column.max for column in contract.columns if column.kind == "date")
    content = re.sub(r'(_month =) "[0-9-]+"', rf'\1 "{last:%Y-%m}"', completed(content))
    content = re.sub(r"(as_at =) [0-9-]+", rf"\1 {last}", content)
    path.write_text(content, encoding="utf-8")
    mapping = read_config(path, Mapping)
    mapping.check(contract)
    fed = {item.column.name for item in proposed(make).columns if item.confidence > Confidence.GUESS}
    assert set(mapping.columns) == fed


def test_formats_markers_symbols_and_zones_are_written(tmp_path):
    """Dates get their format, missing values their markers, money an expression, UTC its zone."""
    path = tmp_path / "mapping.toml"
    content = completed(as_toml(proposed(messysources.shouting), SOURCE, rows=1))
    path.write_text(content, encoding="utf-8")
    assert read_config(path, Mapping).columns["age"].unknown == (), "99 is far too frequent to be taken for missing"
    path.write_text(confirmed(content), encoding="utf-8")
    columns = read_config(path, Mapping).columns
    assert columns["recorded"].formats == ("%d/%m/%Y",)
    assert columns["recorded"].unknown == ("01/01/1900",)
    assert columns["age"].unknown == ("99",)
    assert columns["role"].unknown == ("N/K",)
    assert columns["loss_gbp"].expression == "REPLACE(REPLACE(\"LOSS_AMT\", '£', ''), ',', '')"
    path.write_text(completed(as_toml(proposed(messysources.camel), SOURCE, rows=1)), encoding="utf-8")
    assert read_config(path, Mapping).columns["recorded"].time_zone == "Europe/London"


@pytest.mark.parametrize("make", [*messysources.SOURCES, messysources.nameless], ids=lambda make: make.__name__)
def test_no_value_of_an_identifier_or_name_is_printed(make):
    """Of phones, registrations, persons, birth dates, names, postcodes and record numbers no value is in the text."""
    messy = make()
    content = as_toml(proposed(make), SOURCE, rows=messysources.ROWS)
    private = {"person", "phone", "vehicle"}
    columns = {messy.truth[name] for name in private if name in messy.truth}
    columns |= {name for name in messy.columns if re.search(r"NAME|name|DOB|birth|NO$|No$|postcode|ID$|f1|f3", name)}
    values = {value for name in columns for value in messy.columns[name] if len(value) > 3}
    assert values or make is messysources.crimes
    assert [value for value in values if value in content] == []


@pytest.mark.parametrize("many", [30, messysources.ROWS])
def test_free_text_under_a_category_s_name_is_not_listed(many):
    """A column that is called like a category, and holds what people wrote, shows none of it."""
    draw = random.Random(9)
    written = Counter(f"told {name} to wait" for name in messysources.surnames(draw)[:many])
    samples = {"outcome": Sample({**written, "Arrest": 200, "NFA": 300})}
    content = as_toml(suggest(CONTRACTS["stop_search"], samples), SOURCE, rows=1100)
    assert "[columns.outcome]" in content
    assert "told" not in content
    assert "codes_file" in content


def test_a_value_of_few_rows_or_among_many_is_not_listed():
    """Three rows have it and sixty values are the most, whether or not a code fits; the rest is counted."""
    roles = {"SUS": 900, "VIC": 3, "WIT": 2, "JOHN SMITH": 2, "KHAN ALI": 4}
    content = as_toml(suggest(CONTRACTS["nominals"], {"role": Sample(roles)}), SOURCE, rows=911)
    assert '"SUS" = "suspect"' in content
    assert '"VIC" = "victim"' in content
    assert "KHAN ALI" in content, "a code, for all that anybody can tell"
    assert "WIT" not in content
    assert "SMITH" not in content
    assert "# 2 more local values are not listed, because they may name somebody" in content
    several = {"SUS": 900} | {f"code {at}": 90 for at in range(60)}
    content = as_toml(suggest(CONTRACTS["nominals"], {"role": Sample(several)}), SOURCE, rows=6300)
    assert "code " not in content.split("[source]")[1].replace("code was found", "")


def test_a_file_without_a_header_is_not_proposed_for(tmp_path, capsys):
    """Its first record would be printed as the names of columns."""
    rows = ["1;SMITH, A;01/02/2024;JOHN", "2;KHAN, B;03/04/2024;ANN", "3;SMITH, A;01/02/2024;JOHN"]
    (tmp_path / "records.csv").write_text("\n".join(rows) + "\n")
    assert run(["node", "map", "suggest", "--dataset", "nominals", "--source", str(tmp_path / "records.csv")]) == 6
    told = capsys.readouterr()
    assert "its first line does not look like a header" in told.err
    assert "SMITH" not in told.out + told.err
    odd = {"role": Sample({"SUS": 30}), "02/03/1980": Sample({"x": 30}), "KHAN 07700900123": Sample({"y": 30})}
    content = as_toml(suggest(CONTRACTS["nominals"], odd), SOURCE, rows=30)
    assert "column 2: the same value in every row" in content
    assert not any(part in content for part in ("1980", "KHAN"))


def test_looking_at_a_source_leaves_nothing_behind(tmp_path, monkeypatch, capsys):
    """Neither temporary files, without a node's state to lie in, nor memory where a crash would put it."""
    limits = []
    monkeypatch.setattr(resource, "setrlimit", lambda *given: limits.append(given))
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(scratch))
    (tmp_path / "records.csv").write_text("role;note\n" + "SUS;é\n" * 30, encoding="windows-1252")
    arguments = ["node", "map", "suggest", "--dataset", "nominals", "--source", str(tmp_path / "records.csv")]
    assert run(arguments) == 0
    assert '"SUS" = "suspect"' in capsys.readouterr().out
    assert run([*arguments, "--delimiter", "e"]) == 6, "refused while the folder is there"
    assert list(scratch.iterdir()) == []
    assert limits == [(resource.RLIMIT_CORE, (0, 0))] * 2


def test_local_values_that_nothing_is_like_are_listed_for_a_person():
    """A frequent code that fits nothing stands in the file as a comment, with its rows, and in no mapping."""
    content = as_toml(proposed(messysources.shouting), SOURCE, rows=messysources.ROWS)
    assert re.search(r'^# "ARSON" = "…"   # no code was found; \d+ rows$', content, re.MULTILINE)


def test_a_hostile_column_name_stays_inside_its_quotes(tmp_path):
    """A name with line breaks and quotes neither breaks out of a comment nor out of a string."""
    name = 'sex"\nversion = 9\n[source]\x7f'
    samples = {name: Sample({"M": 30, "F": 30}), 'left"\nover = 1': Sample({"a": 3})}
    content = completed(as_toml(suggest(CONTRACTS["nominals"], samples), SOURCE, rows=60))
    read = tomllib.loads(content)
    assert read["version"] == 1
    assert set(read) == {"dataset", "version", "domain", "as_at", "first_month", "last_month", "source"} | (
        {"columns"} if "columns" in read else set()
    )
    assert tomllib.loads(f"a = {text(name)}")["a"] == name


@pytest.mark.parametrize(
    ("column", "local", "code", "confidence"),
    [
        ("gender", "M", "male", Confidence.SURE),
        ("gender", "female ", "female", Confidence.SURE),
        ("gender", "2", "female", Confidence.LIKELY),
        ("role", "SUS", "suspect", Confidence.SURE),
        ("role", "VIC", "victim", Confidence.SURE),
        ("role", "Missing", "missing_person", Confidence.SURE),
        ("offence", "Burgl", "burglary", Confidence.LIKELY),
        ("offence", "Vehical crime", "vehicle_crime", Confidence.LIKELY),
        ("offence", "none", "none", Confidence.SURE),
        ("offence", "Zebra", None, Confidence.GUESS),
    ],
)
def test_a_local_code_is_proposed(column, local, code, confidence):
    """Abbreviations, common codes, misspellings and strange values, each with how sure it is."""
    (found,) = propose_codes(CONTRACTS["nominals"].column(column), Sample({local: 7}))
    assert (found.code, found.confidence) == (code, confidence)


@pytest.mark.parametrize("marker", ["N/K", "Not known", "NULL", "-", "Not recorded", "Unk"])
def test_a_marker_of_nothing_known_is_missing(marker):
    """Common markers are proposed as unknown and not as a code."""
    (found,) = propose_codes(CONTRACTS["nominals"].column("role"), Sample({marker: 7}))
    assert found.missing


def test_not_stated_is_an_answer_where_the_contract_has_it():
    """A marker that is a code of the contract is that code."""
    column = CONTRACTS["stop_search"].column("self_defined_ethnicity")
    (found,) = propose_codes(column, Sample({"Not stated": 7}))
    assert (found.code, found.missing) == ("not_stated", False)


def test_a_sign_among_codes_of_one_letter_is_a_code():
    """Where other values are codes of one letter, `-` is listed for a person, and not taken for missing."""
    column = CONTRACTS["nominals"].column("role")
    among = {code.local: code for code in propose_codes(column, Sample({"S": 50, "V": 30, "-": 20}))}
    assert (among["-"].code, among["-"].missing) == (None, False)
    beside = {code.local: code for code in propose_codes(column, Sample({"Suspect": 50, "Victim": 30, "-": 20}))}
    assert beside["-"].missing


@pytest.mark.parametrize(
    ("marker", "rows", "doubted"),
    [("N/K", 400, False), ("Not known", 400, False), ("U", 400, True), ("U", 40, False), ("Refused", 400, True)],
)
def test_a_marker_is_written_with_its_rows_and_a_frequent_one_is_a_guess(marker, rows, doubted, tmp_path):
    """Above one row in twenty only what says by itself that nothing is known is taken for missing unasked."""
    samples = {"role": Sample({"Suspect": 500, "Victim": 500 - 1, marker: rows}, missing=1)}
    content = completed(as_toml(suggest(CONTRACTS["nominals"], samples), SOURCE, rows=1000 + rows))
    told = f"{rows:,} rows, {100 * rows / (1000 + rows):.1f} %"
    line = f'  # "{marker}",   # guess: check; {told}' if doubted else f'  "{marker}",   # {told}'
    assert line in content.splitlines()
    mapping = read_config(_write(tmp_path / "mapping.toml", content), Mapping)
    assert mapping.columns["role"].unknown == (() if doubted else (marker,))
    mapping = read_config(_write(tmp_path / "mapping.toml", confirmed(content)), Mapping)
    assert mapping.columns["role"].unknown == (marker,)


def test_a_default_date_is_missing_however_frequent():
    """A day that stands for no date, in whatever order it is written, and a day 0 are no guesses."""
    days = Counter({"01/01/1900": 400, "00/00/0000": 300, **{f"{day:02d}/05/2024": 40 for day in range(1, 29)}})
    content = as_toml(suggest(CONTRACTS["nominals"], {"recorded": Sample(days)}), SOURCE, rows=1)
    assert re.search(r'^  "01/01/1900",   # 400 rows, \d+\.\d %$', content, re.MULTILINE)
    assert re.search(r'^  "00/00/0000",   # 300 rows, \d+\.\d %$', content, re.MULTILINE)


def test_a_column_with_one_value_in_few_rows_is_no_column_with_one_value():
    """How many rows have it is said, and that it may be a marker; one that all rows have is called so."""
    assert Sample({"Y": 20}, missing=980).words == (
        "one value, in 2.0 % of the sampled rows; perhaps a marker for [[exclude]]"
    )
    assert Sample({"Y": 1}, missing=9999).words.startswith("one value, in less than 0.1 %")
    assert Sample({"Y": 900}, missing=100).words == "one value, in 90.0 % of the sampled rows"
    assert Sample({"Y": 900}).words == "the same value in every row"


def test_columns_that_mark_records_by_their_names_are_proposed_for_exclusion(tmp_path):
    """Each is a rule in a comment, which is one once a person confirms it; a value that is no plain yes is not shown."""
    days = Counter(messysources.days(random.Random(1), "%Y-%m-%d"))
    samples = {
        "recorded": Sample(days),
        "RESTRICTED_YN": Sample({"Y": 20, "N": 900}),
        "protective marking": Sample({"Witness Smith": 20}, missing=900),
        "notes": Sample({"Y": 20}),
    }
    content = completed(as_toml(suggest(CONTRACTS["nominals"], samples), SOURCE, rows=900))
    assert "exclude" not in tomllib.loads(content)
    assert "Smith" not in content
    assert content.count("# [[exclude]]") == 2
    taken = re.sub(r"^# (\[\[exclude\]\]|where = |reason = )", r"\1", content, flags=re.MULTILINE).replace(
        '"…"', '"DPIA"'
    )
    rules = read_config(_write(tmp_path / "mapping.toml", taken), Mapping).exclude
    assert [rule.where for rule in rules] == ["\"RESTRICTED_YN\" = 'Y'", "\"protective marking\" = '…'"]
    assert [names_in(rule.where) for rule in rules] == [("RESTRICTED_YN",), ("protective marking",)]
    del samples["RESTRICTED_YN"], samples["protective marking"]
    assert "exclude" not in as_toml(suggest(CONTRACTS["nominals"], samples), SOURCE, rows=900)


def test_words_of_names():
    """Names are taken apart at capitals and signs, and abbreviations are written out."""
    assert words("RecDt") == ("recorded", "date")
    assert words("VEH_REG_NO") == ("vehicle", "registration", "number")
    assert words("Type of search") == ("type", "search")


def test_a_synonym_is_nearly_a_name():
    """`sex` is a name for gender and no name for an age."""
    nominals = CONTRACTS["nominals"]
    assert name_likeness(("sex",), nominals.column("gender"))[0] > 0.95
    assert name_likeness(("sex",), nominals.column("age"))[0] < 0.5


def test_a_source_is_described_on_the_command_line(tmp_path):
    """Files by their names, databases by their URL; what is impossible is refused in words."""
    assert source_of("records.csv.gz", {}).kind is Kind.CSV
    assert source_of("records.csv", {}).path.is_absolute()
    server = source_of("postgresql://reader@db.example.org/x", {"table": "public.nominals"})
    assert (server.kind, server.table) == (Kind.POSTGRESQL, "public.nominals")
    assert source_of("mssql://db.example.org/x", {"table": "t"}).kind is Kind.SQL_SERVER
    for wrong, why in [
        ("gopher://x/y", "names no kind"),
        ("postgresql://reader:secret@db.example.org/x", "must not hold a password"),
        ("records.duckdb", "is a database, and --table is not given"),
    ]:
        with pytest.raises(Misconfigured, match=why):
            source_of(wrong, {} if "duckdb" in wrong else {"table": "t"})


def test_a_password_file_is_found_from_wherever_the_mapping_lies(tmp_path, monkeypatch):
    """A mapping counts paths from its own folder: what was typed in another is written from the root on."""
    monkeypatch.chdir(tmp_path)
    source = source_of("postgresql://reader@db.example.org/x", {"table": "t", "password_file": Path("secrets/pw")})
    content = completed(as_toml(suggest(CONTRACTS["nominals"], {"recorded": Sample({})}), source, rows=0))
    (tmp_path / "mappings").mkdir()
    mapping = read_config(_write(tmp_path / "mappings" / "nominals.toml", content), Mapping)
    assert mapping.source.password_file == tmp_path / "secrets" / "pw"


def test_a_folder_is_of_the_kind_that_lies_in_it(tmp_path):
    """Parquet, CSV, or nothing that tells; with both a person is asked."""
    assert source_of(str(tmp_path), {}).kind is Kind.CSV
    (tmp_path / "a.parquet").touch()
    (tmp_path / "readme.md").touch()
    assert source_of(str(tmp_path), {}).kind is Kind.PARQUET
    (tmp_path / "b.csv.gz").touch()
    with pytest.raises(Misconfigured, match="both CSV and Parquet") as refused:
        source_of(str(tmp_path), {})
    assert "--kind csv" in refused.value.hint
    assert source_of(str(tmp_path), {"kind": Kind.CSV}).kind is Kind.CSV


@pytest.mark.parametrize("kind", ["duckdb", "sqlite"])
def test_a_database_without_a_table_is_answered_with_its_tables(kind, tmp_path, capsys):
    """Their names are listed, and the flag; of a file that is no database only the flag."""
    path = tmp_path / f"records.{kind}"
    with closing(duckdb.connect(str(path)) if kind == "duckdb" else sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE nominals (a INTEGER)")
        database.execute("CREATE VIEW joined AS SELECT * FROM nominals")
    arguments = ["node", "map", "suggest", "--dataset", "nominals", "--source"]
    assert run([*arguments, str(path)]) == 6
    said = capsys.readouterr().err
    assert f"error: {path} is a database, and --table is not given" in said
    assert "hint: it has: joined, nominals" in said
    (tmp_path / f"none.{kind}").write_text("nothing")
    assert run([*arguments, str(tmp_path / f"none.{kind}")]) == 6
    assert "hint: name its table or view" in capsys.readouterr().err


def test_hints_name_flags_and_no_keys_of_a_mapping(tmp_path, capsys):
    """Whoever has no mapping yet is told which flag to change."""
    arguments = ["node", "map", "suggest", "--dataset", "nominals", "--source"]
    assert run([*arguments, str(tmp_path / "none.csv")]) == 6
    assert "hint: correct --source\n" in capsys.readouterr().err
    (tmp_path / "records.csv").write_bytes(b"a,\xe9\n1,2\n")
    assert run([*arguments, str(tmp_path / "records.csv"), "--encoding", "ascii"]) == 6
    assert "hint: give another --encoding\n" in capsys.readouterr().err
    assert run([*arguments, "postgresql://reader:secret@db.example.org/x"]) == 6
    said = capsys.readouterr().err
    assert "--source: the url must not hold a password" in said
    assert "secret@" not in said


def test_with_a_configuration_the_version_is_one_that_the_manifest_lists(tmp_path, capsys):
    """Of two versions at hand the manifest's is taken, the newest without one, and either if it is asked for."""
    layout = lay_out(tmp_path / "federation", Design(forces=("cumbria", "surrey", "sussex"), nominals=(1,)))
    config = layout.node_config("surrey")
    (tmp_path / "records.csv").write_text("sex\nM\n")
    arguments = ["node", "map", "suggest", "--dataset", "nominals", "--source", str(tmp_path / "records.csv")]
    for more, version in [(["--config", str(config)], 1), ([], 2), (["--config", str(config), "--version", "2"], 2)]:
        assert run([*arguments, *more]) == 0
        said = capsys.readouterr()
        assert tomllib.loads(said.out)["version"] == version
        assert ("the manifest does not list nominals v2" in said.err) == (len(more) == 4)
    read_config(config, NodeConfig).manifest.unlink()
    assert run([*arguments, "--config", str(config)]) == 0
    said = capsys.readouterr()
    assert tomllib.loads(said.out)["version"] == 2
    assert "nominals v2 is at hand" in said.err


def write_rows(path, columns, encoding, delimiter, newline):
    """A CSV file of a made-up source."""
    with path.open("w", encoding=encoding, newline="") as file:
        writer = csv.writer(file, delimiter=delimiter, lineterminator=newline)
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


@pytest.mark.parametrize(
    ("encoding", "delimiter", "newline"),
    [("utf-8", ",", "\n"), ("utf-8-sig", ";", "\r\n"), ("windows-1252", "|", "\n"), ("utf-16", "\t", "\r\n")],
)
def test_encoding_and_delimiter_are_found_out(encoding, delimiter, newline, tmp_path):
    """A file in any common form is sampled in full, and the proposal says how it is to be read."""
    messy = messysources.prefixed()
    columns = {
        **messy.columns,
        "per_town": ["Llanfairpwllgwyngyll", "Ynys Môn", "Café; Road"] * (messysources.ROWS // 3),
    }
    path = tmp_path / "records.csv"
    write_rows(path, columns, encoding, delimiter, newline)
    source, notes = completed_source(Source.model_validate({"path": path}))
    assert source.encoding == {"utf-8-sig": "utf-8"}.get(encoding, encoding)
    assert source.delimiter == delimiter
    assert len(notes) == (encoding in ("windows-1252", "utf-16")) + (delimiter != ",")
    samples, rows = read_samples(source, tmp_path)
    assert rows == messysources.ROWS
    assert samples["per_town"].values["Ynys Môn"] == messysources.ROWS // 3
    found = suggest(CONTRACTS[messy.dataset], samples)
    assert {item.column.name: item.source for item in found.columns} == messy.truth
    given = Source.model_validate({"path": path, "encoding": "latin-1", "delimiter": "x"})
    assert completed_source(given) == (given, ())


def test_a_sample_comes_from_several_files(tmp_path):
    """Of a folder with a file a month, the sample holds rows of five files and not of the first alone."""
    for month in range(7):
        (tmp_path / f"{month}.csv").write_text("month\n" + f"2025-0{month + 1}\n" * 1001)
    samples, rows = read_samples(Source.model_validate({"kind": "csv", "path": tmp_path}), tmp_path)
    assert rows == 5000
    assert len(samples["month"].values) == 5


def test_a_database_is_sampled_with_its_types(tmp_path):
    """A table of a database gives dates as dates, and needs no format."""
    with duckdb.connect(str(tmp_path / "records.duckdb")) as database:
        database.execute("""
            CREATE TABLE nominals AS
            SELECT DATE '2024-01-01' + (i % 300)::INTEGER AS rec_dt, (i % 90)::INTEGER AS age, 'N' || i AS nom_ref
            FROM range(200) t(i)
        """)
    source = source_of(str(tmp_path / "records.duckdb"), {"table": "nominals"})
    samples, _ = read_samples(source, tmp_path)
    found = suggest(CONTRACTS["nominals"], samples)
    assert {item.column.name: item.source for item in found.columns} == {
        "person": "nom_ref",
        "recorded": "rec_dt",
        "age": "age",
    }
    assert all(item.found.formats == () for item in found.columns)


def test_the_command_writes_a_file_for_its_owner_only_and_overwrites_none(tmp_path, capsys):
    """`cordon node map suggest` writes a proposal once; to standard output where no file is named."""
    messy = messysources.crimes()
    write_rows(tmp_path / "records.csv", messy.columns, "utf-8", ",", "\n")
    arguments = ["node", "map", "suggest", "--dataset", "street_crime", "--source", str(tmp_path / "records.csv")]
    out = tmp_path / "mapping.toml"
    assert run([*arguments, "--out", str(out)]) == 0
    assert "3 of 3 columns found" in capsys.readouterr().err
    assert out.stat().st_mode & 0o777 == 0o600
    mapping = read_config(_write(out, completed(out.read_text(encoding="utf-8"))), Mapping)
    assert mapping.source.path == tmp_path / "records.csv"
    assert run([*arguments, "--out", str(out)]) == 6
    assert "not overwritten" in capsys.readouterr().err
    assert run(arguments) == 0
    assert "[columns.crime_type]" in capsys.readouterr().out
    assert run([*arguments[:-1], str(tmp_path / "none.csv")]) == 6
    assert run([*arguments, "--version", "9"]) == 6
    assert "there is no contract street_crime v9" in capsys.readouterr().err


def _write(path, content):
    path.write_text(content, encoding="utf-8")
    return path


def test_a_completed_proposal_loads_what_the_source_holds(tmp_path):
    """A proposal, completed and with its guess at the age confirmed, loads British dates, money and local codes."""
    messy = messysources.shouting()
    columns = {name: values for name, values in messy.columns.items() if name != "AGE_YRS"}
    write_rows(tmp_path / "records.csv", columns, "windows-1252", ";", "\r\n")
    source, notes = completed_source(Source.model_validate({"path": tmp_path / "records.csv"}))
    samples, rows = read_samples(source, tmp_path)
    content = completed(as_toml(suggest(CONTRACTS["nominals"], samples), source, rows=rows, notes=notes))
    content = content.replace("# [columns.age]\n# expression", "[columns.age]\nexpression")
    mapping = read_config(_write(tmp_path / "mapping.toml", confirmed(content)), Mapping)
    (tmp_path / "state").mkdir()
    quality = load(mapping, CONTRACTS["nominals"], tmp_path / "state", progress=lambda _: None).quality
    assert quality.rows_read == messysources.ROWS
    found = {column.column: column for column in quality.columns}
    assert {name: column.mended for name, column in found.items() if column.mended} == {
        "offence": columns["HO_CLASS"].count("ARSON")
    }
    assert found["recorded"].missing == columns["REC_DT"].count("01/01/1900")
    with duckdb.connect(str(snapshot_path(tmp_path / "state", "nominals", 1)), read_only=True) as database:
        ages, losses = database.execute("SELECT min(age), max(loss_gbp) FROM snapshot").fetchone()
    assert ages >= 14, "born before 2005 at the latest, and recorded in 2024"
    assert 3000 < losses <= 4001


@pytest.fixture(scope="module")
def population():
    """A few made-up persons, as every records system of the generator holds them."""
    return make_population(1, persons=200)


def feeding(mapped):
    """Source columns that a column's mapping reads."""
    return {mapped.source} if mapped.expression is None else set(names_in(mapped.expression))


@pytest.mark.parametrize("system", SYSTEMS)
def test_most_columns_and_codes_of_a_made_up_records_system_are_found(system, population, tmp_path):
    """Of each of the generator's systems four of five columns are found, and what is sure is what its mapping says."""
    (tmp_path / "records").mkdir()
    write_force(population, 0, system, tmp_path / "records")
    write_mapping(system, tmp_path)
    mapping = read_config(tmp_path / "nominals.v2.toml", Mapping)
    source = mapping.source
    if source.kind is Kind.CSV:
        source, _ = completed_source(Source.model_validate({"kind": "csv", "path": source.path}))
        assert source.delimiter == mapping.source.delimiter
        assert source.encoding == mapping.source.encoding.removesuffix("-sig")
    samples, _ = read_samples(source, tmp_path)
    found = {item.column.name: item for item in suggest(SECOND, samples).columns}
    right = {
        name for name, mapped in mapping.columns.items() if name in found and found[name].source in feeding(mapped)
    }
    assert len(right) >= 0.8 * len(mapping.columns)
    assert {name for name, item in found.items() if item.confidence is Confidence.SURE} <= right
    for name in right & {column.name for column in SECOND.columns if isinstance(column, Category)}:
        meant = mapping.columns[name].read_codes(SECOND.column(name))
        for code in found[name].found.codes:
            if code.local in meant and code.code is not None and code.confidence is not Confidence.GUESS:
                assert meant[code.local] == code.code, (name, code)
