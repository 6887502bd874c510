"""The `[source]` table of a mapping: where the records are, and how they may be reached."""

from __future__ import annotations

import codecs
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, Field, model_validator

from cordon.configfile import ConfigModel
from node.source.urls import check_url


class Kind(StrEnum):
    """What holds the records."""

    CSV = "csv"
    PARQUET = "parquet"
    DUCKDB = "duckdb"
    SQLITE = "sqlite"
    POSTGRESQL = "postgresql"
    SQL_SERVER = "sql_server"
    ORACLE = "oracle"
    MYSQL = "mysql"
    SPARK = "spark"
    TRINO = "trino"


FILES = frozenset({Kind.CSV, Kind.PARQUET})
"""Kinds that are files, folders or patterns of files, all of one layout."""

EMBEDDED = frozenset({Kind.DUCKDB, Kind.SQLITE})
"""Kinds that are a database in one file."""

SERVERS = frozenset(Kind) - FILES - EMBEDDED
"""Kinds that are reached by a URL."""

_BY_SUFFIX = {
    ".csv": Kind.CSV,
    ".txt": Kind.CSV,
    ".tsv": Kind.CSV,
    ".parquet": Kind.PARQUET,
    ".duckdb": Kind.DUCKDB,
    ".sqlite": Kind.SQLITE,
    ".sqlite3": Kind.SQLITE,
}


ENCODINGS = {
    "utf-8": "utf-8",
    "utf-8-sig": "utf-8-sig",
    "utf-16": "utf-16",
    "utf-16-le": "utf-16-le",
    "utf-16-be": "utf-16-be",
    "iso8859-1": "latin-1",
    "iso8859-15": "iso-8859-15",
    "cp1252": "windows-1252",
    "cp437": "cp437",
    "cp850": "cp850",
    "mac-roman": "mac-roman",
    "ascii": "ascii",
}
"""Encodings that are read: by Python's normal name of each, the name in a mapping. Others of Python's are no text, or
run what they decode."""


def _known_encoding(name: str) -> str:
    try:
        known = codecs.lookup(name).name in ENCODINGS
    except LookupError:
        known = False
    if not known:
        raise ValueError(f"{name!r} is not an encoding that is read; there are {', '.join(ENCODINGS.values())}")
    return name


class Source(ConfigModel):
    """One source of records. *Trusted for content*: it is what answers are made from."""

    short_form: ClassVar[str] = "path"
    """`source = "records.csv"` stands for a table with this key alone."""

    kind: Kind
    """What holds the records. Left out for a file whose name tells it."""

    path: Path | None = None
    """A file, a folder or a pattern such as `records/*.csv.gz`, for `csv` and `parquet`; a file for `duckdb` and
    `sqlite`."""

    encoding: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,40}$"), AfterValidator(_known_encoding)] = "utf-8"
    """How text of a CSV file is encoded, such as `windows-1252`; one of a closed list."""

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    """Between two values of a CSV file."""

    url: Annotated[str, Field(pattern=r"^[a-z_+]+://\S+$")] | None = None
    """Address of a database server, `postgresql://reader@records.example.org:5432/records`; without a password."""

    password_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] | None = None
    """Environment variable that holds the password."""

    password_file: Path | None = None
    """File that holds the password and nothing else; readable by its owner only."""

    table: str | None = None
    """Table or view of a database, `schema.name` where it is not in the default schema."""

    sql: str | None = None
    """Instead of a table: the force's own SELECT, in the source's dialect. For records that lie in several tables."""

    rows_depend_on_one_unit: bool = False
    """Declares that each row of `sql`, or of a view, is made from one unit's records alone. docs/privacy.md §1."""

    resume_by: str | None = None
    """A column of unique values that only grows, such as a record number: a load that broke off goes on from there."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, value: Any) -> Any:
        if isinstance(value, str | Path):
            value = {cls.short_form: value}
        if isinstance(value, dict) and "kind" not in value:
            value = {**value, "kind": _kind_of(value)}
        return value

    @model_validator(mode="after")
    def _has_what_its_kind_needs(self) -> Self:
        if (self.url is None) == (self.kind in SERVERS):
            raise ValueError(f"a source of kind {self.kind} " + ("needs a url" if self.url is None else "has no url"))
        if (self.path is None) == (self.kind not in SERVERS):
            raise ValueError(
                f"a source of kind {self.kind} " + ("needs a path" if self.path is None else "has no path")
            )
        self._check_table()
        self._check_password()
        return self

    def _check_table(self) -> None:
        if self.kind in FILES:
            if self.table is not None or self.sql is not None or self.resume_by is not None:
                raise ValueError("files have neither a table, nor sql, nor resume_by")
        elif (self.table is None) == (self.sql is None):
            raise ValueError("a database needs either a table or sql")
        if self.sql is not None and not self.rows_depend_on_one_unit:
            raise ValueError(
                "sql needs rows_depend_on_one_unit = true: whoever writes a view must make sure that one person's "
                "records never change a row of another's"
            )

    def _check_password(self) -> None:
        if self.password_env is not None and self.password_file is not None:
            raise ValueError("a password comes from password_env or from password_file, not from both")
        if self.url is not None:
            check_url(self.url, self.kind)

    @property
    def words(self) -> str:
        """The source as messages name it; holds no secret."""
        place = str(self.path) if self.path is not None else str(self.url)
        return place if self.table is None else f"{place} ({self.table})"


def _kind_of(value: dict[str, Any]) -> Any:
    if value.get("url"):
        raise ValueError("a source with a url needs its kind, such as 'postgresql'")
    if value.get("table") is not None or value.get("sql") is not None:
        # A database in a file, whatever its name.
        return _BY_SUFFIX.get(Path(str(value.get("path"))).suffix, Kind.DUCKDB)
    name = Path(str(value.get("path"))).name.removesuffix(".gz").removesuffix(".zst")
    return _BY_SUFFIX.get(Path(name).suffix, Kind.CSV)
