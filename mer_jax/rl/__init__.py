"""Continual reinforcement learning: two games in pure JAX, as gymnax environments."""

try:
    import gymnax  # noqa: F401
except ImportError as error:
    raise ImportError("mer_jax.rl needs gymnax: pip install 'mer_jax[rl]'") from error

from mer_jax.replay.fifo import fifo
from mer_jax.rl.agent import Agent, AgentState, Transition
from mer_jax.rl.catcher import Catcher, CatcherParams, CatcherState
from mer_jax.rl.flappy_bird import FlappyBird, FlappyBirdParams, FlappyBirdState
from mer_jax.rl.game import Scaled
from mer_jax.rl.play import Played, PlayInfo, PlayState, evaluate, play, start
from mer_jax.rl.q_learning import dqn, dqn_mer
from mer_jax.rl.values import Judged, greedy, q_loss, q_network

__all__ = [
    "Agent",
    "AgentState",
    "Catcher",
    "CatcherParams",
    "CatcherState",
    "FlappyBird",
    "FlappyBirdParams",
    "FlappyBirdState",
    "Judged",
    "PlayInfo",
    "PlayState",
    "Played",
    "Scaled",
    "Transition",
    "dqn",
    "dqn_mer",
    "evaluate",
    "fifo",
    "greedy",
    "play",
    "q_loss",
    "q_network",
    "start",
]
