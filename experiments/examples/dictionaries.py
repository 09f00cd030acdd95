"""MER on examples that are dictionaries with a weight. Examples may be any pytree."""

import jax
import jax.numpy as jnp
import optax

import mer_jax
from experiments.examples.stream import first, turning_points


def logits(params, features):
    x = jnp.concatenate([features["point"], features["task"]])
    return jax.nn.relu(x @ params["in"]) @ params["out"]


def loss(params, example):
    losses = optax.softmax_cross_entropy_with_integer_labels
    return example["weight"] * losses(logits(params, example["features"]), example["label"])


labelled = turning_points(jax.random.key(0))
stream = {
    "features": {"point": labelled.x[:, :2], "task": labelled.x[:, 2:]},
    "label": labelled.y,
    "weight": jnp.where(labelled.task == 0, 2.0, 1.0),
}
keys = jax.random.split(jax.random.key(1))
ahead, out = jax.random.normal(keys[0], (5, 32)), jax.random.normal(keys[1], (32, 2))
mer = mer_jax.mer(loss, alpha=0.1, beta=0.3, gamma=1, num_batches=5, batch_size=6, capacity=60)
state = mer.init({"in": ahead / 2, "out": out / 6}, first(stream))
state, _ = jax.jit(lambda s: mer_jax.run(jax.random.key(2), mer, s, stream))(state)

guesses = jax.vmap(logits, (None, 0))(state.params, stream["features"]).argmax(-1)
accuracy = (guesses == stream["label"]).mean()
print(f"{100 * accuracy:.0f} % right; kept: {jax.tree.map(jnp.shape, state.memory.examples)}")
