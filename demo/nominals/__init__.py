"""Synthetic persons, from a seed: who they are, where they are known, and how each records system spells it.

Open police data name no persons and hold no numbers, so the third data set is made up, and marked so. `first`
writes the plain file behind nominals v1; everything else is for v2: one population over all forces (`population`),
what each of them knows (`facts`), and the same facts as different records systems would hold them (`systems`).
"""

from demo.nominals.first import FIELDS, MOST_ROWS, PERSONS, WITHOUT_PERSON, write_nominals

__all__ = ["FIELDS", "MOST_ROWS", "PERSONS", "WITHOUT_PERSON", "write_nominals"]
