"""The supervised problem: ragged tasks, evaluations and transfer, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mer_jax
from experiments.running import loop
from experiments.running.checkpoints import Checkpoints
from experiments.running.problem import Own
from experiments.supervised import metrics, transfer
from experiments.supervised.problem import accuracies, problem, schedule
from mer_jax.alignment import WatchedInfo
from mer_jax.data import benchmarks
from mer_jax.data.benchmarks import Base, Visit

pytestmark = pytest.mark.usefixtures("quick_keys")

MODEL = mer_jax.networks.mlp((784, 8, 5))


def tasks_of(lengths):
    """Two tasks of up to 40 images each, and their own test images."""
    place, first = np.arange(40), np.int32([[0], [lengths[0]]])
    present = place < np.int32(lengths)[:, None]
    images = np.where(present, first + place, -1).astype(np.int32)[None]
    tests = np.int32([[[60, 61, -1], [62, -1, -1]]])
    return benchmarks.Tasks(
        np.broadcast_to(np.arange(784, dtype=np.int32), (1, 2, 784)),
        np.ones((1, 2, 784), np.uint8),
        np.zeros((1, 2), np.float32),
        images,
        tests,
    )


@pytest.mark.parametrize("lengths", [(20, 40), (20, 20)], ids=["different", "both short"])
def test_nothing_is_learned_of_what_is_missing(lengths, tmp_path):
    """As long a stream, one learner step for each image that is there. -1 is no image."""
    rng = np.random.default_rng(0)
    base = Base(rng.integers(0, 256, (63, 784), np.uint8), rng.integers(0, 5, 63).astype(np.int32))
    tasks = tasks_of(lengths)
    present = tasks.images >= 0
    # By hand: the images that are there, in their order.
    network_key, _ = jax.random.split(jax.random.key(np.uint32(3)))
    count = sum(lengths)
    stream = mer_jax.Example(
        base.images[:count], base.labels[:count], np.repeat(np.int32([0, 1]), lengths)
    )
    learner = mer_jax.online(MODEL.loss, optimizer=optax.sgd(0.1))
    state = learner.init(MODEL.init(network_key), jax.tree.map(lambda leaf: leaf[0], stream))
    state, by_hand = mer_jax.run(jax.random.key(0), learner, state, stream)
    answers = [
        int(jnp.argmax(MODEL.apply(state.params, base.images[row]))) for row in range(60, 63)
    ]
    # One of the first task's two tests is right, and the only one of the second.
    base.labels[60:63] = [answers[0], (answers[1] + 1) % 5, answers[2]]

    own = Own(np.uint32([3]), {"alpha": np.float32([0.1])}, tasks)
    when = schedule(tasks, 1, None)
    part = problem(MODEL, "online", 2, (), when.chunk, is_ragged=True, is_watched=True)
    store = Checkpoints(tmp_path, dict, None, False, print)
    *_, last = loop.learn(part, when, own, (base, base), store, may_diverge=False)
    losses = np.concatenate([info.loss for info in last.infos], axis=1)
    assert losses.shape == (1, 80)
    assert np.isnan(losses[0, ~present.ravel()]).all()
    np.testing.assert_allclose(losses[0, present.ravel()], by_hand.loss, rtol=1e-3, atol=1e-4)
    np.testing.assert_array_equal(last.rows[-1]["accuracy"], [[0.5, 1.0]])


@pytest.mark.parametrize("task", [0, 1, 2])
def test_a_task_is_evaluated_on_its_own_images(task):
    """Labels are the answers on a task's images, which are plain, permuted, or half empty.

    Only that task then has no errors. The network takes in the change of the images at once, and
    `show` changes them one by one.
    """
    rng = np.random.default_rng(0)
    plain = np.arange(784, dtype=np.int32)
    tasks = benchmarks.Tasks(
        np.stack([plain, np.int32(rng.permutation(784)), plain]),
        np.stack([plain >= 0, plain >= 0, plain % 2 == 0]).astype(np.uint8),
        np.zeros(3, np.float32),
        np.zeros((3, 1), np.int32),
        None,
    )
    base = Base(rng.integers(0, 256, (60, 784), np.uint8), np.zeros(60, np.int32))
    tasks, base = jax.tree.map(jnp.asarray, (tasks, base))
    params = MODEL.init(jax.random.key(1))
    params["layers_1"]["kernel"] = jnp.asarray(rng.normal(size=(8, 5)), jnp.float32)

    @jax.vmap
    def answer(row):
        return jnp.argmax(MODEL.apply(params, benchmarks.show(base, tasks, Visit(task, row)).x))

    base = base._replace(labels=jax.jit(answer)(jnp.arange(60)))
    assert len(np.unique(base.labels)) > 1
    found = jax.jit(lambda: accuracies(MODEL, params, tasks, base, jnp.arange(3)))()["accuracy"]
    assert found[task] == 1
    assert (np.delete(np.asarray(found), task) < 0.9).all()


def test_accuracy_is_split_by_whether_the_memory_holds_the_class():
    """Labels are the answers but for one of each task. The memory has two of the four classes."""
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (63, 784), np.uint8), np.arange(63, dtype=np.int32)
    params = MODEL.init(jax.random.key(0))
    tasks = jax.tree.map(lambda leaf: leaf[0], tasks_of((20, 20)))
    tasks = tasks._replace(tests=np.int32([[60, 61, 62, -1], [59, -1, -1, -1]]))
    for row in (59, 60, 61):
        labels[row] = int(jnp.argmax(MODEL.apply(params, images[row])))
    labels[62] = (labels[60] + 1) % 5
    held = np.zeros(63, bool)
    held[[60, 62]] = True
    shown = jax.tree.map(jnp.asarray, (tasks, Base(images, labels), np.arange(2), held))
    found = accuracies(MODEL, params, *shown)
    np.testing.assert_allclose(found["accuracy"], [2 / 3, 1])
    np.testing.assert_allclose(found["held"], [2 / 3, 0])
    np.testing.assert_allclose(found["held_and_right"], [1 / 3, 0])
    rows = {name: np.float32(value)[None, None] * np.ones((1, 3, 1), np.float32)
            for name, value in found.items()}  # fmt: skip
    assert metrics.split(rows["accuracy"], rows["held"], rows["held_and_right"]) == {
        "held": [[66.67, 33.33]], "if_held": [[50, 50]], "if_not_held": [[100, 100]],
    }  # fmt: skip


def test_between_whole_evaluations_the_last_and_the_next_task_are_evaluated():
    tasks = benchmarks.Tasks(None, None, None, np.zeros((1, 5, 40), np.int32))
    when = schedule(tasks, 3, None)
    assert {place // 40: list(which) for place, which in when.evaluations.items()} == {
        0: [0, 1, 2, 3, 4], 1: [0, 1], 2: [1, 2], 3: [0, 1, 2, 3, 4], 4: [3, 4], 5: [0, 1, 2, 3, 4]
    }  # fmt: skip
    assert when.chunk == 40


def test_distribution_of_dot_products_by_hand():
    """Two tasks of two examples: the first pair is unknown, then same, other, same."""
    dot, task = np.array([[0.0, 2.0, -1.0, 4.0]]), np.array([[0, 0, 0, 1]])
    whole = WatchedInfo(dot, Visit(task, task), dot, dot / 10, -dot, np.arange(4)[None] > 0)
    first, last = (jax.tree.map(lambda leaf: leaf[:, :3], whole),
                   jax.tree.map(lambda leaf: leaf[:, 3:], whole))  # fmt: skip
    told = transfer.summary([first, last], num_tasks=2)
    assert told["mean_dot"] == pytest.approx([5 / 3])
    assert told["mean_dot_after"] == pytest.approx([-5 / 3])
    assert told["below_zero"] == pytest.approx([100 / 3])
    same, other = told["by_task"]["same"], told["by_task"]["other"]
    assert same["dot"] == [[[2.0] * 5, [4.0] * 5]]
    assert other["dot"] == [[None, [-1.0] * 5]]
    assert other["below_zero"] == [[None, 100.0]]
