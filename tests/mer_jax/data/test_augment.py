"""Random affine maps of images."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from mer_jax import Example
from mer_jax.data import augment as library
from mer_jax.data.augment import random_affine, random_shift_rotation_scale
from tests.mer_jax.compiling import quickly

pytestmark = pytest.mark.usefixtures("quick_keys")

affine = quickly(library.affine, same_fusions=True)

# Another program may round products and sums differently, which moves a position of up to 28 pixels
# and so changes a pixel of an image in [0, 1). It may also turn the rounding of a pixel in uint8.
ROUNDING = 8 * 28 * np.finfo(np.float32).eps
NO_SHIFT, IDENTITY = np.zeros(2, np.float32), np.eye(2, dtype=np.float32)
MAKERS = [
    lambda size: random_affine(shift=2 * size, matrix=0.2 * size),
    lambda size: random_shift_rotation_scale(shift=2 * size, degrees=20 * size, scale=0.2 * size),
]
both_makers = pytest.mark.parametrize("maker", MAKERS, ids=["affine", "shift_rotation_scale"])


class Weighted(NamedTuple):
    weight: jax.Array
    x: jax.Array


def image_of(dtype, *shape, seed=0):
    drawn = np.random.default_rng(seed).random(shape)
    return drawn.astype(dtype) if np.issubdtype(dtype, np.floating) else (drawn * 256).astype(dtype)


def example_of(x):
    return Example(x, np.int32(3), np.int32(1))


@pytest.mark.parametrize("shape", [(28, 28), (5, 8), (6, 7, 3), (49,), (1, 1)])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float16, jnp.bfloat16, np.int32])
def test_the_identity_gives_the_same_bits(shape, dtype):
    image = jnp.asarray(image_of(np.float32, *shape) * 250, dtype)
    result = affine(image, IDENTITY, NO_SHIFT)
    assert result.dtype == image.dtype
    np.testing.assert_array_equal(result, image)


@both_makers
def test_sizes_of_zero_give_the_same_bits(maker):
    example = example_of(image_of(np.float32, 28, 28))
    result = quickly(maker(0.0), same_fusions=True)(jax.random.key(0), example)
    jax.tree.map(np.testing.assert_array_equal, result, example)


@pytest.mark.parametrize("shift", [(1, 0), (0, -2), (3, 2), (-5, 4), (30, 0)])
def test_a_shift_by_whole_pixels_is_a_roll_with_zeros(shift):
    image = image_of(np.uint8, 9, 12)
    padded = np.pad(image, 50)
    expected = np.roll(padded, shift, (0, 1))[50:-50, 50:-50]
    np.testing.assert_array_equal(affine(image, IDENTITY, np.float32(shift)), expected)


def test_half_a_pixel_by_hand():
    """Between 0 outside and 8, then between 8 and 4, then 4 and 2: half of each sum."""
    result = affine(np.float32([[8, 4, 2]]), IDENTITY, np.float32([0, 0.5]))
    np.testing.assert_array_equal(result, [[4, 6, 3]])
    # 4.5 and 1.5 to the nearest even number.
    rounded = affine(np.uint8([[9, 0, 3]]), IDENTITY, np.float32([0, 0.5]))
    np.testing.assert_array_equal(rounded, [[4, 4, 2]])


@pytest.mark.parametrize("side", [6, 7])
def test_a_quarter_turn_is_rot90_and_half_the_matrix_doubles_lengths(side):
    image = image_of(np.float32, side, side)
    turned = affine(image, np.float32([[0, 1], [-1, 0]]), NO_SHIFT)
    np.testing.assert_array_equal(turned, np.rot90(image))
    small = np.zeros((9, 9), np.float32)
    small[4, 6] = 1
    doubled = np.asarray(affine(small, IDENTITY / 2, NO_SHIFT))
    assert doubled[4, 8] == doubled.max() == 1


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("shape", [(28, 28), (11, 17)])
def test_it_is_scipys_affine_transform(shape, seed):
    ndimage = pytest.importorskip("scipy.ndimage", reason="scipy is what is compared with")
    rng = np.random.default_rng(seed)
    image = image_of(np.float32, *shape, seed=seed)
    matrix, shift = np.eye(2) + rng.uniform(-0.4, 0.4, (2, 2)), rng.uniform(-4, 4, 2)
    centre = (np.array(shape) - 1) / 2
    offset = centre - matrix @ (centre + shift)
    result = affine(image, np.float32(matrix), np.float32(shift))

    def of_scipy(values, mode):
        return ndimage.affine_transform(values, matrix, offset, order=1, mode=mode)

    np.testing.assert_allclose(
        result, of_scipy(image.astype(np.float64), "grid-constant"), rtol=0, atol=ROUNDING
    )
    # Its "constant" does not interpolate between the edge and the zeros beyond.
    positions = np.indices(shape).reshape(2, -1).T @ matrix.T + offset
    inside = ((positions > 0.01) & (positions < np.array(shape) - 1.01)).all(1).reshape(shape)
    assert inside.mean() > 0.3
    expected = of_scipy(image.astype(np.float64), "constant")
    np.testing.assert_allclose(np.asarray(result)[inside], expected[inside], rtol=0, atol=ROUNDING)


def test_a_flat_image_and_each_channel_are_as_a_square_one():
    image = image_of(np.float32, 12, 12, 3)
    matrix, shift = np.float32([[1.1, 0.2], [-0.1, 0.9]]), np.float32([1.5, -0.5])
    together = affine(image, matrix, shift)
    for channel in range(3):
        alone = affine(image[..., channel], matrix, shift)
        flat = affine(image[..., channel].reshape(-1), matrix, shift)
        for other in (together[..., channel], flat.reshape(12, 12)):
            np.testing.assert_allclose(other, alone, rtol=0, atol=ROUNDING)


def with_hats(image, matrix, shift):
    """The same as a sum over all pixels, each of which counts by its distance to the position."""
    side = image.shape[0]
    offsets = jnp.stack(jnp.meshgrid(*2 * [jnp.arange(side) - (side - 1) / 2], indexing="ij"), -1)
    positions = (offsets - shift) @ matrix.T + (side - 1) / 2
    hats = jnp.maximum(0, 1 - jnp.abs(positions[..., None] - jnp.arange(side)))  # [H, W, 2, side]
    return jnp.einsum("ijr,ijc,rc->ij", hats[..., 0, :], hats[..., 1, :], image)


def test_positions_next_to_a_pixel():
    """Tenths of pixels come to lie next to whole ones, and which side depends on the program."""
    rng = np.random.default_rng(0)
    image, weights = image_of(np.float32, 12, 12), rng.normal(size=(12, 12)).astype(np.float32)
    matrices = (np.eye(2) + rng.integers(-5, 6, (500, 2, 2)) / 10).astype(np.float32)
    shifts = (rng.integers(-20, 21, (500, 2)) / 10).astype(np.float32)

    def value_and_pull(transform):
        def both(matrix, shift):
            value, pull = jax.vjp(lambda image: transform(image, matrix, shift), image)
            return value, pull(jnp.asarray(weights))[0]

        return both

    expected = quickly(jax.vmap(value_and_pull(with_hats)))(matrices, shifts)
    for flat in (False, True):

        def ours(image, matrix, shift, flat=flat):
            image = image.reshape(-1) if flat else image
            return library.affine(image, matrix, shift).reshape(12, 12)

        together = jax.jit(jax.vmap(value_and_pull(ours)))(matrices, shifts)
        one = jax.jit(value_and_pull(ours))
        in_turn = jax.jit(lambda *of_all: jax.lax.map(lambda at: one(*at), of_all))(  # noqa: B023
            matrices, shifts
        )
        for result in (together, in_turn):
            np.testing.assert_allclose(result[0], expected[0], rtol=0, atol=ROUNDING)
            # A pixel's gradient is a sum over the pixels of the result.
            most = 12 * 12 * np.abs(weights).max()
            np.testing.assert_allclose(result[1], expected[1], rtol=0, atol=most * ROUNDING)


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, jnp.bfloat16])
def test_few_bits_are_computed_with_in_float32(dtype):
    """Positions in 16ths of a pixel, so that each product and sum is exact in float32."""
    image = jnp.asarray(image_of(np.float32, 28, 28) * 250, dtype)
    matrix, shift = np.float32([[1.125, 0.25], [-0.125, 0.875]]), np.float32([1.5, -0.5])
    exact = affine(image.astype(jnp.float32), matrix, shift)
    rounded = jnp.round(exact) if dtype == np.uint8 else exact
    result = affine(image, matrix, shift)
    assert result.dtype == dtype
    np.testing.assert_array_equal(result, rounded.astype(dtype))


@both_makers
def test_only_the_image_changes_and_keys_decide(maker):
    example = Weighted(np.float32(2), image_of(np.uint8, 28, 28))
    augment = quickly(maker(1.0))
    first, again, other = (augment(jax.random.key(seed), example) for seed in (0, 0, 1))
    assert isinstance(first, Weighted)
    assert first.weight == 2
    assert first.x.dtype == jnp.uint8
    np.testing.assert_array_equal(first.x, again.x)
    for a, b in ((first, example), (first, other)):
        assert np.mean(np.asarray(a.x) != np.asarray(b.x)) > 0.5


@both_makers
def test_a_vmap_is_as_one_by_one(maker):
    augment, keys = quickly(maker(1.0)), jax.random.split(jax.random.key(0), 5)
    batch = Example(image_of(np.float32, 5, 784), np.full(5, 3, np.int32), np.ones(5, np.int32))
    together = jax.device_get(quickly(jax.vmap(maker(1.0)))(keys, batch))
    for i in range(5):
        alone = augment(keys[i], jax.tree.map(lambda leaf, i=i: leaf[i], batch))
        np.testing.assert_allclose(together.x[i], alone.x, rtol=0, atol=ROUNDING)


def ramps(augment, count=2000, side=17):
    """Where `augment` takes the centre and its neighbours from: `[count, 3, 2]` offsets.

    Two channels hold each pixel's row and column, which interpolation reproduces.
    """
    offsets = np.moveaxis(np.indices((side, side)) - side // 2, 0, -1).astype(np.float32)
    c = side // 2

    def of(key):
        image = augment(key, example_of(offsets)).x
        return jnp.stack([image[c, c], image[c + 1, c], image[c, c + 1]])

    return np.asarray(quickly(jax.vmap(of))(jax.random.split(jax.random.key(0), count)), np.float64)


def uniform_within(values, largest):
    """All within the limits, with a uniform variable's mean and variance (5 standard errors)."""
    n = values.size
    assert np.abs(values).max() <= largest + 1e-4
    assert np.abs(values).max() > 0.99 * largest
    assert abs(values.mean()) < 5 * largest / np.sqrt(3 * n)
    assert abs(values.var() - largest**2 / 3) < 5 * largest**2 * np.sqrt(4 / 45 / n)


def test_the_draws_of_a_random_affine_map():
    taken = ramps(random_affine(shift=2.0, matrix=0.2))
    matrix = np.moveaxis(taken[:, 1:] - taken[:, :1], 1, 2)  # its columns: the steps to neighbours
    changes = matrix - np.eye(2)
    shift = -np.linalg.solve(matrix, taken[:, 0, :, None])[..., 0]
    for entry in changes.reshape(-1, 4).T:
        uniform_within(entry, 0.2)
    for pixels in shift.T:
        uniform_within(pixels, 2.0)
    entries = np.concatenate([changes.reshape(-1, 4), shift], axis=1)
    correlations = np.corrcoef(entries.T) - np.eye(6)
    assert np.abs(correlations).max() < 5 / np.sqrt(len(entries))


def test_the_draws_of_shift_rotation_and_scale():
    taken = ramps(random_shift_rotation_scale(shift=2.0, degrees=30.0, scale=0.25))
    matrix = np.moveaxis(taken[:, 1:] - taken[:, :1], 1, 2)
    forward = np.linalg.inv(matrix)  # takes the image to the result
    factor = np.sqrt(np.linalg.det(forward))
    np.testing.assert_allclose(
        forward @ forward.transpose(0, 2, 1), factor[:, None, None] ** 2 * np.eye(2), atol=1e-4
    )
    # Rows go down, so a turn to the left takes the offset (0, 1), to the right, to (-sin, cos).
    uniform_within(np.rad2deg(np.arctan2(-forward[:, 0, 1], forward[:, 1, 1])), 30.0)
    uniform_within(np.log(factor), np.log(1.25))
    for pixels in -(forward @ taken[:, 0, :, None])[..., 0].T:
        uniform_within(pixels, 2.0)


def test_a_drawing_well_inside_keeps_its_mass():
    """Sums of what lies on a fine grid: bilinear interpolation loses little where it is smooth."""
    rows, columns = np.indices((28, 28)) - 13.5
    blob = np.exp(-(rows**2 + (columns / 2) ** 2) / 8).astype(np.float32)
    augment = quickly(random_shift_rotation_scale(shift=2.0, degrees=180.0))
    for seed in range(20):
        turned = augment(jax.random.key(seed), example_of(blob)).x
        assert abs(turned.sum() / blob.sum() - 1) < 0.01
    factor = np.float32(0.8)
    larger = affine(blob, IDENTITY * factor, NO_SHIFT)
    assert abs(larger.sum() / blob.sum() * factor**2 - 1) < 0.01


def test_sizes_may_be_traced():
    example, key = example_of(image_of(np.float32, 28, 28)), jax.random.key(0)
    sizes = np.float32([0, 0.5, 1])
    for maker in MAKERS:
        swept = quickly(jax.vmap(lambda size, maker=maker: maker(size)(key, example).x))(sizes)
        swept = np.asarray(swept)
        np.testing.assert_array_equal(swept[0], example.x)
        for size, image in zip(sizes, swept, strict=True):
            expected = quickly(maker(float(size)))(key, example).x
            np.testing.assert_allclose(image, expected, rtol=0, atol=ROUNDING)


def test_gradients_are_finite_differences():
    image = image_of(np.float64, 8, 8)
    rng = np.random.default_rng(1)
    # No position is at a pixel, where there is no derivative.
    matrix, shift = np.eye(2) + rng.uniform(-0.2, 0.2, (2, 2)), rng.uniform(-2, 2, 2)
    weights = rng.normal(size=(8, 8))
    with jax.enable_x64(True):

        def total(arguments):
            return jnp.sum(weights * library.affine(*arguments))

        arguments = tuple(map(jnp.asarray, (image, matrix, shift)))
        gradients, total = quickly(jax.grad(total))(arguments), quickly(total)
        for i, gradient in enumerate(gradients):
            direction = np.random.default_rng(i).normal(size=gradient.shape)
            step = 1e-6

            def moved(by, i=i, direction=direction):
                changed = list(arguments)
                changed[i] = changed[i] + by * direction
                return total(tuple(changed))

            slope = (moved(step) - moved(-step)) / (2 * step)
            np.testing.assert_allclose(np.sum(gradient * direction), slope, rtol=1e-6)


@both_makers
def test_strict_modes_and_x64_draw_the_same_map(maker):
    key, example = jax.random.key(0), example_of(image_of(np.uint8, 28, 28))
    expected = quickly(maker(1.0))(key, example)
    with (
        jax.numpy_dtype_promotion("strict"),
        jax.numpy_rank_promotion("raise"),
        jax.debug_nans(True),
        jax.checking_leaks(),
    ):
        for size in (1.0, np.float64(1), jnp.float32(1)):
            strict = quickly(maker(size))(key, example)
            np.testing.assert_allclose(np.int32(strict.x), np.int32(expected.x), atol=1)
    with jax.enable_x64(True):
        wide = quickly(maker(1.0))(key, example)
    assert wide.x.dtype == jnp.uint8
    np.testing.assert_allclose(np.int32(wide.x), np.int32(expected.x), atol=1)


def on_devices():
    """Sharded seeds are as on one device. This needs four, see `test_on_devices`."""
    augment, none = random_affine(shift=2.0, matrix=0.2), jnp.int32(0)
    each = jax.vmap(jax.vmap(lambda key, x: augment(key, Example(x, none, none)).x))
    keys = jax.random.split(jax.random.key(0), (4, 3))
    images = jax.random.uniform(jax.random.key(1), (4, 3, 784))
    expected = quickly(each)(keys, images)
    over = PartitionSpec("seeds")
    explicit = jax.make_mesh((4,), ("seeds",), axis_types=(AxisType.Explicit,))
    placed = jax.device_put((keys, images), NamedSharding(explicit, over))
    with jax.set_mesh(explicit):
        spread = quickly(each)(*placed)
    assert len(spread.sharding.device_set) == 4
    mesh = jax.make_mesh((4,), ("seeds",), axis_types=(AxisType.Auto,))
    mapped = quickly(jax.shard_map(each, mesh=mesh, in_specs=over, out_specs=over))
    for result in (spread, mapped(keys, images)):
        np.testing.assert_allclose(result, expected, rtol=0, atol=8 * 28 * 2**-23)


@pytest.mark.parametrize("shape", [(), (8,), (0,), (0, 4), (2, 3, 4, 5)])
def test_no_image(shape):
    with pytest.raises(ValueError, match=r"\[H, W\], \[H, W, C\] or a flat square .*got shape"):
        jax.eval_shape(library.affine, np.zeros(shape, np.float32), IDENTITY, NO_SHIFT)


@pytest.mark.parametrize("dtype", [jnp.complex64, "key"])
def test_no_numbers_of_an_image(dtype):
    image = jax.random.split(jax.random.key(0), 4) if dtype == "key" else jnp.zeros(4, dtype)
    with pytest.raises(ValueError, match="must hold real numbers"):
        affine(image, IDENTITY, NO_SHIFT)


@pytest.mark.parametrize(("matrix", "shift"), [((2, 3), (2,)), ((2, 2), (3,)), ((5, 2, 2), (5, 2))])
def test_no_matrix_or_shift(matrix, shift):
    with pytest.raises(ValueError, match=r"expected a matrix \[2, 2\] and a shift \[2\], got"):
        affine(jnp.zeros((4, 4)), jnp.zeros(matrix), jnp.zeros(shift))


@pytest.mark.parametrize("value", [-1, float("nan"), float("inf"), "2", [1.0, 2.0], None])
@pytest.mark.parametrize(
    ("maker", "names"),
    [
        (random_affine, ("shift", "matrix")),
        (random_shift_rotation_scale, ("shift", "degrees", "scale")),
    ],
)
def test_sizes_that_cannot_be(maker, names, value):
    for name in names:
        with pytest.raises(ValueError, match=f"^{name} must be"):
            maker(**{name: value})


@pytest.mark.parametrize("example", [{"x": np.zeros((4, 4))}, (np.zeros((4, 4)), 0)])
def test_an_example_without_the_field(example):
    with pytest.raises(ValueError, match=r"NamedTuple with a field `x`.*got (dict|tuple)"):
        random_affine(shift=1.0)(jax.random.key(0), example)
