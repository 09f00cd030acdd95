"""Tests of documentation, package and types."""
