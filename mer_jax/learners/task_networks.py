"""The baselines with separate layers for each task: Independent and Task Input."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mer_jax import _checks, _optimizers, _trees
from mer_jax._described import described
from mer_jax._meshes import varying_like
from mer_jax._precision import master_of, on_wide, rounded, wide
from mer_jax.augmentation import Augment, augmented
from mer_jax.losses import value_and_gradient
from mer_jax.task_params import TaskParams, of_task, with_task
from mer_jax.types import Info, Learner, LossFn, Params, as_state, exportable, task_of


@exportable
class ByTaskState(NamedTuple):
    """State of `independent` and `task_input`, for N tasks.

    params: `TaskParams`, the parameters of the networks of all tasks.
    opt_state: state of the optimizer for the current task.
    task: `[]` int32, the current task, -1 before the first example.
    begun: `[N]` bool, True for tasks with at least one example so far.
    step: `[]` int32, the number of updates so far.
    master: a float32 copy of each parameter with fewer than 32 bits. Steps are taken on the copies.
      A pytree like `params`, with None for parameters that need no copy, or None for no copies.
    """

    params: TaskParams
    opt_state: optax.OptState
    task: jax.Array
    begun: jax.Array
    step: jax.Array
    master: Params = None


def independent(
    loss_fn: LossFn, *, optimizer: optax.GradientTransformation, augment: Augment | None = None
) -> Learner[ByTaskState, Info]:
    """A separate network for each task.

    `init` takes `TaskParams` with N networks, such as those of `mer_jax.networks.independent`. The
    first task of a stream trains its own network. Each later task begins from the trained network
    of the task before it. A task that returns continues its own network.

    Args:
      loss_fn: `loss_fn(params, example) -> []`, with the `TaskParams` of one task: `own` without
        its task axis.
      optimizer: any optax transformation. Its state is initialized again when the task changes.
      augment: `augment(key, example)` returns the example that the loss sees. See `mer`.
    Returns:
      A `Learner` with state `ByTaskState` and info `Info`. An example needs an integer field `task`
      in `[0, N)`. With another id the loss becomes NaN, and so does the network of one of the
      tasks.
    Raises:
      ValueError: If `optimizer` is not an optax transformation. In `init`, if the parameters are
        not `TaskParams`. While tracing, if examples have no integer field `task`.
    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from mer_jax import Example, TaskParams, independent
      >>> learner = independent(
      ...     lambda params, example: (params.own - example.x) ** 2, optimizer=optax.sgd(0.25)
      ... )
      >>> state = learner.init(TaskParams(jnp.zeros(2), {}), Example(x=1.0, y=0, task=0))
      >>> for x, task in [(1.0, 0), (3.0, 1)]:  # Task 1 begins at 0.5.
      ...     state, info = learner.update(jax.random.key(0), state, Example(x, 0, task))
      >>> print(state.params.own)
      [0.5  1.75]

    References:
      Lopez-Paz and Ranzato (2017), "Gradient Episodic Memory for Continual Learning", the baseline
      "independent".
    """
    return _learner(loss_fn, optimizer, augment, inherit=True)


def task_input(
    loss_fn: LossFn, *, optimizer: optax.GradientTransformation, augment: Augment | None = None
) -> Learner[ByTaskState, Info]:
    """A separate input layer for each task, with all other layers shared.

    `init` takes `TaskParams` with N input layers, such as those of `mer_jax.networks.task_input`.
    Training begins from these values, which may differ between tasks.

    Args:
      loss_fn: `loss_fn(params, example) -> []`, with the `TaskParams` of one task: `own` without
        its task axis.
      optimizer: any optax transformation. Its state is initialized again when the task changes.
      augment: `augment(key, example)` returns the example that the loss sees. See `mer`.
    Returns:
      A `Learner` with state `ByTaskState` and info `Info`. An example needs an integer field `task`
      in `[0, N)`. With another id, the loss and the shared parameters become NaN.
    Raises:
      ValueError: If `optimizer` is not an optax transformation. In `init`, if the parameters are
        not `TaskParams`. While tracing, if examples have no integer field `task`.
    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from mer_jax import Example, TaskParams, task_input
      >>> def loss(params, example):
      ...     return (params.own + params.shared - example.x) ** 2
      >>> learner = task_input(loss, optimizer=optax.sgd(0.25))
      >>> state = learner.init(TaskParams(jnp.zeros(2), jnp.zeros(())), Example(x=1.0, y=0, task=0))
      >>> for task in range(2):
      ...     state, info = learner.update(jax.random.key(0), state, Example(1.0, 0, task))
      >>> print(state.params.own, state.params.shared)
      [0.5  0.25] 0.75

    References:
      Riemer et al. (2019), the baseline "Task Input".
    """
    return _learner(loss_fn, optimizer, augment, inherit=False)


def _learner(
    loss_fn: LossFn,
    optimizer: optax.GradientTransformation,
    augment: Augment | None,
    inherit: bool,
) -> Learner[ByTaskState, Info]:
    optimizer = _checks.optimizer(optimizer)

    def init(params: TaskParams, example: Any) -> ByTaskState:
        if not isinstance(params, TaskParams) or not jax.tree.leaves(params.own):
            raise ValueError(
                "params must be TaskParams, with a row of `own` for each task, got "
                f"{described(params, 60)}; see mer_jax.networks.independent and task_input"
            )
        _trees.shapes(example)
        params = as_state(params)
        learned = wide(params)
        num_tasks = len(jax.tree.leaves(params.own)[0])
        state = ByTaskState(
            params,
            _optimizers.start(optimizer, of_task(learned, 0)),
            task=jnp.full((), -1, jnp.int32),
            begun=jnp.zeros(num_tasks, bool),
            step=jnp.zeros((), jnp.int32),
            master=master_of(learned, params),
        )
        return varying_like(state, params, example)

    def update(key: jax.Array, state: ByTaskState, example: Any) -> tuple[ByTaskState, Info]:
        task = varying_like(_one_task_of(example), state.task)
        learned = wide(state.params, state.master)
        known = _checks.nan_unless_known(task, len(state.begun))

        def where(condition: Any, this: Any, other: Any) -> Any:
            return jax.tree.map(lambda a, b: jnp.where(condition, a, b), this, other)

        network, like = of_task(learned, task), of_task(state.params, task)
        if inherit:
            inherits = ~state.begun[task] & (state.task >= 0)
            network = where(inherits, of_task(learned, state.task), network)
        opt_state = where(task != state.task, optimizer.init(network), state.opt_state)
        loss, grads = value_and_gradient(
            on_wide(loss_fn, like), network, augmented(augment, key, example)
        )
        grads = jax.tree.map(lambda g: known.astype(g.dtype) * g, grads)
        updates, opt_state = optimizer.update(grads, opt_state, network)
        learned = with_task(learned, task, optax.apply_updates(network, updates))
        return ByTaskState(
            rounded(learned, state.params),
            opt_state,
            task,
            state.begun.at[task].set(True),
            state.step + 1,
            master_of(learned, state.params),
        ), Info(loss * known.astype(loss.dtype))

    return Learner(init, _checks.of_state(ByTaskState, update))


def _one_task_of(example: Any) -> jax.Array:
    """The task id of one example. Raises `ValueError` for those of a batch."""
    task = task_of(example)
    if task.shape:
        raise ValueError(
            f"task must be one number, got {described(task)}; use mer_jax.run for a stream"
        )
    return task
