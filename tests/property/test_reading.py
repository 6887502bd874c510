"""Whatever the order in which an honest register's receipts arrive it verifies, and no bit of it can be changed."""

from __future__ import annotations

from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st
from registers import DOMAIN, Register

from cordon.reading.mirror import Mirror
from cordon.reading.read import Options, Reader
from cordon.register.leaf import Receipt
from cordon.register.spending import Spending
from cordon.wire.codec import decode_envelope
from cordon.wire.signed import peek

FORCES = ("essex", "kent", "norfolk")
QUERIES = 4


def read(register, mirror):
    """What a reader comes to, long after anything could be in flight."""
    return Reader(mirror, register.source(after=10**5), Options(register.governance_keys)).read()


@cache
def answered():
    """A small register, made once."""
    register = Register(FORCES)
    for analyst in ("alice", "bob"):
        register.publish(register.round(analyst))
    return register


@settings(max_examples=40, deadline=None)
@given(order=st.permutations([(query, force) for query in range(QUERIES) for force in FORCES]), failing=st.booleans())
def test_receipts_may_arrive_in_any_order(order, failing):
    """Receipts of several attempts that arrive in any order give no discrepancy, and each force's own sums."""
    register = Register(FORCES)
    asked = [register.ask(analyst) for analyst in ("alice", "bob") * (QUERIES // 2)]
    made = {}
    for number, query in enumerate(asked):
        register.roster(query)
        for force in FORCES:
            register.receipt(query, 1, force)
            made[number, force] = register.leaves.pop()
    if failing:
        register.fail(asked[0], 1, ("kent",))
    register.leaves += [made[name] for name in order]
    for query in asked[1 if failing else 0 :]:
        register.complete(query)
    mirror = Mirror(None)

    assert read(register, mirror).discrepancies == ()
    for force in FORCES:
        spending = Spending()
        for number in range(QUERIES):
            spending.add(peek(Receipt, decode_envelope(made[number, force])))
        row = mirror.sql.execute("SELECT sum(rho), count(*) FROM receipts WHERE force = ?", (force,)).fetchone()
        assert row == (spending.lifetime(DOMAIN).nano, QUERIES)
        failed = mirror.sql.execute("SELECT count(*) FROM failed WHERE force = ?", (force,)).fetchone()
        assert failed == (int(failing),)


@settings(max_examples=120, deadline=None)
@given(data=st.data())
def test_no_bit_of_a_leaf_can_be_changed(data):
    """Whichever bit of whichever leaf a coordinator changes, under a tree of its own: that leaf is named."""
    register = answered()
    leaves = list(register.leaves)
    index = data.draw(st.integers(0, len(leaves) - 1))
    at = data.draw(st.integers(0, len(leaves[index]) - 1))
    changed = bytearray(leaves[index])
    changed[at] ^= 1 << data.draw(st.integers(0, 7))
    register.leaves[index] = bytes(changed)
    try:
        result = read(register, Mirror(None))
    finally:
        register.leaves[:] = leaves

    assert result.discrepancies
    assert result.discrepancies[0].leaf == index
