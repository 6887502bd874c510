"""Add kept contributions again, with arithmetic alone, and compare with the registered sum.

The only check that sees a coordinator which changed a sum together with a force that was asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

from cordon.errors import CordonError, Untrusted
from cordon.query.plan import PARAMETER_SETS, ParameterSet
from cordon.reading.lives import Attempt, find_lives
from cordon.reading.mirror import Mirror
from cordon.reading.opened import opened_query
from cordon.reading.source import Source
from cordon.reading.verdict import Check, Discrepancy, Readded
from cordon.register.leaf import Receipt
from cordon.sealing.ciphertext import Polynomials, add, chunks_digest, pack, unpack
from cordon.units import Digest
from cordon.wire.messages import ContributionHead, ContributionPart
from cordon.wire.signed import payload_hash, peek

MOST_CIPHERTEXTS = 10_000
EQUAL, GONE = "equal", "gone"


def add_again(mirror: Mirror, source: Source) -> Iterator[Discrepancy]:
    """Add every completed attempt's contributions that were not added before and are kept by the source."""
    for leaf, query, attempt in _waiting(mirror):
        (life,) = find_lives(mirror, "WHERE leaf = ?", query)
        parts = source.kept(Digest(life.hash), attempt)
        if parts is None:
            # A source that has none of one attempt has none of any.
            return
        opened = opened_query(mirror, query)
        if opened is None:
            continue
        try:
            parameters = PARAMETER_SETS[opened[0].terms.parameter_set]
            there = check_sum(life.rosters[attempt], parts, parameters)
        except KeyError:
            yield Discrepancy(leaf, "the query names a parameter set that does not exist", Check.SUMS)
        except CordonError as error:
            what = f"the kept contributions do not give the registered sum: {error}"
            yield Discrepancy(leaf, what, Check.SUMS)
        else:
            mirror.sql.execute("UPDATE completed SET added = ? WHERE leaf = ?", (EQUAL if there else GONE, leaf))


def _waiting(mirror: Mirror) -> Iterator[tuple[int, int, int]]:
    """(leaf, leaf of its query, attempt) of every Completed whose contributions were not added yet."""
    last = -1
    query = "SELECT leaf, query, attempt FROM completed WHERE added = '' AND leaf > ? ORDER BY leaf LIMIT 1"
    while (row := mirror.sql.execute(query, (last,)).fetchone()) is not None:
        last = row[0]
        yield row


def readded(mirror: Mirror) -> Readded:
    """How many were added again, by any reading of this mirror."""
    counts = dict(mirror.sql.execute("SELECT added, count(*) FROM completed GROUP BY added").fetchall())
    return Readded(counts.get(EQUAL, 0), counts.get(GONE, 0), counts.get("", 0))


def check_sum(attempt: Attempt, parts: Iterable[ContributionPart], parameters: ParameterSet) -> bool:
    """Whether contributions are kept; if so, they add up to the registered sum.

    Raises:
        Untrusted: they do not, or one is not what its receipt names.
        Malformed: not contributions.
    """
    totals: list[Polynomials] = []
    seen: list[str] = []
    for force, chunks in _contributions(attempt, parts):
        polynomials = [unpack(chunk, parameters, parameters.moduli) for chunk in chunks]
        if totals and len(totals) != len(polynomials):
            raise Untrusted(f"{force} contributed another number of ciphertexts than the others")
        totals = [add(*pair, parameters) for pair in zip(totals, polynomials, strict=True)] if totals else polynomials
        seen.append(force)
    if not seen:
        return False
    if seen != attempt.forces:
        raise Untrusted(f"contributions of {len(seen)} forces are kept, and {len(attempt.forces)} are on the roster")
    if chunks_digest(pack(total, parameters.moduli) for total in totals) != attempt.sum_hash:
        raise Untrusted("the sum of the contributions is another one: the coordinator changed it")
    return True


def _contributions(attempt: Attempt, parts: Iterable[ContributionPart]) -> Iterator[tuple[str, list[bytes]]]:
    """(force, ciphertexts) of each contribution that is the one its registered receipt names."""
    iterator = iter(parts)
    for head in iterator:
        if not isinstance(head, ContributionHead) or not 0 < head.ciphertexts <= MOST_CIPHERTEXTS:
            raise Untrusted("a contribution does not begin with its head")
        receipt = peek(Receipt, head.receipt)
        if attempt.receipts.get(receipt.force) != payload_hash(head.receipt):
            raise Untrusted(f"the receipt of {receipt.force} is not the one in the register")
        chunks = [part for part in islice(iterator, head.ciphertexts) if isinstance(part, bytes)]
        if len(chunks) != head.ciphertexts or chunks_digest(chunks) != receipt.ciphertext_hash:
            raise Untrusted(f"the contribution of {receipt.force} is not the one that its receipt names")
        yield receipt.force, chunks
