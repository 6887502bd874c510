from typing import IO

from pyarrow import Table

def write_table(table: Table, where: IO[bytes]) -> None: ...
