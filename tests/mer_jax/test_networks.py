"""The paper's network."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from mer_jax import networks
from mer_jax.types import Example
from tests.mer_jax.golden import at
from tests.mer_jax.problems import blobs


def test_xavier_uniform_weights_and_zero_biases():
    params = networks.mlp((784, 100, 100, 10)).init(jax.random.key(0))
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
        "layers_0": {"kernel": jnp.float32([[1, -1], [2, 0]]), "bias": jnp.float32([0, 1])},
        "layers_1": {"kernel": jnp.float32([[10], [1]]), "bias": jnp.float32([0.5])},
    }
    # x = (3, -1): hidden (1, -2), after ReLU (1, 0), out 10.5.
    assert model.apply(params, jnp.float32([3, -1]), 0) == 10.5


def test_bytes_are_scaled_to_1_and_images_flattened():
    model = networks.mlp((4, 3))
    params = model.init(jax.random.key(0))
    image = np.array([[0, 51], [255, 102]], np.uint8)
    np.testing.assert_allclose(
        model.apply(params, image, 0),
        model.apply(params, np.float32([0, 0.2, 1, 0.4]), 0),
        rtol=1e-6,
    )


def test_loss_is_the_cross_entropy_and_shows_its_first_layer():
    model = networks.mlp((6, 5, 3))
    params, example = model.init(jax.random.key(1)), at(blobs(0, 4), 2)
    logits = model.apply(params, example.x, example.task)
    expected = -jax.nn.log_softmax(logits)[example.y]
    np.testing.assert_allclose(model.loss(params, example), expected, rtol=1e-6)
    kernel, bias, rest = model.loss.split(params)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, model.loss.merge(kernel, bias, rest), params))
    preactivation = model.loss.inputs(example) @ kernel + bias
    np.testing.assert_allclose(model.loss.tail(rest, preactivation, example), expected, rtol=1e-6)


@pytest.mark.parametrize("label", [-1, 3, 100])
def test_a_label_outside_the_classes_gives_no_number(label):
    model = networks.mlp((6, 3))
    example = Example(jnp.ones(6), jnp.int32(label), jnp.int32(0))
    assert np.isnan(model.loss(model.init(jax.random.key(0)), example))


@pytest.mark.parametrize("sizes", [(), (5,), (5, 0), (5, 2.5)])
def test_sizes_that_make_no_sense(sizes):
    with pytest.raises(ValueError, match="sizes"):
        networks.mlp(sizes)
