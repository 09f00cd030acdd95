"""Continual reinforcement learning: two games in pure JAX, as gymnax environments."""

try:
    import flashbax  # noqa: F401
    import gymnax  # noqa: F401
except ImportError as error:
    raise ImportError("mer_jax.rl needs gymnax and flashbax: pip install 'mer_jax[rl]'") from error

from mer_jax.rl.catcher import Catcher, CatcherParams, CatcherState
from mer_jax.rl.flappy_bird import FlappyBird, FlappyBirdParams, FlappyBirdState
from mer_jax.rl.game import Scaled
from mer_jax.rl.play import Played, PlayState, evaluate, play, start
from mer_jax.rl.q_learning import Agent, AgentState, Transition, dqn, dqn_mer, fifo, q_network

__all__ = [
    "Agent",
    "AgentState",
    "Catcher",
    "CatcherParams",
    "CatcherState",
    "FlappyBird",
    "FlappyBirdParams",
    "FlappyBirdState",
    "PlayState",
    "Played",
    "Scaled",
    "Transition",
    "dqn",
    "dqn_mer",
    "evaluate",
    "fifo",
    "play",
    "q_network",
    "start",
]
