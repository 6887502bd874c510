from typing import Any

class DataFrame:
    attrs: dict[str, Any]
