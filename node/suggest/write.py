"""A suggestion as a commented mapping in TOML: what is sure or likely as lines, what is a guess as a comment."""

from __future__ import annotations

import re
from collections.abc import Iterator

from cordon.contract import Category, Code, Column, Date, Identifier
from node.source.chunks import looks_like_a_name
from node.source.model import Source
from node.suggest.codes import CodeProposal, Confidence
from node.suggest.derive import age_expression
from node.suggest.exclusions import exclusion_lines
from node.suggest.known import known
from node.suggest.propose import ColumnProposal, Suggestion
from node.suggest.sample import FEWEST_ROWS, LONGEST_LISTED, Sample, percent
from node.suggest.toml import text

_HEAD = """\
# A proposed mapping to {dataset} v{version}, made from {columns} and a sample of {rows:,} rows. Nothing uses it until a
# person has read every line, and lists the file under `mappings` in node.toml. What is marked "guess: check" is a
# comment: take the # away to confirm it. `cordon node load` then counts what no line stands for.
# This file can hold local codes of the force: it stays inside.
dataset = "{dataset}"
version = {version}

# REQUIRED. Budget domain: these source records, whatever the contract; it stands under [budget] in policy.toml.
# domain = "…"
# REQUIRED. The scheduled date that the records are as at, and the months that they cover: declared, never read.
# as_at = 2025-01-31
# first_month = "2024-01"
# last_month = "2024-12"
"""


MOST_UNDOUBTED = 0.05
"""Share of the sampled rows above which a marker is a guess, unless it says by itself that nothing is known."""


def as_toml(suggestion: Suggestion, source: Source, *, rows: int, notes: tuple[str, ...] = ()) -> str:
    """The mapping file, for a person to complete and confirm.

    Args:
        rows: rows of the sample.
        notes: what was found out about the source, as comments above its table.
    """
    contract, samples = suggestion.contract, suggestion.samples
    count = f"{len(samples)} column{'s' if len(samples) != 1 else ''}"
    parts = [_HEAD.format(dataset=contract.dataset, version=contract.version, columns=count, rows=rows)]
    parts.append("\n".join([*(f"# {note}" for note in notes), *_source(source)]))
    parts += ["\n".join(_column(proposal, samples[proposal.source])) for proposal in suggestion.columns]
    if not any(proposal.confidence > Confidence.GUESS for proposal in suggestion.columns):
        parts.append("# [columns] has nothing that is more than a guess yet.")
    parts.append("\n".join(_unmatched(suggestion)))
    parts.append("\n".join(exclusion_lines(suggestion)))
    return "\n\n".join(part.rstrip("\n") for part in parts if part) + "\n"


def _source(source: Source) -> Iterator[str]:
    yield "[source]"
    for key, value in source.model_dump(mode="json", exclude_defaults=True).items():
        shown = value if isinstance(value, bool) else text(str(value))
        yield f"{key} = {str(shown).lower() if isinstance(shown, bool) else shown}"


def _column(proposal: ColumnProposal, sample: Sample) -> Iterator[str]:
    name, found = proposal.column.name, proposal.found
    yield f"# {name}: {proposal.confidence.words}. {proposal.why[0].upper()}{proposal.why[1:]}."
    yield from (f"# {note[0].upper()}{note[1:]}." for note in found.notes)
    off = "# " if proposal.confidence is Confidence.GUESS else ""
    yield f"{off}[columns.{name}]"
    yield off + _origin(proposal)
    if found.formats:
        yield f"{off}formats = [{', '.join(map(text, found.formats))}]"
    if found.time_zone is not None:
        yield f"{off}time_zone = {text(found.time_zone)}   # the source's times are in UTC; the civil date counts"
    yield from (off + line for line in _unknown(proposal, sample))
    if isinstance(proposal.column, Category):
        lines = _codes(proposal.column, found.codes, sample)
        yield from (line if line.startswith("#") else off + line for line in lines)


def _unknown(proposal: ColumnProposal, sample: Sample) -> Iterator[str]:
    if not proposal.found.unknown:
        return
    yield "unknown = ["
    for value in proposal.found.unknown:
        rows = sample.values.get(value, 0)
        doubt = rows > MOST_UNDOUBTED * sample.rows and not _means_nothing(value)
        told = f"{rows:,} row{'s' if rows != 1 else ''}, {percent(rows / (sample.rows or 1))}"
        yield f"  {text(value)},   # {told}" if not doubt else f"  # {text(value)},   # guess: check; {told}"
    yield "]"


def _means_nothing(value: str) -> bool:
    """Whether a value says by itself that nothing is known, however many rows have it."""
    spelt = value.casefold() in known().markers - known().doubtful_markers
    # No record is of 1900, nor of a day 0.
    return spelt or (len(value) >= 6 and value.strip("0/.: -") == "") or _is_marker_of_dates(value)


def _is_marker_of_dates(value: str) -> bool:
    return any(sorted(re.findall(r"\d+", value)[:3]) == sorted(day.split("-")) for day in known().date_markers)


def _origin(proposal: ColumnProposal) -> str:
    if not proposal.found.symbols:
        return f"source = {text(proposal.source)}"
    # The expression language names a column in double quotes, and texts in single ones.
    inner = '"' + proposal.source.replace('"', '""') + '"'
    for symbol in proposal.found.symbols:
        inner = f"REPLACE({inner}, '{symbol}', '')"
    return f"expression = {text(inner)}"


def _codes(column: Category, codes: tuple[CodeProposal, ...], sample: Sample) -> Iterator[str]:
    told = [code for code in codes if not code.as_it_is and not code.missing]
    if not told:
        return
    shown = [code for code in told if _may_be_shown(code, sample)]
    if any(code.code is not None and code.confidence is not Confidence.GUESS for code in shown):
        yield f"[columns.{column.name}.codes]"
    else:
        yield f"# [columns.{column.name}.codes]"
    labels: dict[str, Code] = {code.code: code for code in column.codes}
    for code in shown:
        yield _code(code, labels)
    if len(shown) < len(told):
        yield (
            f"# {len(told) - len(shown)} more local values are not listed, because they may name somebody: a list of "
            "your own goes into codes_file."
        )


def _may_be_shown(code: CodeProposal, sample: Sample) -> bool:
    # Also where a code fits: a name can be like one.
    return sample.listable and len(code.local) <= LONGEST_LISTED and code.rows >= FEWEST_ROWS


def _code(code: CodeProposal, labels: dict[str, Code]) -> str:
    rows = f"{code.rows:,} row{'s' if code.rows != 1 else ''}"
    if code.code is None:
        return f'# {text(code.local)} = "…"   # no code was found; {rows}'
    off = "# " if code.confidence is Confidence.GUESS else ""
    return f"{off}{text(code.local)} = {text(labels[code.code].code)}   # {code.confidence.words}; {rows}"


def _unmatched(suggestion: Suggestion) -> Iterator[str]:
    if suggestion.unmatched:
        yield "# Nothing was found for these; a column that is left out is unknown in every row."
        yield from (f"#   {column.name}: {column.title}{_hint(column, suggestion)}" for column in suggestion.unmatched)
    if suggestion.left_over:
        yield "# These columns of the source feed nothing, and never enter a snapshot."
        positions = {name: at for at, name in enumerate(suggestion.samples, start=1)}
        for name in suggestion.left_over:
            shown = text(name) if looks_like_a_name(name) else f"column {positions[name]}"
            yield f"#   {shown}: {suggestion.samples[name].words}"


def _hint(column: Column, suggestion: Suggestion) -> str:
    made = age_expression(suggestion) if column.name == "age" else None
    if made is not None:
        return f"; guess: check. It can be made of a date of birth:\n# [columns.age]\n# expression = {text(made)}"
    if isinstance(column, Identifier):
        return "; the unit's identifier must be mapped" if column.use == "unit" else ""
    if not isinstance(column, Date) or column.grain != "month":
        return ""
    days = [proposal for proposal in suggestion.columns if isinstance(proposal.column, Date)]
    return f"; the column of {days[0].column.name} holds days, and can feed both" if days else ""
