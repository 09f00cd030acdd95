"""Reptile: interpolation of parameters, also around any optax optimizer."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from mer_jax import _checks, _optimizers
from mer_jax._precision import rounded, wide
from mer_jax.branches import where_needed
from mer_jax.types import Params, as_state, exportable


def interpolate(start: Params, end: Params, rate: jax.typing.ArrayLike) -> Params:
    """Goes the fraction `rate` of the way from `start` to `end`, leaf by leaf.

    >>> print(interpolate({"w": 0.0}, {"w": 10.0}, 0.25))
    {'w': Array(2.5, dtype=float32)}

    Args:
      start, end: pytrees of the same structure, shapes and dtypes.
      rate: `[]`, 0 stays at `start` and 1 gives exactly `end`; may be traced.
    Raises:
      ValueError: if a leaf is not of floating-point numbers, or the two differ in shape.
    Source: Nichol et al. (2018), "On First-Order Meta-Learning Algorithms"; lines 10 and 12 of
      MER's algorithm 1 with rates beta and gamma.
    """

    def leaf(s: jax.Array, e: jax.Array) -> jax.Array:
        dtype = jnp.result_type(s)
        if not jnp.issubdtype(dtype, jnp.floating) or jnp.shape(s) != jnp.shape(e):
            raise ValueError(
                "expected floating-point leaves of the same shape in start and end, got "
                f"{dtype}{list(jnp.shape(s))} and {jnp.result_type(e)}{list(jnp.shape(e))}"
            )
        # In half precision the two shares of a small rate would not add up to 1.
        wide = jnp.promote_types(dtype, jnp.float32)
        r = jnp.asarray(rate, wide)
        # Not `s + r * (e - s)`: this form gives `e` exactly at rate 1.
        return ((1 - r) * s + r * e).astype(dtype)

    return jax.tree.map(leaf, start, end)


@exportable
class ReptileState(NamedTuple):
    """inner: the inner optimizer's; anchor: the parameters at the last pull, of at least 32 bits.

    steps: `[]` int32, taken since then. Where nothing is pulled neither of the two changes.
    """

    inner: optax.OptState
    anchor: Params
    steps: jax.Array


def reptile(
    inner: optax.GradientTransformation, every: int, rate: Any
) -> optax.GradientTransformationExtraArgs:
    """Any optimizer, with a Reptile step: every so often its parameters are pulled back part way.

    At each `every`-th step the parameters become `anchor + rate (params - anchor)`, which is the
    next anchor; the first one are the parameters at `init`. The inner optimizer's state and its
    schedule know nothing of it. Parameters may have fewer than 32 bits, as the updates then do. The
    anchor is kept in float32.
    Further arguments of `update` are the inner optimizer's. Between pulls it costs a comparison,
    and that the update is written to memory before it is added. Under a `vmap` over states a pull
    is computed for all of them in the steps in which one of them is due.

    >>> optimizer = reptile(optax.adamw(1e-3), every=500, rate=0.1)
    >>> state = optimizer.init({"w": jnp.zeros(3)})

    Args:
      inner: any optax transformation, with extra arguments or without.
      every: steps from one pull to the next.
      rate: how much of the way is kept, in [0, 1]; 1, as a plain number, is the inner optimizer
        alone, to the last bit. May be traced.
    Raises:
      ValueError: if `inner`, `every` or `rate` makes no sense, or `update` is not given the
        parameters.
    Source: Riemer et al. (2019), line 12 of algorithm 1; every 500 batches with rate 0.1 in Abbes
      et al. (2025), "Revisiting Replay and Gradient Alignment for Continual Pre-Training of Large
      Language Models", beside replay (see `mix`).
    """
    if isinstance(every, jax.core.Tracer):
        raise ValueError(f"every must be a plain whole number, got {every}, which is traced")
    every, rate = _checks.positive_int("every", every), _checks.rate("rate", rate, largest=1)
    inner = optax.with_extra_args_support(_checks.optimizer(inner))
    # Then nothing is done at all, so that the compiler cannot round otherwise.
    keeps_all = not isinstance(rate, jax.Array) and rate == 1

    def init(params: Params) -> ReptileState:
        anchor = jax.tree.map(jnp.copy, wide(as_state(params)))
        return ReptileState(_optimizers.start(inner, params), anchor, jnp.zeros((), jnp.int32))

    def update(
        grads: Params, state: ReptileState, params: Params | None = None, **extra_args: Any
    ) -> tuple[Params, ReptileState]:
        if params is None:
            raise ValueError("reptile must be given the parameters: update(grads, state, params)")
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
    """The updates that end part of the way from the anchor, and the anchor there."""

    def pull(p: jax.Array, u: jax.Array, anchor: jax.Array) -> jax.Array:
        moved = p.astype(anchor.dtype) + u - anchor
        return u + (jnp.asarray(rate, anchor.dtype) - 1) * moved

    pulls = jax.tree.map(pull, params, updates, anchor)
    # Not from the parameters after the pull, which may be rounded to fewer bits.
    return pulls, jax.tree.map(lambda p, u, a: p.astype(a.dtype) + u, params, pulls, anchor)
