"""Online learning by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax

import mer_jax
from tests.mer_jax.problems import half_square


def test_online_is_plain_sgd():
    """Rate 1/2: 0 to 4, and from there half way to 0."""
    learner = mer_jax.online(half_square, optimizer=optax.sgd(0.5))
    state = learner.init(jnp.float32(0), jnp.float32(0))
    state, infos = mer_jax.run(jax.random.key(0), learner, state, jnp.float32([8, 0]))
    assert (state.params, state.step) == (2, 2)
    np.testing.assert_array_equal(infos.loss, [32, 8])
