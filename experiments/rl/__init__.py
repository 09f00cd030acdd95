"""Continual reinforcement learning: a game that gets harder from task to task."""
