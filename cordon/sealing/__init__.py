"""How a vector of integers is hidden: masks, check cells, BFV ciphertexts, and what binds them."""
