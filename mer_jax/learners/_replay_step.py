"""Learners with one optimizer step on each incoming example and its replays."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mer_jax import _checks, _optimizers
from mer_jax._meshes import varying_like
from mer_jax._precision import master_of, on_wide, wide
from mer_jax.augmentation import Augment, augmented
from mer_jax.replay.batches import replay_batch
from mer_jax.replay.reservoir import ReservoirState, reservoir
from mer_jax.types import Info, Learner, LossFn, Params, as_state, exportable


@exportable
class ReplayState(NamedTuple):
    """params: the network; opt_state: the optimizer's; memory: the reservoir; step: `[]` int32.

    master: float32 copies of the params of fewer than 32 bits, None for the others.
    """

    params: Params
    opt_state: optax.OptState
    memory: ReservoirState
    step: jax.Array
    master: Params = None


class Batch(NamedTuple):
    """The incoming example, which is the first, and its replays.

    shown: pytree of `[k, ...]`, as the loss is to see them.
    stored: pytree of `[k, ...]`, as they came, without augmentation.
    present: `[k]`, 0 for replays that an early reservoir cannot give, else 1.
    """

    shown: Any
    stored: Any
    present: jax.Array


def replay_learner(
    loss_fn: LossFn,
    gradient: Callable[[LossFn, Params, Batch], tuple[jax.Array, Params]],
    *,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    capacity: int,
    augment: Augment | None,
) -> Learner[ReplayState, Info]:
    """Draws a batch, takes a step along its gradient, and offers the example to the reservoir.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      gradient: `gradient(loss_fn, params, batch) -> (loss [], grads)`, the loss that of the
        incoming example.
      optimizer: any optax transformation.
      batch_size: k, examples per batch, the incoming one included.
      capacity: examples in the reservoir.
      augment: see `mer`.
    Raises:
      ValueError: if a size is not a whole number of at least 1, or the optimizer is none.
    """
    batch_size = _checks.positive_int("batch_size", batch_size)
    optimizer = _checks.optimizer(optimizer)
    memory = reservoir(capacity)

    def init(params: Params, example: Any) -> ReplayState:
        params = as_state(params)
        learned = wide(params)
        state = ReplayState(
            params,
            _optimizers.start(optimizer, learned),
            memory.init(example),
            jnp.zeros((), jnp.int32),
            master_of(learned, params),
        )
        return varying_like(state, params, example)

    def update(key: jax.Array, state: ReplayState, example: Any) -> tuple[ReplayState, Info]:
        draw_key, add_key = jax.random.split(key)
        stored, present = replay_batch(draw_key, state.memory, example, batch_size)
        batch = Batch(augmented(augment, key, stored, 1), stored, present)
        learned = wide(state.params, state.master)
        loss, grads = gradient(on_wide(loss_fn, state.params), learned, batch)
        params, master, opt_state = _optimizers.descend(
            optimizer, grads, state.opt_state, learned, state.params
        )
        kept = memory.add(add_key, memory.after(state.memory, (params, opt_state)), example)
        return ReplayState(params, opt_state, kept, state.step + 1, master), Info(loss)

    return Learner(init, update)
