"""How a force joins: what `cordon node init` lays out, and what `cordon node doctor` looks at."""
