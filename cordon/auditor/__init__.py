"""The auditor's command line: read-only, and believes what it has recomputed. docs/auditing.md."""
