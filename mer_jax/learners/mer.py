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
from mer_jax.steps import gram
from mer_jax.steps.reptile import interpolate
from mer_jax.steps.sgd import sgd_pass
from mer_jax.types import Info, Learner, LossFn, Params, as_state, exportable


@exportable
class MERState(NamedTuple):
    """State of `mer`, `mer_big_batch` and `mer_current_rate`.

    params: the network.
    memory: the reservoir M.
    step: `[]` int32, the number of examples learned from.
    master: float32 copies of the parameters of fewer than 32 bits, None for the others.
    """

    params: Params
    memory: ReservoirState
    step: jax.Array
    master: Params = None


def mer_update(
    loss_fn: LossFn,
    params: Params,
    batches: Any,
    weights: Any,
    *,
    alpha: Any,
    beta: Any,
    gamma: Any,
) -> tuple[Params, jax.Array]:
    """The deterministic half of MER: SGD through the batches, and the two Reptile steps.

    For algorithms 6 and 7, pass one batch, their gamma as `beta`, and `gamma=1`. In algorithm 7 the
    incoming example has the weight s.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      params: any pytree of floating-point arrays, the paper's theta. Leaves of fewer than 32 bits
        are rounded once, at the end.
      batches: pytree of `[s, k, ...]`, in the order of training.
      weights: `[s, k]`, factors of the examples' gradients. A weight of 0 leaves the example out.
      alpha: learning rate of the SGD steps, at least 0. All three rates may be traced.
      beta: within-batch Reptile rate, in [0, 1].
      gamma: across-batch Reptile rate, in [0, 1].
    Returns:
      The parameters after the update, and the losses `[s, k]`, each before its example's step.
    Raises:
      ValueError: If the weights are not `[s, k]`, if the batches do not have these two axes, or if
        a rate is outside its range.
    References:
      Riemer et al. (2019), lines 4 to 12 of algorithm 1.
    """

    weights = _checks.weights_of("batches", batches, weights, "s", "k")
    alpha = _checks.rate("alpha", alpha)
    beta, gamma = (
        _checks.rate(name, value, largest=1) for name, value in (("beta", beta), ("gamma", gamma))
    )
    start, loss_on = wide(params), on_wide(loss_fn, params)
    start = varying_like(start, params, batches, weights, alpha, beta)

    def within_batch(start: Params, batch: tuple[Any, jax.Array]) -> tuple[Params, jax.Array]:
        end, losses = sgd_pass(loss_on, start, *batch, alpha)
        return interpolate(start, end, beta), losses

    if gram.fits(loss_fn, params) and weights.shape[1] <= gram.LARGEST_GRAM:
        end, losses = gram.batches_in_turn(loss_fn, start, batches, weights, alpha, beta)
    else:
        end, losses = jax.lax.scan(within_batch, start, (batches, weights))
    return rounded(interpolate(start, end, gamma), params), losses


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

    Each incoming example is trained on in `num_batches` batches. A batch is the example, then
    `batch_size - 1` replays, or fewer while fewer examples are stored.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      alpha: learning rate, at least 0. All three rates may be traced.
      beta: within-batch Reptile rate, in [0, 1].
      gamma: across-batch Reptile rate, in [0, 1].
      num_batches: s, batches per incoming example.
      batch_size: k, examples per batch, the incoming one included.
      capacity: |M|, number of examples that the reservoir holds.
      augment: `augment(key, example)` returns the example that the loss sees, with a new key for
        each row of a batch. Stored examples stay unchanged. For dropout, return `(key, example)`.
        See also `mer_jax.data.augment`.
    Returns:
      A `Learner` with state `MERState`. Its loss is the incoming example's before the first step.
    Raises:
      ValueError: If a size is not a whole number of at least 1, or if a rate is outside its range.
    Example:
      >>> from mer_jax import Example, networks, run
      >>> model = networks.mlp((2, 8, 2))
      >>> learner = mer(
      ...     model.loss, alpha=0.1, beta=0.1, gamma=1.0, num_batches=5, batch_size=6, capacity=20
      ... )
      >>> stream = Example(jnp.ones((50, 2)), jnp.ones(50, jnp.int32), jnp.zeros(50, jnp.int32))
      >>> first = jax.tree.map(lambda leaf: leaf[0], stream)
      >>> state = learner.init(model.init(jax.random.key(0)), first)
      >>> state, info = jax.jit(lambda s: run(jax.random.key(1), learner, s, stream))(state)
      >>> bool(info.loss[-1] < info.loss[0])
      True

    References:
      Riemer et al. (2019), algorithm 1.
    """
    num_batches = _checks.positive_int("num_batches", num_batches)
    batch_size = _checks.positive_int("batch_size", batch_size)
    rates = {"alpha": _checks.rate("alpha", alpha), "beta": _checks.rate("beta", beta, largest=1)}
    rates["gamma"] = _checks.rate("gamma", gamma, largest=1)

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
    """MER with one big batch, algorithm 6.

    The batch is the replays, then the incoming example.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      alpha: learning rate, at least 0. It may be traced, as may `gamma`.
      gamma: rate of the Reptile step after the batch, in [0, 1].
      batch_size: k, examples in the batch, the incoming one included.
      capacity: |M|, number of examples that the reservoir holds.
      augment: see `mer`.
    Returns:
      A `Learner` with state `MERState`.
    Raises:
      ValueError: If a size is not a whole number of at least 1, or if a rate is outside its range.
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

    There is one batch, in random order. The learning rate of the incoming example is `s * alpha`.
    As in the authors' code, the first example of a stream is only stored.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      alpha: learning rate, at least 0. It may be traced, as may `gamma` and `s`.
      gamma: rate of the Reptile step after the batch, in [0, 1].
      s: factor of the incoming example's learning rate, at least 0.
      batch_size: k, examples in the batch, the incoming one included.
      capacity: |M|, number of examples that the reservoir holds.
      augment: see `mer`.
    Returns:
      A `Learner` with state `MERState`.
    Raises:
      ValueError: If a size is not a whole number of at least 1, or if a rate is outside its range.
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
        # At rate 1 a step without gradients changes no bit.
        whole, part = varying_like((jnp.ones((), float), jnp.asarray(gamma, float)), is_first)
        rate = jnp.where(is_first, whole, part)
        loss = one_number(loss_on)(params, jax.tree.map(lambda rows: rows[0], batch))
        rates = dict(alpha=alpha, beta=rate, gamma=1.0)
        return mer_update(loss_on, params, *shuffled, **rates)[0], loss

    return _learner(loss_fn, train, capacity)


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
