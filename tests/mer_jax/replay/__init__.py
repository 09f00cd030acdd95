"""Tests of the storage of past examples."""
