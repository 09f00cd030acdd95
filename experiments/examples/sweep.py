"""A sweep over two rates and three seeds, as one program."""

import jax
import jax.numpy as jnp

import mer_jax
from experiments.examples.stream import first, turning_points

model = mer_jax.networks.mlp((5, 32, 2))


def accuracy(seed, alpha, beta):
    network_key, learn_key, train_key, test_key = jax.random.split(jax.random.key(seed), 4)
    stream, test = turning_points(train_key), turning_points(test_key)
    learner = mer_jax.mer(
        model.loss, alpha=alpha, beta=beta, gamma=1.0, num_batches=5, batch_size=6, capacity=60
    )
    state = learner.init(model.init(network_key), first(stream))
    state, _ = mer_jax.run(learn_key, learner, state, stream)
    return mer_jax.accuracy(model.apply, state.params, test)


alphas, betas = jnp.float32([0.01, 0.1]), jnp.float32([0.1, 0.3, 1.0])
of_all = jax.jit(jnp.vectorize(accuracy))  # a vmap over each axis
table = of_all(jnp.arange(3), alphas[:, None, None], betas[:, None])  # [alphas, betas, seeds]
for alpha, row in zip(alphas, table, strict=True):
    for beta, cell in zip(betas, row, strict=True):
        mean, std = 100 * cell.mean(), 100 * cell.std(ddof=1)
        print(f"alpha {alpha:.2f}, beta {beta:.1f}: {mean:.0f} ± {std:.0f} %")
