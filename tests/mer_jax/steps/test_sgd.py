"""SGD, one example at a time."""

import jax.numpy as jnp
import numpy as np

import mer_jax
from tests.mer_jax.problems import half_square


def test_sgd_pass_by_hand():
    """Rate 1/2: 0 to 4, then weight 0 stays, then weight 2 goes all the way to 10."""
    params, losses = mer_jax.sgd_pass(
        half_square, jnp.float32(0), jnp.float32([8, 99, 10]), jnp.float32([1, 0, 2]), 0.5
    )
    assert params == 10
    np.testing.assert_array_equal(losses, [32, (4 - 99) ** 2 / 2, 18])


def test_weight_0_leaves_out_what_is_not_finite():
    def loss(params, x):
        return jnp.sum(params * jnp.log(x))

    params, _ = mer_jax.sgd_pass(loss, jnp.ones(2), jnp.zeros((3, 2)), jnp.zeros(3), 0.1)
    np.testing.assert_array_equal(params, np.ones(2))
