"""Agents as pure functions, with their state and transitions."""

from typing import Any, NamedTuple, Protocol

import jax
import optax

from mer_jax.replay.reservoir import ReservoirState
from mer_jax.types import Info, Params, exportable


@exportable
class Transition(NamedTuple):
    """One frame of a game. A leading axis makes it a batch.

    obs: `[d]` float32, the observation before the frame.
    action: `[]` int32.
    reward: `[]` float32.
    next_obs: `[d]` float32, the observation after the frame. If a time limit ends the episode, it
      is the episode's last observation, not the first one of the next episode.
    terminal: `[]` bool, whether the game is over. A time limit alone leaves it False.
    """

    obs: Any
    action: Any
    reward: Any
    next_obs: Any
    terminal: Any


@exportable
class AgentState(NamedTuple):
    """State of a Q-learning agent.

    params: the parameters of the Q-network.
    target: the parameters of the target network, an earlier copy of `params`.
    opt_state: the state of the optimizer.
    memory: the stored transitions.
    step: `[]` int32, number of frames learned from.
    master: float32 copies of the parameters that have fewer than 32 bits. None for all others.
    """

    params: Params
    target: Params
    opt_state: optax.OptState
    memory: ReservoirState
    step: jax.Array
    master: Params = None


class Init(Protocol):
    """Signature of `Agent.init`."""

    def __call__(self, params: Params, transition: Transition) -> AgentState: ...


class Act(Protocol):
    """Signature of `Agent.act`."""

    def __call__(self, key: jax.Array, state: AgentState, obs: jax.Array) -> jax.Array: ...


class Update(Protocol):
    """Signature of `Agent.update`."""

    def __call__(
        self, key: jax.Array, state: AgentState, transition: Transition
    ) -> tuple[AgentState, Info]: ...


class Values(Protocol):
    """Signature of `Agent.values`."""

    def __call__(self, params: Params, obs: Any) -> jax.Array: ...


class Agent(NamedTuple):
    """A reinforcement-learning agent as pure functions.

    init: `init(params, transition) -> state`. Only shapes and dtypes of `transition` are read.
    act: `act(key, state, obs) -> action`, `[]`.
    update: `update(key, state, transition) -> (state, info)`, learning from one frame. `info.loss`
      is the loss on that frame before the update.
    values: `values(params, obs) -> [num_actions]`, the action values. `start` checks their number.
      None for an agent without action values.
    """

    init: Init
    act: Act
    update: Update
    values: Values | None = None
