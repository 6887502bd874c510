"""A saved question asked again on a schedule, within a budget set aside for it; docs/analysis/watch.md.

Every release is an ordinary query, charged in full: no mechanism spans releases. docs/adr/0034-*.md says why.
"""
