"""Nodes from a download of data.police.uk: what is in it, what a contract covers, and a folder for each force."""
