"""Transfer and interference between examples."""

from collections.abc import Callable
from typing import Any, Generic, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mer_jax import _checks
from mer_jax._precision import on_wide, wide
from mer_jax.augmentation import Augment, augmented
from mer_jax.losses import one_number
from mer_jax.replay.reservoir import ReservoirState, reservoir
from mer_jax.task_params import TaskParams, of_task
from mer_jax.types import Learner, LossFn, Params, State, Told, exportable, task_of

_UNUSED = 2**31 - 1
"""A number larger than those that learners fold into keys."""


def gradient_alignment(
    loss_fn: LossFn, params: Params, example_a: Any, example_b: Any
) -> jax.Array:
    """The dot product of the gradients on two examples, `[]`.

    Above 0 a gradient step on one example improves the other (transfer). Below 0 it harms the other
    (interference).

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      params: any pytree of floating-point arrays.
      example_a, example_b: two examples.
    Returns:
      `[]`, of at least float32.
    Raises:
      ValueError: While tracing, if the loss is not a single number.
    Example:
      >>> def loss(w, x):
      ...     return (w - x) ** 2 / 2
      >>> print(gradient_alignment(loss, 1.0, 3.0, 5.0), gradient_alignment(loss, 1.0, 3.0, 0.0))
      8.0 -2.0

    References:
      Riemer et al. (2019), equations 1 and 2.
    """
    gradient = _gradient(one_number(loss_fn), params)
    return optax.tree.vdot(gradient(params, example_a), gradient(params, example_b))


def _gradient(loss_fn: LossFn, like: Params) -> Callable[[Params, Any], Params]:
    """`gradient(params, example)`, in at least float32, so that products do not overflow."""
    slope = jax.grad(on_wide(loss_fn, like))
    return lambda params, example: slope(wide(params), example)


def _of_all_tasks(loss_fn: LossFn) -> LossFn:
    """The loss of one task's network as a function of the networks of all tasks."""
    loss_fn = one_number(loss_fn)

    def loss(params: Params, example: Any) -> jax.Array:
        by_task = isinstance(params, TaskParams)
        return loss_fn(of_task(params, task_of(example)) if by_task else params, example)

    return loss


@exportable
class WatchedState(NamedTuple, Generic[State]):
    """State of a learner under `watch`.

    learner: the state of the learner itself.
    past: a reservoir of its past examples.
    """

    learner: State
    past: ReservoirState

    @property
    def params(self) -> Params:
        """The parameters of the network."""
        return self.learner.params

    @property
    def step(self) -> jax.Array:
        """The number of examples learned from."""
        return self.learner.step


@exportable
class WatchedInfo(NamedTuple):
    """Alignment of the gradients on the incoming example and on a past example.

    loss: `[]`, the loss on the incoming example before the step.
    past: the past example, drawn from all past examples.
    dot: `[]`, the dot product of the two gradients before the step.
    cosine: `[]`, their cosine, 0 if one gradient is 0.
    dot_after: `[]`, the dot product of the incoming example's gradient before the step and the past
      example's gradient after it. It is below 0 if the step went too far for the past example.
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
    """A learner whose info also measures transfer and interference during training.

    The learner itself draws and learns as it does without `watch`.

    Args:
      learner: any learner. With `map_examples`, watch its result, so that references are stored.
      loss_fn: `loss_fn(params, example) -> []`, whose gradients are compared. If the parameters are
        `TaskParams`, it takes the network of one task. Parameters that belong to different tasks
        are different coordinates of the gradients.
      capacity: size of the reservoir from which the past example is drawn. The learner does not
        train on it. At the length of the stream, the draw is from all past examples.
      augment: see `mer`. It changes both examples before their gradients are compared.
    Returns:
      A `Learner` with state `WatchedState` and info `WatchedInfo`.
    Raises:
      ValueError: If `capacity` is not a whole number of at least 1.
    References:
      Riemer et al. (2019), whose table of mean dot products is the mean of `dot`.
    """
    _checks.learner("watch(learner, loss_fn, capacity)", learner)
    memory = reservoir(capacity)

    def init(params: Params, example: Any) -> WatchedState[State]:
        return WatchedState(learner.init(params, example), memory.init(example))

    def update(
        key: jax.Array, state: WatchedState[State], example: Any
    ) -> tuple[WatchedState[State], WatchedInfo]:
        # A separate key, so that the learner draws what it draws without `watch`. For small n,
        # `fold_in(key, n)` may equal `split(key)[n]`.
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

    return Learner(init, _checks.of_state(WatchedState, update))
