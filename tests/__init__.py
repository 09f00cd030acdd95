"""Tests of the library, the programs and the project."""
