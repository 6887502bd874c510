"""`python -m cordon`: the same as `cordon`."""

from cordon.cli import main

main()
