"""Learners that take one optimizer step on each incoming example and its replays."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mer_jax import buffer, checks
from mer_jax.buffer import ReservoirState
from mer_jax.types import Info, Learner, Params, as_state, exportable


@exportable
class RehearsalState(NamedTuple):
    """params: the network; opt_state: the optimizer's; memory: the reservoir; step: `[]` int32."""

    params: Params
    opt_state: optax.OptState
    memory: ReservoirState
    step: jax.Array


def rehearse(
    gradient: Callable[[Params, Any, jax.Array], tuple[jax.Array, Params]],
    optimizer: optax.GradientTransformation,
    batch_size: int,
    capacity: int,
) -> Learner:
    """Draws a batch, takes a step along its gradient, and offers the example to the reservoir.

    Args:
      gradient: `gradient(params, batch [k, ...], present [k]) -> (loss [], grads)`, where the
        incoming example is the first of the batch, `present` is 0 for replays that an early
        reservoir cannot give, else 1, and `loss` is the incoming example's.
      optimizer: any optax transformation.
      batch_size: k, examples per batch, the incoming one included.
      capacity: examples in the reservoir.
    Raises:
      ValueError: if a size is not a whole number of at least 1, or the optimizer is none.
    """
    batch_size = checks.positive_int("batch_size", batch_size)
    optimizer = checks.optimizer(optimizer)
    memory = buffer.reservoir(capacity)

    def init(params: Params, example: Any) -> RehearsalState:
        params = as_state(params)
        start = jnp.zeros((), jnp.int32)
        return RehearsalState(params, optimizer.init(params), memory.init(example), start)

    def update(key: jax.Array, state: RehearsalState, example: Any) -> tuple[RehearsalState, Info]:
        draw_key, add_key = jax.random.split(key)
        batch, present = buffer.replay_batch(draw_key, state.memory, example, batch_size)
        loss, grads = gradient(state.params, batch, present)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        kept = memory.add(add_key, buffer.after(state.memory, params), example)
        return RehearsalState(params, opt_state, kept, state.step + 1), Info(loss)

    return Learner(init, update)
