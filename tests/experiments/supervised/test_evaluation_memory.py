"""Memory of the programs' evaluation, by the compiler's own account."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import mer_jax
from experiments.running.problem import size_bytes
from experiments.supervised.problem import accuracies
from mer_jax.data import benchmarks
from mer_jax.data.benchmarks import Base

SIZES = (784, 100, 100, 10)
MODEL = mer_jax.networks.mlp(SIZES)
PARAMS = jax.eval_shape(MODEL.init, jax.random.key(0))
IMAGES = Base(
    jax.ShapeDtypeStruct((10_000, 784), jnp.uint8), jax.ShapeDtypeStruct((10_000,), jnp.int32)
)


@pytest.mark.parametrize("ragged", [False, True])
def test_the_programs_own_evaluation_holds_no_more(ragged):
    """Of 20 tasks one after another, with a copy of the network for the one at hand."""
    tasks = jax.eval_shape(
        lambda: jax.tree.map(
            jnp.asarray, benchmarks.permutations(np.random.default_rng(0), 10_000, 20, 1)
        )
    )
    if ragged:
        tasks = tasks._replace(tests=jax.ShapeDtypeStruct((20, 10_000), jnp.int32))
    evaluate = jax.jit(functools.partial(accuracies, MODEL))
    visits = jax.ShapeDtypeStruct((20,), jnp.int32)
    compiled = evaluate.lower(PARAMS, tasks, IMAGES, visits).compile()
    block = 1000 * sum(SIZES) * 4
    temporary = compiled.memory_analysis().temp_size_in_bytes
    assert temporary < 2 * block + 2 * size_bytes(PARAMS)
