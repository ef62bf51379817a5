"""Vectors of 16 float32 as a Numba type: loads, arithmetic, functions, transposition."""
