"""Which earlier answers a trend is read from: those that were asked what the options name, with every row there."""

import io
from types import SimpleNamespace

import pytest
from rich.console import Console
from trends import document

from cordon.analyst.federation import Federation
from cordon.catalogue import read_catalogue
from cordon.errors import Refused
from cordon.manifest import read_manifest
from cordon.workbench.rereading import statement_of
from cordon.workbench.trend.asking import earlier_trend, trend
from cordon.workbench.trend.earlier import column_meant
from cordon.workbench.trend.periods import Grain
from cordon.workbench.trend.statement import Wanted, where_of
from demo.layout import Design, lay_out

SQL = (
    "SELECT MONTH(month) AS period, type, COUNT(*) AS records, COUNT_IF(gender = 'female') AS women FROM stop_search "
    "WHERE (gender = 'female' OR gender = 'male') AND month >= '2019-05' GROUP BY MONTH(month), type"
)


@pytest.fixture(scope="module")
def federation(tmp_path_factory):
    """A federation with the bundled contracts."""
    layout = lay_out(tmp_path_factory.mktemp("earlier") / "federation", Design(forces=("kent", "surrey", "essex")))
    manifest, _ = read_manifest(layout.root / "manifest.json", layout.governance_keys)
    return Federation(manifest, read_catalogue(manifest, layout.root / "contracts"), {})


@pytest.fixture
def session(federation):
    """All of a session that is needed where nobody is asked."""
    return SimpleNamespace(federation=lambda *, cached=False: federation)


@pytest.mark.parametrize(
    ("options", "column"),
    [
        ({}, None),
        ({"by": "type", "grain": Grain.MONTH, "date": "month"}, None),
        ({"where": "gender = 'female' OR gender = 'male'", "since": "2019-05"}, None),
        ({"measure": "count( * )"}, "records"),
        ({"measure": "COUNT_IF(gender = 'female')"}, "women"),
        ({"measure": "women"}, "women"),
    ],
)
def test_what_was_asked_can_be_named(options, column, federation):
    """Options that say what the answer was asked choose its column, and change nothing."""
    answer = document({"red": [1.0] * 12}, 1.0, sql=SQL)
    assert (
        column_meant(Wanted("stop_search", **options), answer, statement_of(answer, federation), federation) == column
    )


@pytest.mark.parametrize(
    "options",
    [
        {"where": "gender = 'male'", "since": "2019-05"},
        {"where": "gender = 'female' OR gender = 'male'"},
        {"where": "force = 'kent'"},
        {"until": "2019-12"},
        {"by": "object"},
        {"by": "force"},
        {"grain": Grain.QUARTER},
        {"date": "date"},
        {"measure": "COUNT_IF(gender = 'male')"},
        {"dataset": "nominals"},
        {"dataset": "stop_search.v7"},
    ],
)
def test_what_was_not_asked_is_refused(options, federation):
    """No option is dropped silently: an answer is read as what it was asked, or not at all."""
    answer = document({"red": [1.0] * 12}, 1.0, sql=SQL)
    with pytest.raises(Refused, match=r"was not asked|is about stop_search v1, not"):
        column_meant(
            Wanted(**{"dataset": "stop_search"} | options), answer, statement_of(answer, federation), federation
        )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("GROUP BY MONTH(month), type HAVING COUNT(*) > 300", "HAVING or LIMIT"),
        ("GROUP BY MONTH(month), type LIMIT 30", "HAVING or LIMIT"),
        ("GROUP BY ROLLUP(MONTH(month), type)", "has totals in it"),
    ],
)
def test_an_answer_that_lacks_rows_has_no_trend(more, message, session):
    """Months that HAVING hides would be a level that never fell; totals have narrowed the intervals of what they sum."""
    sql = f"SELECT MONTH(month) AS period, type, COUNT(*) AS records FROM stop_search {more}"
    with pytest.raises(Refused, match=message):
        trend(session, "stop_search", answer=document({"red": [100.0] * 24}, 1.0, sql=sql))


def test_the_condition_stands_wherever_a_trend_is_shown(session):
    """What was asked is in the output, and which records alone are meant is in the picture's title."""
    answer = document({"red": [100.0] * 24}, 1.0, sql=SQL.replace(", COUNT_IF(gender = 'female') AS women", ""))
    found = earlier_trend(session, Wanted("stop_search"), answer)
    out = io.StringIO()
    found.notes(Console(file=out, width=500))
    assert f"asked: {answer.sql}" in out.getvalue()
    only = "only where (gender = 'female' OR gender = 'male') AND month >= '2019-05'"
    assert found.drawing().captions.title.endswith(only)
    assert not where_of(
        "SELECT MONTH(month), COUNT(*) FILTER (WHERE type = 'x') FROM stop_search GROUP BY MONTH(month)"
    )
