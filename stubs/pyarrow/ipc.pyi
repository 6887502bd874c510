from contextlib import AbstractContextManager
from typing import IO

from pyarrow import Schema, Table

class RecordBatchFileWriter:
    def write_table(self, table: Table) -> None: ...

def new_file(sink: IO[bytes], schema: Schema) -> AbstractContextManager[RecordBatchFileWriter]: ...
