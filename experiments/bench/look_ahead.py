"""Time of La-MAML beside that of the gradients which it needs."""

from typing import Any

import jax
import jax.numpy as jnp

import mer_jax
from experiments.bench.timing import Measure, Row, batch, compared, timed
from mer_jax.losses import mean_gradient
from mer_jax.networks import Model

INCOMING, REPLAYS, GLANCES = 10, 10, 5
"""The published setting for Rotations."""


def la_maml_seconds(network: Model, length: int) -> Measure:
    """The seconds of a glance of the learner, with a full memory of 200 examples."""
    learner = mer_jax.la_maml(
        network.loss, alpha_init=0.15, alpha_rate=0.3, glances=GLANCES, num_replays=REPLAYS,
        capacity=200,
    )  # fmt: skip
    state = learner.init(network.init(jax.random.key(0)), batch(INCOMING))
    state = state._replace(memory=state.memory._replace(num_seen=jnp.int32(200)))
    run = jax.jit(lambda *args: mer_jax.run(jax.random.key(0), learner, *args)[0])
    return timed(run, state, batch(length, INCOMING), count=length * GLANCES)


def needed_seconds(network: Model, length: int) -> Measure:
    """The seconds of the gradients of a glance: an SGD step on each example in turn, and after each
    the gradient of the mean loss of the meta-batch."""
    loss, shares = network.loss, jnp.full(INCOMING + REPLAYS, 1 / (INCOMING + REPLAYS))

    def moved(params: Any, grads: Any) -> Any:
        return jax.tree.map(lambda p, g: p - 0.01 * g, params, grads)

    def glance(params: Any, examples: tuple[Any, Any]) -> tuple[Any, None]:
        incoming, meta_batch = examples

        def step(carry: tuple[Any, Any], example: Any) -> tuple[tuple[Any, Any], None]:
            fast, total = carry
            fast = moved(fast, jax.grad(loss)(fast, example))
            grads = mean_gradient(loss, fast, meta_batch, shares)
            return (fast, jax.tree.map(jnp.add, total, grads)), None

        start = params, jax.tree.map(jnp.zeros_like, params)
        return moved(params, jax.lax.scan(step, start, incoming)[0][1]), None

    run = jax.jit(lambda params, *stream: jax.lax.scan(glance, params, stream)[0])
    stream = batch(length, INCOMING), batch(length, INCOMING + REPLAYS)
    return timed(run, network.init(jax.random.key(0)), *stream, count=length)


def look_ahead_rows(repeats: int, network: Model, length: int = 40) -> list[Row]:
    """A glance of La-MAML, beside its gradients."""
    what = "a glance of La-MAML over the gradients that it needs, B = R = 10"
    ours, needed = la_maml_seconds(network, length), needed_seconds(network, length)
    return compared(repeats, what, ours, needed)
