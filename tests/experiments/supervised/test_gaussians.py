"""Replay from a Gaussian for each class of each task."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mer_jax
from experiments.supervised.gaussians import gaussians
from mer_jax import Example, networks

pytestmark = pytest.mark.usefixtures("quick_keys")

MODEL = networks.mlp((2, 3))
RNG = np.random.default_rng(0)


def examples(count):
    """Examples of three classes and two tasks, whose values go from 0 to 255."""
    y, task = RNG.integers(0, 3, count), np.arange(count) * 2 // count
    x = np.clip(60 * y[:, None] + 80 * task[:, None] + RNG.normal(20, 5, (count, 2)), 0, 255)
    return Example(np.uint8(x), np.int32(y), np.int32(task))


def learned(stream, **changed):
    how = {"optimizer": optax.sgd(0.1), "num_tasks": 2, "batch_size": 5} | changed
    learner = gaussians(MODEL, **how)
    params = MODEL.init(jax.random.key(0))
    first = jax.tree.map(lambda leaf: leaf[0], stream)
    run = jax.jit(lambda state: mer_jax.run(jax.random.key(1), learner, state, stream))
    return run(learner.init(params, first))


def test_mean_and_variance_are_those_of_the_examples():
    stream = examples(60)
    state, _ = learned(stream)
    assert state.step == 60
    for task in range(2):
        for y in range(3):
            rows = stream.x[(stream.y == y) & (stream.task == task)]
            row = 3 * task + y
            assert state.seen[row] == len(rows)
            np.testing.assert_allclose(state.mean[row], rows.mean(0), rtol=1e-4)
            np.testing.assert_allclose(state.spread[row] / len(rows), rows.var(0), rtol=1e-3)


def test_the_first_step_is_on_the_incoming_example_alone():
    stream = jax.tree.map(lambda leaf: leaf[:1], examples(60))
    state, info = learned(stream)
    online = mer_jax.online(MODEL.loss, optimizer=optax.sgd(0.1))
    first = jax.tree.map(lambda leaf: leaf[0], stream)
    alone = online.init(MODEL.init(jax.random.key(0)), first)
    alone, told = jax.jit(online.update)(jax.random.key(1), alone, first)
    np.testing.assert_allclose(info.loss[0], told.loss, rtol=1e-6)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), state.params, alone.params
    )


def test_replays_are_of_their_class_and_within_the_range():
    """Shown to the loss: batches whose values lie near the mean of their class and task."""
    seen = []

    def loss(params, example):
        jax.debug.callback(lambda *leaves: seen.append(leaves), *example)
        return MODEL.loss(params, example)

    stream = examples(200)
    learner = gaussians(
        MODEL._replace(loss=loss), optimizer=optax.sgd(0.0), num_tasks=2, batch_size=5
    )
    state, _ = learned(stream)
    last = jax.tree.map(lambda leaf: leaf[-1], stream)
    jax.jit(learner.update)(jax.random.key(2), state, last)
    jax.effects_barrier()
    assert len(seen) == 5
    for x, y, task in seen:
        assert x.dtype == jnp.uint8
        assert (abs(x.astype(float) - (60 * y + 80 * task + 20)) < 30).all()
