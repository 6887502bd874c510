"""A published answer as it is signed: JSON that says everything, and that is read strictly.

Whoever reads one has it from somebody else: nothing of it reaches a terminal or a program before its
form has been checked. docs/query.md says what each field is.
"""

from __future__ import annotations

import base64
import json
import secrets
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, FiniteFloat, ValidationError, model_validator

from cordon.envelope import Envelope
from cordon.errors import Malformed, Unsupported
from cordon.units import Digest
from cordon.wire import codec

DOCUMENT_VERSION = 1

MOST_FIGURE = 1e30
"""Magnitude that no figure of an answer reaches."""

ANSWER_VERSIONS = (2, 3, 4)
"""Versions of `OpenedAnswer.as_dict` that can be published and read."""
_READ = ", ".join(map(str, ANSWER_VERSIONS))
SALT_BYTES = 32
MOST_TEXT = 20_000
_NOTE = r"^(declined: [a-z ]{1,40}|lost on the way|did not answer)?$"


def _printable(text: str) -> str:
    if not text.replace("\n", "").replace("\t", "").isprintable():
        raise ValueError("holds characters that cannot be printed")
    return text


Text = Annotated[str, Field(max_length=MOST_TEXT), AfterValidator(_printable)]
Line = Annotated[str, Field(pattern=r"^[^\n\t]{0,2000}$"), AfterValidator(_printable)]
Code = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_ -]{0,62}$")]
Hex32 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Decimal = Annotated[str, Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,9})?$")]
Natural = Annotated[int, Field(ge=0, lt=2**63)]


class _Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class _Column(_Strict):
    name: Line
    measure: bool


Figure = Annotated[FiniteFloat, Field(gt=-MOST_FIGURE, lt=MOST_FIGURE)]


class _Value(_Strict):
    estimate: Figure | None
    low: Figure | None
    high: Figure | None
    raw: Figure | None = None

    @model_validator(mode="after")
    def _ends_are_in_order(self) -> Self:
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError("an interval ends before it begins")
        return self


class _Row(_Strict):
    keys: list[Line | None]
    values: list[_Value]
    note: Annotated[str, Field(pattern=_NOTE)]
    certainty: Annotated[FiniteFloat, Field(ge=0, le=1)] | None = None


class _Declined(_Strict):
    force: Code
    code: Code
    text: Line


class _Epsilon(_Strict):
    charged: FiniteFloat
    against_public: FiniteFloat
    against_tolerated_colluders: FiniteFloat
    against_all_others: FiniteFloat


class _Charge(_Strict):
    force: Code
    domain: Code
    period: Natural
    receipt: Natural
    period_sum: Decimal
    lifetime_sum: Decimal


class _Vintage(_Strict):
    contract: Hex32
    as_at: Line
    first_month: Line
    last_month: Line
    load_id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]


class _Place(_Strict):
    leaf: Natural
    size: Natural
    root: Hex32


class _Form(_Strict):
    """`OpenedAnswer.as_dict`; version 2 had no notes, raw values, certainties or rows of totals, 3 no time."""

    version: Literal[2, 3, 4]
    query: Hex32
    sql: str
    dataset: Line
    protected_unit: Line
    caveat: Text
    columns: list[Any]
    rows: list[Any]
    answered: list[Code]
    declined: list[_Declined]
    did_not_answer: list[Code]
    lost: list[Code]
    rho: Decimal
    attempts_charged: Annotated[int, Field(ge=1, le=100)]
    epsilon: _Epsilon
    charged: list[_Charge]
    vintages: dict[Code, _Vintage]
    attempt: Annotated[int, Field(ge=1, le=100)]
    register_: Annotated[_Place, Field(alias="register")]
    opened_at: Annotated[str, Field(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00$")] | None = None
    checked: Line
    notes: list[str] = []


class _Answer(_Form):
    """What somebody else has published."""

    sql: Text
    columns: list[_Column]
    rows: list[_Row]
    notes: list[Line] = []


class _OwnColumn(_Strict):
    name: str
    measure: bool


class _OwnValue(_Strict):
    estimate: FiniteFloat | None
    low: FiniteFloat | None
    high: FiniteFloat | None
    raw: FiniteFloat | None = None


class _OwnRow(_Strict):
    keys: list[str | None]
    values: list[_OwnValue]
    note: Annotated[str, Field(pattern=_NOTE)]
    certainty: Annotated[FiniteFloat, Field(ge=0, le=1)] | None = None


class _OwnAnswer(_Form):
    """What was opened here: names and figures are as its analyst has asked for them, however long or large."""

    columns: list[_OwnColumn]
    rows: list[_OwnRow]

    @model_validator(mode="after")
    def _rows_have_the_columns(self) -> Self:
        measures = sum(column.measure for column in self.columns)
        keys = len(self.columns) - measures
        if any(len(row.keys) != keys or len(row.values) != (0 if row.note else measures) for row in self.rows):
            raise ValueError("a row has more or fewer values than its columns")
        return self


class _Document(_Strict):
    version: Literal[1]
    salt: Hex32
    answer: _Answer
    query: str
    certificate: str
    question: Hex32


@dataclass(frozen=True, slots=True)
class Document:
    """A document whose form holds; whether it is true is not checked yet."""

    answer: dict[str, Any]
    query: Envelope
    certificate: bytes
    """DER."""
    question: Digest


def write_document(answer: dict[str, Any], query: Envelope, certificate: bytes, question: Digest) -> bytes:
    """The payload of a published answer, with a fresh salt.

    Args:
        answer: from `OpenedAnswer.as_dict`.
        certificate: of the analyst's signing key, DER.
        question: the question's digest.

    Raises:
        Malformed: the answer is not one of the version that is published.
    """
    form = {
        "version": DOCUMENT_VERSION,
        "salt": secrets.token_hex(SALT_BYTES),
        "answer": answer,
        "query": base64.b64encode(codec.encode_envelope(query)).decode(),
        "certificate": base64.b64encode(certificate).decode(),
        "question": question.hex(),
    }
    payload = json.dumps(form, sort_keys=True, separators=(",", ":")).encode()
    read_document(payload)
    return payload


def read_document(payload: bytes) -> Document:
    """Read the payload of a published answer.

    Raises:
        Malformed: it is not in the form of one; the message names the place.
    """
    try:
        form = _Document.model_validate_json(payload)
        query = codec.decode_envelope(base64.b64decode(form.query, validate=True))
        certificate = base64.b64decode(form.certificate, validate=True)
    except ValidationError as error:
        raise Malformed(f"a published answer: {_first(error)}") from None
    except ValueError:
        raise Malformed("a published answer holds what is not base64") from None
    answer = form.answer.model_dump(by_alias=True)
    return Document(answer, query, certificate, Digest(bytes.fromhex(form.question)))


def read_answer(text: str) -> dict[str, Any]:
    """Read an answer of one's own, as it was kept when it was opened.

    Raises:
        Unsupported: an earlier or a later version of Cordon has kept it.
        Malformed: it is not in the form of one; the message names the place.
    """
    try:
        answer = json.loads(text)
    except (ValueError, RecursionError):
        raise Malformed("it is not JSON, or is cut off") from None
    version = answer.get("version") if isinstance(answer, dict) else None
    if type(version) is int and version not in ANSWER_VERSIONS:
        raise Unsupported(f"it is of version {version}, and this version of Cordon reads {_READ}")
    try:
        _OwnAnswer.model_validate(answer)
    except ValidationError as error:
        raise Malformed(_first(error)) from None
    found: dict[str, Any] = answer
    return found


def _first(error: ValidationError) -> str:
    first = error.errors(include_input=False)[0]
    place = ".".join(str(part) for part in first["loc"])
    return f"{place or 'the document'}: {first['msg']}"
