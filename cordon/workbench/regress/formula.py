"""A formula as it is typed, such as `outcome = 'charged' ~ age + gender`, and the model that it means."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

from cordon.contract import FORCE, UNKNOWN, Category, Contract, Number
from cordon.errors import QuestionRefused
from cordon.query.model import MOST_KEYS
from cordon.workbench.regress.model import Condition, Group, Model, Quantity

_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_RESPONSE = re.compile(rf"({_NAME})(?:\s*=\s*(?:'([^']*)'|\"([^\"]*)\"|([\w-]+)))?")
_SHAPE = 'formulas: "loss_gbp ~ age + gender", "outcome = \'charged\' ~ age + ethnicity"'


def read_model(formula: str, contract: Contract, references: Sequence[str] = (), forces: Sequence[str] = ()) -> Model:
    """The model that a formula means.

    Args:
        references: `column=code`, each the level that a category's other levels are compared with.
        forces: that may be asked, where `force` is a term.

    Raises:
        QuestionRefused: it is no formula, or the contract has no such columns; says what would do.
    """
    left, terms = _sides(formula)
    response = _response(left, contract)
    chosen = dict(_reference(item, terms) for item in references)
    numbers: list[Quantity] = []
    groups: list[Group] = []
    for name in terms:
        if name == response.name:
            raise QuestionRefused(f"{name} stands on both sides of the formula", hint="leave it out on the right")
        column = None if name == FORCE else _column(name, contract)
        if isinstance(column, Number):
            numbers.append(Quantity(column))
        else:
            groups.append(_group(name, column, chosen.get(name), forces))
    for name in chosen:
        if name not in {group.name for group in groups}:
            raise QuestionRefused(f"{name} is a number and has no reference", hint="references are of categories")
    said = f"{response.name} = '{response.code}'" if isinstance(response, Condition) else response.name
    model = Model(contract, response, tuple(numbers), tuple(groups), f"{said} ~ {' + '.join(terms)}")
    if not model.is_small_enough:
        raise QuestionRefused(
            f"a regression on {len(numbers)} numbers needs more sums than one question holds",
            hint="at most 3 numbers on the right; categories may be more",
        )
    if len(groups) > MOST_KEYS:
        raise QuestionRefused(f"a regression takes at most {MOST_KEYS} categories")
    return model


def _sides(formula: str) -> tuple[str, tuple[str, ...]]:
    left, sign, right = formula.partition("~")
    terms = tuple(term.strip() for term in right.split("+"))
    if not sign or not left.strip() or not all(terms) or "~" in right:
        raise QuestionRefused("a regression needs a formula: what is explained ~ by what", hint=_SHAPE)
    for term in terms:
        if not re.fullmatch(_NAME, term):
            hint = "columns joined by +; interactions, powers and functions cannot be fitted"
            raise QuestionRefused(f"{term!r} is no column", hint=hint)
    if len(set(terms)) != len(terms):
        raise QuestionRefused("a term of the formula stands there twice", hint=_SHAPE)
    return left.strip(), terms


def _response(text: str, contract: Contract) -> Quantity | Condition:
    bare = text[1:-1].strip() if text.startswith("(") and text.endswith(")") else text
    found = _RESPONSE.fullmatch(bare)
    if found is None:
        raise QuestionRefused(f"{text!r} cannot be explained", hint=_SHAPE)
    name, *values = found.groups()
    if name == FORCE:
        raise QuestionRefused("force is no property of a record that could be explained", hint="force can be a term")
    column = _column(name, contract)
    value = next((value for value in values if value is not None), None)
    if isinstance(column, Number):
        if value is not None:
            raise QuestionRefused(f"{name} is a number: explain the number itself", hint=f"{name} ~ …")
        return Quantity(column)
    if value is None:
        example = next(code.code for code in column.codes if code.code != UNKNOWN)
        raise QuestionRefused(f"{name} is a category: say which of its codes", hint=f"\"{name} = '{example}' ~ …\"")
    code = _code(value, column)
    if code == UNKNOWN:
        raise QuestionRefused(f"rows of unknown {name} are left out, and cannot be explained")
    return Condition(name, code, column.codes[column.positions[code]].label)


def _column(name: str, contract: Contract) -> Number | Category:
    columns = {column.name: column for column in contract.columns}
    if name not in columns:
        raise QuestionRefused(f"{contract.dataset} has no column {name!r}", hint=_closest(name, columns))
    column = columns[name]
    if isinstance(column, Number | Category):
        return column
    usable = [other.name for other in contract.columns if isinstance(other, Number | Category)]
    raise QuestionRefused(f"{name} is {_article(column.kind)} and no variable", hint=f"there are: {', '.join(usable)}")


def _group(name: str, column: Category | None, reference: str | None, forces: Sequence[str]) -> Group:
    if column is None:
        labels = {force: force for force in forces}
    else:
        labels = {code.code: code.label for code in column.codes if code.code != UNKNOWN}
    if len(labels) < 2:
        raise QuestionRefused(f"{name} has one known level only: there is nothing to compare", hint="leave it out")
    if reference is None:
        return Group(name, tuple(labels.values()))
    if column is None and reference not in labels:
        raise QuestionRefused(f"there is no force {reference!r}", hint=_closest(reference, labels))
    code = reference if column is None else _code(reference, column)
    if code == UNKNOWN:
        raise QuestionRefused(f"rows of unknown {name} are left out, so nothing can be compared with them")
    others = [label for at, label in labels.items() if at != code]
    return Group(name, (labels[code], *others), chosen=True)


def _reference(item: str, terms: Sequence[str]) -> tuple[str, str]:
    name, sign, value = (part.strip() for part in item.partition("="))
    if not sign or not value:
        raise QuestionRefused(f"--reference takes column=code, got {item!r}", hint="--reference gender=male")
    if name not in terms:
        raise QuestionRefused(f"--reference {item}: {name} is no term of the formula", hint=_closest(name, terms))
    return name, value.strip("'\"")


def _code(value: str, column: Category) -> str:
    labels = {code.label.casefold(): code.code for code in column.codes}
    if value in column.positions:
        return value
    if value.casefold() in labels:
        return labels[value.casefold()]
    raise QuestionRefused(f"{column.name} has no code {value!r}", hint=_closest(value, column.positions))


def _closest(name: str, names: Iterable[str]) -> str:
    known = list(names)
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    return f"did you mean {near[0]}?" if near else f"there are: {', '.join(known[:20])}"


def _article(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
