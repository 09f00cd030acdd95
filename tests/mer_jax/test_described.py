"""Values in error messages are described in one short line."""

import jax.numpy as jnp
import numpy as np
import pytest

from mer_jax import Example, networks
from mer_jax._described import LONGEST, described


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "None"),
        (0.5, "0.5"),
        ("cat", "'cat'"),
        (Example, "the class Example"),
        (np.zeros((2, 3), np.float32), "float32[2, 3]"),
        ([jnp.int32(1), 2], "[int32[], 2]"),
        ((1,), "(1,)"),
        ([0] * 101, "list of 101"),
        ({"x": np.zeros(2, np.uint8)}, "{'x': uint8[2]}"),
        (Example(1.0, 2, 3), "Example(x=1.0, y=2, task=3)"),
        (networks.mlp((2, 1)), "a Model"),
        (np.zeros, "the function zeros"),
        ({f"a long name {n}": n for n in range(20)}, "dict of 20 leaves"),
    ],
)
def test_a_value_is_one_short_line(value, text):
    assert described(value) == text
    assert len(text) <= LONGEST
