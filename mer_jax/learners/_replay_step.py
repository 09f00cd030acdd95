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
    """State of `er`, `er_by_task`, `exact_alignment`, `der` and `der_plus_plus`.

    params: pytree, the parameters of the network.
    opt_state: state of the optimizer.
    memory: the reservoir of stored examples.
    step: `[]` int32, the number of updates so far.
    master: a float32 copy of each parameter with fewer than 32 bits. Steps are taken on the copies.
      A pytree like `params`, with None for parameters that need no copy, or None for no copies.
    """

    params: Params
    opt_state: optax.OptState
    memory: ReservoirState
    step: jax.Array
    master: Params = None


class Batch(NamedTuple):
    """The incoming example, which is the first row, and its replays.

    shown: pytree of `[k, ...]`, the augmented examples that the loss sees.
    stored: pytree of `[k, ...]`, the same examples without augmentation.
    present: `[k]`, 1 for an example, 0 for a replay that is missing while the reservoir is too
      empty.
    """

    shown: Any
    stored: Any
    present: jax.Array


def start(
    optimizer: optax.GradientTransformation, params: Params, memory: ReservoirState, example: Any
) -> ReplayState:
    """The initial state, with a network of parameters `params`.

    `memory` is an empty reservoir. `example` only says how the state is spread over a mesh.
    """
    learned = wide(params)
    opt_state, master = _optimizers.start(optimizer, learned), master_of(learned, params)
    state = ReplayState(params, opt_state, memory, jnp.zeros((), jnp.int32), master)
    return varying_like(state, params, example)


def replay_learner(
    loss_fn: LossFn,
    gradient: Callable[[LossFn, Params, Batch], tuple[jax.Array, Params]],
    *,
    optimizer: optax.GradientTransformation,
    batch_size: int,
    capacity: int,
    augment: Augment | None,
) -> Learner[ReplayState, Info]:
    """A learner with a reservoir and one optimizer step on each batch.

    Draws a batch, takes a step along its gradient, and offers the example to the reservoir.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      gradient: `gradient(loss_fn, params, batch) -> (loss [], grads)`. The loss is that of the
        incoming example.
      optimizer: any optax transformation.
      batch_size: k, examples per batch, the incoming one included.
      capacity: number of examples that the reservoir holds.
      augment: see `mer`.
    Raises:
      ValueError: If a size is not a whole number of at least 1, or if `optimizer` is not an optax
        transformation.
    """
    batch_size = _checks.positive_int("batch_size", batch_size)
    optimizer = _checks.optimizer(optimizer)
    memory = reservoir(capacity)

    def init(params: Params, example: Any) -> ReplayState:
        return start(optimizer, as_state(params), memory.init(example), example)

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

    return Learner(init, _checks.of_state(ReplayState, update))
