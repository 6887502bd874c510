"""Disparity: rates of groups against those of a reference group, and what can and cannot be concluded from them."""
