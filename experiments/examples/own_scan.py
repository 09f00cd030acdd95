"""MER inside your own scan, with your own metric: the accuracy on task 0 during later tasks."""

import jax
import jax.numpy as jnp

import mer_jax


def turning_points(key):
    """200 points of each of three tasks, in half-planes turned by 90 degrees in every other one."""
    tasks = jnp.repeat(jnp.arange(3), 200)
    points = jax.random.normal(key, (600, 2))
    turned = points @ jnp.float32([[0, 1], [-1, 0]])
    ahead = jnp.where((tasks % 2 == 0)[:, None], points, turned)
    # The task is part of the input, so that one network can learn all tasks.
    x = jnp.concatenate([points, jax.nn.one_hot(tasks, 3)], axis=1)
    return mer_jax.Example(x, (ahead[:, 0] > 0).astype(int), tasks)


net = mer_jax.networks.mlp((5, 32, 2))
mer = mer_jax.mer(net.loss, alpha=0.1, beta=0.3, gamma=1, num_batches=5, batch_size=6, capacity=60)
stream = turning_points(jax.random.key(0))
test = jax.tree.map(lambda leaf: leaf[:200], turning_points(jax.random.key(2)))  # task 0


def step(carry, at):
    (state, running_loss), (key, example) = carry, at
    state, info = mer.update(key, state, example)
    running_loss = 0.95 * running_loss + 0.05 * info.loss
    known, memories = mer_jax.accuracy(net.apply, state.params, test), state.memory.num_seen
    return (state, running_loss), {"loss": running_loss, "task 0": known, "memories": memories}


@jax.jit
def train(key):
    network_key, learn_key = jax.random.split(key)
    state = mer.init(net.init(network_key), jax.tree.map(lambda leaf: leaf[0], stream))
    keys = jax.random.split(learn_key, len(stream.y))
    return jax.lax.scan(step, (state, jnp.float32(0.7)), (keys, stream))


_, metrics = train(jax.random.key(1))
for at in (0, 199, 399, 599):
    print(", ".join(f"{name} {values[at]:.2f}" for name, values in metrics.items()))
