"""Storage of past examples in arrays of fixed size."""
