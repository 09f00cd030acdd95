"""Transfer and interference between examples."""

from collections.abc import Callable
from typing import Any, Generic, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mer_jax._precision import on_wide, wide
from mer_jax.augmentation import Augment, augmented
from mer_jax.losses import one_number
from mer_jax.replay.reservoir import ReservoirState, reservoir
from mer_jax.task_params import TaskParams, of_task
from mer_jax.types import Learner, LossFn, Params, State, Told, exportable, task_of

_UNUSED = 2**31 - 1
"""More parts than any learner splits its key into."""


def gradient_alignment(
    loss_fn: LossFn, params: Params, example_a: Any, example_b: Any
) -> jax.Array:
    """The dot product of the gradients on two examples, `[]`.

    Above 0 a step on one improves the other (transfer), below 0 it harms it (interference).

    >>> def loss(w, x):
    ...     return (w - x) ** 2 / 2
    >>> print(gradient_alignment(loss, 1.0, 3.0, 5.0), gradient_alignment(loss, 1.0, 3.0, 0.0))
    8.0 -2.0

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      params: any pytree of floating-point arrays.
      example_a, example_b: two examples.
    Source: Riemer et al. (2019), equations 1 and 2.
    """
    gradient = _gradient(loss_fn, params)
    return optax.tree.vdot(gradient(params, example_a), gradient(params, example_b))


def _gradient(loss_fn: LossFn, like: Params) -> Callable[[Params, Any], Params]:
    """`gradient(params, example)`, in at least float32 so that products do not overflow."""
    slope = jax.grad(one_number(on_wide(loss_fn, like)))
    return lambda params, example: slope(wide(params), example)


def _of_all_tasks(loss_fn: LossFn) -> LossFn:
    """The loss of one task's network as a function of every task's."""

    def loss(params: Params, example: Any) -> jax.Array:
        by_task = isinstance(params, TaskParams)
        return loss_fn(of_task(params, task_of(example)) if by_task else params, example)

    return loss


@exportable
class WatchedState(NamedTuple, Generic[State]):
    """learner: the state of the watched learner; past: a reservoir of its examples."""

    learner: State
    past: ReservoirState

    @property
    def params(self) -> Params:
        """The network of the learner that is watched."""
        return self.learner.params

    @property
    def step(self) -> jax.Array:
        """The number of examples that learner has learned from."""
        return self.learner.step


@exportable
class WatchedInfo(NamedTuple):
    """Agreement of the incoming example's gradient, before the step, with a past example's.

    loss: `[]`, the incoming example's; past: the past example, a draw from all seen so far.
    dot, cosine: `[]`, of the two gradients before the step. The cosine with a gradient of 0 is 0.
    dot_after: `[]`, with the past example's gradient after the step: below 0 where the step went
      further than the past example would have had it, even if it helped at first.
    has_past: `[]` bool, False at the first example, where the three numbers are 0.
    """

    loss: jax.Array
    past: Any
    dot: jax.Array
    cosine: jax.Array
    dot_after: jax.Array
    has_past: jax.Array


def watch(
    learner: Learner[State, Told], loss_fn: LossFn, capacity: int, augment: Augment | None = None
) -> Learner[WatchedState[State], WatchedInfo]:
    """The same learner, whose info also tells transfer and interference as they develop.

    Args:
      learner: any learner.
      loss_fn: `loss_fn(params, example) -> []`, whose gradients are compared. If the learner's
        parameters are `TaskParams`, it takes one task's network, as the learner's own loss does.
        Two tasks' own parameters are different coordinates of the gradients.
      capacity: the past example is drawn from a reservoir of this size, which nobody learns from;
        as large as the stream, it is a draw from all that came before. Where a learner is shown
        references (`map_examples`), watch that one: it is references that are kept then.
      augment: see `mer`; changes both examples before their gradients are compared.
    Raises:
      ValueError: if `capacity` is not a whole number of at least 1.
    Source: Riemer et al. (2019), whose table of mean dot products is the mean of `dot`.
    """
    memory = reservoir(capacity)

    def init(params: Params, example: Any) -> WatchedState[State]:
        return WatchedState(learner.init(params, example), memory.init(example))

    def update(
        key: jax.Array, state: WatchedState[State], example: Any
    ) -> tuple[WatchedState[State], WatchedInfo]:
        # Of its own, so that the learner draws what it would draw unwatched, and something else:
        # `fold_in(key, n)` may be the same as `split(key)[n]`.
        watch_key = jax.random.fold_in(key, _UNUSED)
        drawn, valid, kept = memory.sample_and_add(watch_key, state.past, example, 1)
        past, has_past = jax.tree.map(lambda rows: rows[0], (drawn, valid))
        shown = augmented(augment, watch_key, example)
        shown_past = augmented(augment, jax.random.fold_in(watch_key, 0), past)
        gradient = _gradient(_of_all_tasks(loss_fn), state.params)
        ours, theirs = gradient(state.params, shown), gradient(state.params, shown_past)
        new, info = learner.update(key, state.learner, example)
        dot, dot_after = (
            jnp.where(has_past, optax.tree.vdot(ours, gradient_of_past), 0)
            for gradient_of_past in (theirs, gradient(new.params, shown_past))
        )
        lengths = optax.tree.norm(ours) * optax.tree.norm(theirs)
        cosine = jnp.where(lengths > 0, dot / jnp.where(lengths > 0, lengths, 1), 0)
        told = WatchedInfo(info.loss, past, dot, cosine, dot_after, has_past)
        return WatchedState(new, kept), told

    return Learner(init, update)
