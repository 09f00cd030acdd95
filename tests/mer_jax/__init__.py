"""Tests of the library, a module of tests for each of its modules."""
