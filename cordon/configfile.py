"""Read a TOML file of our own into a frozen model, with errors that name the file, place and remedy."""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from cordon.errors import Misconfigured


class ConfigModel(BaseModel):
    """Frozen; unknown keys are errors, so that a misspelt limit is never a missing one."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


Model = TypeVar("Model", bound=ConfigModel)


def read_config(path: Path, kind: type[Model]) -> Model:
    """Read the TOML file at `path` as a `kind`; relative paths in it count from its folder.

    Raises:
        Misconfigured: missing, truncated, or a key is missing, unknown or wrong.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise Misconfigured(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise Misconfigured(f"{path} is not TOML: it is not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise Misconfigured(f"{path}{_not_toml(str(error))}") from None
    try:
        return kind.model_validate(_anchored(content, kind, path.resolve().parent))
    except ValidationError as error:
        raise Misconfigured(f"{path}: {faults(error, kind)}") from None


def _anchored(content: dict[str, Any], kind: type[BaseModel], folder: Path) -> dict[str, Any]:
    anchored = dict(content)
    for name, field in kind.model_fields.items():
        key = field.alias or name
        if key in content:
            anchored[key] = _anchored_value(content[key], field.annotation, folder)
    return anchored


def _anchored_value(value: Any, annotation: Any, folder: Path) -> Any:
    arguments = get_args(annotation)
    if isinstance(value, str) and (annotation is Path or Path in arguments):
        return folder / Path(value).expanduser()
    model = next((part for part in (annotation, *arguments) if _is_model(part)), None)
    if isinstance(value, list) and get_origin(annotation) is tuple:
        return [_anchored_value(item, arguments[0], folder) for item in value]
    if model is None:
        return value
    if isinstance(value, str) and (short := getattr(model, "short_form", None)):
        value = {short: value}
    if not isinstance(value, dict):
        return value
    if get_origin(annotation) is dict:
        return {key: _anchored_value(item, model, folder) for key, item in value.items()}
    return _anchored(value, model, folder)


def _is_model(part: Any) -> bool:
    return isinstance(part, type) and issubclass(part, BaseModel)


_TOML: Mapping[str, str] = {
    "Cannot overwrite": ": a key stands twice",
    "Cannot declare": ": a table stands twice",
    "Invalid date or datetime": ": a date or time that no calendar or clock has",
}
"""How the parser's message begins, and what we say of it, where the file is TOML but for this."""


def _not_toml(message: str) -> str:
    what, _, where = message.partition(" (at ")
    place = f" ({where}" if where else ""
    for begins, words in _TOML.items():
        if what.startswith(begins):
            return words + place
    return f" is not TOML, or is truncated: {what}{place}"


def faults(error: ValidationError, kind: type[BaseModel]) -> str:
    """What is wrong with a `kind`, as people read it, without any value of it.

    Every key that is unknown or missing is named; where there is none, the first value that is wrong.
    """
    found = error.errors(include_url=False, include_input=False)
    strange = [_strange(item["loc"], kind) for item in found if item["type"] == "extra_forbidden"]
    missing = [_place(item["loc"]) for item in found if item["type"] == "missing"]
    if strange or missing:
        return "; ".join([*strange, *([_missing(missing)] if missing else [])])
    place, words = _place(found[0]["loc"]), wrong_value(found[0], kind)
    return f"{place}: {words}" if place else words


def _place(location: Sequence[int | str]) -> str:
    """The keys that lead to a value, with dots between; an entry of a list by its number, counted from 1."""
    keys = [part for part in location if isinstance(part, str) and part != "[key]"]
    numbers = [str(part + 1) for part in location if isinstance(part, int)]
    return ".".join(keys) + (f" (number {', '.join(numbers)})" if numbers else "")


def _missing(places: Sequence[str]) -> str:
    if len(places) == 1:
        return f"the key {places[0]} is missing"
    return f"the keys {', '.join(places[:-1])} and {places[-1]} are missing"


def _strange(location: Sequence[int | str], kind: type[BaseModel]) -> str:
    *above, name = location
    inside = _model(_annotation(kind, above))
    keys = [field.alias or key for key, field in inside.model_fields.items()] if inside is not None else []
    near = difflib.get_close_matches(str(name), keys, n=1)
    return f"there is no key {_place(location)}" + (f"; did you mean {near[0]}?" if near else "")


def _annotation(kind: Any, location: Sequence[int | str]) -> Any:
    """The type of what lies at a place below a `kind`; None where it cannot be told."""
    for part in location:
        model = _model(kind)
        arguments = get_args(kind)
        if model is not None and get_origin(kind) not in (dict, tuple):
            kind = next((f.annotation for name, f in model.model_fields.items() if part in (name, f.alias)), None)
        elif get_origin(kind) in (dict, tuple):
            kind = arguments[0 if isinstance(part, int) else -1]
        else:
            return None
    return kind


def _model(annotation: Any) -> type[BaseModel] | None:
    return next((part for part in (annotation, *get_args(annotation)) if _is_model(part)), None)


_PATTERNS: Mapping[str, str] = {
    r"^[a-z][a-z0-9-]{0,39}$": "lower-case letters, digits and hyphens, a letter first, at most 40, such as kent",
    r"^[a-z][a-z0-9_]{0,62}$": "lower-case letters, digits and underscores, a letter first, at most 63",
    r"^[A-Za-z][A-Za-z0-9_]*$": "letters, digits and underscores, a letter first",
    r"^[A-Za-z_][A-Za-z0-9_]*$": "the name of an environment variable, such as RECORDS_PASSWORD",
    r"^[A-Za-z0-9_.-]{1,40}$": "the name of an encoding, such as windows-1252",
    r"^[^:/]+:\d{1,5}$": "host:port, such as coordinator.example.org:7443",
    r"^[^/]+:\d{1,5}$": "host:port, such as 0.0.0.0:7443",
    r"^http://[^/]+$": "http://host:port, such as http://proxy.example.org:3128",
    r"^[a-z_+]+://\S+$": "an address without blanks, such as postgresql://reader@records.example.org/records",
    r"^\d{4}-(0[1-9]|1[0-2])$": 'a month in quotes, such as "2024-01"',
}
"""What a text with one of our patterns looks like."""

_KINDS: Mapping[str, str] = {
    "bool": "must be true or false",
    "date": "must be a date without quotes, such as 2025-01-31",
    "dict": "must be a table",
    "enum": "must be one of {expected}",
    "float": "must be a number",
    "fraction": 'must be a number in quotes, such as "1/10" or "0.1"',
    "int": "must be a whole number without quotes",
    "list": "must be a list in square brackets",
    "literal": "must be one of {expected}",
    "model": "must be a table",
    "path": "must be a path in quotes",
    "string": "must be a text in quotes",
    "tuple": "must be a list in square brackets",
}
"""By the first word of pydantic's name for an error."""

_BOUNDS: Mapping[str, str] = {
    "greater_than_equal": "must be at least {ge}",
    "greater_than": "must be more than {gt}",
    "less_than_equal": "must be at most {le}",
    "less_than": "must be less than {lt}",
    "string_too_long": "must have at most {max_length} characters",
    "string_too_short": "must have at least {min_length} characters",
    "too_long": "must have at most {max_length} entries",
    "too_short": "must have at least {min_length} entries",
}


def wrong_value(item: ErrorDetails, kind: type[BaseModel]) -> str:
    """What is wrong with one value of a `kind`, without its place and without the value."""
    sort, details = item["type"], item.get("ctx", {})
    if sort == "value_error":
        return item["msg"].removeprefix("Value error, ")
    if sort == "string_pattern_mismatch":
        form = _PATTERNS.get(str(details["pattern"])) or _explained(kind, item["loc"])
        return f"must be {form}" if form else "is not of the form that it must have"
    words = _BOUNDS.get(sort) or _KINDS.get(sort.partition("_")[0], item["msg"])
    return words.format(**details).replace(" 1 entries", " one entry").replace(" 1 characters", " one character")


def _explained(kind: type[BaseModel], location: Sequence[int | str]) -> str:
    """The first sentence of what a key's own description says; empty where it has none."""
    inside = _model(_annotation(kind, location[:-1]))
    found = inside.model_fields.get(str(location[-1])) if inside is not None else None
    return re.split(r"[.;\n]", found.description or "")[0] if found is not None else ""
