"""Where a force's records come from: files and databases, read and never written."""
