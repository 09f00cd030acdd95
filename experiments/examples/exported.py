"""A step of MER as bytes: exported for three platforms, read back, and run."""

import functools

import jax
import numpy as np
from jax import export

import mer_jax
from experiments.examples.stream import first, turning_points


def main() -> tuple[mer_jax.Info, mer_jax.Info]:
    model = mer_jax.networks.mlp((5, 32, 2))
    learner = mer_jax.mer(
        model.loss, alpha=0.1, beta=0.3, gamma=1.0, num_batches=5, batch_size=6, capacity=60
    )
    example = first(turning_points(jax.random.key(0)))
    state = learner.init(model.init(jax.random.key(1)), example)

    def step(raw_key, state, example):  # a plain array of bits, since key types are not exported
        return learner.update(jax.random.wrap_key_data(raw_key), state, example)

    raw_key = jax.random.key_data(jax.random.key(2))
    shapes = jax.eval_shape(lambda *args: args, raw_key, state, example)
    platforms = ("cpu", "cuda", "tpu")
    content = export.export(jax.jit(step), platforms=platforms)(*shapes).serialize()
    print(f"{len(content)} bytes for {', '.join(platforms)}")

    again = export.deserialize(content)
    after, info = again.call(raw_key, state, example)
    expected, expected_info = step(raw_key, state, example)
    same = functools.partial(np.testing.assert_allclose, rtol=1e-5, atol=1e-6)
    jax.tree.map(same, after, expected)
    print(f"the same step: loss {info.loss:.4f}")
    return info, expected_info


if __name__ == "__main__":
    main()
