"""What is generated, counted or drawn in one place agrees with what it stands for."""

import ast
import os
import re
import subprocess
import sys
import typing
from dataclasses import fields
from pathlib import Path

import pytest

from cordon import errors
from cordon.wire import codec

ROOT = Path(__file__).resolve().parents[2]
STUBS = ROOT / "cordon" / "wire" / "v1"
MOST_LINES = 400

LONG_MODULES = {
    "coordinator/queries.py": "every turn of a query's life calls the same store, register and presence",
    "coordinator/store.py": "one schema, and every statement that touches it",
    "node/ledger.py": "decisions, budgets and charges change in the same transactions",
    "node/tasks.py": "every task shares the admitted queries, their keys and one lock",
}
"""Modules that may be longer than the rest, and why."""


def generated(folder: Path) -> dict[str, str]:
    """What `make protos` writes, made in a folder of its own."""
    binaries = Path(sys.executable).parent
    command = [
        sys.executable, "-m", "grpc_tools.protoc", "-I", "protos", f"--python_out={folder}",
        f"--mypy_out=quiet:{folder}", *sorted(str(p.relative_to(ROOT)) for p in (ROOT / "protos").rglob("*.proto")),
    ]  # fmt: skip
    environment = os.environ | {"PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
    subprocess.run(command, cwd=ROOT, check=True, env=environment)
    return {path.name: path.read_text() for path in (folder / "cordon" / "wire" / "v1").iterdir()}


def test_generated_modules_are_those_of_the_protos(tmp_path):
    """The committed stubs are what protoc makes of protos/ today, and nothing lies beside them."""
    committed = {p.name: p.read_text() for p in STUBS.iterdir() if p.suffix in (".py", ".pyi")}
    assert generated(tmp_path) == {name: text for name, text in committed.items() if name != "__init__.py"}
    assert len(committed) > 1


def models() -> dict[str, type]:
    """Every dataclass that a message of the wire can become, by name."""
    found: dict[str, type] = {}
    for module in (
        "cordon.envelope",
        "cordon.query.model",
        "cordon.register.leaf",
        "cordon.wire.messages",
        "cordon.wire.proofs",
    ):
        names = vars(__import__(module, fromlist=["x"]))
        found |= {name: kind for name, kind in names.items() if hasattr(kind, "__dataclass_fields__")}
    return found


UNIONS = {union.message.DESCRIPTOR.name: union for union in codec._UNIONS.values()}


@pytest.mark.parametrize("name", sorted(codec._MESSAGES))
def test_messages_and_models_have_the_same_fields(name):
    """A protobuf message and its model have the same fields, and a union the same choices."""
    sent = {field.name for field in codec._MESSAGES[name].DESCRIPTOR.fields}
    known = set(UNIONS[name].fields) if name in UNIONS else {field.name for field in fields(models()[name])}
    assert sent == known


@pytest.mark.parametrize("name", sorted(set(codec._MESSAGES) - set(UNIONS)))
def test_enums_have_the_same_names_and_numbers(name):
    """Each enum of a message is an IntEnum of the same members, less the one that is never sent."""
    hints = typing.get_type_hints(models()[name])
    for field in codec._MESSAGES[name].DESCRIPTOR.fields:
        if field.enum_type is not None:
            sent = {value.name: value.number for value in field.enum_type.values}
            known = {member.name: member.value for member in hints[field.name]}
            prefix = re.sub(r"(?<!^)(?=[A-Z])", "_", field.enum_type.name).upper() + "_"
            shortened = {key.removeprefix(prefix): value for key, value in sent.items()}
            shortened.pop("UNSPECIFIED", None)
            assert shortened == known


def test_every_model_that_travels_has_a_message():
    """No dataclass beside the messages lies where models of the wire are defined."""
    own = {name for name, kind in models().items() if kind.__module__.startswith("cordon.")}
    assert own - set(codec._MESSAGES) == {"Rho"}


def test_help_loads_neither_grpc_nor_numpy():
    """`cordon --help` answers without loading any part's libraries."""
    code = "import sys\nfrom cordon.cli import run\nassert run(['--help']) == 0\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    said, modules = done.stdout.rsplit("\n", 2)[:2]
    assert "usage: cordon" in said
    assert "cordon.errors" in modules.split(), "the look itself works"
    assert not {"grpc", "numpy", "pydantic", "cryptography", "typer", "duckdb"} & set(modules.split())


def test_the_tree_of_exceptions_is_drawn_as_it_is():
    """The docstring of errors.py names each class, below the class that it derives from."""
    drawn, above = {}, ["Exception"]
    for line in errors.__doc__.splitlines():
        branch = re.match(r"([│├└─ ]*)([A-Z][A-Za-z]+)  ", line)
        if branch:
            depth = len(branch[1]) // 4
            above[depth + 1 :] = [branch[2]]
            drawn[branch[2]] = above[depth]
    classes = {
        name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)
    }
    assert drawn == {name: kind.__bases__[0].__name__ for name, kind in classes.items()}


def test_every_exception_tree_member_is_raised_somewhere():
    """No class of exceptions is defined and never raised."""
    raised = set()
    for package in ("cordon", "node", "coordinator"):
        for path in (ROOT / package).rglob("*.py"):
            for step in ast.walk(ast.parse(path.read_text())):
                if isinstance(step, ast.Call) and isinstance(step.func, ast.Name):
                    raised.add(step.func.id)
    leaves = {
        name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.CordonError)
    }
    assert leaves - raised <= {"CordonError", "Refused"}


def test_requirements_name_no_index():
    """A lock file names packages and their hashes, never a place to fetch them from."""
    files = sorted((ROOT / "requirements").iterdir())
    assert files
    for path in files:
        text = path.read_text()
        assert "://" not in text
        assert not re.search(
            r"^\s*(-i|-f|--index-url|--extra-index-url|--find-links|--trusted-host)\b", text, re.MULTILINE
        )
        pinned = [line for line in text.splitlines() if line and not line.startswith((" ", "#"))]
        assert all(re.match(r"[A-Za-z0-9_.-]+(\[[a-z0-9_,-]+\])?==\S+", line) for line in pinned)
        assert text.count("--hash=sha256:") >= len(pinned) > 0


def test_modules_are_short_or_say_why_not():
    """No module of the product is longer than the limit, but for those that are listed; none is listed in vain."""
    paths = [p for package in ("cordon", "node", "coordinator", "demo") for p in (ROOT / package).rglob("*.py")]
    lengths = {p.relative_to(ROOT).as_posix(): len(p.read_text().splitlines()) for p in paths if p.parent != STUBS}
    assert {name for name, lines in lengths.items() if lines > MOST_LINES} == set(LONG_MODULES)
