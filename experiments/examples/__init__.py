"""Short programs with mer_jax in other people's loops: python -m experiments.examples.NAME."""
