"""MER with an nnx model, whose parameters are the state from `nnx.split`."""

import jax
import optax
from flax import nnx

import mer_jax
from experiments.examples.stream import first, turning_points


class Net(nnx.Module):
    def __init__(self, rngs: nnx.Rngs) -> None:
        self.hidden, self.out = nnx.Linear(5, 32, rngs=rngs), nnx.Linear(32, 2, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.out(nnx.relu(self.hidden(x)))


graph, params = nnx.split(Net(nnx.Rngs(0)))


def loss(params: nnx.State, example: mer_jax.Example) -> jax.Array:
    logits = nnx.merge(graph, params)(example.x)
    return optax.softmax_cross_entropy_with_integer_labels(logits, example.y)


stream, test = turning_points(jax.random.key(0)), turning_points(jax.random.key(2))
mer = mer_jax.mer(loss, alpha=0.1, beta=0.3, gamma=1, num_batches=5, batch_size=6, capacity=60)
state = mer.init(params, first(stream))
state, _ = jax.jit(lambda s: mer_jax.run(jax.random.key(1), mer, s, stream))(state)
model = nnx.merge(graph, state.params)  # a model again
accuracy = (model(test.x).argmax(-1) == test.y).mean()
print(f"{100 * accuracy:.0f} % right on all tasks")
