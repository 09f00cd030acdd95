"""Costs of compiled programs, from the compiler's own analysis, without timing."""

from typing import Any

import jax
import jax.numpy as jnp
import optax
import pytest

import mer_jax
from mer_jax import Example

pytestmark = pytest.mark.usefixtures("quick_keys")

FLOAT = 4
"""Bytes."""
SIZES = (784, 100, 100, 10)
MODEL = mer_jax.networks.mlp(SIZES)
PARAMS = jax.eval_shape(MODEL.init, jax.random.key(0))
SIZE_BYTES = sum(leaf.size * FLOAT for leaf in jax.tree.leaves(PARAMS))
"""Of the network."""


def temporary_bytes(compiled):
    return compiled.memory_analysis().temp_size_in_bytes


def flops(compiled):
    return compiled.cost_analysis()["flops"]


def shaped(*shape, dtype=jnp.int32):
    return jax.ShapeDtypeStruct(shape, dtype)


IMAGES = Example(shaped(10_000, 784, dtype=jnp.uint8), shaped(10_000), shaped(10_000))


@pytest.fixture(scope="module")
def evaluations():
    """Programs that evaluate MNIST's test set: all images, and those that are present."""

    def accuracy(params, examples, present=None):
        return mer_jax.accuracy(MODEL.apply, params, examples, present=present)

    present = shaped(10_000, dtype=bool)
    return [jax.jit(accuracy).lower(PARAMS, IMAGES, *more).compile() for more in ((), (present,))]


def test_an_evaluation_holds_a_block_of_images_and_its_activations(evaluations):
    """A copy of the weights an image would be a hundred times as much."""
    block = 1000 * sum(SIZES) * FLOAT
    for evaluation in evaluations:
        assert temporary_bytes(evaluation) < 2 * block


def test_what_is_present_costs_no_more_than_all(evaluations):
    every_one, present = map(flops, evaluations)
    assert every_one > 1000 * 784 * 100  # a block's first layer at least
    assert present < 1.1 * every_one


def plain(params, example):
    """The same loss, which does not show its first layer."""
    return MODEL.loss(params, example)


SIZE: dict[str, Any] = {"batch_size": 32, "capacity": 50_000}
SGD = optax.sgd(0.1)
BY_TASK: dict[str, Any] = {"optimizer": SGD, "num_tasks": 5}
LEARNERS = {
    "mer": mer_jax.mer(MODEL.loss, alpha=0.1, beta=0.1, gamma=1, num_batches=2, **SIZE),
    "mer, plain": mer_jax.mer(plain, alpha=0.1, beta=0.1, gamma=1, num_batches=2, **SIZE),
    "mer_big_batch": mer_jax.mer_big_batch(MODEL.loss, alpha=0.1, gamma=0.3, **SIZE),
    "mer_current_rate": mer_jax.mer_current_rate(MODEL.loss, alpha=0.1, gamma=0.3, s=5, **SIZE),
    "er": mer_jax.er(MODEL.loss, optimizer=SGD, **SIZE),
    "er_by_task": mer_jax.er_by_task(MODEL.loss, **BY_TASK, **SIZE),
    "exact_alignment": mer_jax.exact_alignment(MODEL.loss, optimizer=SGD, alpha=0.1, **SIZE),
    "der_plus_plus": mer_jax.der_plus_plus(MODEL, optimizer=SGD, alpha=0.1, beta=0.1, **SIZE),
    "gem": mer_jax.gem(MODEL.loss, **BY_TASK, num_memories=1000, margin=0.5),
    "agem": mer_jax.agem(MODEL.loss, **BY_TASK, num_memories=10_000, sample_size=32),
    "ewc": mer_jax.ewc(MODEL.loss, **BY_TASK, num_memories=32, strength=1),
    "online": mer_jax.online(MODEL.loss, optimizer=SGD),
    "la_maml": mer_jax.la_maml(
        MODEL.loss, alpha_init=0.1, alpha_rate=0.1, glances=5, num_replays=10, capacity=50_000
    ),
}
NETWORKS = 8
"""Copies of the network that a step may hold: gradients, updates, and sums of them."""


def step_bytes(name, seeds=None):
    """The temporary memory of a learner's step whose state is donated."""
    learner = LEARNERS[name]
    example = Example(shaped(784, dtype=jnp.uint8), shaped(), shaped())
    if name == "la_maml":
        example = jax.tree.map(lambda leaf: shaped(10, *leaf.shape, dtype=leaf.dtype), example)
    args = (
        jax.eval_shape(lambda: jax.random.key(0)),
        jax.eval_shape(learner.init, PARAMS, example),
        example,
    )
    update = learner.update
    if seeds:
        args = jax.tree.map(lambda leaf: shaped(seeds, *leaf.shape, dtype=leaf.dtype), args)
        update = jax.vmap(update)
    return temporary_bytes(jax.jit(update, donate_argnums=1).lower(*args).compile())


@pytest.mark.parametrize("name", LEARNERS)
def test_a_step_holds_neither_its_memory_nor_the_weights_of_each_example(name):
    """The memory is 39 MB, GEM's 4 MB, a network 0.36 MB, and 32 of them would be 11 MB."""
    alone = step_bytes(name)
    activations = 2 * 64 * sum(SIZES) * FLOAT  # of two batches of 32
    allowed = NETWORKS * SIZE_BYTES + 2 * activations
    if name == "gem":
        # The gradient on each of its tasks, made from all they have kept.
        allowed += (5 + 2) * SIZE_BYTES + 2 * 1000 * sum(SIZES) * FLOAT
    assert alone < allowed
    assert step_bytes(name, seeds=8) <= 8 * alone + 4096 * 8
