"""MER with a network as a pair of pure functions, as haiku.transform gives them."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

import mer_jax
from experiments.examples.stream import first, turning_points


class Transformed(NamedTuple):
    """What haiku.without_apply_rng(haiku.transform(forward)) looks like."""

    init: Callable[..., Any]
    apply: Callable[..., jax.Array]


def linear_then_linear(hidden: int, outputs: int) -> Transformed:
    def init(key, x):
        keys = jax.random.split(key)
        return {
            "linear": {"w": jax.random.normal(keys[0], (x.size, hidden)) / 2},
            "linear_1": {"w": jax.random.normal(keys[1], (hidden, outputs)) / 6},
        }

    def apply(params, x):
        return jax.nn.relu(x @ params["linear"]["w"]) @ params["linear_1"]["w"]

    return Transformed(init, apply)


def main() -> float:
    stream = turning_points(jax.random.key(0))
    net = linear_then_linear(32, 2)
    params = net.init(jax.random.key(1), stream.x[0])

    def loss(params, example):
        return optax.softmax_cross_entropy_with_integer_labels(
            net.apply(params, example.x), example.y
        )

    learner = mer_jax.mer_big_batch(loss, alpha=0.1, gamma=0.3, batch_size=21, capacity=60)
    state = learner.init(params, first(stream))
    state, _ = jax.jit(lambda s: mer_jax.run(jax.random.key(2), learner, s, stream))(state)
    accuracy = float(jnp.mean(net.apply(state.params, stream.x).argmax(-1) == stream.y))
    print(f"{100 * accuracy:.0f} % right on all tasks")
    return accuracy


if __name__ == "__main__":
    main()
