"""Many runs side by side: on one device or several, and evaluated while learning goes on."""

import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import mer_jax
from experiments import training
from mer_jax.data import benchmarks, datasets
from mer_jax.data.benchmarks import Base

ROOT = Path(__file__).parent.parent
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
        f"import numpy, tests.test_training as here; *_, last = here.steps()\n"
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
