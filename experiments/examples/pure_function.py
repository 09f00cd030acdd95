"""MER with a network as two pure functions, like `init` and `apply` of haiku.transform."""

import jax
import optax

import mer_jax
from experiments.examples.stream import first, turning_points


def init(key: jax.Array, x: jax.Array) -> dict[str, dict[str, jax.Array]]:
    keys = jax.random.split(key)
    hidden, out = jax.random.normal(keys[0], (x.size, 32)), jax.random.normal(keys[1], (32, 2))
    return {"linear": {"w": hidden / 2}, "linear_1": {"w": out / 6}}


def apply(params: dict[str, dict[str, jax.Array]], x: jax.Array) -> jax.Array:
    return jax.nn.relu(x @ params["linear"]["w"]) @ params["linear_1"]["w"]


def loss(params, example):
    logits = apply(params, example.x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, example.y)


stream = turning_points(jax.random.key(0))
learner = mer_jax.mer_big_batch(loss, alpha=0.1, gamma=0.3, batch_size=21, capacity=60)
state = learner.init(init(jax.random.key(1), stream.x[0]), first(stream))
state, _ = jax.jit(lambda s: mer_jax.run(jax.random.key(2), learner, s, stream))(state)
accuracy = (apply(state.params, stream.x).argmax(-1) == stream.y).mean()
print(f"{100 * accuracy:.0f} % right on all tasks")
