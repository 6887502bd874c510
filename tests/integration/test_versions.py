"""Two versions of one contract live together: some forces hold the first, some the second, some both."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from live import COMMAND_SECONDS, EVENTS, EVENTS_BUDGET, FORCES, HOLD_EVENTS, PURPOSE, Asking, Live
from revisions import DOMAIN

from cordon.accounting import rho_for_epsilon
from cordon.units import exact_number
from node.office import Office
from node.rehearsal import Asking as Rehearsed
from node.rehearsal import rehearse

pytestmark = pytest.mark.xdist_group("federation")

OLD = [force for force in FORCES if 1 in HOLD_EVENTS[force]]
NEW = [force for force in FORCES if 2 in HOLD_EVENTS[force]]
BOTH = [force for force in FORCES if HOLD_EVENTS[force] == (1, 2)]
BY_COLOUR = "SELECT colour, COUNT(*) AS n FROM {} GROUP BY colour"


def test_each_version_is_answered_by_its_holders_and_both_draw_on_one_budget(live: Live) -> None:
    """The bare name asks the version of most forces and says so; the others decline; a new version is no fresh budget."""
    done = live.cordon(
        "query", BY_COLOUR.format("events"), "--epsilon", "1", "--purpose", PURPOSE, "--format", "json", "--anew"
    )
    assert done.code == 0, done.err
    note = "note: events v1 is asked: 4 of the 5 forces asked offer it, 3 offer v2 (FROM events.v2)\n"
    assert note in done.err
    old: dict[str, Any] = json.loads(done.out)
    new = Asking(live, BY_COLOUR.format("events.v2"), epsilon="1").ended()

    assert (old["dataset"], old["answered"]) == ("events v1", OLD)
    assert (new["dataset"], new["answered"]) == ("events v2", NEW)
    (refused,) = old["declined"]
    assert (refused["code"], refused["text"]) == ("not held", "this force does not hold events v1")
    _check_totals(old, {"Red": EVENTS["red"], "Blue": EVENTS["blue"], "Unknown": EVENTS["green"]}, len(OLD))
    _check_totals(new, {"Red": EVENTS["red"], "Blue": EVENTS["blue"], "Green": EVENTS["green"]}, len(NEW))
    assert {vintage["contract"] for vintage in old["vintages"].values()}.isdisjoint(
        vintage["contract"] for vintage in new["vintages"].values()
    )

    for force in BOTH:
        first, second = (_charge(answer, force) for answer in (old, new))
        assert first["domain"] == second["domain"] == DOMAIN
        assert exact_number(second["period_sum"]) == exact_number(first["period_sum"]) + exact_number(new["rho"])
    # What is left at a force that answered both is less than at one that answered the second alone.
    epsilon = "2.7"
    delta, once = 1e-9, rho_for_epsilon(exact_number("1"), 1e-9)
    cost, budget = (rho_for_epsilon(exact_number(text), delta) for text in (epsilon, EVENTS_BUDGET))
    assert once + cost < budget < once + once + cost
    spent = Asking(live, BY_COLOUR.format("events.v2"), epsilon=epsilon, attempts=1)
    spent.join(COMMAND_SECONDS)
    assert spent.answer is None
    assert f"{len(BOTH)} declined, budget" in str(spent.error)


def test_who_offers_which_version_is_listed(live: Live) -> None:
    """Datasets shows the columns of the version that is named, and the holders of each."""
    table = live.cordon("datasets", "events.v2").out
    assert "red, green, blue, unknown" in table
    assert f"v1 held by: {', '.join(OLD)}\n" in table
    assert f"v2 held by: {', '.join(NEW)}\n" in table


def test_a_force_rehearses_the_version_that_is_named_or_that_it_holds(live: Live) -> None:
    """`node policy test` reads `FROM events.v2`; a bare name is the newest version that the force holds."""
    found = {
        (force, name): _rehearsed(live, force, name)
        for force, name in [("cumbria", "events"), ("cumbria", "events.v2"), ("west-yorkshire", "events")]
    }
    assert found["cumbria", "events"] == ("events v1", "admitted")
    assert found["cumbria", "events.v2"] == ("events v2", "declined")
    assert found["west-yorkshire", "events"] == ("events v2", "admitted")


def _rehearsed(live: Live, force: str, name: str) -> tuple[object, object]:
    asking = Rehearsed(BY_COLOUR.format(name), PURPOSE, exact_number("1/2"), 1, "alice")
    with Office.open(live.layout.node_config(force)) as office:
        facts = rehearse(asking, office, int(time.time())).facts(office.manifest)
    return str(facts["question"]).removeprefix("COUNT(*) of ").partition(" by ")[0], facts["decision"]


def _charge(answer: dict[str, Any], force: str) -> dict[str, Any]:
    (charge,) = (item for item in answer["charged"] if item["force"] == force)
    return dict(charge)


MARGIN = 60
"""More than eight standard deviations at epsilon 1, and less than one more or one fewer force would make."""


def _check_totals(answer: dict[str, Any], each: dict[str, int], forces: int) -> None:
    values = {row["keys"][0]: row["values"][0]["estimate"] for row in answer["rows"]}
    for colour, count in each.items():
        assert abs(values[colour] - count * forces) < MARGIN, (colour, values)
