"""MER with an nnx model: its parameters are the state that `nnx.split` gives."""

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


def main() -> float:
    graph, params = nnx.split(Net(nnx.Rngs(0)))

    def loss(params: nnx.State, example: mer_jax.Example) -> jax.Array:
        logits = nnx.merge(graph, params)(example.x)
        return optax.softmax_cross_entropy_with_integer_labels(logits, example.y)

    stream = turning_points(jax.random.key(0))
    mer = mer_jax.mer(loss, alpha=0.1, beta=0.3, gamma=1, num_batches=5, batch_size=6, capacity=60)
    learn = jax.jit(lambda state: mer_jax.run(jax.random.key(1), mer, state, stream))
    state, _ = learn(mer.init(params, first(stream)))
    model = nnx.merge(graph, state.params)  # a model again

    test = turning_points(jax.random.key(2))
    accuracy = float((model(test.x).argmax(-1) == test.y).mean())
    print(f"{100 * accuracy:.0f} % right on all tasks")
    return accuracy


if __name__ == "__main__":
    main()
