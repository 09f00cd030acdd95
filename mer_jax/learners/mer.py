"""Meta-Experience Replay: algorithms 1, 6 and 7 of Riemer et al. (ICLR 2019)."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from mer_jax import buffer, checks, gram
from mer_jax.buffer import ReservoirState
from mer_jax.meta import interpolate
from mer_jax.sgd import sgd_pass
from mer_jax.types import Info, Learner, LossFn, Params, as_state, exportable


@exportable
class MERState(NamedTuple):
    """params: the network; memory: the reservoir M; step: `[]` int32, examples learned from."""

    params: Params
    memory: ReservoirState
    step: jax.Array


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

    Algorithms 6 and 7 are the case of one batch (s = 1) with their gamma given as `beta` and
    `gamma=1`.

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      params: any pytree of floating-point arrays, the paper's theta.
      batches: pytree of `[s, k, ...]`, in the order in which they are trained on.
      weights: `[s, k]`, each multiplies its example's gradient; 0 leaves the example out.
      alpha: learning rate of the SGD steps; these three may be traced.
      beta: within-batch Reptile rate.
      gamma: across-batch Reptile rate.
    Returns:
      The parameters after the update, and the losses `[s, k]`, each before its example's step.
    Raises:
      ValueError: if the weights are not `[s, k]`, the batches are not like them, or a rate makes
        no sense.
    Source: lines 4 to 12 of algorithm 1.
    """

    def within_batch(start: Params, batch: tuple[Any, jax.Array]) -> tuple[Params, jax.Array]:
        end, losses = sgd_pass(loss_fn, start, *batch, alpha)
        return interpolate(start, end, beta), losses

    weights = checks.weights_of("batches", batches, weights, "s", "k")
    alpha = checks.rate("alpha", alpha)
    beta, gamma = (
        checks.rate(name, value, largest=1) for name, value in (("beta", beta), ("gamma", gamma))
    )
    if gram.fits(loss_fn, params) and weights.shape[1] <= gram.LARGEST_GRAM:
        end, losses = gram.batches_in_turn(loss_fn, params, batches, weights, alpha, beta)
    else:
        end, losses = jax.lax.scan(within_batch, params, (batches, weights))
    return interpolate(params, end, gamma), losses


def mer(
    loss_fn: LossFn,
    *,
    alpha: Any,
    beta: Any,
    gamma: Any,
    num_batches: int,
    batch_size: int,
    capacity: int,
) -> Learner:
    """MER, algorithm 1.

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

    For each incoming example `num_batches` batches are drawn, each with the incoming example
    first and then `batch_size - 1` replays (fewer while the memory is shorter than that).

    Args:
      loss_fn: `loss_fn(params, example) -> []`.
      alpha: learning rate, at least 0; may be traced, as may `beta` and `gamma`.
      beta: within-batch Reptile rate, in [0, 1].
      gamma: across-batch Reptile rate, in [0, 1].
      num_batches: s, batches per incoming example.
      batch_size: k, examples per batch, the incoming one included.
      capacity: |M|, examples in the reservoir.
    Raises:
      ValueError: if a size or a rate makes no sense.
    """
    num_batches = checks.positive_int("num_batches", num_batches)
    batch_size = checks.positive_int("batch_size", batch_size)
    rates = dict(
        alpha=checks.rate("alpha", alpha),
        beta=checks.rate("beta", beta, largest=1),
        gamma=checks.rate("gamma", gamma, largest=1),
    )

    def train(key: jax.Array, params: Params, memory: ReservoirState, example: Any) -> _Trained:
        batches, weights = buffer.replay_batches(key, memory, example, num_batches, batch_size)
        params, losses = mer_update(loss_fn, params, batches, weights, **rates)
        return params, losses[0, 0]

    return _learner(train, capacity)


def mer_big_batch(
    loss_fn: LossFn, *, alpha: Any, gamma: Any, batch_size: int, capacity: int
) -> Learner:
    """MER with one big batch, algorithm 6: the replays first, the incoming example last.

    Arguments and errors as those of `mer`; the one Reptile step goes by `gamma`.
    """
    batch_size = checks.positive_int("batch_size", batch_size)
    rates = dict(alpha=checks.rate("alpha", alpha), beta=checks.rate("gamma", gamma, largest=1))

    def train(key: jax.Array, params: Params, memory: ReservoirState, example: Any) -> _Trained:
        batch = buffer.replay_batch(key, memory, example, batch_size)
        last = jax.tree.map(lambda rows: jnp.roll(rows, -1, axis=0)[None], batch)
        loss = loss_fn(params, example)
        return mer_update(loss_fn, params, *last, **rates, gamma=1.0)[0], loss

    return _learner(train, capacity)


def mer_current_rate(
    loss_fn: LossFn, *, alpha: Any, gamma: Any, s: Any, batch_size: int, capacity: int
) -> Learner:
    """MER with a larger learning rate on the incoming example, algorithm 7.

    One batch in random order; the incoming example's step has learning rate `s * alpha`. As in
    the authors' code, the very first example of a stream is only stored.

    Args:
      s: how much faster the incoming example is learned, at least 0; may be traced. The other
        arguments are those of `mer`; the one Reptile step goes by `gamma`.
    Raises:
      ValueError: if a size or a rate makes no sense.
    """
    batch_size = checks.positive_int("batch_size", batch_size)
    alpha, s = checks.rate("alpha", alpha), checks.rate("s", s)
    gamma = checks.rate("gamma", gamma, largest=1)

    def train(key: jax.Array, params: Params, memory: ReservoirState, example: Any) -> _Trained:
        draw_key, order_key = jax.random.split(key)
        batch, weights = buffer.replay_batch(draw_key, memory, example, batch_size)
        is_first = memory.num_seen == 0
        weights = jnp.where(is_first, 0, weights.at[0].set(s))
        order = jax.random.permutation(order_key, batch_size)
        shuffled = jax.tree.map(lambda rows: rows[order][None], (batch, weights))
        # At rate 1 nothing learned is nothing changed, to the last bit.
        rate = jnp.where(is_first, 1.0, gamma)
        loss = loss_fn(params, example)
        rates = dict(alpha=alpha, beta=rate, gamma=1.0)
        return mer_update(loss_fn, params, *shuffled, **rates)[0], loss

    return _learner(train, capacity)


_Trained = tuple[Params, jax.Array]


def _learner(train: Callable[..., _Trained], capacity: int) -> Learner:
    """What the three algorithms share: train, then offer the example to the reservoir.

    Args:
      train: `train(key, params, memory, example) -> (params, loss)`, the incoming example's loss
        before the step.
    """
    memory = buffer.reservoir(capacity)

    def init(params: Params, example: Any) -> MERState:
        return MERState(as_state(params), memory.init(example), jnp.zeros((), jnp.int32))

    def update(key: jax.Array, state: MERState, example: Any) -> tuple[MERState, Info]:
        train_key, add_key = jax.random.split(key)
        params, loss = train(train_key, state.params, state.memory, example)
        kept = memory.add(add_key, buffer.after(state.memory, params), example)
        return MERState(params, kept, state.step + 1), Info(loss)

    return Learner(init, update)
