"""From noised integers to estimates with intervals: post-processing, which costs no privacy."""
