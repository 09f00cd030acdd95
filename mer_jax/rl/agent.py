"""An agent as pure functions, with its state and the transitions that it learns from."""

from typing import Any, NamedTuple, Protocol

import jax
import optax

from mer_jax.replay.reservoir import ReservoirState
from mer_jax.types import Info, Params, exportable


@exportable
class Transition(NamedTuple):
    """One frame; a leading axis makes it a batch.

    obs, next_obs: `[d]` float32, before and after; of a frame that a time limit cut short, too.
    action: `[]` int32. reward: `[]` float32.
    terminal: `[]` bool, whether the game is over, so that nothing can follow.
    """

    obs: Any
    action: Any
    reward: Any
    next_obs: Any
    terminal: Any


@exportable
class AgentState(NamedTuple):
    """params: the network Q; target: an earlier copy of it; opt_state: the optimizer's.

    memory: the stored transitions; step: `[]` int32, frames learned from.
    master: float32 copies of the params of fewer than 32 bits, None for the others.
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
    """A player that learns, as pure functions.

    init: `init(params, transition) -> state`; of `transition` only shapes and dtypes are read.
    act: `act(key, state, obs) -> action []`.
    update: `update(key, state, transition) -> (state, info)`, after one frame; info has `.loss`.
    values: `values(params, obs) -> [num_actions]`, by which `start` checks the network; None for
      an agent that has no such values.
    """

    init: Init
    act: Act
    update: Update
    values: Values | None = None
