"""Tests of data sets, benchmarks and augmentation."""
