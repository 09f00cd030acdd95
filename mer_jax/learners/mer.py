"""Meta-Experience Replay: algorithms 1, 6 and 7 of the paper.

References:
  Riemer et al. (ICLR 2019), "Learning to Learn without Forgetting by Maximizing Transfer and
  Minimizing Interference".
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mer_jax import _checks
from mer_jax._meshes import varying_like
from mer_jax._precision import master_of, on_wide, rounded, wide
from mer_jax.augmentation import Augment, augmented
from mer_jax.losses import one_number
from mer_jax.replay.batches import replay_batch, replay_batches
from mer_jax.replay.reservoir import ReservoirState, reservoir
from mer_jax.steps.mer_update import mer_rates, mer_update
from mer_jax.types import Info, Learner, LossFn, Params, as_state, exportable


@exportable
class MERState(NamedTuple):
    """State of `mer`, `mer_big_batch` and `mer_current_rate`.

    params: pytree, the parameters of the network.
    memory: the reservoir of stored examples, M in the paper.
    step: `[]` int32, the number of updates so far.
    master: a float32 copy of each parameter with fewer than 32 bits. Steps are taken on the copies.
      A pytree like `params`, with None for parameters that need no copy, or None for no copies.
    """

    params: Params
    memory: ReservoirState
    step: jax.Array
    master: Params = None


def mer(
    loss_fn: LossFn,
    *,
    alpha: Any,
    beta: Any,
    gamma: Any,
    num_batches: int,
    batch_size: int,
    capacity: int,
    augment: Augment | None = None,
) -> Learner[MERState, Info]:
    """Meta-Experience Replay (MER), algorithm 1.

    Each update trains on `num_batches` batches, then offers the incoming example to the reservoir.
    A batch is that example, then up to `batch_size - 1` replays. SGD takes one step on each row. A
    Reptile step with rate `beta` follows each batch. One with rate `gamma` follows the last batch.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      alpha: learning rate of the SGD steps, at least 0. Rates may be traced and are then unchecked.
      beta: within-batch Reptile rate, in [0, 1].
      gamma: across-batch Reptile rate, in [0, 1].
      num_batches: s, number of batches per incoming example.
      batch_size: k, number of examples in a batch, the incoming one included. Batches are smaller
        while the reservoir holds fewer than k - 1 examples.
      capacity: |M|, number of examples that the reservoir holds.
      augment: `augment(key, example)` returns the example that the loss sees. Each row of a batch
        has a new key. Stored examples stay unchanged. For dropout, return a pair `(key, example)`.
    Returns:
      A `Learner` of `MERState` and `Info`. The loss is the incoming example's, before any step.
    Raises:
      ValueError: If a size is not a whole number of at least 1. If a rate is outside its range.
    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> from mer_jax import Example, mer, networks, run
      >>> model = networks.mlp((2, 8, 2))
      >>> learner = mer(
      ...     model.loss, alpha=0.1, beta=0.1, gamma=1.0, num_batches=5, batch_size=6, capacity=20
      ... )
      >>> stream = Example(jnp.ones((50, 2)), jnp.ones(50, jnp.int32), jnp.zeros(50, jnp.int32))
      >>> state = learner.init(model.init(jax.random.key(0)), jax.tree.map(lambda a: a[0], stream))
      >>> state, info = jax.jit(lambda s: run(jax.random.key(1), learner, s, stream))(state)
      >>> bool(info.loss[-1] < info.loss[0])
      True

    References:
      Riemer et al. (2019), algorithm 1.
    """
    num_batches = _checks.positive_int("num_batches", num_batches)
    batch_size = _checks.positive_int("batch_size", batch_size)
    rates = mer_rates(alpha, beta, gamma)

    def train(loss_on: LossFn, at: _Step, params: Params) -> _Trained:
        batches, weights = replay_batches(at.key, at.memory, at.example, num_batches, batch_size)
        batches = augmented(augment, at.key, batches, 2)
        params, losses = mer_update(loss_on, params, batches, weights, **rates)
        return params, losses[0, 0]

    return _learner(loss_fn, train, capacity)


def mer_big_batch(
    loss_fn: LossFn,
    *,
    alpha: Any,
    gamma: Any,
    batch_size: int,
    capacity: int,
    augment: Augment | None = None,
) -> Learner[MERState, Info]:
    """MER with one batch per incoming example, algorithm 6.

    The batch is up to `batch_size - 1` replays, then the incoming example. SGD takes one step on
    each example of the batch, in this order. One Reptile step with rate `gamma` follows. The
    incoming example is then offered to the reservoir.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      alpha: learning rate of the SGD steps, at least 0. May be traced.
      gamma: rate of the Reptile step, in [0, 1]. May be traced.
      batch_size: k, number of examples in a batch, the incoming one included. Batches are smaller
        while the reservoir holds fewer than k - 1 examples.
      capacity: |M|, number of examples that the reservoir holds.
      augment: `augment(key, example)` returns the example that the loss sees. See `mer`.
    Returns:
      A `Learner` with state `MERState` and info `Info`. `info.loss` is the incoming example's loss
      before the first SGD step.
    Raises:
      ValueError: If a size is not a whole number of at least 1. If a rate is outside its range.
    Example:
      >>> import jax
      >>> from mer_jax import mer_big_batch
      >>> learner = mer_big_batch(
      ...     lambda w, x: (w - x) ** 2 / 2, alpha=0.5, gamma=1.0, batch_size=3, capacity=10
      ... )
      >>> state = learner.init(0.0, 8.0)
      >>> for step in range(2):  # 0 to 4, then 4 to 6 on the replay, and on to 7
      ...     state, info = learner.update(jax.random.key(step), state, 8.0)
      >>> print(state.params, info.loss)
      7.0 8.0

    References:
      Riemer et al. (2019), algorithm 6.
    """
    batch_size = _checks.positive_int("batch_size", batch_size)
    rates = dict(alpha=_checks.rate("alpha", alpha), beta=_checks.rate("gamma", gamma, largest=1))

    def train(loss_on: LossFn, at: _Step, params: Params) -> _Trained:
        batch, weights = replay_batch(at.key, at.memory, at.example, batch_size)
        batch = augmented(augment, at.key, batch, 1)
        last = jax.tree.map(lambda rows: jnp.roll(rows, -1, axis=0)[None], (batch, weights))
        loss = one_number(loss_on)(params, jax.tree.map(lambda rows: rows[0], batch))
        return mer_update(loss_on, params, *last, **rates, gamma=1.0)[0], loss

    return _learner(loss_fn, train, capacity)


def mer_current_rate(
    loss_fn: LossFn,
    *,
    alpha: Any,
    gamma: Any,
    s: Any,
    batch_size: int,
    capacity: int,
    augment: Augment | None = None,
) -> Learner[MERState, Info]:
    """MER with a larger learning rate on the incoming example, algorithm 7.

    The batch is the incoming example and up to `batch_size - 1` replays, in random order. SGD takes
    one step on each, with rate `s * alpha` on the incoming one. A Reptile step with rate `gamma`
    follows. The first example of a stream is only stored, as in the authors' code.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      alpha: learning rate of the SGD steps, at least 0. May be traced, as may `gamma` and `s`.
      gamma: rate of the Reptile step, in [0, 1].
      s: factor of the incoming example's learning rate, at least 0.
      batch_size: k, number of examples in a batch, the incoming one included. See `mer`.
      capacity: |M|, number of examples that the reservoir holds.
      augment: `augment(key, example)` returns the example that the loss sees. See `mer`.
    Returns:
      A `Learner` of `MERState` and `Info`. The loss is the incoming example's, before any step.
    Raises:
      ValueError: If a size is not a whole number of at least 1. If a rate is outside its range.
    Example:
      >>> import jax
      >>> from mer_jax import mer_current_rate
      >>> learner = mer_current_rate(
      ...     lambda w, x: (w - x) ** 2, alpha=0.1, gamma=1.0, s=5.0, batch_size=1, capacity=10
      ... )
      >>> state = learner.init(1.0, 3.0)
      >>> for step in range(2):  # The first example is only stored.
      ...     state, info = learner.update(jax.random.key(step), state, 3.0)
      >>> print(state.params, info.loss)
      3.0 4.0

    References:
      Riemer et al. (2019), algorithm 7.
    """
    batch_size = _checks.positive_int("batch_size", batch_size)
    alpha, s = _checks.rate("alpha", alpha), _checks.rate("s", s)
    gamma = _checks.rate("gamma", gamma, largest=1)

    def train(loss_on: LossFn, at: _Step, params: Params) -> _Trained:
        draw_key, order_key = jax.random.split(at.key)
        batch, weights = replay_batch(draw_key, at.memory, at.example, batch_size)
        batch = augmented(augment, at.key, batch, 1)
        is_first = at.memory.num_seen == 0
        weights = jnp.where(is_first, 0, weights.at[0].set(s))
        order = jax.random.permutation(order_key, batch_size)
        shuffled = jax.tree.map(lambda rows: rows[order][None], (batch, weights))
        rate = _one_if(is_first, gamma)
        loss = one_number(loss_on)(params, jax.tree.map(lambda rows: rows[0], batch))
        return mer_update(loss_on, params, *shuffled, alpha=alpha, beta=rate, gamma=1.0)[0], loss

    return _learner(loss_fn, train, capacity)


def _one_if(condition: jax.Array, rate: Any) -> jax.Array:
    """A Reptile rate, or 1 where a step has no gradients, so that it changes no bit."""
    one, rate = varying_like((jnp.ones((), float), jnp.asarray(rate, float)), condition)
    return jnp.where(condition, one, rate)


class _Step(NamedTuple):
    """The key, the reservoir and the example from which a step draws its batches."""

    key: jax.Array
    memory: ReservoirState
    example: Any


_Trained = tuple[Params, jax.Array]


def _learner(
    loss_fn: LossFn, train: Callable[[LossFn, _Step, Params], _Trained], capacity: int
) -> Learner[MERState, Info]:
    """The learner of all three algorithms: train, then offer the example to the reservoir.

    Args:
      train: `train(loss_fn, step, params) -> (params, loss)`. The loss is that of the incoming
        example before the step.
    """
    memory = reservoir(capacity)

    def init(params: Params, example: Any) -> MERState:
        params = as_state(params)
        master = master_of(wide(params), params)
        state = MERState(params, memory.init(example), jnp.zeros((), jnp.int32), master)
        return varying_like(state, params, example)

    def update(key: jax.Array, state: MERState, example: Any) -> tuple[MERState, Info]:
        train_key, add_key = jax.random.split(key)
        learned, loss = train(
            on_wide(loss_fn, state.params),
            _Step(train_key, state.memory, example),
            wide(state.params, state.master),
        )
        params = rounded(learned, state.params)
        kept = memory.add(add_key, memory.after(state.memory, params), example)
        return MERState(params, kept, state.step + 1, master_of(learned, params)), Info(loss)

    return Learner(init, _checks.of_state(MERState, update))
