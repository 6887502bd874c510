"""Disparities over the bundled stops of 2019/20: what intervals hold, and how often nothing is found to be something.

Releases are simulated with the deviations of the real planner for all forces that have residents, and read by the
code that reads an answer. Shares are held to what is claimed by exact binomial tests, as in test_coverage.py.
"""

from dataclasses import dataclass
from functools import cache

import duckdb
import numpy as np
import pytest
from scipy.stats import binom, binomtest
from statistical.releases import CONTRACTS, MOST_CELLS, _categories, _exact

from cordon.analyst.document import document_of_rows
