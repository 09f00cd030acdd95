"""Networks of action values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

pytest.importorskip("gymnax", reason="mer_jax.rl needs it")

from mer_jax import rl
from tests.mer_jax.rl.agents import linear, weights


def test_the_greedy_policy():
    model = linear(2, 3)
    policy = rl.greedy(model, weights([[1, 0, 2], [0, 3, 1]], [0, 0, 0]))
    actions = jax.vmap(policy)(jnp.float32([[1, 0], [0, 1], [0, 0]]))
    np.testing.assert_array_equal(actions, [2, 1, 0])
    assert actions.dtype == jnp.int32
