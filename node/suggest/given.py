"""The source that a person means on the command line, and what to say in the command line's words where it is none."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from pydantic import ValidationError

from cordon.configfile import faults
from cordon.errors import Misconfigured
from node.source.model import FILES, Kind, Source

_SCHEMES = {
    "postgres": Kind.POSTGRESQL,
    "mssql": Kind.SQL_SERVER,
    "sqlserver": Kind.SQL_SERVER,
    **{kind.value: kind for kind in Kind},
}

_DATABASES = frozenset({".duckdb", ".sqlite", ".sqlite3"})
"""How the names of databases in a file end."""

_PATHS = frozenset({"password_file"})

_SAID = re.compile(r"correct `(source|encoding)` in the mapping|(?:check )?the table or sql(?: in the mapping)?")
"""Hints for whoever has a mapping already, in the words of node/source."""

_FLAGS = {"source": "correct --source", "encoding": "give another --encoding", None: "check --table"}


def source_of(text: str, given: Mapping[str, object]) -> Source:
    """The source that a person means on the command line; every path in it is absolute.

    Raises:
        Misconfigured: it is not complete, or not possible.
    """
    found = _read(_described(text, given))
    if isinstance(found, Source):
        return found
    whole = _with_some_table(text, given)
    if isinstance(whole, Source):
        raise Misconfigured(f"{text} is a database, and --table is not given", hint="name its table or view")
    raise Misconfigured(f"--source: {whole or found}", hint="`cordon node map suggest --help` lists the options")


def database_without_table(text: str, given: Mapping[str, object]) -> Source | None:
    """The database that a person means, if a table is all that it lacks; the table that it then names is none."""
    found = _with_some_table(text, given)
    return found if isinstance(found, Source) else None


def _with_some_table(text: str, given: Mapping[str, object]) -> Source | str | None:
    """A database for which no table is given, as if one were, or what else is wrong; None for anything else."""
    described = _described(text, given)
    is_database = described.get("kind", Kind.CSV) not in FILES or Path(text).suffix in _DATABASES
    return _read({**described, "table": "?"}) if is_database and "table" not in given else None


def _read(described: Mapping[str, object]) -> Source | str:
    try:
        return Source.model_validate(described)
    except ValidationError as error:
        return faults(error, Source)


def _described(text: str, given: Mapping[str, object]) -> dict[str, object]:
    scheme, divider, _ = text.partition("://")
    if divider:
        place: dict[str, object] = {"url": text, "kind": _SCHEMES.get(scheme.lower())}
        if place["kind"] is None and "kind" not in given:
            raise Misconfigured(f"{scheme}:// names no kind of database", hint="give --kind")
    else:
        # The file may be written somewhere else than where the command runs, and relative paths count from it.
        path = _absolute(text)
        place = {"path": path}
        if "kind" not in given and given.get("table") is None and Path(path).is_dir():
            place["kind"] = _kind_of_folder(Path(path))
    return {**place, **{key: _absolute(str(value)) if key in _PATHS else value for key, value in given.items()}}


def _absolute(path: str) -> str:
    return os.path.abspath(Path(path).expanduser())  # noqa: PTH100 - resolve() would follow links


def _kind_of_folder(folder: Path) -> Kind:
    """What a folder holds, by the names of its files."""
    names = [path.name.lower() for path in folder.iterdir() if path.is_file() and not path.name.startswith(".")]
    found = {
        kind
        for kind, form in ((Kind.PARQUET, r"\.parquet$"), (Kind.CSV, r"\.(csv|txt|tsv)(\.gz|\.zst)?$"))
        if any(re.search(form, name) for name in names)
    }
    if found == set(FILES):
        raise Misconfigured(
            f"{folder} has both CSV and Parquet files",
            hint="give --kind csv or --kind parquet: the files of the other kind are then not read",
        )
    return found.pop() if found else Kind.CSV


def in_flags(error: Misconfigured) -> Misconfigured:
    """The same error, with a hint that names flags instead of keys of a mapping."""
    hint = _SAID.sub(lambda said: _FLAGS[said[1]], error.hint)
    return Misconfigured(str(error), hint=hint.removesuffix("; what was loaded before stays in place"))
