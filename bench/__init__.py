"""Measurements: `python -m bench` runs them and writes the tables of docs/performance.md."""
