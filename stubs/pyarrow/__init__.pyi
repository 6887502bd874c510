from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from pyarrow import ipc as ipc

class DataType: ...

class Array:
    type: DataType

class Schema:
    metadata: Mapping[bytes, bytes] | None
    names: list[str]

class Table:
    schema: Schema
    @staticmethod
    def from_arrays(arrays: Sequence[Array], *, names: Sequence[str]) -> Table: ...
    def replace_schema_metadata(self, metadata: Mapping[bytes, bytes]) -> Table: ...
    def to_pandas(self) -> pd.DataFrame: ...

def array(values: Sequence[Any], type: DataType | None = None) -> Array: ...
def float64() -> DataType: ...
def string() -> DataType: ...
