"""Versions of one data set: which of them FROM means, what is said about the others, and what keeps them apart."""

from __future__ import annotations

import io
from dataclasses import replace

import pytest
from examples import person_contract
from revisions import add_events, events
from rich.console import Console

from cordon.analyst.federation import Federation
from cordon.analyst.offers import described, find_contract, note_on_version, print_columns, print_datasets
from cordon.analyst.releases import Release, best_offer
from cordon.catalogue import read_catalogue
from cordon.errors import QuestionRefused, Refused
from cordon.manifest import read_manifest
from cordon.query.sql import Versions, parse_sql
from cordon.query.statement import Statement
from cordon.units import Digest, Rho
from cordon.wire.messages import HeldContract
from demo.layout import Design, lay_out

FORCES = ("essex", "kent", "norfolk", "suffolk", "surrey")
OLD, NEW = events()
ALL = Versions.of([NEW, person_contract(), OLD])


@pytest.fixture(scope="module")
def listed(tmp_path_factory):
    """A manifest that lists `events` in both versions beside the bundled contracts, and its catalogue."""
    layout = lay_out(tmp_path_factory.mktemp("versions") / "federation", Design(forces=FORCES))
    add_events(layout, {}, {})
    manifest, _ = read_manifest(layout.root / "manifest.json", layout.governance_keys)
    return manifest, read_catalogue(manifest, layout.root / "contracts")


@pytest.fixture
def offering(listed):
    """Makes a federation in which forces hold these versions of `events`."""

    def made(**held):
        contracts = {1: OLD, 2: NEW}
        holdings = {force: tuple(_held(contracts[version]) for version in held[force]) for force in held}
        return Federation(*listed, holdings)

    return made


def _held(contract):
    return HeldContract(
        contract.dataset, contract.version, contract.digest, "2025-12-31", "2025-01", "2025-12", bytes(16), ""
    )


def read(federation, source, rest=""):
    """A count, read as the analyst's client reads it."""
    sql = f"SELECT COUNT(*) FROM {source} {rest}"
    return parse_sql(sql, federation.versions, FORCES)


# SQL


@pytest.mark.parametrize(
    ("source", "version"),
    [("events", 2), ("events.v1", 1), ("events.v2", 2), ('"events"."v1"', 1), ("events . v1", 1), ("persons.v1", 1)],
)
def test_from_names_a_version_or_leaves_it_open(source, version):
    """A version after a point is the one that is asked; without it, of several the newest unless somebody chooses."""
    statement = parse_sql(f"SELECT COUNT(*) FROM {source}", ALL, FORCES)
    assert statement.question.contract_version == version
    assert statement.names_version == (source != "events")


def test_a_statement_is_read_the_same_again_from_the_version_that_was_asked():
    """What was typed is kept as typed, and is the same question when only the asked contract is at hand."""
    for source, contract in (("events", NEW), ("events.v1", OLD), ("events.v2", NEW)):
        sql = f"SELECT colour, COUNT(*) FROM {source} WHERE force <> 'kent' GROUP BY colour"
        statement = parse_sql(sql, ALL, FORCES)
        assert statement.sql == sql
        assert parse_sql(sql, {"events": contract}, FORCES) == statement
    with pytest.raises(QuestionRefused, match="no version 'v1'"):
        parse_sql("SELECT COUNT(*) FROM events.v1", {"events": NEW}, FORCES)


@pytest.mark.parametrize(
    ("source", "under", "hint"),
    [
        ("events.v3", "v3", "there are: events.v1, events.v2"),
        ("events.V2", "V2", "there are: events.v1, events.v2"),
        ("events.v01", "v01", "there are: events.v1, events.v2"),
        ("persons.v2", "v2", "there are: persons.v1"),
        ("event.v1", "event", "did you mean events?"),
        ("v1.events", "v1", "there are: events, persons"),
        ("main.events.v1", "main.events.v1", "FROM data_set, or FROM data_set.v2"),
        ("a.main.events.v1", "a.main.events.v1", "FROM data_set, or FROM data_set.v2"),
        ("events..v1", "events..v1", "FROM data_set, or FROM data_set.v2"),
        ("events.v1 e", "events.v1 e", "FROM events.v1"),
        ("events.v1 AS e", "events.v1 AS e", "FROM events.v1"),
        ("events.v1(3)", "events.v1(3", "FROM events.v1"),
        ("events(3)", "events(3", "FROM events"),
        ("events.v1 v2", "events.v1 v2", "FROM events.v1"),
        ("events v2", "events v2", "FROM events.v2"),
    ],
)
def test_what_is_no_version_is_refused_under_its_words(source, under, hint):
    """The caret is under the version or the whole name, and the hint is what there is."""
    sql = f"SELECT COUNT(*) FROM {source}"
    with pytest.raises(QuestionRefused) as refused:
        parse_sql(sql, ALL, FORCES)
    assert sql[refused.value.start : refused.value.end] == under
    assert refused.value.hint == hint


def test_what_only_another_version_has_is_named_with_it():
    """A code or column that the asked version lacks is refused with the version that has it."""
    with pytest.raises(QuestionRefused, match="no code 'green'") as refused:
        parse_sql("SELECT COUNT(*) FROM events.v1 WHERE colour = 'green'", ALL, FORCES)
    assert refused.value.hint == "another version has it: FROM events.v2"
    without = OLD.model_copy(update={"columns": OLD.columns[:1]})
    with pytest.raises(QuestionRefused, match="events v1 has no column 'day'") as refused:
        parse_sql("SELECT COUNT(day) FROM events.v1", Versions.of([without, NEW]), FORCES)
    assert refused.value.hint == "another version has it: FROM events.v2"


# The choice


@pytest.mark.parametrize(
    ("held", "rest", "version"),
    [
        ({"essex": (1,), "kent": (1, 2), "norfolk": (1,)}, "", 1),
        ({"essex": (1,), "kent": (1, 2), "norfolk": (2,)}, "", 2),
        ({"essex": (1,), "kent": (1,), "norfolk": (2,)}, "WHERE force = 'norfolk'", 2),
        ({"essex": (1,), "kent": (1,), "norfolk": (2,)}, "WHERE force IN ('norfolk', 'essex')", 2),
        ({"essex": (1,), "kent": (2,), "norfolk": (2,)}, "WHERE NOT force IN ('kent', 'norfolk')", 1),
        ({}, "", 2),
        ({"essex": ()}, "", 2),
    ],
)
def test_a_bare_name_is_the_version_that_most_of_the_forces_asked_offer(offering, held, rest, version):
    """Only forces that are connected and asked count; of equals, and where nobody offers any, the newest."""
    assert read(offering(**held), "events", rest).question.contract_version == version


@pytest.mark.parametrize(
    ("held", "source", "note"),
    [
        ({"essex": (1,), "kent": (1, 2)}, "events", "events v1 is asked: 2 of the 5 forces asked offer it, 1 offer v2 (FROM events.v2)"),
        ({"essex": (1,)}, "events", "events v1 is asked: 1 of the 5 forces asked offer it, 0 offer v2 (FROM events.v2)"),
        ({"essex": (1,), "kent": (2,)}, "events", "events v2 is asked: 1 of the 5 forces asked offer it, 1 offer v1 (FROM events.v1)"),
        ({"essex": (1, 2), "kent": (2,)}, "events", ""),
        ({"essex": (1,), "kent": (1, 2)}, "events.v1", ""),
        ({"essex": (1,), "kent": (2,)}, "stop_search", ""),
    ],
)  # fmt: skip
def test_another_version_that_could_have_been_meant_is_said(offering, held, source, note):
    """A note where another version is newer or reaches a force that this one leaves out; none where it was named."""
    federation = offering(**held)
    assert note_on_version(read(federation, source), federation) == note


def test_two_versions_that_are_listed_are_offered_apart(offering):
    """A force that holds one version's contract does not hold the other's."""
    federation = offering(essex=(1,), kent=(1, 2), norfolk=(1,))
    assert (federation.holders(OLD), federation.holders(NEW)) == (["essex", "kent", "norfolk"], ["kent"])


def test_a_question_by_a_version_that_is_listed_no_more_is_refused(offering):
    """An old query that is followed after its contract has left the manifest ends in words."""
    federation = offering(essex=(1,))
    question = read(federation, "events.v1").question
    left = {name: found for name, found in federation.catalogue.items() if name != ("events", 1)}
    with pytest.raises(Refused, match="does not list events v1 any more"):
        replace(federation, catalogue=left).contract_of(question)


# Listing


def test_datasets_tells_who_offers_which_version(offering):
    """Each version is a line; JSON describes the one that the bare name stands for, with all versions beside."""
    federation = replace(offering(essex=(1,), kent=(1, 2), norfolk=(1,)), paused=frozenset({"norfolk"}))
    facts = described(find_contract("events", federation), federation)
    assert (facts["version"], facts["held_by"], facts["paused"]) == (1, ["essex", "kent", "norfolk"], ["norfolk"])
    assert facts["versions"] == [
        {"version": 1, "title": "Events", "held_by": ["essex", "kent", "norfolk"], "paused": ["norfolk"]},
        {"version": 2, "title": "Events", "held_by": ["kent"], "paused": []},
    ]
    assert described(find_contract("events.v2", federation), federation)["columns"]["colour"] == (
        "red, green, blue, unknown"
    )
    out = Console(file=io.StringIO(), width=200)
    print_datasets(federation, out)
    print_columns(find_contract("events.v2", federation), federation, out)
    lines = out.file.getvalue().splitlines()
    assert [line.split()[1] for line in lines if line.startswith("events  ")] == ["1", "2"]
    assert [line for line in lines if " held by: " in line] == ["v1 held by: essex, kent, norfolk", "v2 held by: kent"]


@pytest.mark.parametrize(
    ("name", "hint"),
    [("event", "there are: events"), ("events.v3", "there are: events.v1, events.v2"), ("events.", "events.v1, ")],
)
def test_a_version_that_is_not_listed_is_refused_with_those_that_are(offering, name, hint):
    """`cordon datasets` refuses what FROM would refuse."""
    with pytest.raises(QuestionRefused) as refused:
        find_contract(name, offering())
    assert hint in refused.value.hint


# Published answers


def test_a_published_answer_about_one_version_never_stands_for_another():
    """Neither by its question, which names the version, nor by what forces declare that they hold now."""

    def asked(contract) -> Statement:
        return parse_sql("SELECT COUNT(*) FROM events", {"events": contract}, FORCES)

    def vintage(contract):
        return {"contract": contract.digest.hex(), "as_at": "2025-12-31", "load_id": "00"}

    answer = {"answered": ["kent"], "vintages": {"kent": vintage(OLD)}}
    release = Release(1, Digest(bytes(32)), "alice", 0, asked(OLD), Rho(10), answer)
    assert best_offer([release], asked(OLD), {"kent": vintage(OLD)}) is release
    assert best_offer([release], asked(NEW), {"kent": vintage(OLD)}) is None
    assert best_offer([release], asked(OLD), {"kent": vintage(NEW)}) is None


@pytest.mark.parametrize(
    "published",
    [
        "SELECT colour, 80000 - COUNT(*) AS n FROM events GROUP BY colour",
        "SELECT colour, COUNT(*) * 2 AS n FROM events GROUP BY colour",
        "SELECT colour, COUNT(*) AS n FROM events GROUP BY colour HAVING COUNT(*) > 100",
        "SELECT colour, COUNT(*) AS n FROM events GROUP BY colour ORDER BY n DESC",
        "SELECT colour, COUNT(*) AS n FROM events GROUP BY colour LIMIT 1",
        "SELECT colour, COUNT(*) AS m FROM events GROUP BY colour",
    ],
)
def test_a_published_answer_to_the_same_question_under_another_select_never_stands_for_mine(published):
    """It may well be true of its own statement: what travels is the same, and what is shown is not."""

    def asked(sql) -> Statement:
        return parse_sql(sql, {"events": OLD}, FORCES)

    vintages = {"kent": {"contract": OLD.digest.hex(), "as_at": "2025-12-31", "load_id": "00"}}
    answer = {"answered": ["kent"], "vintages": vintages}
    mine = asked("select colour, count(*) AS n from events group by colour")
    other, same = (
        Release(1, Digest(bytes(32)), "alice", 0, asked(sql), Rho(10), answer)
        for sql in (published, "SELECT colour, COUNT(*) AS n FROM events GROUP BY colour")
    )
    assert other.statement.question == mine.question
    assert best_offer([other], mine, vintages) is None
    assert best_offer([other, same], mine, vintages) is same
