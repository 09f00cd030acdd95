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
from mer_jax.types import InfoT, Learner, LossFn, Params, StateT, exportable, task_of

_UNUSED = 2**31 - 1
"""A number larger than those that learners fold into keys.

For small n, `fold_in(key, n)` may equal `split(key)[n]`."""


def gradient_alignment(
    loss_fn: LossFn, params: Params, example_a: Any, example_b: Any
) -> jax.Array:
    """Dot product of the loss gradients on two examples.

    A positive product is transfer: a small gradient step on one example lowers the other's loss. A
    negative product is interference: the step raises the other's loss.

    Args:
      loss_fn: `loss_fn(params, example) -> []`. If `params` are `TaskParams`, parameters of several
        tasks, it must select those of `example.task`.
      params: pytree of floating-point arrays.
      example_a: one example, without a batch axis.
      example_b: another example of the same structure.
    Returns:
      The dot product, `[]`, in float32 or wider.
    Raises:
      ValueError: While tracing, if the loss is not one floating-point number.
    Example:
      >>> from mer_jax import gradient_alignment
      >>> def loss(w, x):
      ...     return (w - x) ** 2 / 2
      >>> print(gradient_alignment(loss, 1.0, 3.0, 5.0))  # transfer
      8.0
      >>> print(gradient_alignment(loss, 1.0, 3.0, 0.0))  # interference
      -2.0

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
class WatchedState(NamedTuple, Generic[StateT]):
    """State of a learner under `watch`.

    learner: the state of the wrapped learner.
    past: `ReservoirState` of past examples, separate from the learner's memory. Under `la_maml`
      each row is a batch. `init` of the watched learner then needs a batch as its example.
    """

    learner: StateT
    past: ReservoirState

    @property
    def params(self) -> Params:
        """The parameters of the network."""
        return self.learner.params

    @property
    def step(self) -> jax.Array:
        """The number of updates so far."""
        return self.learner.step


@exportable
class WatchedInfo(NamedTuple):
    """Alignment of the gradients on the incoming example and on a past example.

    loss: `[]`, the loss on the incoming example before the update.
    past: the past example, drawn uniformly from the reservoir of `watch`, which is not the
      learner's memory. It is zeros at the first update.
    dot: `[]`, the dot product of the two gradients before the update.
    cosine: `[]`, the cosine of the angle between them. It is 0 if one gradient is 0.
    dot_after: `[]`, the dot product of two gradients. One is the incoming example's before the
      update, the other the past example's after it. If it is negative, a further step against the
      first gradient would raise the past example's loss.
    has_past: `[]` bool, False at the first update. `dot`, `cosine` and `dot_after` are then 0.
    """

    loss: jax.Array
    past: Any
    dot: jax.Array
    cosine: jax.Array
    dot_after: jax.Array
    has_past: jax.Array


def watch(
    learner: Learner[StateT, InfoT], loss_fn: LossFn, capacity: int, augment: Augment | None = None
) -> Learner[WatchedState[StateT], WatchedInfo]:
    """Wraps a learner to measure transfer and interference at each update.

    Each update compares the gradient on the incoming example with that on a past example. A
    positive dot product is transfer, a negative one interference. The learner learns as without
    `watch`. `WatchedInfo` replaces its info and keeps only `loss`.

    Args:
      learner: any learner. With `map_examples` the past examples are stored as references.
      loss_fn: `loss_fn(params, example) -> []`, whose gradients are compared. `example` is the
        argument of `update`. After `map_examples` it is a reference, and for `la_maml` a batch. If
        the learner has `TaskParams`, `params` are those of the example's task. The products of
        gradients on two tasks are then of the shared parameters alone.
      capacity: number of past examples (for `la_maml`, of batches) in a separate reservoir. The
        learner does not train on them. A capacity of at least the stream's length stores all.
      augment: `augment(key, example)` returns what `loss_fn` sees, for both examples. It gets an
        example as `update` does: after `map_examples` a reference, for `la_maml` a whole batch.
    Returns:
      A `Learner` with state `WatchedState` and info `WatchedInfo`.
    Raises:
      ValueError: If `learner` is no `Learner`. If `capacity` is not a whole number of at least 1.
    Example:
      >>> import jax
      >>> import optax
      >>> from mer_jax import map_examples, online, watch
      >>> data = jax.numpy.array([1.0, 3.0])
      >>> learner = online(lambda w, x: (w - x) ** 2, optimizer=optax.sgd(0.25))
      >>> learner = map_examples(learner, lambda i: data[i])
      >>> watched = watch(learner, lambda w, i: (w - data[i]) ** 2, capacity=2)
      >>> state = watched.init(0.0, 0)
      >>> for step in range(2):
      ...     state, info = watched.update(jax.random.key(step), state, step)
      >>> print(info.past, info.dot, info.dot_after)  # see WatchedInfo
      0 5.0 -7.5

    References:
      Riemer et al. (2019), the table of mean dot products.
    """
    _checks.learner("watch(learner, loss_fn, capacity)", learner)
    memory = reservoir(capacity)

    def init(params: Params, example: Any) -> WatchedState[StateT]:
        return WatchedState(learner.init(params, example), memory.init(example))

    def update(
        key: jax.Array, state: WatchedState[StateT], example: Any
    ) -> tuple[WatchedState[StateT], WatchedInfo]:
        # A separate key, so that the learner draws what it draws without `watch`.
        watch_key = jax.random.fold_in(key, _UNUSED)
        drawn, valid, kept = memory.sample_and_add(watch_key, state.past, example, 1)
        past, has_past = jax.tree.map(lambda rows: rows[0], (drawn, valid))
        shown = augmented(augment, watch_key, example)
        shown_past = augmented(augment, jax.random.fold_in(watch_key, 0), past)
        new, info = learner.update(key, state.learner, example)
        products = _compared(loss_fn, state.params, new.params, shown, shown_past, has_past)
        return WatchedState(new, kept), WatchedInfo(info.loss, past, *products, has_past)

    return Learner(init, _checks.of_state(WatchedState, update))


def _compared(
    loss_fn: LossFn, before: Params, after: Params, incoming: Any, past: Any, has_past: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The fields `dot`, `cosine` and `dot_after` of a `WatchedInfo`."""
    gradient = _gradient(_of_all_tasks(loss_fn), before)
    ours, theirs, theirs_after = (
        gradient(params, example)
        for params, example in ((before, incoming), (before, past), (after, past))
    )
    dot, dot_after = (
        jnp.where(has_past, optax.tree.vdot(ours, grads), 0) for grads in (theirs, theirs_after)
    )
    lengths = optax.tree.norm(ours) * optax.tree.norm(theirs)
    cosine = jnp.where(lengths > 0, dot / jnp.where(lengths > 0, lengths, 1), 0)
    return dot, cosine, dot_after
