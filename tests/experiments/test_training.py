"""Many runs side by side: on one device or several, and evaluated while learning goes on."""

import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mer_jax
from experiments import training
from mer_jax.data import benchmarks, datasets
from mer_jax.data.benchmarks import Base

ROOT = Path(__file__).parents[2]
NUM_RUNS, NUM_TASKS = 3, 2


def steps():
    """Three seeds of MER on two small tasks of the digits."""
    data = datasets.load("digits")
    train = Base(data.train_images.reshape(len(data.train_images), -1), data.train_labels)
    test = Base(data.test_images.reshape(len(data.test_images), -1), data.test_labels)
    rngs = [np.random.default_rng(seed) for seed in range(NUM_RUNS)]
    tasks = [benchmarks.rotations(rng, len(train.labels), NUM_TASKS, 40) for rng in rngs]
    rates = {name: np.full(NUM_RUNS, rate, np.float32) for name, rate in
             (("alpha", 0.1), ("beta", 0.1), ("gamma", 1))}  # fmt: skip
    draws = training.Draw(np.arange(NUM_RUNS, dtype=np.uint32), rates, benchmarks.stack(tasks))

    def make_learner(loss, **rates):
        return mer_jax.mer(loss, num_batches=2, batch_size=6, capacity=30, **rates)

    model = mer_jax.networks.mlp((784, 100, 100, 10))
    return training.learn(model, make_learner, draws, train, test)


def on_devices(count, path):
    """What `steps` ends with in a process that has so many devices, `[3, 3, 2]`."""
    program = (
        f"import jax; jax.config.update('jax_num_cpu_devices', {count})\n"
        f"import numpy, tests.experiments.test_training as here; *_, last = here.steps()\n"
        f"assert len(jax.devices()) == {count}\n"
        f"numpy.save({str(path)!r}, numpy.stack(last.accuracies, axis=1))"
    )
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=300)
    return np.load(path)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="it is the CPU that is split here")
def test_two_devices_give_what_one_gives(tmp_path):
    """Three runs on two devices, so that one is padding; rounding may flip an answer or two."""
    one, two = on_devices(1, tmp_path / "one.npy"), on_devices(2, tmp_path / "two.npy")
    assert one.shape == (NUM_RUNS, NUM_TASKS + 1, NUM_TASKS)
    np.testing.assert_allclose(one, two, atol=3 / 297)
    assert np.abs(one[0] - one[1]).max() > 3 / 297  # runs do differ


def test_every_evaluation_is_of_its_own_moment():
    """Rows come in order, one for each task and the start, whenever their evaluation is done."""
    known, examples = [], []
    for step in steps():
        known.append(len(step.accuracies))
        examples.append(step.examples)
    assert (examples[0], examples[-1]) == (0, 2 * 40)
    assert known == sorted(known)
    assert known[-1] == NUM_TASKS + 1
    start, first, second = step.accuracies
    assert start.mean() < 0.3  # untrained
    assert first[:, 0].mean() > start[:, 0].mean() + 0.2
    assert second[:, 1].mean() > start[:, 1].mean() + 0.2


@pytest.mark.parametrize("lengths", [(20, 40), (20, 20)], ids=["different", "both short"])
def test_nothing_is_learned_of_what_is_missing(lengths):
    """As long a stream, one learner step for each image that is there; -1 is no image."""
    place, first = np.arange(40), np.int32([[0], [lengths[0]]])
    present = place < np.int32(lengths)[:, None]
    images = np.where(present, first + place, -1).astype(np.int32)[None]
    tests = np.int32([[[60, 61, -1], [62, -1, -1]]])
    rng = np.random.default_rng(0)
    base = Base(rng.integers(0, 256, (63, 784), np.uint8), rng.integers(0, 5, 63).astype(np.int32))
    tasks = benchmarks.Tasks(
        np.broadcast_to(np.arange(784, dtype=np.int32), (1, 2, 784)),
        np.ones((1, 2, 784), np.uint8),
        np.zeros((1, 2), np.float32),
        images,
        tests,
    )
    draws = training.Draw(np.uint32([3]), {"learning_rate": np.float32([0.1])}, tasks)
    model = mer_jax.networks.convnet(5, (4, 4))

    def make_learner(loss, learning_rate):
        return mer_jax.online(loss, optimizer=optax.sgd(learning_rate))

    learned = training.learn(model, make_learner, draws, base, base, watched=True)
    *_, last = learned
    losses = np.concatenate([part.loss for part in last.infos], axis=1)
    assert losses.shape == (1, 80)
    assert np.isnan(losses[0, ~present.ravel()]).all()
    # The same by hand: the images that are there, in their order.
    network_key, _ = jax.random.split(jax.random.key(np.uint32(3)))
    count = sum(lengths)
    stream = mer_jax.Example(
        base.images[:count], base.labels[:count], np.repeat(np.int32([0, 1]), lengths)
    )
    learner = make_learner(model.loss, 0.1)
    state = learner.init(model.init(network_key), jax.tree.map(lambda leaf: leaf[0], stream))
    state, infos = mer_jax.run(jax.random.key(0), learner, state, stream)
    np.testing.assert_allclose(losses[0, present.ravel()], infos.loss, rtol=1e-3, atol=1e-4)
    right = [
        jnp.argmax(model.apply(state.params, base.images[row])) == base.labels[row]
        for row in (60, 61, 62)
    ]
    np.testing.assert_allclose(last.accuracies[-1], [[np.mean(right[:2]), right[2]]])
