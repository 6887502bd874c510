"""A session with one federation: what the command line does, as calls that return values.

import cordon

with cordon.connect() as federation:
    answer = federation.query("SELECT object, COUNT(*) FROM stop_search GROUP BY object",
                              epsilon=1, purpose="research")
    print(answer)
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self

from cordon.analyst.client import Client, OnEvent
from cordon.analyst.compose import plan_statement
from cordon.analyst.explain import facts_of
from cordon.analyst.federation import Federation
from cordon.analyst.known import budget_facts, keep_up, offered, open_library, read_register, with_shares
from cordon.analyst.offers import described, find_contract, note_on_version
from cordon.analyst.profile import Profile, read_profile
from cordon.analyst.releases import Release
from cordon.analyst.residents import check_residents
from cordon.contract import Contract
from cordon.query.sql import parse_sql
from cordon.query.statement import Statement
from cordon.workbench.answer import Answer
from cordon.workbench.explanation import Explanation
from cordon.workbench.history import Asking, Standing, asked_before, history_of, recalled
from cordon.workbench.pricing import Figure, Wish, cost_of

SECONDS_A_DAY = 86_400

Tell = Callable[[str], None]


class Notice(UserWarning):
    """Something that an analyst should know, and that stops nothing."""


def connect(profile: Profile | Path | str | None = None, *, note: Tell | None = None) -> Session:
    """Begin a session. Nothing is dialled before it is needed.

    Args:
        profile: or a path to one; None for the one that `$CORDON_PROFILE` names, or else the default's place.
        note: told of what an analyst should know in a sentence; None for Python's warnings, as `Notice`.

    Raises:
        Misconfigured: profile, key or certificate is missing, damaged or readable by others.
    """
    read = profile if isinstance(profile, Profile) else read_profile(None if profile is None else Path(profile))
    return Session(Client(read), note=note or _warn)


class Session:
    """One analyst of one federation; use as a context manager, from one thread at a time."""

    def __init__(self, client: Client, *, note: Tell) -> None:
        """Take over a client, which `close` closes."""
        self._client = client
        self._note = note
        self._behind = False

    def __enter__(self) -> Self:
        """Nothing is dialled before it is needed."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Read what the register says of what was asked, so that the next question knows, and hang up."""
        try:
            self._keep_up()
        finally:
            self._client.close()

    @property
    def client(self) -> Client:
        """The analyst's side of the protocol."""
        return self._client

    def federation(self, *, cached: bool = False) -> Federation:
        """The verified manifest, the contracts, and who holds what.

        Args:
            cached: take what was fetched last, if anything was.

        Raises:
            CordonError: it cannot be fetched, or is not what governance has signed.
        """
        return self._client.federation(cached=cached)

    def datasets(self, name: str | None = None) -> dict[str, Any]:
        """Each data set by name, or one of them: its columns and codes, its versions, and who holds them.

        Raises:
            Refused: there is no such data set.
        """
        federation = self.federation()
        names = sorted(federation.versions.by_name) if name is None else [name]
        return {each: described(find_contract(each, federation), federation) for each in names}

    def query(
        self,
        sql: str,
        *,
        purpose: str,
        epsilon: Figure | None = None,
        within: Figure | None = None,
        weights: Sequence[Figure] = (),
        rows: Figure | None = None,
        attempts: int | None = None,
        wait_days: int = 0,
        add_again: bool = False,
        anew: bool = False,
        on_event: OnEvent = lambda _: None,
    ) -> Answer:
        """Ask, verify, and open the answer. A question that is answered and published already costs nothing.

        Args:
            sql: one SELECT, docs/query.md.
            purpose: a code of the federation's list.
            epsilon: privacy cost per attempt; either this or `within`.
            within: half-width of the widest 95 % interval, in the measure's unit.
            weights: how much each column of estimates matters; empty for equally.
            rows: that are expected in all, for `within` of averages and the like.
            attempts: most attempts, each charged anew, if a force is lost on the way; None for two.
            wait_days: to wait for forces where a person decides.
            add_again: fetch every force's ciphertext, and add them again.
            anew: ask and spend also where the answer is published.
            on_event: told of every event of the query as it arrives.

        Raises:
            QuestionRefused: the question cannot be asked; says where.
            QueryFailed: it ended without an answer.
            Untrusted: something does not verify.
            CordonError: anything else that was foreseen.
        """
        wish = Wish(epsilon, within, weights, rows, attempts)
        with open_library(self._client) as library:
            federation = self.federation()
            statement, contract = self._read(sql, federation)
            cost = cost_of(wish, statement, contract, federation)
            known = None if anew else offered(library, federation, statement, self._warned)
            if known is not None and known.rho >= cost.rho:
                self._note(f"{already(known)}: nothing was spent; --anew asks anew")
                return Answer(known.as_dict())
            if known is not None:
                self._note(f"note: {already(known)}, which is less exact: 'cordon releases' shows it at no cost")
            if not anew:
                self._note_earlier(statement)
            opened = self._client.ask(
                statement, cost, federation,
                purpose=purpose, weights=wish.importance, wait_seconds=wait_days * SECONDS_A_DAY,
                add_contributions=add_again, on_event=on_event,
            )  # fmt: skip
            self._behind = True
            return Answer(with_shares(self._client, library, federation.manifest, opened, self._warned))

    def explain(
        self,
        sql: str,
        *,
        purpose: str | None = None,
        epsilon: Figure | None = None,
        within: Figure | None = None,
        weights: Sequence[Figure] = (),
        rows: Figure | None = None,
        attempts: int | None = None,
        refresh: bool = False,
        on_reading: Tell = lambda _: None,
    ) -> Explanation:
        """What a question would cost, and how exact its answer would be. Tells nobody about the question.

        Args:
            purpose: count what each force allows for this purpose too.
            refresh: fetch manifest and contracts anew, and read the register.
            on_reading: told where the reading of the register stands.

        Raises:
            QuestionRefused: the question cannot be asked; says where.
        """
        wish = Wish(epsilon, within, weights, rows, attempts)
        with open_library(self._client) as library:
            federation = self.federation(cached=not refresh)
            statement, contract = self._read(sql, federation)
            cost = cost_of(wish, statement, contract, federation)
            if refresh:
                read_register(self._client, library, federation.manifest, on_reading, self._warned)
            known = offered(library, federation, statement, self._warned)
            analyst = self._client.signer.key_id
            budgets = budget_facts(library, statement.question, cost, analyst, purpose, federation.manifest)
        plan = plan_statement(statement, cost.rho, contract, federation.manifest, wish.importance)
        facts = facts_of(statement, plan, cost, contract, federation, rows=wish.expected_rows)
        if known is not None:
            command = "cordon query" if known.rho >= cost.rho else "cordon releases"
            facts["published"] = f"{already(known)}: '{command}' shows it at no cost"
        return Explanation(facts, budgets)

    def follow(
        self, query_id: str, *, proceed: bool = False, add_again: bool = False, on_event: OnEvent = lambda _: None
    ) -> Answer:
        """Follow an own query again by its id, also after a crash; an answer that was opened costs nothing.

        Args:
            query_id: or enough of its beginning.
            proceed: go on without forces where a person still decides.

        Raises:
            Refused: there is no such query here.
            QueryFailed: it ended without an answer.
        """
        found = self._client.find(query_id)
        with open_library(self._client) as library:
            if proceed:
                self._client.proceed(found)
            federation = self.federation()
            opened = self._client.follow(found, federation, add_contributions=add_again, on_event=on_event)
            return Answer(with_shares(self._client, library, federation.manifest, opened, self._warned))

    def recall(self, query_id: str) -> Answer:
        """An own answer that was opened before, from the workspace alone: nobody hears of it.

        Raises:
            Refused: there is no such query here, or it has no answer.
        """
        return Answer(recalled(self._client.workspace, query_id))

    def history(self) -> tuple[Asking, ...]:
        """Own queries and what came of them, newest first; from the workspace alone."""
        return history_of(self._client.workspace)

    def _read(self, sql: str, federation: Federation) -> tuple[Statement, Contract]:
        statement = parse_sql(sql, federation.versions, list(federation.manifest.by_id))
        check_residents(statement)
        said = note_on_version(statement, federation)
        if said:
            self._note(f"note: {said}")
        return statement, federation.contract_of(statement.question)

    def _note_earlier(self, statement: Statement) -> None:
        earlier = asked_before(self._client.workspace, statement.question)
        if earlier is not None:
            show = "cordon follow" if earlier.standing is Standing.OPEN else "cordon history"
            when = earlier.asked_at[:16].replace("T", " ")
            self._note(f"note: you asked this on {when}: '{show} {earlier.query_id[:16]}' shows it at no cost")

    def _keep_up(self) -> None:
        if self._behind:
            with open_library(self._client) as library:
                keep_up(self._client, library, self.federation(cached=True).manifest, self._warned)
            self._behind = False

    def _warned(self, text: str) -> None:
        self._note(f"warning: {text}")


def already(known: Release) -> str:
    """That a question is answered already, in words."""
    epsilon = known.answer["epsilon"]["charged"]
    return f"{known.analyst} has published this answer about the same records, asked at epsilon {epsilon:.3g}"


def _warn(text: str) -> None:
    warnings.warn(text, Notice, stacklevel=3)
