"""The Gram form is the plain scan's arithmetic in another order."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mer_jax
from mer_jax import networks
from mer_jax.steps import gram
from mer_jax.types import Example
from tests.mer_jax import golden

D, C = 7, 3


def examples(seed, *shape, dtype=np.float32):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(*shape, D)).astype(dtype)
    return Example(x, rng.integers(0, C, shape).astype(np.int32), np.zeros(shape, np.int32))


def plainly(loss):
    """The same loss, whose first layer does not show."""
    return lambda params, example: loss(params, example)


RATES = {"alpha": 0.1, "beta": 0.3, "gamma": 0.7}


@given(
    s=st.integers(1, 5),
    k=st.integers(1, 9),
    hidden=st.sampled_from([(), (4,), (5, 4)]),
    seed=st.integers(0, 99),
    double=st.booleans(),
    largest=st.sampled_from([1, 4, 10, 128]),
)
@settings(deadline=None, max_examples=12)
def test_equals_the_plain_scan(s, k, hidden, seed, double, largest):
    """Over shapes, depths, weights (0 among them), precisions and sizes of the Gram matrix."""
    with jax.enable_x64(double), pytest.MonkeyPatch.context() as patch:
        patch.setattr(gram, "LARGEST_GRAM", largest)
        dtype = np.float64 if double else np.float32
        model = networks.mlp((D, *hidden, C))
        params = jax.tree.map(lambda p: p.astype(dtype), model.init(jax.random.key(seed)))
        batches = examples(seed, s, k, dtype=dtype)
        weights = np.random.default_rng(seed).choice([0, 1, 1, 2.5], (s, k)).astype(np.float32)
        plain = mer_jax.mer_update(plainly(model.loss), params, batches, weights, **RATES)
        ours = mer_jax.mer_update(model.loss, params, batches, weights, **RATES)
        # Up to 45 steps, each rounding sums of up to 45 products of numbers up to about 10.
        chex.assert_trees_all_close(ours, plain, atol=45 * 45 * 10 * jnp.finfo(dtype).eps)
        chex.assert_trees_all_equal_shapes_and_dtypes(ours, plain)


@pytest.mark.parametrize("length", [1, 128, 129, 300])
def test_a_long_pass_in_blocks(length):
    model = networks.mlp((D, 5, C))
    params, stream = model.init(jax.random.key(0)), examples(1, length)
    weights = np.ones(length, np.float32)
    ours = mer_jax.sgd_pass(model.loss, params, stream, weights, 0.05)
    plain = mer_jax.sgd_pass(plainly(model.loss), params, stream, weights, 0.05)
    assert ours[1].shape == (length,)
    chex.assert_trees_all_close(ours, plain, atol=300 * 128 * 2**-24)


def test_under_vmap_over_seeds_and_rates():
    model = networks.mlp((D, 5, C))
    params = jax.vmap(model.init)(jax.random.split(jax.random.key(0), 3))
    batches, weights = examples(2, 3, 2, 4), np.ones((3, 2, 4), np.float32)
    alphas = jnp.float32([0.01, 0.1, 0.3])

    def update(loss):
        return jax.vmap(
            lambda p, b, w, alpha: mer_jax.mer_update(loss, p, b, w, alpha=alpha, beta=0.5, gamma=1)
        )(params, batches, weights, alphas)

    chex.assert_trees_all_close(
        update(model.loss), update(plainly(model.loss)), atol=8 * 8 * 10 * 2**-24
    )


def test_what_is_left_out_need_not_be_finite():
    model = networks.mlp((D, 5, C))
    params, batch = model.init(jax.random.key(0)), examples(3, 1, 2)
    batch.x[0, 1] = np.nan
    ours, _ = mer_jax.mer_update(model.loss, params, batch, np.float32([[1, 0]]), **RATES)
    only = golden.at(batch, (slice(None), slice(1)))
    wanted, _ = mer_jax.mer_update(model.loss, params, only, np.ones((1, 1)), **RATES)
    chex.assert_trees_all_close(ours, wanted, atol=10 * 2**-24)


def test_half_precision_takes_the_plain_scan():
    model = networks.mlp((D, C))
    params = model.init(jax.random.key(0))
    assert gram.fits(model.loss, params)
    assert not gram.fits(model.loss, jax.tree.map(lambda p: p.astype(jnp.bfloat16), params))
    assert not gram.fits(plainly(model.loss), params)


NARROW_TAIL = mer_jax.DenseFirstLoss(
    lambda e: e.x,
    lambda p: (p["w"], p["b"], {"o": p["o"]}),
    lambda w, b, rest: {"w": w, "b": b, **rest},
    lambda rest, z, e: (jnp.tanh(z) @ rest["o"] - 1.0) ** 2,
)


def test_mixed_precision_keeps_its_types():
    params = {"w": jnp.ones((D, 2)), "b": jnp.zeros(2), "o": jnp.ones(2, jnp.bfloat16)}
    end, _ = mer_jax.sgd_pass(NARROW_TAIL, params, examples(0, 5), jnp.ones(5), 0.1)
    same, _ = mer_jax.sgd_pass(plainly(NARROW_TAIL), params, examples(0, 5), jnp.ones(5), 0.1)
    chex.assert_trees_all_equal(end, same)
    chex.assert_trees_all_equal_dtypes(end, params)


@pytest.mark.parametrize("batch_size", [3, 129, 200])
def test_examples_with_keys_and_with_nothing(batch_size):
    """In one Gram matrix and in several, of which the last is not full."""
    model = networks.mlp((D, 4, C))

    def dropped(keyed):
        key, (example, nothing) = keyed
        assert nothing.shape == (0, 2)
        return model.loss.inputs(example) * jax.random.bernoulli(key, 0.9, (D,))

    def tail(rest, preactivation, keyed):
        return model.loss.tail(rest, preactivation, keyed[1][0])

    loss = mer_jax.DenseFirstLoss(dropped, model.loss.split, model.loss.merge, tail)
    example = examples(0), jnp.zeros((0, 2))
    ends = []
    for shown in (loss, plainly(loss)):
        learner = mer_jax.mer(
            shown, alpha=0.01, beta=0.5, gamma=1.0, num_batches=2, batch_size=batch_size,
            capacity=4, augment=lambda key, e: (key, e),
        )  # fmt: skip
        state = learner.init(model.init(jax.random.key(0)), example)
        for number in range(3):
            state, _ = learner.update(jax.random.key(number), state, example)
        ends.append(state.params)
    chex.assert_trees_all_close(*ends, atol=1e-5)
