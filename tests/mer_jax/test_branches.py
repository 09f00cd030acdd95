"""Branches under a `vmap`, computed only if a member of the batch needs them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mer_jax
from mer_jax.branches import any_in_batch, largest_in_batch, where_needed


def counted(changes):
    """`where_needed` whose change is counted by the host each time it is computed."""

    def halved(n):
        jax.debug.callback(lambda _: changes.append(1), n)
        return n // 2

    return jax.jit(jax.vmap(lambda n: where_needed(n % 2 == 0, halved, n)))


@pytest.mark.parametrize(
    ("numbers", "expected", "is_computed"),
    [([1, 3, 5], [1, 3, 5], False), ([1, 4, 5], [1, 2, 5], True), ([2, 4, 6], [1, 2, 3], True)],
)
def test_a_change_is_computed_only_where_somebody_needs_it(numbers, expected, is_computed):
    changes = []
    after = counted(changes)(jnp.array(numbers))
    jax.effects_barrier()
    assert after.tolist() == expected
    assert bool(changes) is is_computed


def test_the_batch_is_that_of_all_vmaps():
    held = jnp.array([[False, False], [True, False]])
    assert jax.vmap(jax.vmap(any_in_batch))(held).all()
    assert not jax.vmap(jax.vmap(any_in_batch))(held & False).any()
    assert (jax.vmap(jax.vmap(largest_in_batch))(jnp.arange(6).reshape(2, 3)) == 5).all()
    assert any_in_batch(jnp.bool_(True))
    assert largest_in_batch(jnp.int32(3)) == 3


def test_gradients_go_through():
    """x^2 where x > 0, else x: slopes 2x and 1."""

    def f(x):
        return where_needed(x > 0, lambda x: x**2, x)

    x = jnp.float32([-3, 0, 3])
    np.testing.assert_array_equal(jax.vmap(jax.grad(f))(x), [1, 1, 6])
    np.testing.assert_array_equal(jax.vmap(jax.grad(jax.grad(f)))(x), [0, 0, 2])


def conditionals(function, *args):
    """How many branches are left in the program."""
    return str(jax.make_jaxpr(function)(*args)).count("cond[")


def half_square(w, example):
    return (w - example.x) ** 2 / 2


SGD = optax.sgd(0.1)
LEARNERS = {
    "gem": mer_jax.gem(half_square, optimizer=SGD, num_tasks=3, num_memories=2, margin=0.5),
    "ewc": mer_jax.ewc(half_square, optimizer=SGD, num_tasks=3, num_memories=2, strength=1.0),
    "reptile": mer_jax.online(half_square, optimizer=mer_jax.reptile(SGD, every=3, rate=0.5)),
}


@pytest.mark.parametrize("name", LEARNERS)
def test_many_seeds_at_once_are_each_alone(name):
    """Each in another task and at another step, with the branch still a branch."""
    learner = LEARNERS[name]
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(size=(8, 12)), jnp.float32)
    task = jnp.asarray(np.sort(rng.integers(0, 3, (8, 12))), jnp.int32)
    streams = mer_jax.Example(x, jnp.zeros_like(task), task)

    def train(stream):
        first = jax.tree.map(lambda leaf: leaf[0], stream)
        state = learner.init(jnp.float32(1), first)
        return mer_jax.run(jax.random.key(0), learner, state, stream)

    together = jax.jit(jax.vmap(train))(streams)
    alone = jax.jit(train)
    for seed in range(8):
        one = alone(jax.tree.map(lambda leaf, seed=seed: leaf[seed], streams))
        jax.tree.map(
            lambda a, b, seed=seed: np.testing.assert_allclose(a[seed], b, rtol=1e-5, atol=1e-6),
            together, one,
        )  # fmt: skip
    assert conditionals(jax.vmap(train), streams) == conditionals(train, jax.tree.map(lambda leaf: leaf[0], streams)) > 0  # fmt: skip  # noqa: E501
