"""Continual reinforcement learning: two games in pure JAX, as gymnax environments."""

try:
    import gymnax  # noqa: F401
except ImportError as error:
    raise ImportError("mer_jax.rl needs gymnax: pip install 'mer_jax[rl]'") from error

from mer_jax.rl.catcher import Catcher, CatcherParams, CatcherState
from mer_jax.rl.flappy_bird import FlappyBird, FlappyBirdParams, FlappyBirdState

__all__ = [
    "Catcher",
    "CatcherParams",
    "CatcherState",
    "FlappyBird",
    "FlappyBirdParams",
    "FlappyBirdState",
]
