"""Reptile: interpolation of parameters, also around any optax optimizer."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mer_jax import _checks, _optimizers, _trees
from mer_jax._precision import rounded, wide
from mer_jax.branches import where_needed
from mer_jax.types import Params, as_state, exportable


def interpolate(start: Params, end: Params, rate: jax.typing.ArrayLike) -> Params:
    """Moves the fraction `rate` of the way from `start` to `end`, leaf by leaf.

    Args:
      start: pytree of floating-point arrays.
      end: pytree of the same structure, shapes and dtypes.
      rate: `[]`. 0 returns `start`, and 1 returns exactly `end`. May be traced.
    Returns:
      A pytree like `start`.
    Raises:
      ValueError: If a leaf is not of floating-point numbers. If the shapes differ.
    Example:
      >>> from mer_jax import interpolate
      >>> print(interpolate({"w": 0.0}, {"w": 10.0}, 0.25))
      {'w': Array(2.5, dtype=float32)}

    References:
      Nichol et al. (2018), "On First-Order Meta-Learning Algorithms". Riemer et al. (2019), lines
      10 and 12 of algorithm 1, with rates beta and gamma.
    """

    if other := _trees.different_structure(start, end):
        raise ValueError(f"end must be like start: {other}; give parameters of one network")

    def leaf(s: jax.Array, e: jax.Array) -> jax.Array:
        dtype = jnp.result_type(s)
        if not jnp.issubdtype(dtype, jnp.floating) or jnp.shape(s) != jnp.shape(e):
            raise ValueError(
                "expected floating-point leaves of the same shape in start and end, got "
                f"{dtype}{list(jnp.shape(s))} and {jnp.result_type(e)}{list(jnp.shape(e))}; give "
                "parameters of one network"
            )
        # In half precision the two shares of a small rate would not add up to 1.
        wide = jnp.promote_types(dtype, jnp.float32)
        r = jnp.asarray(rate, wide)
        # Not `s + r * (e - s)`: this form gives `e` exactly at rate 1.
        return ((1 - r) * s + r * e).astype(dtype)

    return jax.tree.map(leaf, start, end)


@exportable
class ReptileState(NamedTuple):
    """State of `reptile`.

    inner: state of the inner optimizer.
    anchor: pytree like the parameters, in float32 or wider. It holds the parameters after the last
      Reptile step.
    steps: `[]` int32, the number of steps since the last Reptile step. If `rate` is the plain
      number 1, `anchor` and `steps` do not change.
    """

    inner: optax.OptState
    anchor: Params
    steps: jax.Array


def reptile(
    inner: optax.GradientTransformation, every: int, rate: Any
) -> optax.GradientTransformationExtraArgs:
    """Adds Reptile steps to any optimizer.

    At each `every`-th step the parameters become `anchor + rate * (params - anchor)`. The result is
    the next anchor. The first anchor is the parameters at `init`. Anchors have at least 32 bits.

    Args:
      inner: any optax transformation. Further arguments of `update` are passed to it.
      every: number of steps from one Reptile step to the next.
      rate: in [0, 1]. May be traced. The plain number 1 gives the inner optimizer, bit for bit.
    Returns:
      An optax transformation with state `ReptileState`. Its `update` needs the parameters.
    Raises:
      ValueError: If an argument is out of its range. In `update`, if the parameters are missing.
    Example:
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from mer_jax import reptile
      >>> optimizer, params = reptile(optax.sgd(1.0), every=2, rate=0.5), jnp.zeros(())
      >>> state = optimizer.init(params)
      >>> for _ in range(2):
      ...     updates, state = optimizer.update(-jnp.ones(()), state, params)
      ...     params = optax.apply_updates(params, updates)
      >>> print(params)  # Two steps of 1, then back by half of the way.
      1.0

    References:
      Riemer et al. (2019), line 12 of algorithm 1. Abbes et al. (2025), see `mix`.
    """
    every, rate = _checks.positive_int("every", every), _checks.rate("rate", rate, largest=1)
    inner = optax.with_extra_args_support(_checks.optimizer(inner))
    # At rate 1 the Reptile step is left out, so that the compiler cannot change the rounding.
    keeps_all = not isinstance(rate, jax.Array) and rate == 1

    def init(params: Params) -> ReptileState:
        anchor = jax.tree.map(jnp.copy, wide(as_state(params)))
        return ReptileState(_optimizers.start(inner, params), anchor, jnp.zeros((), jnp.int32))

    def update(
        grads: Params, state: ReptileState, params: Params | None = None, **extra_args: Any
    ) -> tuple[Params, ReptileState]:
        if params is None:
            raise ValueError(
                "update must be given the parameters, got None; call update(grads, state, params)"
            )
        updates, inner_state = inner.update(grads, state.inner, params, **extra_args)
        if keeps_all:
            return updates, ReptileState(inner_state, state.anchor, state.steps)
        updates = jax.tree.map(lambda u, a: u.astype(a.dtype), updates, state.anchor)
        steps = state.steps + 1

        def pulled(value: tuple[Params, Params]) -> tuple[Params, Params]:
            return _pulled(params, *value, rate)

        updates, anchor = where_needed(steps == every, pulled, (updates, state.anchor))
        return rounded(updates, params), ReptileState(inner_state, anchor, steps % every)

    return optax.GradientTransformationExtraArgs(init, update)


def _pulled(params: Params, updates: Params, anchor: Params, rate: Any) -> tuple[Params, Params]:
    """The updates that lead to the parameters after the Reptile step, and the new anchor."""

    def pull(p: jax.Array, u: jax.Array, anchor: jax.Array) -> jax.Array:
        moved = p.astype(anchor.dtype) + u - anchor
        return u + (jnp.asarray(rate, anchor.dtype) - 1) * moved

    pulls = jax.tree.map(pull, params, updates, anchor)
    # Not from the parameters after the pull, which may be rounded to fewer bits.
    return pulls, jax.tree.map(lambda p, u, a: p.astype(a.dtype) + u, params, pulls, anchor)
