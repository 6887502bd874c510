"""Whatever population is made, its truth is what its rows say."""

from collections import Counter

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from demo.nominals.facts import batches
from demo.nominals.population import make_population
from demo.nominals.truth import Tally, overlap_of
from demo.nominals.values import CODES


@settings(max_examples=12, deadline=None)
@given(
    forces=st.integers(1, 9),
    persons=st.integers(1, 400),
    overlap=st.floats(0, 0.5),
    most_rows=st.integers(1, 60),
    seed=st.integers(0, 2**32 - 1),
)
def test_the_truth_is_what_the_rows_say(forces, persons, overlap, most_rows, seed):
    """Persons, pairs of forces, rows per person and codes agree with what is counted row by row."""
    population = make_population(forces, persons=persons, seed=seed, overlap=overlap, most_rows=most_rows)
    met = []
    for force in range(forces):
        tally, own, roles, rows = Tally(), Counter(), Counter(), 0
        for batch in batches(population, force, {}):
            tally.add(batch)
            for person, role, left_out in zip(
                batch["person"].tolist(), batch["role"].tolist(), batch["restricted"].tolist(), strict=True
            ):
                if not left_out:
                    rows += 1
                    own[person] += 1
                    roles[CODES["role"][role]] += 1
        truth = tally.truth(repeats=False)
        assert truth.rows_without_person == own.pop(None)
        assert truth.rows == rows == sum(truth.months.values())
        assert truth.counts["role"] == roles
        assert truth.rows_per_person == Counter(own.values())
        assert max(own.values(), default=0) <= most_rows
        met.append(set(own))
    overlap_found = overlap_of(population)
    assert overlap_found.pairs.tolist() == [[len(some & others) for others in met] for some in met]
    assert overlap_found.known_to == Counter(Counter(person for some in met for person in some).values())
    assert (np.diag(overlap_found.pairs_by_pnc) <= np.diag(overlap_found.pairs)).all()
