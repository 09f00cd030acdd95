"""Transfer and interference between examples."""

from typing import Any

import jax
import optax

from mer_jax.types import LossFn, Params


def gradient_alignment(
    loss_fn: LossFn, params: Params, example_a: Any, example_b: Any
) -> jax.Array:
    """The dot product of the gradients on two examples, `[]`.

    Above 0 a step on one improves the other (transfer), below 0 it harms it (interference).

    Source: Riemer et al. (2019), equations 1 and 2.
    """
    gradient = jax.grad(loss_fn)
    return optax.tree.vdot(gradient(params, example_a), gradient(params, example_b))
