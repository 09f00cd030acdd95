"""Runs of a learner over a stream, and accuracy on a test set."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from mer_jax import _calls, _checks, _trees
from mer_jax._described import described
from mer_jax._meshes import varying_like
from mer_jax.branches import where_needed
from mer_jax.types import InfoT, Learner, Params, StateT


def run(
    key: jax.Array, learner: Learner[StateT, InfoT], state: StateT, stream: Any
) -> tuple[StateT, InfoT]:
    """Runs a learner over a stream, example by example, in one scan.

    Step n uses the key `fold_in(key, n)`, where n is `state.step`. A long stream may therefore be
    split into several calls with the same key. The result is bit for bit that of one call.

    Args:
      key: random key, the same for every part of a stream.
      learner: any learner whose state has a field `step`, to which each update adds 1.
      state: the learner's state before the stream, from `learner.init` or from an earlier run.
      stream: pytree of `[T, ...]`, the T examples in order. It is usually an `Example`.
    Returns:
      The state after the stream, and the infos of all updates, `[T, ...]`.
    Raises:
      ValueError: If the arguments are in another order. If the state has no field `step`. If the
        leaves of the stream do not share a length T. If an update does not return a state and an
        info, changes the shapes or dtypes of the state, or leaves `step` as it was.
    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from mer_jax import online, run
      >>> learner = online(lambda w, x: (w - x) ** 2, optimizer=optax.sgd(0.25))
      >>> state, infos = run(jax.random.key(0), learner, learner.init(0.0, 1.0), jnp.ones(3))
      >>> print(state.params, infos.loss)
      0.875 [1.     0.25   0.0625]
    """
    order = "run(key, learner, state, stream)"
    _checks.learner(order, learner)
    _checks.random_key(order, key)
    if not hasattr(state, "step"):
        raise ValueError(
            "expected a state with a field `step`, the number of examples learned from, got "
            f"{described(state, 40)}; give the state of learner.init, in the order {order}, or add "
            "the field to a learner of your own"
        )
    _trees.leading_axis("the stream", "T", stream)

    def step(state: StateT, example: Any) -> tuple[StateT, InfoT]:
        result = learner.update(jax.random.fold_in(key, state.step), state, example)
        _check_result(state, result)
        return result

    # Inside `jax.shard_map` the state must vary as the examples and the draws do.
    return jax.lax.scan(step, varying_like(state, key, state, stream), stream)


def _check_result(before: Any, result: Any) -> None:
    """Raises `ValueError` unless an update returned a state like the one before, and an info."""
    form = "update must return (state, info)"
    if type(result) is not tuple or len(result) != 2:
        raise ValueError(f"{form}, got {described(result, 40)}")
    after = _trees.shapes(result[0], "the state that update returns")
    what = f"{form}, with a state like the one before"
    _trees.same_shapes(what, before, after, "change its values alone")
    step = result[0].step
    if step is before.step or isinstance(step, int):  # unchanged, or a constant
        raise ValueError(
            "update must return a state whose `step` is larger by 1, got the same `step`, of which "
            "each key is made; return state._replace(step=state.step + 1, ...)"
        )


def in_batches(stream: Any, batch_size: int) -> Any:
    """Splits a stream into consecutive batches.

    Learners such as `la_maml` take one batch per update.

    Args:
      stream: pytree of `[T, ...]`.
      batch_size: B, number of examples in a batch. T must be a multiple of B.
    Returns:
      Pytree of `[T // B, B, ...]`, in the same order.
    Raises:
      ValueError: If the leaves do not share a length T. If `batch_size` does not divide T, or is
        not a whole number of at least 1.
    Example:
      >>> import jax.numpy as jnp
      >>> from mer_jax import in_batches
      >>> print(in_batches(jnp.arange(6), 2))
      [[0 1]
       [2 3]
       [4 5]]
    """
    batch_size = _checks.positive_int("batch_size", batch_size)
    length = _trees.leading_axis("the stream", "T", stream)
    if length % batch_size:
        raise ValueError(
            f"batch_size must divide the length of the stream, got {batch_size} and {length}; "
            "leave the last examples out, or use another batch_size"
        )
    shape = length // batch_size, batch_size
    return jax.tree.map(lambda leaf: jnp.reshape(leaf, (*shape, *jnp.shape(leaf)[1:])), stream)


def map_examples(
    learner: Learner[StateT, InfoT], make: Callable[[Any], Any]
) -> Learner[StateT, InfoT]:
    """Lets a learner run on references to examples, such as indices into a data set.

    Each update first makes its example with `make(reference)`. The examples of the stream need not
    be in memory together.

    Args:
      learner: any learner.
      make: `make(reference) -> example`, a pure function.
    Returns:
      A `Learner` whose `init` and `update` take a reference in place of an example. States and
      infos are those of `learner`.
    Example:
      >>> import jax
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from mer_jax import map_examples, online, run
      >>> data = jnp.array([5.0, 1.0])
      >>> learner = online(lambda w, x: (w - x) ** 2, optimizer=optax.sgd(0.25))
      >>> learner = map_examples(learner, lambda index: data[index])
      >>> _, infos = run(jax.random.key(0), learner, learner.init(0.0, 1), jnp.array([1, 0]))
      >>> print(infos.loss)
      [ 1.   20.25]
    """
    _checks.learner("map_examples(learner, make)", learner)
    make = _of_one_reference(make)

    def init(params: Params, example: Any) -> StateT:
        _trees.shapes(example)
        return learner.init(params, jax.eval_shape(make, example))

    def update(key: jax.Array, state: StateT, example: Any) -> tuple[StateT, InfoT]:
        return learner.update(key, state, make(example))

    return Learner(init, update)


def _of_one_reference(make: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """The same function, whose errors become one line."""
    return _calls.explained(
        make,
        "make(reference)",
        gives="make one example",
        advice="take one reference, without the axis of a stream or a test set",
    )


def accuracy(
    apply: Callable[..., jax.Array],
    params: Params,
    references: Any,
    make: Callable[[Any], Any] = lambda example: example,
    block_size: int = 1000,
    present: jax.Array | None = None,
) -> jax.Array:
    """Accuracy on a test set: the fraction of examples whose largest logit is at the label.

    Args:
      apply: `apply(params, x, task) -> logits [C]`, on one example.
      params: the parameters of the network.
      references: pytree of `[n, ...]`, the test examples. With `make`, references to them.
      make: `make(reference) -> Example`. By default it returns its argument.
      block_size: number of examples that are made and classified at once. It bounds the memory. On
        a CPU, 1 is fastest for convolutional networks.
      present: `[n]` bool, False for examples that do not count. With `block_size` 1 these cost no
        time. None counts all.
    Returns:
      `[]` float32. NaN if a parameter, or a logit of a present example, is not finite. The accuracy
      of a diverged network is undefined. NaN also if no example is present.
    Raises:
      ValueError: If `block_size` is not a whole number of at least 1. If `present` is not `[n]`.
        While tracing, if the leaves of `references` are not `[n, ...]`. While tracing, if a label
        is not a single number, or if the logits are not `[C]`.
    Example:
      >>> import jax.numpy as jnp
      >>> from mer_jax import Example, accuracy
      >>> tests = Example(jnp.array([[1.0, 2.0], [3.0, 0.0]]), jnp.array([1, 1]), jnp.array([0, 0]))
      >>> print(accuracy(lambda params, x, task: params * x, jnp.float32(1), tests))
      0.5
    """
    block_size = _checks.positive_int("block_size", block_size)
    _trees.leading_axis("the test set", "n", references)
    _trees.shapes(params, "params")
    apply, make = _of_one_example(apply), _of_one_reference(make)
    if present is not None:
        present = _checks.weights_of("references", references, present, "n", called="present")
        present = present.astype(bool)

    def judge(reference: Any) -> tuple[jax.Array, jax.Array]:
        return _is_correct(apply, params, make(reference))

    def judge_if_present(row: tuple[Any, jax.Array]) -> tuple[jax.Array, jax.Array]:
        reference, counts = row
        neither = varying_like((jnp.bool_(False), jnp.bool_(False)), params, reference)
        return where_needed(counts, lambda _: judge(reference), neither)

    if block_size == 1 and present is not None:
        correct, finite = jax.lax.map(judge_if_present, (references, present))
    else:
        # A block also computes the examples that do not count, since `vmap` has no branches.
        blocks = None if block_size == 1 else block_size
        correct, finite = jax.lax.map(judge, references, batch_size=blocks)
    is_finite = jnp.all(finite, where=present)
    for leaf in jax.tree.leaves(params):
        is_finite &= jnp.isfinite(leaf).all()
    return jnp.where(is_finite, jnp.mean(correct, where=present), jnp.nan)


def _of_one_example(apply: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """The same function, whose errors become one line."""

    def advice(error: Exception, params: Params, *_: Any) -> str:
        if hasattr(params, "params") and hasattr(params, "step"):
            return "give state.params in the place of the learner's state"
        return "take these three, and give parameters that fit x"

    return _calls.explained(
        apply,
        "apply(params, x, task)",
        gives="give logits [C] of one example",
        advice=advice,
    )


def _is_correct(
    apply: Callable[..., jax.Array], params: Params, example: Any
) -> tuple[jax.Array, jax.Array]:
    """Whether the largest logit is at the label, and whether all logits are finite."""
    if missing := [name for name in ("x", "y", "task") if not hasattr(example, name)]:
        kind = described(example) if hasattr(example, "dtype") else type(example).__name__
        raise ValueError(
            "accuracy needs the attributes x, y and task of an example, got "
            f"{kind} without {', '.join(missing)}; let `make` return an Example"
        )
    if jnp.ndim(example.y) != 0:
        raise ValueError(
            f"y must be one label, got shape {list(jnp.shape(example.y))}; give the class number"
        )
    logits = apply(params, example.x, example.task)
    if jnp.ndim(logits) != 1:
        raise ValueError(
            f"apply must give logits [C] of one example, got shape {list(jnp.shape(logits))}; "
            "return one number for each class"
        )
    return jnp.argmax(logits) == example.y, jnp.isfinite(logits).all()
