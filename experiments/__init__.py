"""Command-line programs: each reads data, calls mer_jax, and writes results."""
