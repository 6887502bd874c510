"""Calls of a session that make no sense: refused in words, as on the command line, and never a bug's exception."""

import asyncio
from decimal import Decimal

import pytest

import cordon
from cordon.errors import CordonError, QuestionRefused, Refused
from cordon.workbench.concurrent import connect_async
from cordon.workbench.pricing import Wish
from demo.layout import Design, lay_out


@pytest.fixture(scope="module")
def profile(tmp_path_factory):
    """An analyst's; its coordinator does not run."""
    return lay_out(tmp_path_factory.mktemp("calls") / "federation", Design(("kent",))).profile()


def test_a_closed_session_refuses_to_dial_and_still_reads_its_workspace(profile):
    """Closing again does nothing."""
    session = cordon.connect(profile)
    session.close()
    session.close()
    assert session.history() == ()
    for call in (
        session.datasets,
        session.federation,
        lambda: session.query("SELECT COUNT(*) FROM stop_search", epsilon=1, purpose="research"),
        lambda: session.client.told(bytes(32)),
    ):
        with pytest.raises(Refused, match="this session is closed"):
            call()


def test_a_closed_asynchronous_session_refuses_every_call(profile):
    """Closing again does nothing, also at the end of a `with`."""

    async def calls():
        async with connect_async(profile) as session:
            assert await session.history() == ()
            await session.close()
            for call in (session.history, session.datasets, session.federation):
                with pytest.raises(Refused, match="this session is closed"):
                    await call()
        await session.close()

    asyncio.run(calls())


@pytest.mark.parametrize("query_id", [None, "", "zz", "../x", "*", 12, b"abcd"])
def test_what_is_no_id_is_refused(profile, query_id):
    """Whatever type it is of."""
    with cordon.connect(profile) as session, pytest.raises(Refused, match="at least 4 hexadecimal digits"):
        session.recall(query_id)


@pytest.mark.parametrize("attempts", ["2", 1.5, True, 0, -1, Decimal(2)])
def test_attempts_are_a_whole_number(attempts):
    """From one on."""
    with pytest.raises(QuestionRefused, match="--attempts takes a whole number from 1 on"):
        _ = Wish(epsilon=1, attempts=attempts).most_attempts


@pytest.mark.parametrize("weights", ["2,1", "21", b"21", 2, None, {"a": 1}])
def test_weights_are_several_numbers(weights):
    """A text is not read letter by letter."""
    with pytest.raises(QuestionRefused, match="--weights takes several numbers"):
        _ = Wish(epsilon=1, weights=weights).importance
    assert Wish(epsilon=1, weights=("2", 1)).importance == (2, 1)


@pytest.mark.parametrize("wait_seconds", [-1, -86_400, 129_600.0, "3" * 86_400])
def test_nobody_waits_for_less_than_no_day(profile, wait_seconds):
    """Before anything is sent or kept."""
    with cordon.connect(profile) as session:
        with pytest.raises(CordonError, match="--wait takes a whole number of days"):
            session.client.ask(None, None, None, purpose="", wait_seconds=wait_seconds, on_event=lambda _: None)
        assert session.history() == ()
