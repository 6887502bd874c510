"""Reading the register, trusting nobody: for auditors and for analysts. docs/auditing.md §2."""
