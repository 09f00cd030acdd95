"""What cannot be right gets one clear error, not a traceback from deep inside."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mer_jax
from mer_jax import checks, networks
from mer_jax.data import benchmarks
from mer_jax.meta import interpolate

SGD = optax.sgd(0.1)
EXAMPLE = mer_jax.Example(jnp.ones(3), jnp.int32(0), jnp.int32(0))
BATCHES = jax.tree.map(lambda leaf: jnp.stack([jnp.stack([leaf] * 4)] * 2), EXAMPLE)  # [2, 4, ...]


def squared(params, example):
    return jnp.sum((params - example) ** 2)


def update_with(weights):
    model = networks.mlp((3, 4, 2))
    params = model.init(jax.random.key(0))
    return mer_jax.mer_update(model.loss, params, BATCHES, weights, alpha=0.1, beta=1.0, gamma=1.0)


def run_on(stream):
    learner = mer_jax.online(networks.mlp((3, 2)).loss, optimizer=SGD)
    state = learner.init(networks.mlp((3, 2)).init(jax.random.key(0)), EXAMPLE)
    return mer_jax.run(jax.random.key(1), learner, state, stream)


def learn_without_task(make, params=None, **settings):
    params = jnp.zeros(3) if params is None else params
    learner = make(squared, optimizer=SGD, **settings)
    state = learner.init(params, jnp.ones(3))
    return learner.update(jax.random.key(0), state, jnp.ones(3))


MEMORIES = {"num_tasks": 2, "num_memories": 3}


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: update_with(jnp.ones(4)), r"weights must be \[s, k\].*got weights \(4,\)"),
        (lambda: update_with(jnp.ones((2, 3))), r"got weights \(2, 3\).*\[\(2, 4\)\]"),
        (lambda: run_on(EXAMPLE), r"leaf of the stream must be \[T, \.\.\.\].*T = 1"),
        (lambda: run_on(EXAMPLE._replace(x=jnp.ones((5, 3)))), r"got leading axes \[\(\), \(5,\)"),
        (lambda: networks.convnet(5, side=28.0), r"side must be a whole number.*28\.0"),  # type: ignore[arg-type]
        (lambda: networks.convnet(5, side=0, pool_padding="SAME"), "side must be a whole number"),
        (lambda: networks.independent((), 2), r"sizes must name .*got \(\)"),
        (lambda: networks.independent((5,), 2), r"sizes must name .*got \(5,\)"),
        (lambda: checks.rate("alpha", "0.1"), "alpha must be a number, got '0.1'"),
        (lambda: interpolate(jnp.array([1, 2]), jnp.array([3, 4]), 0.5), r"got int32\[2\]"),
        (lambda: interpolate(jnp.ones(2), jnp.ones(1), 0.5), r"float32\[2\] and float32\[1\]"),
        (
            lambda: benchmarks.alphabets(np.random.default_rng(0), np.arange(3), np.zeros(3), 1),
            "drawer must name at least 2",
        ),
        *(
            (call, "examples need a field `task`.*got .*Array")
            for call in (
                lambda: learn_without_task(mer_jax.gem, **MEMORIES, margin=0.5),
                lambda: learn_without_task(mer_jax.agem, **MEMORIES, sample_size=2),
                lambda: learn_without_task(mer_jax.ewc, **MEMORIES, strength=1.0),
                lambda: learn_without_task(
                    mer_jax.er_by_task, num_tasks=2, batch_size=2, capacity=2
                ),
                lambda: learn_without_task(
                    mer_jax.independent, mer_jax.TaskParams(jnp.zeros((2, 3)), ())
                ),
            )
        ),
    ],
)
def test_what_cannot_be_right_says_so(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def saved(path, **changed):
    draw = benchmarks.alphabets(
        np.random.default_rng(0), np.repeat(np.arange(2), 8), np.tile(np.arange(4), 4), 2, 4
    )
    benchmarks.save(path, draw._replace(**changed))
    return path


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"tests": np.full((2, 4), 16, np.int32)}, r"tests must be in \[-1, 16\), got 16 to 16"),
        ({"mask": np.full((2, 4), 2, np.uint8)}, r"mask must be in \[0, 2\)"),
        ({"pixels": np.full((2, 4), 65536, np.int32)}, r"pixels must be in \[0, 4\), got 65536"),
    ],
)
def test_a_benchmark_of_other_images_is_refused(tmp_path, changed, message):
    benchmarks.load(saved(tmp_path / "fits.npz"), num_images=16)
    with pytest.raises(ValueError, match=message):
        benchmarks.load(saved(tmp_path / "other.npz", **changed), num_images=16)
