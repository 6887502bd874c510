"""Cordon: answers over many forces' records, without any record leaving its force."""
