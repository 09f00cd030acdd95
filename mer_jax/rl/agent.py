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
    next_obs: `[d]` float32, the observation after the frame. At a time limit, it is the last
      observation of the episode that ends.
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

    params: pytree, the parameters of the Q-network.
    target: pytree like `params`, the target network. `params` replace it every `target_every`
      frames.
    opt_state: state of the optimizer. It is `()` for `dqn_mer`.
    memory: `ReservoirState` of stored transitions.
    step: `[]` int32, the number of frames so far.
    master: a float32 copy of each parameter with fewer than 32 bits. Steps are taken on the copies.
      A pytree like `params`, with None for parameters that need no copy, or None for no copies.
    """

    params: Params
    target: Params
    opt_state: optax.OptState
    memory: ReservoirState
    step: jax.Array
    master: Params = None


class Init(Protocol):
    """Type of `Agent.init`, a function `init(params, transition) -> state`."""

    def __call__(self, params: Params, transition: Transition) -> AgentState: ...


class Act(Protocol):
    """Type of `Agent.act`, a function `act(key, state, obs) -> action`."""

    def __call__(self, key: jax.Array, state: AgentState, obs: jax.Array) -> jax.Array: ...


class Update(Protocol):
    """Type of `Agent.update`, a function `update(key, state, transition) -> (state, info)`."""

    def __call__(
        self, key: jax.Array, state: AgentState, transition: Transition
    ) -> tuple[AgentState, Info]: ...


class Values(Protocol):
    """Type of `Agent.values`, a function `values(params, obs) -> [num_actions]`."""

    def __call__(self, params: Params, obs: Any) -> jax.Array: ...


class Agent(NamedTuple):
    """A reinforcement-learning agent as pure functions.

    A state is a NamedTuple with at least the field `step`, `[]` int32, the number of updates. An
    info has at least the field `loss`, `[]`. `AgentState` and `Info` are such types.

    init: `init(params, transition) -> state`. It reads only the shapes and dtypes of `transition`.
    act: `act(key, state, obs) -> action`, `[]`.
    update: `update(key, state, transition) -> (state, info)`, learning from one frame. `info.loss`
      is the loss on that frame before the update.
    values: `values(params, obs) -> [num_actions]`, the action values. `mer_jax.rl.start` checks
      that each action of the game has one. It is None for an agent without action values.
    """

    init: Init
    act: Act
    update: Update
    values: Values | None = None
