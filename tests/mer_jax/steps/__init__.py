"""Tests of SGD and Reptile."""
