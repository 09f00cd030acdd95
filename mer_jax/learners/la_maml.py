"""Look-ahead MAML: La-MAML, Sync and C-MAML of Gupta et al. (NeurIPS 2020)."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mer_jax import _checks, _trees
from mer_jax._meshes import varying_like
from mer_jax._precision import master_of, on_wide, rounded, wide
from mer_jax.augmentation import Augment, augmented
from mer_jax.losses import weighted_sum
from mer_jax.replay import reservoir
from mer_jax.replay.reservoir import ReservoirState
from mer_jax.steps.look_ahead import meta_gradients
from mer_jax.types import Info, Learner, LossFn, Params, as_state, exportable


@exportable
class LaMAMLState(NamedTuple):
    """State of `la_maml`.

    params: pytree, the parameters of the network, theta in the paper.
    rates: pytree like `params`, in float32 or wider. It holds the learning rates alpha before relu.
    memory: the reservoir of stored examples.
    step: `[]` int32, the number of updates so far. Each update is on a batch.
    master: a float32 copy of each parameter with fewer than 32 bits. Steps are taken on the copies.
      A pytree like `params`, with None for parameters that need no copy, or None for no copies.
    """

    params: Params
    rates: Params
    memory: ReservoirState
    step: jax.Array
    master: Params = None


def la_maml_update(
    loss_fn: LossFn,
    params: Params,
    rates: Params,
    batch: Any,
    meta_batch: Any,
    weights: Any,
    *,
    alpha_rate: Any,
    weight_rate: Any = None,
    clip: Any = 2.0,
    second_order: bool = False,
) -> tuple[Params, Params, jax.Array]:
    """One glance of La-MAML on a given batch and meta-batch.

    Fast weights start at `params`. They take one SGD step on each example of the batch, with a
    learning rate for each parameter. The meta-loss after a step is the mean loss on the meta-batch.
    The gradient of the mean of the meta-losses updates the rates, and then the parameters.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      params: pytree of floating-point arrays, theta. Leaves below 32 bits are rounded at the end.
      rates: pytree like `params`, the learning rates alpha. A negative one acts as 0.
      batch: pytree of `[B, ...]`, the incoming examples in order.
      meta_batch: pytree of `[M, ...]`, usually the replays and the batch.
      weights: `[M]`, weights in the mean of the meta-batch. 0 leaves an example out. Not all are 0.
      alpha_rate: learning rate of the rates, at least 0. 0 leaves them unchanged.
      weight_rate: learning rate of the parameters, at least 0. None takes the new `relu(rates)`.
      clip: largest global norm of either gradient, finite. May be traced, as may all rates.
      second_order: if True, differentiate through the gradients of the SGD steps.
    Returns:
      The parameters, the rates, and the mean of the B meta-losses, `[]`.
    Raises:
      ValueError: If the shapes of rates or weights do not fit. If a number is negative or infinite.
    Example:
      >>> import jax.numpy as jnp
      >>> from mer_jax import la_maml_update
      >>> one = jnp.ones(1)
      >>> print(*la_maml_update(
      ...     lambda w, x: (w - x) ** 2 / 2, params=jnp.float32(0), rates=jnp.float32(0.5),
      ...     batch=one, meta_batch=one, weights=one, alpha_rate=0.0, weight_rate=0.5,
      ... ))
      0.25 0.5 0.125

    References:
      Gupta et al. (2020), "La-MAML: Look-ahead Meta Learning for Continual Learning", algorithm 1.
    """
    alpha_rate, clip = _checks.rate("alpha_rate", alpha_rate), _checks.rate("clip", clip)
    theta, alpha, loss_on = wide(params), wide(rates), on_wide(loss_fn, params)
    expected, got = map(_trees.shapes, (theta, alpha))
    _trees.same_shapes("rates must be like params", expected, got, "give each parameter its rate")
    theta, alpha = varying_like((theta, alpha), params, rates, batch, meta_batch, weights)
    examples, shares = _meta(meta_batch, weights)
    meta_loss, of_theta, of_alpha = meta_gradients(
        loss_on, theta, alpha, batch, examples, shares, second_order
    )
    if isinstance(alpha_rate, jax.Array) or alpha_rate != 0:
        alpha = _step(alpha, alpha_rate, _clipped(of_alpha, clip))
    theta = _moved(theta, alpha, weight_rate, _clipped(of_theta, clip))
    return rounded(theta, params), rounded(alpha, rates), meta_loss


def la_maml(
    loss_fn: LossFn,
    *,
    alpha_init: Any,
    alpha_rate: Any,
    weight_rate: Any = None,
    glances: int,
    num_replays: int,
    capacity: int,
    clip: Any = 2.0,
    second_order: bool = False,
    augment: Augment | None = None,
) -> Learner[LaMAMLState, Info]:
    """Look-ahead MAML (La-MAML), on batches.

    `update` takes a batch `[B, ...]`, see `in_batches`. Each glance is a `la_maml_update` with the
    batch in a new order. Its meta-batch is new replays and the batch. The batch is offered to the
    reservoir after the first glance's draw. By default the learned rates alpha also update the
    parameters: La-MAML. With a `weight_rate`, this rate updates them: Sync, a baseline of the
    paper. With `alpha_rate=0` as well, the rates alpha stay as they are: C-MAML.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      alpha_init: initial learning rate of each parameter, at least 0. May be traced.
      alpha_rate, weight_rate, clip, second_order: see `la_maml_update`. The published methods are
        of first order.
      glances: number of updates on each batch.
      num_replays: R, number of replays in a meta-batch, or fewer while fewer are stored.
      capacity: number of examples that the reservoir holds.
      augment: see `mer`. In each glance the batch has new keys for SGD and for the meta-batch.
    Returns:
      A `Learner` with state `LaMAMLState` and info `Info`. `info.loss` is the batch's mean loss
      before the update. `init(params, example)` takes a batch, or one example if this has a leaf of
      shape `[]`, such as a label. An example without such a leaf would be read as a batch.
    Raises:
      ValueError: If a size or a rate is outside its range.
    Example:
      >>> import jax
      >>> from mer_jax import la_maml
      >>> learner = la_maml(
      ...     lambda w, x: (w - x) ** 2 / 2, alpha_init=0.5, alpha_rate=0.0, weight_rate=0.5,
      ...     glances=1, num_replays=5, capacity=20,
      ... )
      >>> batch = jax.numpy.ones(1)
      >>> state, info = learner.update(jax.random.key(0), learner.init(0.0, batch), batch)
      >>> print(state.params, info.loss)
      0.25 0.5

    References:
      Gupta et al. (2020), algorithm 1, and the authors' code, whose replays are task-free.
    """
    rates = {"alpha_rate": alpha_rate, "clip": clip}
    rates |= {} if weight_rate is None else {"weight_rate": weight_rate}
    checked = {name: _checks.rate(name, rate) for name, rate in rates.items()}
    update = partial(la_maml_update, second_order=second_order, **checked)
    sizes = _checks.positive_int("glances", glances), _checks.count("num_replays", num_replays)
    alpha_init = _checks.rate("alpha_init", alpha_init)
    return _learner(loss_fn, update, alpha_init, *sizes, capacity, augment)


def _learner(
    loss_fn: LossFn,
    glance: Callable[..., tuple[Params, Params, jax.Array]],
    alpha_init: Any,
    glances: int,
    num_replays: int,
    capacity: int,
    augment: Augment | None,
) -> Learner[LaMAMLState, Info]:
    """The learner of `glance`, a `la_maml_update` whose settings are given."""
    memory = reservoir.reservoir(capacity)

    def init(params: Params, example: Any) -> LaMAMLState:
        params = as_state(params)
        theta = wide(params)
        rates = jax.tree.map(lambda p: jnp.full_like(p, alpha_init, p.dtype), theta)
        kept, step = memory.init(_row(example)), jnp.zeros((), jnp.int32)
        state = LaMAMLState(params, rates, kept, step, master_of(theta, params))
        return varying_like(state, params, example, alpha_init)

    def update(key: jax.Array, state: LaMAMLState, example: Any) -> tuple[LaMAMLState, Info]:
        _checks.room({"capacity": capacity}, state.memory.examples)
        size = reservoir.check_rows(state.memory, example)
        example = varying_like(example, state, key)
        replay_key, glances_key = jax.random.split(key)
        replays, kept = _replays(replay_key, state.memory, example, glances, num_replays)
        loss_on = on_wide(loss_fn, state.params)

        def step(learned: tuple[Params, Params], at: Any) -> tuple[tuple[Params, Params], None]:
            key, (drawn, weights) = at
            order_key, meta_key = jax.random.split(key)
            order = jax.random.permutation(order_key, size)
            in_order = augmented(augment, order_key, jax.tree.map(lambda b: b[order], example), 1)
            meta_batch = augmented(augment, meta_key, _joined(drawn, example), 1)
            weights = _joined(weights, jnp.ones(size))
            return glance(loss_on, *learned, in_order, meta_batch, weights)[:2], None

        start = wide(state.params, state.master), state.rates
        shown, shares = augmented(augment, key, example, 1), jnp.full(size, 1 / size)
        loss, _ = weighted_sum(loss_on, start[0], shown, shares)
        drawn = jax.random.split(glances_key, glances), replays
        (theta, rates), _ = jax.lax.scan(step, varying_like(start, example), drawn)
        params, master = rounded(theta, state.params), master_of(theta, state.params)
        return LaMAMLState(params, rates, kept, state.step + 1, master), Info(loss)

    return Learner(init, _checks.of_state(LaMAMLState, update))


def _replays(
    key: jax.Array, state: ReservoirState, batch: Any, glances: int, num_replays: int
) -> tuple[tuple[Any, jax.Array], ReservoirState]:
    """The replays of all glances. Those of the first are drawn before the batch is offered.

    Returns:
      The replays, `[glances, R, ...]`, and their weights, `[glances, R]`: 1, or 0 for those that an
      early reservoir cannot give. Then the reservoir with the batch.
    """
    first_key, add_key, later_key = jax.random.split(key, 3)

    def draw(key: jax.Array, state: ReservoirState, times: int) -> tuple[Any, jax.Array]:
        shape = times, num_replays
        drawn, _ = reservoir.sample(key, state, times * num_replays)
        drawn = jax.tree.map(lambda rows: rows.reshape(*shape, *rows.shape[1:]), drawn)
        stored = jnp.minimum(state.num_seen, reservoir.capacity(state))
        valid = jnp.arange(num_replays, dtype=jnp.int32) < stored
        return drawn, jnp.broadcast_to(valid.astype(float), shape)

    first = draw(first_key, state, 1)
    kept = reservoir.add_batch(add_key, reservoir.after(state, first), batch)
    return _joined(first, draw(later_key, kept, glances - 1)), kept


def _meta(meta_batch: Any, weights: Any) -> tuple[Any, jax.Array]:
    """The meta-batch and the share of each row. Padding becomes an example with a finite loss."""
    weights = _checks.weights_of("meta_batch", meta_batch, weights, "M")
    is_in = weights != 0
    rows = jnp.where(
        is_in, jnp.arange(len(weights), dtype=jnp.int32), jax.lax.argmax(is_in, 0, jnp.int32)
    )
    examples = jax.tree.map(lambda leaf: varying_like(jnp.asarray(leaf), rows)[rows], meta_batch)
    return examples, weights / weights.sum()


def _clipped(grads: Params, clip: Any) -> Params:
    """The gradient, shortened to the global norm `clip` where it is longer."""
    norm = optax.tree.norm(grads)
    longest = jnp.maximum(norm, jnp.asarray(clip, norm.dtype))
    scale = jnp.asarray(clip, norm.dtype) / jnp.where(longest > 0, longest, 1)
    return jax.tree.map(lambda g: scale.astype(g.dtype) * g, grads)


def _step(tree: Params, rate: Any, grads: Params) -> Params:
    return jax.tree.map(lambda p, g: p - jnp.asarray(rate, p.dtype) * g, tree, grads)


def _moved(theta: Params, alpha: Params, weight_rate: Any, grads: Params) -> Params:
    """The parameters after a step with `weight_rate`, or with the rates `relu(alpha)`."""
    if weight_rate is None:
        return jax.tree.map(lambda p, a, g: p - jax.nn.relu(a) * g, theta, alpha, grads)
    return _step(theta, _checks.rate("weight_rate", weight_rate), grads)


def _joined(first: Any, second: Any) -> Any:
    """The rows of the first pytree, then those of the second."""

    def join(a: jax.Array, b: Any) -> jax.Array:
        return jnp.concatenate([a, varying_like(jnp.asarray(b, a.dtype), a)])

    return jax.tree.map(join, first, second)


def _row(example: Any) -> Any:
    """Shapes and dtypes of one example, also where a batch of them is given."""
    shapes = _trees.shapes(example)
    if any(leaf.ndim == 0 for leaf in jax.tree.leaves(shapes)):
        return shapes
    return _trees.row(shapes)
