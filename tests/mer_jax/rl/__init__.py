"""Tests of the games and the agents."""
