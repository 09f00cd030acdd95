"""The Gram form is the plain scan's arithmetic in another order."""

import itertools

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
from tests.mer_jax.compiling import quickly

pytestmark = pytest.mark.usefixtures("quick_keys")

D, C = 7, 3
MODEL = networks.mlp((D, 5, C))


def examples(seed, *shape, dtype=np.float32):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(*shape, D)).astype(dtype)
    return Example(x, rng.integers(0, C, shape).astype(np.int32), np.zeros(shape, np.int32))


def plainly(loss):
    """The same loss, whose first layer does not show."""
    return lambda params, example: loss(params, example)


def drawn_params(sizes, seed, dtype=np.float32):
    """Those of an MLP, from NumPy: about as large as Xavier's, with biases other than zero."""
    rng = np.random.default_rng(seed)
    return {
        f"layers_{number}": {
            "kernel": rng.normal(size=(m, n), scale=np.sqrt(2 / (m + n))).astype(dtype),
            "bias": rng.normal(size=n, scale=0.1).astype(dtype),
        }
        for number, (m, n) in enumerate(itertools.pairwise(sizes))
    }


def in_both_forms(function, loss, *args):
    """What `function(loss, *args)` gives in the Gram form and in the plain scan, in one program."""
    return quickly(lambda *args: (function(loss, *args), function(plainly(loss), *args)))(*args)


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
        sizes = (D, *hidden, C)
        loss, params = networks.mlp(sizes).loss, drawn_params(sizes, seed, dtype)
        batches = examples(seed, s, k, dtype=dtype)
        weights = np.random.default_rng(seed).choice([0, 1, 1, 2.5], (s, k)).astype(np.float32)
        ours, plain = in_both_forms(
            lambda loss, *rest: mer_jax.mer_update(loss, *rest, **RATES),
            loss, params, batches, weights,
        )  # fmt: skip
        # Up to 45 steps, each rounding sums of up to 45 products of numbers up to about 10.
        chex.assert_trees_all_close(ours, plain, atol=45 * 45 * 10 * jnp.finfo(dtype).eps)
        chex.assert_trees_all_equal_shapes_and_dtypes(ours, plain)


@pytest.mark.parametrize("length", [1, 128, 129, 300])
def test_a_long_pass_in_blocks(length):
    params, stream = drawn_params((D, 5, C), 0), examples(1, length)
    weights = np.ones(length, np.float32)
    ours, plain = in_both_forms(
        lambda loss, *rest: mer_jax.sgd_pass(loss, *rest, 0.05), MODEL.loss, params, stream, weights
    )
    assert ours[1].shape == (length,)
    chex.assert_trees_all_close(ours, plain, atol=300 * 128 * 2**-24)


def test_under_vmap_over_seeds_and_rates():
    params = jax.tree.map(
        lambda *rows: np.stack(rows), *(drawn_params((D, 5, C), i) for i in range(3))
    )
    batches, weights = examples(2, 3, 2, 4), np.ones((3, 2, 4), np.float32)
    alphas = np.float32([0.01, 0.1, 0.3])

    def update(loss, *of_all):
        return jax.vmap(
            lambda p, b, w, alpha: mer_jax.mer_update(loss, p, b, w, alpha=alpha, beta=0.5, gamma=1)
        )(*of_all)

    ours, plain = in_both_forms(update, MODEL.loss, params, batches, weights, alphas)
    chex.assert_trees_all_close(ours, plain, atol=8 * 8 * 10 * 2**-24)


def test_what_is_left_out_need_not_be_finite():
    params, batch = drawn_params((D, 5, C), 0), examples(3, 1, 2)
    batch.x[0, 1] = np.nan
    only = golden.at(batch, (slice(None), slice(1)))

    @quickly
    def ends(params, batch, only):
        left_out = np.float32([[1, 0]])
        ours, _ = mer_jax.mer_update(MODEL.loss, params, batch, left_out, **RATES)
        return ours, mer_jax.mer_update(MODEL.loss, params, only, np.ones((1, 1)), **RATES)[0]

    chex.assert_trees_all_close(*ends(params, batch, only), atol=10 * 2**-24)


def test_half_precision_takes_the_plain_scan():
    model, params = networks.mlp((D, C)), drawn_params((D, C), 0)
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
    (end, _), (same, _) = in_both_forms(
        lambda loss, *rest: mer_jax.sgd_pass(loss, *rest, 0.1),
        NARROW_TAIL, params, examples(0, 5), np.ones(5, np.float32),
    )  # fmt: skip
    chex.assert_trees_all_equal(end, same)
    chex.assert_trees_all_equal_dtypes(end, params)


def dropped(keyed):
    """The inputs of a loss on `(key, (example, nothing))`, some of them 0 by chance."""
    key, (example, nothing) = keyed
    assert nothing.shape == (0, 2)
    return MODEL.loss.inputs(example) * jax.random.bernoulli(key, 0.9, (D,))


def tail_of_keyed(rest, preactivation, keyed):
    return MODEL.loss.tail(rest, preactivation, keyed[1][0])


def keyed(loss):
    return mer_jax.DenseFirstLoss(dropped, loss.split, loss.merge, tail_of_keyed)


KEYED = keyed(MODEL.loss)


@pytest.mark.parametrize("batch_size", [3, 129, 200])
def test_examples_with_keys_and_with_nothing(batch_size):
    """In one Gram matrix and in several, of which the last is not full."""
    keys = jax.random.split(jax.random.key(0), (2, batch_size))
    batches = keys, (examples(0, 2, batch_size), np.zeros((2, batch_size, 0, 2), np.float32))
    ours, plain = in_both_forms(
        lambda loss, *rest: mer_jax.mer_update(loss, *rest, alpha=0.01, beta=0.5, gamma=1.0),
        KEYED, drawn_params((D, 5, C), 0), batches, np.ones((2, batch_size), np.float32),
    )  # fmt: skip
    chex.assert_trees_all_close(ours, plain, atol=1e-5)


def test_a_learner_hands_keys_and_nothing_to_the_loss():
    example = examples(0), np.zeros((0, 2), np.float32)
    stream = jax.tree.map(lambda leaf: np.stack([leaf] * 3), example)

    def end(loss, params):
        learner = mer_jax.mer(
            loss, alpha=0.01, beta=0.5, gamma=1.0, num_batches=2, batch_size=3, capacity=4,
            augment=lambda key, e: (key, e),
        )  # fmt: skip
        state = learner.init(params, example)
        return mer_jax.run(jax.random.key(0), learner, state, stream)[0].params

    chex.assert_trees_all_close(*in_both_forms(end, KEYED, drawn_params((D, 5, C), 0)), atol=1e-5)
