"""Supervised streams of tasks: MER beside other methods."""
