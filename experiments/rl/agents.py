"""Q-learning agents: their flags, and their chosen rates."""

import dataclasses
from typing import Any, Literal

import optax

import mer_jax
from experiments.running.options import Flags, flag
from mer_jax.networks import Model

TITLES = {"dqn": "DQN", "dqn-reservoir": "DQN with a reservoir", "dqn-mer": "DQN-MER"}
# {(game, agent): rates}, the best of experiments/results/rl-sweeps.md on other seeds.
CHOSEN = {
    ("catcher", "dqn"): {"alpha": 0.03},
    ("catcher", "dqn-reservoir"): {"alpha": 0.03},
    ("catcher", "dqn-mer"): {"alpha": 0.03, "beta": 1.0, "gamma": 0.1},
    ("flappy-bird", "dqn"): {"alpha": 0.03},
    ("flappy-bird", "dqn-reservoir"): {"alpha": 0.05},
    ("flappy-bird", "dqn-mer"): {"alpha": 0.003, "beta": 1.0, "gamma": 0.6},
}


@dataclasses.dataclass(frozen=True)
class Play(Flags):
    """Flags of an agent in a game, but for its rates."""

    game: Literal["catcher", "flappy-bird"] = "catcher"
    """Fruits that fall faster from task to task, or gaps between pipes that become narrower."""
    agent: Literal["dqn", "dqn-reservoir", "dqn-mer"] = "dqn-mer"
    """Deep Q-learning with the newest transitions, with a reservoir, or with MER."""
    tasks: int = 6
    """Number of tasks, from the easiest on."""
    frames_per_task: int = 25_000
    """Frames of play in each task."""
    evaluate_every: int = 1000
    """Frames between two evaluations on all tasks."""
    episodes: int = 5
    """Episodes of each task in an evaluation. The last evaluation has four times as many."""
    max_frames: int | None = None
    """Frames after which such an episode ends. By default 1000 (Catcher) or 2000 (Flappy Bird)."""
    replays: int = 16
    """Replays after each frame. DQN-MER adds the newest transition to each of its batches."""
    num_batches: int = 1
    """DQN-MER's s, batches after each frame, which share the replays equally."""
    capacity: int = 50_000
    """Transitions that the buffer holds."""
    discount: float = 0.99
    """Discount factor of future rewards, in [0, 1]."""
    epsilon: float = 0.05
    """Probability of a random action in the end."""
    epsilon_frames: int = 10_000
    """Frames over which that probability falls from 1."""
    target_every: int = 1000
    """Frames between two copies into the target network."""
    hidden: tuple[int, ...] = (64, 64)
    """Units of each hidden layer."""

    def check(self) -> None:
        super().check()
        self.positive("tasks", "frames_per_task", "evaluate_every", "episodes", "max_frames")
        self.positive("replays", "num_batches", "capacity", "epsilon_frames", "target_every")
        self.positive("hidden")
        self.rates("discount", "epsilon", largest=1)
        for name, divisor in (("frames_per_task", "evaluate_every"), ("replays", "num_batches")):
            if (value := getattr(self, name)) % (of := getattr(self, divisor)):
                names = f"{flag(name)} must be a multiple of {flag(divisor)}"
                raise ValueError(f"{names}, got {value} and {of}")
        if self.agent != "dqn-mer" and self.num_batches != 1:
            raise ValueError(f"--num-batches is not used by {self.agent}")
        if self.replays > (most := self.capacity):
            raise ValueError(f"--replays must be at most --capacity {most}, got {self.replays}")

    def make_agent(self, model: Model, rates: dict[str, Any]) -> Any:
        """The agent with its rates, which may be traced, and a `q_network`."""
        epsilon = optax.linear_schedule(1.0, self.epsilon, self.epsilon_frames)
        how: dict[str, Any] = {"discount": self.discount, "target_every": self.target_every}
        if self.agent == "dqn-mer":
            how |= {"num_batches": self.num_batches, "capacity": self.capacity, **rates}
            size = 1 + self.replays // self.num_batches
            return mer_jax.rl.dqn_mer(model, batch_size=size, epsilon=epsilon, **how)
        memory = (mer_jax.rl.fifo if self.agent == "dqn" else mer_jax.reservoir)(self.capacity)
        how |= {"optimizer": optax.sgd(rates["alpha"]), "memory": memory}
        return mer_jax.rl.dqn(model, batch_size=self.replays, epsilon=epsilon, **how)
