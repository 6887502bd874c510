"""Linear regression from noised sums: one answer, its coefficients, and what can be concluded from them."""
