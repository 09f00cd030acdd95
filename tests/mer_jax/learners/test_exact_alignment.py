"""The gradient of equation 4, compared with an explicit Hessian."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mer_jax
from tests.mer_jax.compiling import quickly
from tests.mer_jax.golden import at
from tests.mer_jax.problems import MODEL, blobs

pytestmark = pytest.mark.usefixtures("quick_keys")


def loss(params, x):
    return jnp.tanh(params @ x) + (params * x).sum() ** 3 / 10


def learner(alpha, batch_size=2, capacity=1, loss=loss):
    return mer_jax.exact_alignment(
        loss, optimizer=optax.sgd(1.0), alpha=alpha, batch_size=batch_size, capacity=capacity
    )


@pytest.mark.parametrize("alpha", [0.0, 0.3])
def test_step_is_the_gradient_of_equation_4(alpha):
    """With one memory there is one pair: g_i + g_j - alpha (H_i g_j + H_j g_i)."""
    xs = np.float32([[1, -2, 0.5], [0.3, 0.2, -1]])
    learn = learner(alpha)
    gradient, hessian, update = (
        quickly(function) for function in (jax.grad(loss), jax.hessian(loss), learn.update)
    )
    state = learn.init(np.float32([0.1, -0.2, 0.3]), xs[0])
    first, _ = update(jax.random.key(0), state, xs[0])
    start = np.asarray(state.params)
    np.testing.assert_allclose(first.params, start - gradient(start, xs[0]))
    second, info = update(jax.random.key(1), first, xs[1])
    p = first.params
    of_each = [(function(p, xs[1]), function(p, xs[0])) for function in (gradient, hessian)]
    (g_i, g_j), (h_i, h_j) = jax.device_get(of_each)
    wanted = np.asarray(p) - (g_i + g_j - alpha * (h_i @ g_j + h_j @ g_i))
    np.testing.assert_allclose(second.params, wanted, rtol=1e-5)
    assert info.loss == quickly(loss)(p, xs[1])


def test_aligning_raises_the_dot_product():
    """From the same start and memories, the gradients agree more where that is asked for."""
    stream = blobs(0, 60)

    @quickly
    def alignment(alpha):
        learn = mer_jax.exact_alignment(
            MODEL.loss, optimizer=optax.sgd(0.05), alpha=alpha, batch_size=6, capacity=20
        )
        state = learn.init(MODEL.init(jax.random.key(0)), at(stream, 0))
        state, infos = mer_jax.run(jax.random.key(1), learn, state, stream)
        pairs = jax.vmap(lambda a, b: mer_jax.gradient_alignment(MODEL.loss, state.params, a, b))(
            at(stream, slice(0, 30)), at(stream, slice(30, 60))
        )
        return pairs.mean(), infos.loss[-20:].mean()

    (plain, _), (aligned, last) = alignment(0.0), alignment(0.1)
    assert aligned != plain
    assert np.isfinite(last)


def test_arguments_that_make_no_sense():
    with pytest.raises(ValueError, match="alpha must be a finite number of at least 0"):
        learner(-1.0)
    with pytest.raises(ValueError, match="batch_size"):
        learner(0.1, batch_size=0)
