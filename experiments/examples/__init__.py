"""Short example programs: python -m experiments.examples.NAME."""
