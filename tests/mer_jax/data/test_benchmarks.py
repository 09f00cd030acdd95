"""Tasks as index maps: against Pillow, by their distribution, and to a file and back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

from mer_jax.data import benchmark_files, benchmarks
from mer_jax.data.benchmarks import Base, Visit, show


@pytest.fixture
def base():
    rng = np.random.default_rng(0)
    images = rng.integers(1, 256, (50, 784), np.uint8)  # no zeros: an empty pixel is the mask's
    return Base(images, rng.integers(0, 10, 50).astype(np.int32))


@pytest.mark.parametrize("side", [28, 7])
def test_rotation_equals_pillow(side):
    """Pixel for pixel at 2,000 angles, those where sine or cosine vanish included."""
    rng = np.random.default_rng(0)
    image = rng.integers(1, 256, (side, side), np.uint8)
    special = np.arange(-360, 721, 45.0)
    angles = [*special, *(special + 1e-3), *(special - 1e-3), *rng.uniform(0, 180, 1925)]
    for angle in angles:
        angle = float(np.float32(angle))
        pixels, mask = benchmarks.rotation(angle, side)
        ours = (image.reshape(-1)[pixels] * mask).reshape(side, side)
        np.testing.assert_array_equal(
            ours, Image.fromarray(image).rotate(angle), f"{angle} degrees"
        )


def test_rotations_draw_one_angle_a_slice():
    draws = [benchmarks.rotations(np.random.default_rng(seed), 50, 20, 3) for seed in range(200)]
    angles = np.stack([draw.angles for draw in draws])  # [200, 20]
    np.testing.assert_array_equal(np.floor(angles / 9), np.broadcast_to(np.arange(20), (200, 20)))
    inside = angles / 9 % 1  # uniform on [0, 1): mean 1/2, variance 1/12
    assert abs(inside.mean() - 0.5) < 5 * np.sqrt(1 / 12 / inside.size)


def test_permutations_are_permutations_and_differ():
    tasks = benchmarks.permutations(np.random.default_rng(0), 50, 6, 10)
    np.testing.assert_array_equal(np.sort(tasks.pixels, axis=1), np.tile(np.arange(784), (6, 1)))
    assert len({row.tobytes() for row in tasks.pixels}) == 6
    assert tasks.mask.all()


def test_a_task_shows_each_of_its_images_once():
    tasks = benchmarks.rotations(np.random.default_rng(0), 50, 4, 50)
    np.testing.assert_array_equal(np.sort(tasks.images, axis=1), np.tile(np.arange(50), (4, 1)))
    assert not (tasks.images == np.arange(50)).all(axis=1).any()  # in random order


def test_show_transforms_inside_the_compiled_program(base):
    tasks = benchmarks.rotations(np.random.default_rng(1), 50, 3, 7)
    example = jax.jit(show)(base, tasks, Visit(jnp.int32(2), jnp.int32(11)))
    rotated = Image.fromarray(base.images[11].reshape(28, 28)).rotate(float(tasks.angles[2]))
    np.testing.assert_array_equal(example.x, np.asarray(rotated).reshape(-1))
    assert example.x.dtype == jnp.uint8
    assert (example.y, example.task) == (base.labels[11], 2)
    # NumPy arrays of which a program knows, as in a notebook.
    again = jax.jit(lambda visit: show(base, tasks, visit))(Visit(2, 11))
    np.testing.assert_array_equal(again.x, example.x)


@pytest.mark.parametrize("name", benchmarks.BENCHMARKS)
def test_saved_and_loaded_is_the_same(tmp_path, name):
    draw, num_tasks, size = benchmarks.BENCHMARKS[name]
    draws = [draw(np.random.default_rng(seed), 60_000, num_tasks, size) for seed in range(2)]
    tasks = benchmarks.stack(draws)
    path = tmp_path / "draw.npz"
    benchmark_files.save(path, tasks)
    again = benchmark_files.load(path, 60_000)
    assert again.tests is None
    for ours, theirs in zip(tasks[:4], again[:4], strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    assert path.stat().st_size < 600_000
    assert list(tmp_path.iterdir()) == [path]  # nothing half-written stays


def test_loading_says_what_is_wrong(tmp_path):
    path = tmp_path / "draw.npz"
    tasks = benchmarks.permutations(np.random.default_rng(0), 60_000, 2, 5)

    def message(num_images=60_000):
        with pytest.raises(ValueError, match=str(path)) as caught:
            benchmark_files.load(path, num_images)
        assert "\n" not in str(caught.value)
        return str(caught.value)

    assert "No such file" in message()
    path.write_bytes(b"not a zip")
    assert "expected a saved benchmark" in message()
    benchmark_files.save(path, tasks)
    path.write_bytes(path.read_bytes()[:300])
    assert "expected a saved benchmark" in message()
    np.savez(path, pixels=tasks.pixels)
    assert "mask" in message()
    benchmark_files.save(path, tasks._replace(angles=np.zeros(3, np.float32)))
    assert "angles [3]" in message()
    benchmark_files.save(path, tasks)
    assert "use the data set that it was drawn for" in message(num_images=3)


@pytest.mark.parametrize("sizes", [(0, 5), (2, 0), (2.5, 5), (2, 51), (-1, 5)])
def test_sizes_that_make_no_sense(sizes):
    with pytest.raises(ValueError, match=r"num_tasks|examples_per_task"):
        benchmarks.rotations(np.random.default_rng(0), 50, *sizes)


ALPHABET = np.repeat([0, 1, 2], [40, 20, 60])  # 2, 1 and 3 characters of 20 drawings
DRAWER = np.tile(np.arange(20), 6)


def test_each_alphabet_is_a_task_and_drawers_are_split():
    draws = [benchmarks.alphabets(np.random.default_rng(s), ALPHABET, DRAWER, 3) for s in range(30)]
    assert len({tuple(ALPHABET[tasks.images[:, 0]]) for tasks in draws}) > 3  # orders differ
    assert len({tuple(np.unique(DRAWER[tasks.tests[0, :5]])) for tasks in draws}) > 25
    for tasks in draws:
        assert tasks.images.shape == (3, 45)
        assert tasks.tests.shape == (3, 15)
        shown = [row[row >= 0] for row in tasks.images]
        tested = [row[row >= 0] for row in tasks.tests]
        makers = [set(DRAWER[rows]) for rows in (np.concatenate(shown), np.concatenate(tested))]
        assert (len(makers[0]), len(makers[1]), len(makers[0] & makers[1])) == (15, 5, 0)
        for images, tests in zip(shown, tested, strict=True):
            (task,) = set(ALPHABET[images]) | set(ALPHABET[tests])
            both = np.sort(np.concatenate([images, tests]))
            np.testing.assert_array_equal(both, np.flatnonzero(task == ALPHABET))
            assert (np.diff(images) < 0).any()  # in random order
    with pytest.raises(ValueError, match="num_tasks must be at most 3, the number of alphabets"):
        benchmarks.alphabets(np.random.default_rng(0), ALPHABET, DRAWER, 4)


def test_tasks_of_different_lengths_go_to_a_file_and_back(tmp_path):
    tasks = benchmarks.alphabets(np.random.default_rng(0), ALPHABET, DRAWER, 2)
    benchmark_files.save(tmp_path / "draw.npz", tasks)
    for ours, theirs in zip(tasks, benchmark_files.load(tmp_path / "draw.npz", 120), strict=True):
        np.testing.assert_array_equal(ours, theirs)


LABELS = np.repeat(np.arange(5), [12, 10, 11, 14, 13])
TEST_LABELS = np.repeat(np.arange(5), [4, 2, 3, 5, 6])


def test_each_task_has_two_classes_of_its_own():
    draws = [
        benchmarks.split(np.random.default_rng(seed), LABELS, TEST_LABELS, 2, 21)
        for seed in range(30)
    ]
    pairs = [[set(LABELS[row]) for row in tasks.images] for tasks in draws]
    assert {frozenset(first | second) for first, second in pairs} == {
        frozenset(range(5)) - {out} for out in range(5)
    }  # each class is left out by some
    for tasks, classes in zip(draws, pairs, strict=True):
        assert (tasks.images.dtype, tasks.images.shape, tasks.tests.shape) == (
            "int32",
            (2, 21),
            (2, 11),
        )
        assert [len(pair) for pair in classes] == [2, 2]
        assert not classes[0] & classes[1]
        for images, tests, pair in zip(tasks.images, tasks.tests, classes, strict=True):
            assert len(set(images)) == 21
            assert (np.diff(LABELS[images]) != 0).sum() > 1  # the two are mixed
            own = np.flatnonzero(np.isin(TEST_LABELS, list(pair)))
            np.testing.assert_array_equal(
                tests, np.pad(own, (0, 11 - len(own)), constant_values=-1)
            )
    assert len({tasks.images.tobytes() for tasks in draws}) == 30


def test_a_task_draws_its_images_uniformly():
    """11 of 44 images: each is in a quarter of the draws."""
    labels = np.arange(44) % 2
    draws = [
        benchmarks.split(np.random.default_rng(seed), labels, labels, 1, 11).images
        for seed in range(400)
    ]
    held = np.bincount(np.ravel(draws), minlength=44) / 400
    np.testing.assert_allclose(held, 0.25, atol=5 * np.sqrt(0.25 * 0.75 / 400))


def test_pairs_of_classes_are_shown_as_they_are_and_saved(base, tmp_path):
    tasks = benchmarks.split(np.random.default_rng(0), base.labels, base.labels, 5, 2)
    example = show(base, tasks, Visit(1, tasks.images[1, 0]))
    np.testing.assert_array_equal(example.x, base.images[tasks.images[1, 0]])
    benchmark_files.save(tmp_path / "draw.npz", tasks)
    for ours, theirs in zip(tasks, benchmark_files.load(tmp_path / "draw.npz", 50), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize(
    ("num_tasks", "size", "tests", "message"),
    [
        (3, 5, TEST_LABELS, "num_tasks must be at most 2, as a task takes two of 5 classes, got 3"),
        (2, 22, TEST_LABELS, "examples_per_task must be at most 21, .* two rarest classes, got 22"),
        (2, 0, TEST_LABELS, "examples_per_task must be a whole number of at least 1"),
        (2, 5, np.arange(3), r"every class needs a test image, got none of \[3, 4\]"),
    ],
)
def test_classes_that_cannot_be_split(num_tasks, size, tests, message):
    with pytest.raises(ValueError, match=message):
        benchmarks.split(np.random.default_rng(0), LABELS, tests, num_tasks, size)
