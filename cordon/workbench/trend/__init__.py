"""What grows, what falls, and what the noise alone would explain: series of months or quarters from one answer."""
