"""What is compared, from what somebody types, and the one question that asks for it with the least noise.

Every form asks for cells that no two records share, in one table:

- per resident: records by group, all of the cost on one block;
- per record, one code of the outcome: records by group and outcome, so that one block has all of the cost, and the
  records without the outcome are the sum of the other codes' cells;
- per record, several codes: records with and without them, each with half of the cost, which is less noise than to
  sum many cells.

With k of K codes and each equally likely, the noise in a share goes by k (1 − k/K) in the second form and by
2 (1 − 2 k/K (1 − k/K)) in the third, in units of one cell's variance over all records; `_is_by_outcome` takes the
smaller.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from cordon.analyst.residents import ResidentsTable, bundled_residents
from cordon.contract import FORCE, UNKNOWN, Category, Contract
from cordon.errors import QuestionRefused, Refused

RECORDS, RESIDENTS, WITH, WITHOUT = "records", "residents", "with_outcome", "without_outcome"
"""Names of the columns of estimates."""

OUTCOME = "outcome"
"""The column whose codes `--outcome` takes, unless it names another."""

REFERENCES = ("white", "white_british")
"""Codes that groups are compared with where nobody says; any other column needs a word from the analyst."""

NOT_STATED = "not_stated"
"""A code that says as little of somebody's group as `unknown` does."""


MOST_WITHIN = 0.9
"""Residents may be declared to be off by less than all of them."""


class Adjust(StrEnum):
    """How p-values are adjusted."""

    HOLM = "holm"
    """Holm (1979): holds the family-wise error under any dependence."""
    FDR = "fdr"
    """Benjamini and Hochberg (1995): holds the false discovery rate of tests that are independent of each other or
    depend positively, which is not proven of these, which share a reference."""


class Per(StrEnum):
    """What records are counted over."""

    POPULATION = "population"
    """Residents of the group, Census 2011."""
    RECORDS = "records"
    """All of the group's records: a share of them has the outcome."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for, in codes of the contract."""

    dataset: str
    """As typed in FROM."""
    by: Category
    reference: str
    per: Per
    outcome: Category | None = None
    outcomes: tuple[str, ...] = ()
    by_force: bool = False
    where: str = ""
    """A condition in SQL; empty for none."""
    left_out: tuple[str, ...] = ()
    """Forces that are not asked because they have no residents."""
    notes: tuple[str, ...] = ()
    """What was chosen for the analyst, in sentences."""
    rows: int = 1
    """Most records of one protected unit in a force, which come about together."""
    read_from: str = ""
    """The statement of an earlier answer that was found to tell the same as `sql` would; empty where there is none."""

    @property
    def groups(self) -> tuple[str, ...]:
        """Codes that say which group somebody is of, the reference among them."""
        return tuple(code.code for code in self.by.codes if code.code not in (UNKNOWN, NOT_STATED))

    def label(self, code: str) -> str:
        """A group as people read it."""
        return self.by.codes[self.by.positions[code]].label

    @property
    def outcome_labels(self) -> tuple[str, ...]:
        """The outcomes as people read them."""
        column = self.outcome
        return () if column is None else tuple(column.codes[column.positions[code]].label for code in self.outcomes)

    @property
    def sql(self) -> str:
        """The one question."""
        keys = [*([FORCE] if self.by_force else []), self.by.name]
        conditions = [f"({self.where})"] if self.where else []
        if self.left_out:
            conditions.append(f"{FORCE} NOT IN ({_quoted(self.left_out)})")
        if self.per is Per.POPULATION:
            measures = [f"COUNT(*) AS {RECORDS}", f"RESIDENTS() AS {RESIDENTS}"]
            conditions += [f"{self.outcome.name} IN ({_quoted(self.outcomes)})"] if self.outcome else []
        elif _is_by_outcome(self):
            keys.append(_outcome(self).name)
            measures = [f"COUNT(*) AS {RECORDS}"]
        else:
            name, codes = _outcome(self).name, _quoted(self.outcomes)
            measures = [f"COUNT_IF({name} IN ({codes})) AS {WITH}", f"COUNT_IF({name} NOT IN ({codes})) AS {WITHOUT}"]
        where = f" WHERE {' AND '.join(conditions)}" if conditions else ""
        return f"SELECT {', '.join(keys + measures)} FROM {self.dataset}{where} GROUP BY {', '.join(keys)}"  # noqa: S608 - text that is parsed by `cordon.query.sql`, and no database sees


def wanted(
    contract: Contract,
    dataset: str,
    *,
    by: str,
    outcome: str | None = None,
    per: Per | None = None,
    reference: str | None = None,
    by_force: bool = False,
    where: str = "",
) -> Wanted:
    """Read what somebody typed against a contract.

    Args:
        dataset: what FROM shall name.
        by: a category's name, or a part of it that is clear.
        outcome: codes or labels of the outcome column, separated by commas; `column=codes` for another column.
        per: None for residents, or for records where an outcome is named.
        reference: a code, a label, or a part of one.

    Raises:
        QuestionRefused: something is not in the contract, or is not clear.
        Refused: there is nothing that a rate could be over.
    """
    table = bundled_residents()
    column, notes = _grouped_by(by, contract, table)
    asked, codes = _outcomes(outcome, contract) if outcome else (None, ())
    over = per or (Per.RECORDS if asked is not None else Per.POPULATION)
    if asked is not None and asked.name == column.name:
        raise QuestionRefused(f"{column.name} cannot be both the groups and the outcome")
    if over is Per.RECORDS and asked is None:
        raise Refused(
            "a share of records needs an outcome that they may have",
            hint="add e.g. --outcome arrest, or count per resident with --per population",
        )
    if over is Per.POPULATION and column.name not in table.columns:
        why = table.other_columns.get(column.name, f"the table of residents has {', '.join(table.columns)} only")
        raise Refused(
            f"there are no residents by {column.name}, so there is no rate per resident",
            hint=f"{why}; or compare shares of records, e.g. with --outcome arrest",
        )
    return Wanted(
        dataset=dataset,
        by=column,
        reference=_reference(reference, column),
        per=over,
        outcome=asked,
        outcomes=codes,
        by_force=by_force,
        where=where.strip(),
        notes=notes,
        rows=contract.unit.max_rows_per_unit,
    )


def without_residents(forces: Iterable[str]) -> tuple[str, ...]:
    """The forces among these whose residents nobody has counted."""
    return tuple(sorted(set(forces) - set(bundled_residents().forces)))


def _is_by_outcome(asked: Wanted) -> bool:
    codes = len(_outcome(asked).codes)
    share = len(asked.outcomes) / codes
    return codes * share * (1 - share) <= 2 * (1 - 2 * share * (1 - share))


def _outcome(asked: Wanted) -> Category:
    if asked.outcome is None:
        raise AssertionError("a share of records has an outcome")
    return asked.outcome


def _quoted(codes: Sequence[str]) -> str:
    return ", ".join(f"'{code}'" for code in codes)


# Names and codes


def _grouped_by(name: str, contract: Contract, table: ResidentsTable) -> tuple[Category, tuple[str, ...]]:
    categories = {column.name: column for column in contract.columns if isinstance(column, Category)}
    fitting = [each for each in categories if each == name] or [each for each in categories if name.lower() in each]
    if len(fitting) > 1:
        # Of two columns about the same, the one whose groups have residents serves both kinds of rates.
        counted = [each for each in fitting if each in table.columns and name.lower() in each.split("_")]
        if len(counted) == 1:
            others = ", ".join(each for each in fitting if each != counted[0])
            return categories[counted[0]], (f"--by {name}: by {counted[0]}, whose groups have residents, not {others}",)
        raise QuestionRefused(f"--by {name} may be any of {', '.join(fitting)}", hint="name one of them")
    if not fitting:
        raise _unknown(f"{contract.dataset} has no category {name!r}", name, list(categories))
    return categories[fitting[0]], ()


def _outcomes(text: str, contract: Contract) -> tuple[Category, tuple[str, ...]]:
    name, equals, listed = text.rpartition("=")
    categories = {column.name: column for column in contract.columns if isinstance(column, Category)}
    found = categories.get(name.strip() if equals else OUTCOME)
    if found is None:
        named = name.strip() if equals else OUTCOME
        raise _unknown(f"{contract.dataset} has no category {named!r} to take outcomes from", named, list(categories))
    codes = dict.fromkeys(_code(part.strip(), found) for part in listed.split(","))
    if len(codes) == len(found.codes):
        raise QuestionRefused(f"every record has one of these outcomes of {found.name}", hint="name fewer")
    return found, tuple(codes)


def _reference(text: str | None, column: Category) -> str:
    if text is not None:
        found = _code(text, column)
        if found in (UNKNOWN, NOT_STATED):
            raise QuestionRefused(f"{found} is no group to compare others with")
        return found
    for code in REFERENCES:
        if code in column.positions:
            return code
    listed = ", ".join(code.code for code in column.codes if code.code not in (UNKNOWN, NOT_STATED))
    raise Refused(f"say which group of {column.name} the others are compared with", hint=f"--reference, of: {listed}")


def _code(text: str, column: Category) -> str:
    """The code that a text names: itself, a label in any case, or a clear part of either."""
    folded = text.casefold()
    exact = [code.code for code in column.codes if folded in (code.code, code.label.casefold())]
    part = [code.code for code in column.codes if folded in code.code or folded in code.label.casefold()]
    found = exact or (part if folded else [])
    if len(found) == 1:
        return found[0]
    if found:
        raise QuestionRefused(f"{text!r} may be any of {', '.join(found)} of {column.name}", hint="name one of them")
    raise _unknown(f"{column.name} has no code {text!r}", text, [code.code for code in column.codes])


def _unknown(message: str, text: str, names: list[str]) -> QuestionRefused:
    words = dict.fromkeys(word for name in names for word in (name, *name.split("_")))
    near = difflib.get_close_matches(text.casefold(), list(words), n=1, cutoff=0.7)
    listed = f"there are: {', '.join(names)}"
    return QuestionRefused(message, hint=f"did you mean {near[0]}? {listed}" if near else listed)
