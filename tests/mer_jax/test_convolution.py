"""Convolution written as a product, against XLA's own, and the network made of it."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mer_jax
from mer_jax import _convolution, networks
from mer_jax.losses import gradient_of_sum, is_in_turn
from mer_jax.types import Example
from tests.mer_jax.compiling import quickly
from tests.mer_jax.golden import at

pytestmark = pytest.mark.usefixtures("quick_keys")

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(1, 28, 28, 1), (3, 7, 5, 4), (2, 1, 1, 3)])
@pytest.mark.parametrize("kernel", [(3, 3), (1, 5)])
def test_product_is_xlas_convolution(shape, kernel):
    """Sums of at most 36 products of numbers of size 1: rounding of some 1e-6."""
    x = RNG.normal(size=shape).astype(np.float32)
    layers = [nn.Conv(6, kernel, conv_general_dilated=f) for f in (None, _convolution.as_product)]
    weights = RNG.normal(size=(*kernel, shape[-1], 6), scale=1 / np.sqrt(np.prod(kernel)))
    params = {"params": {"kernel": np.float32(weights), "bias": np.zeros(6, np.float32)}}

    def outputs_and_grads(layer, params, x):
        grads = jax.grad(lambda p, x: (layer.apply(p, x) ** 3).sum(), (0, 1))(params, x)
        return layer.apply(params, x), grads

    outputs, grads = zip(
        *quickly(lambda *args: [outputs_and_grads(layer, *args) for layer in layers])(params, x),
        strict=True,
    )
    np.testing.assert_allclose(*outputs, atol=1e-5)
    for a, b in zip(*map(jax.tree.leaves, grads), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("size", [(4, 6), (7, 3), (2, 2)])
@pytest.mark.parametrize("padding", ["VALID", "SAME"])
def test_pooling_is_flaxs(size, padding):
    pools = (
        lambda x: _convolution.max_pool(x, padding),
        lambda x: nn.max_pool(x, (2, 2), (2, 2), padding),
    )
    both = quickly(lambda x: [(pool(x), jax.grad(lambda x: pool(x).sum())(x)) for pool in pools])  # noqa: B023
    x = RNG.normal(size=(2, *size, 3)).astype(np.float32)
    (ours, _), (wanted, _) = both(x)
    np.testing.assert_array_equal(ours, wanted)
    x[0, -1, 1] = x[1, 0, 0] = np.nan
    (ours, _), (wanted, _) = both(x)
    np.testing.assert_array_equal(ours, wanted)
    # All are largest: the first has the gradient.
    (_, gradient), (_, theirs) = both(np.ones_like(x))
    np.testing.assert_array_equal(gradient, theirs)


def loss_by_hand(params, image, label):
    """The loss of two normalized modules and a softmax layer, with XLA's own convolution."""
    x = image[None, ..., None]
    for number in range(2):
        conv, norm = params[f"Conv_{number}"], params[f"InstanceNorm_{number}"]
        x = jax.lax.conv_general_dilated(
            x, conv["kernel"], (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        x = x + conv["bias"]
        x = x - x.mean((1, 2), keepdims=True)
        x = x * jax.lax.rsqrt((x**2).mean((1, 2), keepdims=True) + 1e-6)
        x = nn.max_pool(nn.relu(x * norm["scale"] + norm["bias"]), (2, 2), (2, 2), "SAME")
    logits = x.reshape(-1) @ params["Dense_0"]["kernel"] + params["Dense_0"]["bias"]
    return -jax.nn.log_softmax(logits)[label]


def test_compiled_gradients_are_what_they_should_be():
    """A compiler may compute what is pooled twice, with another rounding each time, and then
    nothing equals the maximum any more. The first order is that of the network by hand, whose
    pooling asks for no equality. The second, which exact alignment takes, is as differences of the
    first have it."""
    model = networks.convnet(5, (64, 64), side=14, pool_padding="SAME", normalize=True)
    params = jax.tree.map(
        lambda leaf: leaf + 0.01 * RNG.normal(size=leaf.shape).astype(np.float32),
        jax.device_get(quickly(model.init)(jax.random.key(0))),
    )
    image = (RNG.random((14, 14)) < 0.2).astype(np.float32)

    def loss(params):
        return model.loss(params, Example(image, np.int32(3), np.int32(0)))

    def slope(params):
        return sum((leaf**2).sum() for leaf in jax.tree.leaves(jax.grad(loss)(params)))

    def size(tree):
        return np.sqrt(sum((leaf**2).sum() for leaf in jax.tree.leaves(tree)))

    def off_by(tree, wanted):
        return size(jax.tree.map(np.subtract, tree, wanted)) / size(wanted)

    compiled = jax.jit(jax.grad(loss))

    def gradient(params):
        return jax.device_get(compiled(params))

    # A few times the rounding of 1e-6. A lost gradient differs by at least a tenth.
    by_hand = quickly(jax.grad(lambda params: loss_by_hand(params, image, 3)))
    along = gradient(params)
    assert off_by(along, jax.device_get(by_hand(params))) < 1e-3
    # The slope changes by twice what the gradient does along itself: off by 1e-4 between two
    # points so near that next to no ReLU and no maximum changes sides.
    step = np.float32(1e-5)
    ahead, behind = (
        gradient(jax.tree.map(lambda leaf, d, h=h: leaf + h * d, params, along))
        for h in (step, -step)
    )
    wanted = jax.tree.map(lambda a, b: (a - b) / step, ahead, behind)
    assert off_by(jax.device_get(jax.jit(jax.grad(slope))(params)), wanted) < 1e-2


def drawings(n):
    x = RNG.integers(0, 256, (n, 784), np.uint8) * (RNG.random((n, 784)) < 0.1)
    return Example(x.astype(np.uint8), np.arange(n, dtype=np.int32) % 5, np.zeros(n, np.int32))


def test_both_formulations_learn_the_same():
    """Ten SGD steps, which multiply rounding a few times over."""
    examples = drawings(10)
    ends = []
    for as_product in (True, False):
        model = networks.convnet(5, (8, 8), as_product=as_product)

        @quickly
        def end(examples, model=model):
            params = model.init(jax.random.key(0))
            return mer_jax.sgd_pass(model.loss, params, examples, np.ones(10), 0.05)

        ends.append(end(examples))
    for a, b in zip(*map(jax.tree.leaves, ends), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-4)


def test_a_batch_one_by_one_has_the_gradient_of_the_batch(monkeypatch):
    """A mean over 7, of which one counts for nothing."""
    model = networks.convnet(5, (8, 8))
    params = quickly(model.init)(jax.random.key(0))
    params["Dense_0"] = {
        "kernel": np.float32(RNG.normal(size=(392, 5))), "bias": np.zeros(5, np.float32)
    }  # fmt: skip
    examples, shares = drawings(7), np.float32([1, 2, 0, 1, 1, 1, 1]) / 7
    ends = []
    for backend in ("cpu", "gpu"):
        monkeypatch.setattr(jax, "default_backend", lambda backend=backend: backend)
        gradient = functools.partial(gradient_of_sum, model.loss)  # anew, so that it is traced anew
        jaxpr = jax.make_jaxpr(gradient)(params, examples, shares)
        assert ("scan" in str(jaxpr)) == (backend == "cpu")
        ends.append(jax.device_get(quickly(gradient)(params, examples, shares)))
    (in_turn, losses), (at_once, wanted) = ends
    np.testing.assert_allclose(losses, wanted, rtol=1e-4)
    for a, b in zip(*map(jax.tree.leaves, (in_turn, at_once)), strict=True):
        assert np.abs(b).max() > 1e-3
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_the_papers_network():
    model = networks.convnet(1623)
    params = quickly(model.init)(jax.random.key(0))
    shapes = jax.tree.map(jnp.shape, params)
    assert shapes["Conv_0"]["kernel"] == (3, 3, 1, 64)
    assert shapes["Conv_3"]["kernel"] == (3, 3, 64, 64)
    assert shapes["Dense_0"]["kernel"] == (64, 1623)  # 28, 14, 7, 3, 1 pixels
    white = np.full((28, 28), 255, np.uint8)
    apply = quickly(model.apply)
    np.testing.assert_array_equal(apply(params, white, None), np.zeros(1623))
    params["Dense_0"]["kernel"] = np.float32(RNG.normal(size=(64, 1623)))
    logits = np.asarray(apply(params, white, None))
    assert logits.std() > 0.1
    ones = apply(params, np.ones(784, np.float32), None)
    rounding = 64 * 2**-24 * np.abs(logits).max()  # of a sum of 64, whose order a GPU chooses
    np.testing.assert_allclose(logits, ones, atol=rounding)


def test_pooling_that_keeps_odd_rows():
    model = networks.convnet(10, pool_padding="SAME")

    @quickly
    def params_and_grads(example):
        params = model.init(jax.random.key(0))
        return params, jax.grad(model.loss)(params, example)

    params, grads = jax.device_get(params_and_grads(at(drawings(2), 0)))
    assert params["Dense_0"]["kernel"].shape == (256, 10)  # 28, 14, 7, 4, 2 pixels
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(grads))


def test_normalized_filters_do_not_see_contrast():
    """Twice the ink everywhere, and a pass of SGD, give what they should."""
    model = networks.convnet(10, (8, 8, 8), normalize=True)
    plain = networks.convnet(10, (8, 8, 8))
    params, of_plain = quickly(lambda key: (model.init(key), plain.init(key)))(jax.random.key(0))
    assert params["InstanceNorm_2"]["scale"].shape == (8,)
    params["Dense_0"]["kernel"] = np.float32(RNG.normal(size=(72, 10)))
    faint = RNG.random(784).astype(np.float32)
    apply = quickly(model.apply)
    logits = np.asarray(apply(params, faint))
    assert logits.std() > 0.1
    np.testing.assert_allclose(apply(params, 2 * faint), logits, atol=1e-3)
    unlike = quickly(plain.apply)(of_plain | {"Dense_0": params["Dense_0"]}, 2 * faint)
    assert np.abs(unlike - logits).max() > 0.1
    moved, _ = quickly(lambda *args: mer_jax.sgd_pass(model.loss, *args, np.ones(3), 0.1))(
        params, drawings(3)
    )
    assert np.abs(moved["InstanceNorm_0"]["bias"]).max() > 0


def test_it_remembers_what_it_is_shown():
    examples = drawings(10)
    model = networks.convnet(5, (8, 8))
    learner = mer_jax.er(model.loss, optimizer=optax.sgd(0.1), batch_size=6, capacity=20)
    stream = jax.tree.map(lambda leaf: np.concatenate([leaf] * 20), examples)

    @quickly
    def remembered(stream):
        state = learner.init(model.init(jax.random.key(0)), at(stream, 0))
        state, _ = mer_jax.run(jax.random.key(1), learner, state, stream)
        return mer_jax.accuracy(model.apply, state.params, examples)

    assert remembered(stream) > 0.8


def test_tasks_may_own_the_first_layer_of_any_network():
    model = networks.by_task(networks.convnet(5, (8, 8)), 3, ["Conv_0"])
    params = quickly(model.init)(jax.random.key(0))
    assert params.own["Conv_0"]["kernel"].shape == (3, 3, 3, 1, 8)
    assert set(params.shared) == {"Conv_1", "Dense_0"}
    assert is_in_turn(model.loss) == (jax.default_backend() == "cpu")
    learner = mer_jax.task_input(model.loss, optimizer=optax.sgd(0.1))
    example = at(drawings(10), 1)._replace(task=np.int32(2))
    update = quickly(learner.update)
    # The first step moves the softmax layer alone, which is zero before.
    state, info = update(jax.random.key(0), jax.jit(learner.init)(params, example), example)
    np.testing.assert_allclose(info.loss, np.log(5), rtol=1e-6)
    before = state.params
    state, info = update(jax.random.key(1), state, example)
    wanted = quickly(lambda p: -jax.nn.log_softmax(model.apply(p, example.x, 2))[example.y])(before)
    np.testing.assert_allclose(info.loss, wanted, rtol=1e-5, atol=1e-6)  # logits round by 4e-7
    after, start = (np.asarray(p.own["Conv_0"]["kernel"]) for p in (state.params, params))
    moved = np.abs(after - start)
    assert (moved.sum((1, 2, 3, 4)) > 0).tolist() == [False, False, True]


def test_sizes_that_make_no_sense():
    with pytest.raises(ValueError, match="num_classes must be a whole number"):
        networks.convnet(0)
    with pytest.raises(ValueError, match=r"at least 32 for 5 modules.*, got 28; use fewer"):
        networks.convnet(10, (8,) * 5)
    with pytest.raises(ValueError, match='must be "VALID" or "SAME"'):
        networks.convnet(10, pool_padding="same")
    with pytest.raises(
        ValueError, match="for 6 modules, so that the last one normalizes several pixels, got"
    ):
        networks.convnet(10, (8,) * 6, pool_padding="SAME", normalize=True)
