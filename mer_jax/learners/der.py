"""Dark experience replay, DER and DER++, of Buzzega et al. (NeurIPS 2020)."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mer_jax import _calls, _checks, _optimizers, _trees
from mer_jax._described import described
from mer_jax._precision import on_wide, wide
from mer_jax.augmentation import Augment, augmented
from mer_jax.learners._replay_step import ReplayState, start
from mer_jax.losses import InTurnOnCPU, gradient_of_sum, value_and_gradient
from mer_jax.networks import Model
from mer_jax.replay.batches import replay_batch
from mer_jax.replay.reservoir import ReservoirState, reservoir
from mer_jax.types import Info, Learner, LossFn, Params, as_state, exportable


@exportable
class Dark(NamedTuple):
    """A row of the reservoir of `der` and `der_plus_plus`.

    example: the example as it came, without augmentation.
    logits: `[C]`, by the parameters before the update on the example. With `augment` they are those
      of the augmented example.
    """

    example: Any
    logits: jax.Array


class _Draw(NamedTuple):
    """A draw from the reservoir whose mean loss is a term of the objective.

    loss_fn: `loss_fn(params, row) -> []`, on a `Dark` whose example is augmented.
    weight: `[]`, factor of the mean.
    """

    loss_fn: LossFn
    weight: Any


def der(
    model: Model,
    *,
    optimizer: optax.GradientTransformation,
    alpha: Any,
    batch_size: int,
    capacity: int,
    augment: Augment | None = None,
) -> Learner[ReplayState, Info]:
    """Dark experience replay (DER).

    The objective is the incoming example's loss plus `alpha` times the error of the replays'
    logits. This error is the mean squared difference to the logits in the reservoir. The mean is
    over up to `batch_size - 1` replays and over logits. Without replays it is 0. The logits stored
    with an example are those before the update on it. Labels of replays are not used.

    Args:
      model: the network. `model.loss(params, example)` gives the loss of the incoming example.
        `model.apply(params, x, task)` gives the logits, `[C]`.
      optimizer: any optax transformation. The paper uses SGD.
      alpha: weight of the error of the logits, at least 0. May be traced.
      batch_size: k, number of examples in a batch, the incoming one included.
      capacity: |M|, number of examples that the reservoir holds.
      augment: `augment(key, example)`, see `mer`. Its result needs the fields `x` and `y`, and
        `task` if the model reads it. The stored logits are those of the augmented example. For
        dropout, use `lambda key, e: e._replace(x=(key, e.x))` and a model that takes this pair.
    Returns:
      A `Learner` with state `ReplayState` and info `Info`. Rows of its reservoir are `Dark`.
    Raises:
      ValueError: If a size is not a whole number of at least 1. If `alpha` is negative. If `model`
        has no `apply` or `loss`. If `optimizer` is not an optax transformation. While tracing, if
        an example has no field `x`, or if the logits are not `[C]`.
    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from mer_jax import Example, der, networks
      >>> model = networks.mlp((2, 3))
      >>> learner = der(model, optimizer=optax.sgd(0.1), alpha=0.5, batch_size=11, capacity=20)
      >>> example = Example(jnp.ones(2), jnp.int32(0), jnp.int32(0))
      >>> state = learner.init(model.init(jax.random.key(0)), example)
      >>> state, info = learner.update(jax.random.key(1), state, example)
      >>> print(state.memory.examples.logits.shape)
      (20, 3)

    References:
      Buzzega et al. (2020), "Dark Experience for General Continual Learning: a Strong, Simple
      Baseline", algorithm 1.
    """
    logits_of, draw = _model_parts(model)
    terms = [draw(_checks.rate("alpha", alpha))]
    return _learner(model.loss, logits_of, terms, optimizer, batch_size, capacity, augment)


def der_plus_plus(
    model: Model,
    *,
    optimizer: optax.GradientTransformation,
    alpha: Any,
    beta: Any,
    batch_size: int,
    capacity: int,
    augment: Augment | None = None,
) -> Learner[ReplayState, Info]:
    """Dark experience replay with labels (DER++).

    The objective is that of `der`, plus `beta` times the mean loss of further replays. The two
    draws of up to `batch_size - 1` replays are independent.

    Args:
      model: the network, see `der`. `model.loss` is also the loss of the second draw.
      optimizer: any optax transformation. The paper uses SGD.
      alpha: weight of the error of the logits, at least 0. May be traced.
      beta: weight of the mean loss of replays, at least 0. May be traced.
      batch_size: k. Each draw has up to k - 1 replays.
      capacity: |M|, number of examples that the reservoir holds.
      augment: `augment(key, example)`, see `der`.
    Returns:
      A `Learner` with state `ReplayState` and info `Info`. Rows of its reservoir are `Dark`.
    Raises:
      ValueError: If an argument of `der` is wrong. If `beta` is negative.
    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from mer_jax import Example, der_plus_plus, networks
      >>> model = networks.mlp((2, 3))
      >>> learner = der_plus_plus(
      ...     model, optimizer=optax.sgd(0.1), alpha=0.5, beta=0.5, batch_size=11, capacity=20
      ... )
      >>> example = Example(jnp.ones(2), jnp.int32(0), jnp.int32(0))
      >>> state = learner.init(model.init(jax.random.key(0)), example)
      >>> state, info = learner.update(jax.random.key(1), state, example)
      >>> print(state.step, info.loss.shape)
      1 ()

    References:
      Buzzega et al. (2020), "Dark Experience for General Continual Learning: a Strong, Simple
      Baseline", algorithm 2.
    """
    logits_of, draw = _model_parts(model)

    def label_loss(params: Params, row: Dark) -> jax.Array:
        return model.loss(params, row.example)

    in_turn = InTurnOnCPU(label_loss) if isinstance(model.loss, InTurnOnCPU) else label_loss
    terms = [
        draw(_checks.rate("alpha", alpha)),
        _Draw(in_turn, _checks.rate("beta", beta)),
    ]
    return _learner(model.loss, logits_of, terms, optimizer, batch_size, capacity, augment)


def _model_parts(model: Model) -> tuple[LossFn, Callable[[Any], _Draw]]:
    """The logits of an example, and the draw whose loss is the error of the logits."""
    like = "a Model with `apply` and `loss`, as mer_jax.networks.mlp(...)"
    _checks.with_functions("model", model, "apply loss", like=like, advice="give the model itself")
    apply = _calls.explained(
        model.apply,
        "model.apply(params, x, task)",
        gives="give logits [C] of one example",
        advice="take these three, and give init and update one example that fits the parameters",
    )

    def logits_of(params: Params, example: Any) -> jax.Array:
        if not hasattr(example, "x"):
            raise ValueError(
                "examples must have a field `x`, the input of model.apply, got "
                f"{type(example).__name__}; use mer_jax.Example"
            )
        logits = jnp.asarray(apply(params, example.x, getattr(example, "task", None)))
        if logits.ndim != 1 or not jnp.issubdtype(logits.dtype, jnp.floating):
            raise ValueError(
                "model.apply must give logits [C] of one example, got "
                f"{described(logits)}; return one floating-point number for each class"
            )
        return logits

    def error(params: Params, row: Dark) -> jax.Array:
        logits = logits_of(params, row.example)
        # The squares of float16 logits may overflow.
        dtype = jnp.promote_types(logits.dtype, jnp.float32)
        return jnp.mean((logits.astype(dtype) - row.logits.astype(dtype)) ** 2)

    in_turn = InTurnOnCPU(error) if isinstance(model.loss, InTurnOnCPU) else error
    return logits_of, functools.partial(_Draw, in_turn)


def _learner(
    loss_fn: LossFn,
    logits_of: LossFn,
    terms: list[_Draw],
    optimizer: optax.GradientTransformation,
    batch_size: int,
    capacity: int,
    augment: Augment | None,
) -> Learner[ReplayState, Info]:
    """The learner of both: a step on the loss and the terms, then the example is offered."""
    batch_size = _checks.positive_int("batch_size", batch_size)
    optimizer = _checks.optimizer(optimizer)
    memory = reservoir(capacity)

    def init(params: Params, example: Any) -> ReplayState:
        params = as_state(params)
        rows = memory.init(_shapes_of_row(logits_of, augment, params, example))
        return start(optimizer, params, rows, example)

    def update(key: jax.Array, state: ReplayState, example: Any) -> tuple[ReplayState, Info]:
        add_key, *draw_keys = jax.random.split(key, 1 + len(terms))
        shown, learned = augmented(augment, key, example), wide(state.params, state.master)
        loss, grads = value_and_gradient(on_wide(loss_fn, state.params), learned, shown)
        logits = logits_of(state.params, shown).astype(state.memory.examples.logits.dtype)
        incoming = Dark(example, logits)
        for draw_key, term in zip(draw_keys, terms, strict=True):
            rows, shares = _replays(draw_key, state.memory, incoming, batch_size, augment)
            more, _ = gradient_of_sum(
                on_wide(term.loss_fn, state.params),
                learned,
                rows,
                jnp.asarray(term.weight, shares.dtype) * shares,
            )
            grads = jax.tree.map(jnp.add, grads, more)
        params, master, opt_state = _optimizers.descend(
            optimizer, grads, state.opt_state, learned, state.params
        )
        kept = memory.add(add_key, memory.after(state.memory, (params, opt_state)), incoming)
        return ReplayState(params, opt_state, kept, state.step + 1, master), Info(loss)

    return Learner(init, _checks.of_state(ReplayState, update))


def _replays(
    key: jax.Array, memory: ReservoirState, incoming: Dark, batch_size: int, augment: Augment | None
) -> tuple[Dark, jax.Array]:
    """The replays of one draw, augmented, `[k - 1, ...]`, and the share of each in their mean."""
    batch, present = replay_batch(key, memory, incoming, batch_size)
    rows, present = jax.tree.map(lambda leaf: leaf[1:], batch), present[1:]
    shown = augmented(augment, key, rows.example, 1)
    return Dark(shown, rows.logits), present / jnp.maximum(present.sum(), 1)


def _shapes_of_row(
    logits_of: LossFn, augment: Augment | None, params: Params, example: Any
) -> Dark:
    """Shapes and dtypes of a row of the reservoir."""

    def row(params: Params, example: Any) -> Dark:
        return Dark(example, logits_of(params, augmented(augment, jax.random.key(0), example)))

    shapes: Dark = jax.eval_shape(row, params, _trees.shapes(example))
    return shapes
