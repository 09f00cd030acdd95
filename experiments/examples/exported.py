"""A step of MER exported for three platforms, saved as bytes, read back, and run."""

import functools

import jax
import numpy as np
from jax import export

import mer_jax
from experiments.examples.stream import first, turning_points

net = mer_jax.networks.mlp((5, 32, 2))
mer = mer_jax.mer(net.loss, alpha=0.1, beta=0.3, gamma=1, num_batches=5, batch_size=6, capacity=60)
example = first(turning_points(jax.random.key(0)))
state = mer.init(net.init(jax.random.key(1)), example)


def step(raw_key, state, example):  # The key is an array of bits, since keys are not exported.
    return mer.update(jax.random.wrap_key_data(raw_key), state, example)


args = jax.random.key_data(jax.random.key(2)), state, example
platforms = ("cpu", "cuda", "tpu")
content = export.export(jax.jit(step), platforms=platforms)(*args).serialize()
print(f"{len(content)} bytes for {', '.join(platforms)}")

after, info = export.deserialize(content).call(*args)
expected, expected_info = step(*args)
same = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
jax.tree.map(same, after, expected)
print(f"the same step: loss {info.loss:.4f}")
