"""Replay without stored examples: draws from one Gaussian for each class of each task."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mer_jax.augmentation import Augment, augmented
from mer_jax.networks import Model
from mer_jax.types import Example, Info, Learner, Params


class GaussiansState(NamedTuple):
    """State of `gaussians`, with a row for each class of each task.

    params: the network.
    opt_state: the state of the optimizer.
    step: `[]` int32, the number of examples learned from.
    seen: `[N * C]`, examples of each row.
    mean: `[N * C, ...]`, their mean.
    spread: `[N * C, ...]`, the sum of their squared distances from it.
    """

    params: Params
    opt_state: optax.OptState
    step: jax.Array
    seen: jax.Array
    mean: jax.Array
    spread: jax.Array


def gaussians(
    model: Model, *, optimizer: optax.GradientTransformation, num_tasks: int, batch_size: int,
    augment: Augment | None = None,
) -> Learner[GaussiansState, Info]:  # fmt: skip
    """Experience replay of generated examples. No example is stored.

    The state has the mean and the variance of every pixel for each class of each task. A replay
    takes class and task of a past example. Its pixels are independent, normal and rounded.

    Args:
      model: network and loss. The number of its logits is the number of classes C.
      num_tasks: N. An example needs a field `task` in `[0, N)`.
      batch_size: examples in a batch, the incoming one included. All have equal weight.
      augment: see `mer_jax.mer`.
    Returns:
      A `Learner`. `info.loss` is the incoming example's loss before the step.
    """

    def init(params: Params, example: Example) -> GaussiansState:
        logits = jax.eval_shape(model.apply, params, example.x, example.task)
        none = jnp.zeros((rows := num_tasks * logits.shape[-1], *jnp.shape(example.x)))
        begun = params, optimizer.init(params), jnp.int32(0)
        return GaussiansState(*begun, jnp.zeros(rows), none, none)

    def update(
        key: jax.Array, state: GaussiansState, example: Example
    ) -> tuple[GaussiansState, Info]:
        draw_key, noise_key, augment_key = jax.random.split(key, 3)
        seen, mean, spread = state.seen, state.mean, state.spread
        classes = len(seen) // num_tasks
        drawn = jax.random.categorical(draw_key, jnp.log(seen), shape=(batch_size - 1,))
        noise = jax.random.normal(noise_key, (batch_size - 1, *example.x.shape))
        variance = jax.vmap(jnp.multiply)(1 / jnp.maximum(seen[drawn], 1), spread[drawn])
        pixels = jnp.round(mean[drawn] + jnp.sqrt(variance) * noise)
        x = jnp.clip(pixels, 0, 255).astype(example.x.dtype)
        task, y = jnp.divmod(drawn.astype(jnp.int32), classes)
        batch = jax.tree.map(
            lambda one, more: jnp.concatenate([one[None], more]), example, Example(x, y, task)
        )
        # Before the first example there is nothing to draw.
        weights = jnp.ones(batch_size).at[1:].set(seen.any())

        def loss_fn(params: Params) -> Any:
            keys = jax.random.split(augment_key, batch_size)
            shown = jax.vmap(lambda key, one: augmented(augment, key, one))(keys, batch)
            losses = jax.vmap(model.loss, (None, 0))(params, shown)
            return (weights @ losses) / weights.sum(), losses[0]

        grads, loss = jax.grad(loss_fn, has_aux=True)(state.params)
        updates, opt_state = optimizer.update(grads, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)

        # The statistics with one more example, by Welford's algorithm.
        row = example.task * classes + example.y
        seen, away = seen.at[row].add(1), example.x - mean[row]
        mean = mean.at[row].add(away / seen[row])
        spread = spread.at[row].add(away * (example.x - mean[row]))
        return GaussiansState(params, opt_state, state.step + 1, seen, mean, spread), Info(loss)

    return Learner(init, update)
