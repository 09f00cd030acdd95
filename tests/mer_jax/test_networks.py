"""The paper's network."""

import jax
import numpy as np
import pytest

from mer_jax import networks
from mer_jax.types import Example
from tests.mer_jax.compiling import quickly
from tests.mer_jax.golden import at
from tests.mer_jax.problems import blobs


def test_xavier_uniform_weights_and_zero_biases():
    init = quickly(networks.mlp((784, 100, 100, 10)).init)
    params = jax.device_get(init(jax.random.key(0)))
    for name, (fan_in, fan_out) in {
        "layers_0": (784, 100),
        "layers_1": (100, 100),
        "layers_2": (100, 10),
    }.items():
        kernel, bias = np.asarray(params[name]["kernel"]), params[name]["bias"]
        assert kernel.shape == (fan_in, fan_out)
        limit = np.sqrt(6 / (fan_in + fan_out))
        assert 0.99 * limit < np.abs(kernel).max() <= limit
        # A uniform variable on [-a, a] has variance a^2 / 3, whose estimate varies by 4 a^4 / 45 n.
        assert abs(kernel.var() - limit**2 / 3) < 5 * limit**2 * np.sqrt(4 / 45 / kernel.size)
        assert not bias.any()


def test_apply_by_hand():
    model = networks.mlp((2, 2, 1))
    params = {
        "layers_0": {"kernel": np.float32([[1, -1], [2, 0]]), "bias": np.float32([0, 1])},
        "layers_1": {"kernel": np.float32([[10], [1]]), "bias": np.float32([0.5])},
    }
    # x = (3, -1): hidden (1, -2), after ReLU (1, 0), out 10.5.
    assert quickly(model.apply)(params, np.float32([3, -1]), 0) == 10.5


def test_bytes_are_scaled_to_1_and_images_flattened():
    model = networks.mlp((4, 3))
    params, apply = quickly(model.init)(jax.random.key(0)), quickly(model.apply)
    image = np.array([[0, 51], [255, 102]], np.uint8)
    np.testing.assert_allclose(
        apply(params, image, 0),
        apply(params, np.float32([0, 0.2, 1, 0.4]), 0),
        rtol=1e-6,
    )


def test_loss_is_the_cross_entropy_and_shows_its_first_layer():
    model = networks.mlp((6, 5, 3))
    example = at(blobs(0, 4), 2)

    @quickly
    def in_all_ways(params):
        logits = model.apply(params, example.x, example.task)
        kernel, bias, rest = model.loss.split(params)
        preactivation = model.loss.inputs(example) @ kernel + bias
        tail = model.loss.tail(rest, preactivation, example)
        losses = -jax.nn.log_softmax(logits)[example.y], model.loss(params, example), tail
        return losses, model.loss.merge(kernel, bias, rest)

    params = quickly(model.init)(jax.random.key(1))
    (expected, whole, tail), merged = in_all_ways(params)
    np.testing.assert_allclose(whole, expected, rtol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, merged, params)
    np.testing.assert_allclose(tail, expected, rtol=1e-6)


@pytest.mark.parametrize("label", [-1, 3, 100])
def test_a_label_outside_the_classes_gives_no_number(label):
    model = networks.mlp((6, 3))

    @quickly
    def loss(label):
        example = Example(np.ones(6, np.float32), label, np.int32(0))
        return model.loss(model.init(jax.random.key(0)), example)

    assert np.isnan(loss(np.int32(label)))


@pytest.mark.parametrize("sizes", [(), (5,), (5, 0), (5, 2.5)])
def test_sizes_that_make_no_sense(sizes):
    with pytest.raises(ValueError, match="sizes"):
        networks.mlp(sizes)
