"""Who may import what: the architecture as it can be counted."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

pytestmark = pytest.mark.xdist_group("imports")

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = [p for package in ("cordon", "node", "coordinator") for p in (ROOT / package).rglob("*.py")]

SQL = (
    "complete",
    "expressions",
    "functions",
    "keys",
    "measures",
    "parsing",
    "predicates",
    "products",
    "reading",
    "refusing",
    "scope",
    "versions",
)
"""The parts of the package that reads SQL, which all hold the parser's nodes."""

EXPRESSIONS = (
    "bounding",
    "coding",
    "compile",
    "dates",
    "distributed",
    "engine",
    "expression",
    "normalise",
    "recipe",
    "values",
)
"""The parts of a node that say what is computed, for whichever engine holds the records."""


FILE_SOURCES = ("chunks", "duckdbfile", "files")
"""The parts that let DuckDB read files by itself, and that know its errors."""


PICTURES = ("bars", "forest", "heat", "intervals", "lettering", "lines", "page", "quantiles", "saving")
"""The parts that draw; beside them, an answer names the type of its picture, and a command looks whether one can be drawn."""


@cache
def imported(path: Path) -> frozenset[str]:
    """Full names of the modules that a file imports, also inside functions."""
    names = set()
    for step in ast.walk(ast.parse(path.read_text())):
        if isinstance(step, ast.Import):
            names |= {alias.name for alias in step.names}
        elif isinstance(step, ast.ImportFrom):
            names.add(step.module or "")
    return frozenset(names)


def importers(library: str) -> set[str]:
    """Product files that import a library."""
    return {
        path.relative_to(ROOT).as_posix()
        for path in PRODUCT
        if any(name.split(".")[0] == library for name in imported(path))
    }


@pytest.mark.parametrize(
    ("library", "allowed"),
    [
        ("opendp", {"cordon/noise.py"}),
        ("tenseal", {"cordon/sealing/bfv.py"}),
        (
            "sqlglot",
            {"node/engine.py", "node/expression.py", "node/source/selects.py"}
            | {f"cordon/query/sql/{part}.py" for part in SQL},
        ),
        ("grpc", {"cordon/wire/channel.py"}),
        (
            "duckdb",
            {"node/database.py", *(f"node/source/{part}.py" for part in FILE_SOURCES)},
        ),
        ("ibis", {f"node/{part}.py" for part in EXPRESSIONS} | {"node/source/statements.py"}),
        ("psycopg", set()),  # as every driver, by its name from the table in node/source/connectors.py
        ("pyspark", {"node/source/spark.py"}),
        ("nacl", {"cordon/reading/signatures.py"}),
        (
            "matplotlib",
            {"cordon/workbench/answer.py", "cordon/workbench/output.py"}
            | {f"cordon/workbench/plots/{part}.py" for part in PICTURES},
        ),
        ("rapidfuzz", {"node/suggest/names.py"}),
        ("ruptures", {"cordon/workbench/trend/steps.py"}),
        ("scipy", {"cordon/workbench/trend/amounts.py"}),
        ("statsmodels", {"cordon/workbench/disparity/adjust.py", "cordon/workbench/trend/model.py"}),
    ],
)
def test_a_library_is_imported_where_it_is_wrapped_and_nowhere_else(library, allowed):
    """A library that could be replaced has one door."""
    assert importers(library) == allowed


def test_parties_never_import_each_other():
    """Node and coordinator share only the package cordon, which imports neither."""
    assert not {path for path in importers("node") if not path.startswith("node/")}
    assert not {path for path in importers("coordinator") if not path.startswith("coordinator/")}


@cache
def fresh(statement: str) -> frozenset[str]:
    """Every module that a fresh interpreter holds after a statement; it is asked once, for it takes a second."""
    code = f"import sys\n{statement}\nprint(*sys.modules, sep='\\n')"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return frozenset(done.stdout.split())


def loaded(statement: str, *modules: str) -> set[str]:
    """Which of `modules` a fresh interpreter holds after a statement."""
    return set(modules) & fresh(statement)


def test_importing_the_package_loads_nothing_beside_it():
    """`import cordon` is free of parts and of libraries."""
    assert not loaded("import cordon", "cordon.errors", "numpy", "grpc", "pydantic")


def test_the_node_service_loads_neither_pandas_nor_pyarrow():
    """An idle node does not pay for libraries that it does not need."""
    assert not loaded("import node.service", "pandas", "pyarrow")
    assert loaded("import node.service", "grpc") == {"grpc"}, "the look itself works"


def test_what_is_drawn_is_chosen_without_a_library_that_draws():
    """A drawing is plain data, also for who has not installed the library."""
    parts = "import cordon.workbench.choosing, cordon.workbench.captions"
    found = loaded(parts, "matplotlib", "cordon.workbench.plots", "cordon.workbench.drawing")
    assert found == {"cordon.workbench.drawing"}


def test_the_serving_node_loads_no_reader_of_sql():
    """What rehearses a decision reads SQL, what proposes a mapping compares names; nothing loads them before they are
    called, neither the service nor the command line.
    """
    for part in ("import node.service", "import node.cli"):
        assert not loaded(part, "node.rehearsal", "cordon.query.sql", "rapidfuzz"), part
    assert loaded("import node.rehearsal", "cordon.query.sql"), "the look itself works"
    assert not loaded("import node.cli", "duckdb", "ibis", "sqlglot"), "officers' commands start at once"
    importing = {path.name for path in (ROOT / "node").glob("*.py") if "node.rehearsal" in imported(path)}
    assert importing == {"policy_cli.py"}


def test_an_auditor_loads_no_part_that_asks_opens_or_holds_records():
    """Whoever audits needs none of the libraries that encrypt, add noise, read SQL or hold records."""
    heavy = ("tenseal", "opendp", "duckdb", "ibis", "sqlglot", "structlog")
    assert not loaded("import cordon.auditor.cli", *heavy)
    assert loaded("import cordon.auditor.cli", "cordon.reading.read") == {"cordon.reading.read"}, (
        "the look itself works"
    )


@pytest.mark.parametrize("package", ["cordon", "node", "coordinator"])
def test_public_parts_say_what_they_are(package):
    """Every module, public class and public function outside a class has a docstring."""
    silent = []
    for path in (ROOT / package).rglob("*.py"):
        if "v1" in path.parts:
            continue
        tree = ast.parse(path.read_text())
        parts = [s for s in tree.body if isinstance(s, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)]
        silent += [f"{path}:{s.name}" for s in parts if not s.name.startswith("_") and not ast.get_docstring(s)]
        silent += [] if ast.get_docstring(tree) else [str(path)]
    assert not silent
