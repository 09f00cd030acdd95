"""The Gram form: SGD that reads and writes the first dense layer once for many examples.

A pass changes the first layer's kernel W and bias b by one rank-one term for each example. They
become `W = W0 - X^T C` and `b = b0 - sum(C)`. Here X `[n, d]` are the inputs. C `[n, h]` are the
steps at the examples' pre-activations, which are `X W0 + b0 - (X X^T + 1) C`. This takes two matrix
products before the steps and one after them. Between these only C changes, which stays in cache.
Reptile interpolates C like any parameter, since W is an affine function of C. The arithmetic is
that of the plain scan in another order, equal up to rounding.
"""

import math
from typing import Any, NamedTuple, TypeGuard

import jax
import jax.numpy as jnp

from mer_jax._meshes import varying_like
from mer_jax._order import after
from mer_jax._precision import is_narrow
from mer_jax.losses import DenseFirstLoss, explained_on_rows
from mer_jax.steps.reptile import interpolate
from mer_jax.types import LossFn, Params

LARGEST_GRAM = 128
"""Largest number of examples that share one Gram matrix. With more, its cost outweighs the gain."""


def fits(loss_fn: LossFn, params: Params) -> TypeGuard[DenseFirstLoss]:
    """Whether the Gram form may be used for this loss and these parameters.

    This form of SGD reads and writes the first dense layer once for many examples. It needs a
    `DenseFirstLoss`, and parameters of at least 32 bits each. In half precision its large sums
    have larger rounding errors than SGD on one example after another.
    """
    return isinstance(loss_fn, DenseFirstLoss) and not any(map(is_narrow, jax.tree.leaves(params)))


def sgd_pass(
    loss: DenseFirstLoss, params: Params, examples: Any, weights: jax.Array, alpha: Any
) -> tuple[Params, jax.Array]:
    """`mer_jax.sgd_pass` in the Gram form, see `fits`.

    The examples are split into blocks of up to 128, each with one Gram matrix. The arguments are
    the same, but unchecked. The result equals one step after another, up to rounding.
    """
    length = weights.shape[0]
    num_blocks = max(1, math.ceil(length / LARGEST_GRAM))
    block = math.ceil(length / num_blocks)

    missing = num_blocks * block - length

    def in_blocks(rows: jax.Array) -> jax.Array:
        # Random keys have no zeros to pad with. The copies have weight 0.
        copies = jnp.broadcast_to(rows[-1:], (missing, *rows.shape[1:]))
        filled = jnp.concatenate([rows, copies]) if missing else rows
        return filled.reshape(num_blocks, 1, block, *rows.shape[1:])

    padded = jnp.pad(weights, (0, missing)).reshape(num_blocks, 1, block)
    blocks = jax.tree.map(in_blocks, examples), padded
    params, losses = _scan_grams(loss, params, blocks, alpha, 1.0)
    return params, losses.reshape(-1)[:length]


def batches_in_turn(
    loss: DenseFirstLoss, params: Params, batches: Any, weights: jax.Array, alpha: Any, beta: Any
) -> tuple[Params, jax.Array]:
    """SGD through s batches in turn, one example at a time, with a Reptile step after each batch.

    The first dense layer is read and written once for many examples, by one Gram matrix of their
    inputs. `fits(loss, params)` must be True. Batches share a Gram matrix if they have at most
    `LARGEST_GRAM` (128) examples together. The sharing changes the result by rounding alone.

    Args:
      loss: the loss on one example.
      params: the parameters before the first batch.
      batches: pytree of `[s, k, ...]`, examples.
      weights: `[s, k]`, the factor of each example's gradient.
      alpha: `[]`, the learning rate.
      beta: `[]`, the Reptile rate within a batch.
    Returns:
      The parameters after the last batch, and the losses `[s, k]`.
    """
    num_batches, size = weights.shape
    divisors = [n for n in range(1, num_batches + 1) if num_batches % n == 0]
    together = max([n for n in divisors if n * size <= LARGEST_GRAM], default=1)
    groups = jax.tree.map(
        lambda rows: rows.reshape(num_batches // together, together, *rows.shape[1:]),
        (batches, weights),
    )
    params, losses = _scan_grams(loss, params, groups, alpha, beta)
    return params, losses.reshape(num_batches, size)


class _Layers(NamedTuple):
    """The layers of a network.

    kernel: `[d, h]`, or transposed (see `_scan_grams`).
    bias: `[h]`.
    rest: all other layers.
    """

    kernel: jax.Array
    bias: jax.Array
    rest: Any


def _scan_grams(
    loss: DenseFirstLoss, params: Params, groups: Any, alpha: Any, beta: Any
) -> tuple[Params, jax.Array]:
    """SGD through groups `[g, m, k, ...]` of m batches of k, each group on one Gram matrix."""
    kernel, bias, rest = loss.split(params)
    # The update of a transposed kernel is faster. For a single group the two transpositions cost
    # more than they gain.
    is_turned = len(jax.tree.leaves(groups)[0]) > 1

    def one_group(layers: _Layers, group: tuple[Any, jax.Array]) -> tuple[_Layers, jax.Array]:
        steps, losses = _batches_on_one_gram(
            loss,
            layers._replace(kernel=layers.kernel.T) if is_turned else layers,
            *group,
            alpha,
            beta,
        )
        if is_turned:
            kernel = layers.kernel - steps.first.T @ steps.inputs
        else:
            kernel = layers.kernel - _times_narrow(steps.inputs.T, steps.first)
        return _Layers(kernel, layers.bias - steps.first.sum(0), steps.rest), losses

    start = _Layers(kernel.T if is_turned else kernel, bias, rest)
    with explained_on_rows(loss, params, groups[0], 3):
        layers, losses = jax.lax.scan(one_group, start, groups)
    kernel = layers.kernel.T if is_turned else layers.kernel
    return loss.merge(kernel, layers.bias, layers.rest), losses


_LANES = 64
"""On a CPU a product is up to a third faster if its number of columns is a multiple of this."""


def _times_narrow(matrix: jax.Array, narrow: jax.Array) -> jax.Array:
    """`matrix @ narrow`, with columns of zeros that are cut off again."""
    columns = narrow.shape[1]
    return (matrix @ jnp.pad(narrow, ((0, 0), (0, -columns % _LANES))))[:, :columns]


class _Steps(NamedTuple):
    """The result of a group of batches.

    first: `[n, h]`, the steps at the pre-activations.
    inputs: `[n, d]`, zeros where an example is left out.
    rest: all other layers after the batches.
    """

    first: jax.Array
    inputs: jax.Array
    rest: Any


def _batches_on_one_gram(
    loss: DenseFirstLoss, layers: _Layers, batches: Any, weights: jax.Array, alpha: Any, beta: Any
) -> tuple[_Steps, jax.Array]:
    """SGD through `[m, k, ...]` batches, with a Reptile step at rate `beta` after each."""
    kernel, bias, rest = layers
    inputs = jax.vmap(jax.vmap(loss.inputs))(batches).astype(kernel.dtype)
    x = inputs.reshape(weights.size, -1)
    # An example that is left out takes no step, even if its inputs are not finite.
    learned_x = jnp.where(weights.reshape(weights.size)[:, None] != 0, x, 0)
    gram = (x @ learned_x.T + 1).reshape(*weights.shape, -1)
    at_start = (x @ kernel + bias[None]).reshape(*weights.shape, -1)
    row = jnp.arange(weights.size, dtype=jnp.int32).reshape(weights.shape)

    def sgd_step(carry: tuple[jax.Array, Any], at: Any) -> tuple[tuple[jax.Array, Any], jax.Array]:
        steps, rest = carry
        row, preactivation, gram, example, weight = at
        value, (grads, slope) = jax.value_and_grad(loss.tail, (0, 1))(
            rest, preactivation - gram @ steps, example
        )
        learned = weight != 0
        rate = jnp.asarray(alpha, slope.dtype) * jnp.asarray(weight, slope.dtype)
        here = jnp.where(learned, rate * slope, 0)
        steps = jax.lax.dynamic_update_index_in_dim(steps, here, row, 0)
        # The slope is the last value that needs the layers before this step.
        rate = after(rate, slope, row < 0)
        rest = jax.tree.map(
            lambda p, g: p - jnp.where(learned, rate.astype(p.dtype) * g, 0), rest, grads
        )
        return (steps, rest), value

    def within_batch(start: Any, rows: Any) -> tuple[Any, jax.Array]:
        end, losses = jax.lax.scan(sgd_step, start, rows)
        return interpolate(start, end, beta), losses

    none = jnp.zeros((weights.size, bias.shape[0]), kernel.dtype)
    start = (varying_like(none, layers, batches, weights, alpha, beta), rest)
    (steps, rest), losses = jax.lax.scan(
        within_batch, start, (row, at_start, gram, batches, weights)
    )
    return _Steps(steps, learned_x, rest), losses
