"""Data sets as arrays, and benchmarks as streams made from them."""
