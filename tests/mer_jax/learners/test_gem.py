"""GEM and A-GEM: the projection against quadprog, and steps by hand."""

import functools

import jax
import numpy as np
import optax
import pytest
import quadprog

import mer_jax
from mer_jax import networks
from mer_jax.learners import _gem_gradients, gem
from mer_jax.replay import by_task
from mer_jax.replay.by_task import TaskExamples
from mer_jax.types import Example
from tests.mer_jax.compiling import quickly
from tests.mer_jax.golden import at
from tests.mer_jax.learners.test_mer import MODEL, blobs, initial

pytestmark = pytest.mark.usefixtures("quick_keys")

RNG = np.random.default_rng(0)


def reference(g, earlier, margin, ridge=0.0):
    """GEM's projection in double precision.

    Rows have length 1. quadprog's small number on the diagonal is then small beside each.
    """
    g, earlier = np.float64(g), np.float64(earlier)
    lengths = np.linalg.norm(earlier, axis=1)
    rows, lengths = earlier[lengths > 0] / lengths[lengths > 0, None], lengths[lengths > 0]
    if not len(rows):
        return g
    Q = rows @ rows.T + np.diag(1e-12 + ridge / lengths**2)
    v = quadprog.solve_qp(Q, -(rows @ g), np.eye(len(rows)), margin * lengths)[0]
    return g + v @ rows


def project(g, earlier, margin, ridge):
    return g + gem.dual(earlier @ earlier.T, earlier @ g, margin, ridge) @ earlier


project_quickly = quickly(project)


def alike(num_tasks, num_params, correlation):
    """A gradient and earlier ones that all resemble one direction, and it points away from it."""
    common = RNG.normal(size=num_params)
    own = RNG.normal(size=(num_tasks, num_params))
    rows = correlation * common + np.sqrt(1 - correlation**2) * own
    return RNG.normal(size=num_params) - 0.5 * common, rows


SCALES = 10.0 ** RNG.uniform(-4, 4, (19, 1))
CASES = {
    "one task": alike(1, 50, 0.9),
    "a few": alike(5, 300, 0.0),
    "alike": alike(19, 2000, 0.9),
    "a hundred": alike(99, 2000, 0.7),
    "identical": (-np.ones(20) + RNG.normal(size=20), np.tile(RNG.normal(size=20), (10, 1))),
    "opposite": (RNG.normal(size=20), np.outer([1, -1, 1], RNG.normal(size=20))),
    "badly scaled": (RNG.normal(size=500), SCALES * RNG.normal(size=(19, 500))),
    "more tasks than parameters": (RNG.normal(size=10), RNG.normal(size=(19, 10))),
    "some zero": (RNG.normal(size=30), RNG.normal(size=(6, 30)) * [[1], [0], [1], [0], [0], [1]]),
    "all zero": (RNG.normal(size=30), np.zeros((6, 30))),
    "no gradient": (np.zeros(30), RNG.normal(size=(6, 30))),
}


@pytest.mark.parametrize("margin", [0.0, 0.5])
@pytest.mark.parametrize("name", CASES)
def test_projection_is_quadprogs(name, margin):
    """Within 1e-4 of the size of what goes in, which is what the recorded runs are followed to."""
    g, earlier = (np.float32(part) for part in CASES[name])
    ours = np.asarray(project_quickly(g, earlier, margin, 0.0))
    wanted = reference(g, earlier, margin)
    scale = max(np.linalg.norm(g), np.linalg.norm(wanted), 1e-6)
    np.testing.assert_allclose(ours / scale, wanted / scale, atol=1e-4)
    assert ours.dtype == np.float32


@pytest.mark.parametrize("ridge", [100.0, 1000.0])
def test_projection_with_a_ridge_is_quadprogs(ridge):
    g, earlier = (np.float32(part) for part in CASES["alike"])
    ours, wanted, without = (
        project_quickly(g, earlier, 0.0, ridge),
        reference(g, earlier, 0, ridge),
        reference(g, earlier, 0),
    )
    np.testing.assert_allclose(ours, wanted, atol=1e-4 * np.linalg.norm(wanted))
    assert np.linalg.norm(ours - without) > 1e-3 * np.linalg.norm(without)


def test_projection_of_many_at_once():
    g, earlier = (np.float32(part) for part in CASES["alike"])
    many = quickly(jax.vmap(project, (0, None, 0, None)))(
        np.stack([g, -g]), earlier, np.float32([0, 0.5]), 0.0
    )
    for ours, (sign, margin) in zip(many, ((1, 0), (-1, 0.5)), strict=True):
        wanted = reference(sign * g, earlier, margin)
        np.testing.assert_allclose(ours, wanted, atol=1e-4 * np.linalg.norm(wanted))


def by_example(params, example):
    """Gradient x whatever the parameters are."""
    return params @ example.x


def learn(learner, xs, tasks):
    stream = Example(np.float32(xs), np.zeros(len(xs), np.int32), np.int32(tasks))

    @quickly
    def run(start):
        state = learner.init(start, at(stream, 0))
        return mer_jax.run(jax.random.key(0), learner, state, stream)

    return run(np.zeros(2, np.float32))


def test_gem_turns_a_step_that_would_undo_an_earlier_task():
    """Task 0's mean gradient is (2, 0). Of (-1, 1) only (0, 1) is then left: (2, 0) is added half a
    time, or with a margin of 1 a whole time."""
    for margin, wanted in ((0, [-4, -1]), (1, [-5, -1])):
        learner = mer_jax.gem(
            by_example, optimizer=optax.sgd(1), num_tasks=3, num_memories=2, margin=margin
        )
        state, infos = learn(learner, [(1, 0), (3, 0), (-1, 1)], [0, 0, 1])
        np.testing.assert_allclose(state.params, wanted, atol=1e-6)
    assert infos.loss.tolist() == [0, -3, 4]


def test_gem_leaves_alone_what_harms_nothing():
    learner = mer_jax.gem(by_example, optimizer=optax.sgd(1), num_tasks=2, num_memories=1, margin=1)
    state, _ = learn(learner, [(1, 0), (0, 1), (2, 1)], [0, 0, 1])
    np.testing.assert_array_equal(state.params, [-3, -2])


def test_a_memory_that_is_not_full_counts_what_it_has():
    """With room for ten, the one memory's gradient is still (1, 0), and padding adds nothing."""
    row = Example(np.float32([1, 0]), np.float32(0), np.float32(0))
    v = np.float32([3, 7])

    @quickly
    def known(x):
        memory = by_task.keep_last(by_task.empty(2, 10, row), 0, row)
        at_x = _gem_gradients.Incoming(by_example, np.zeros(2, np.float32), x, x.task, x.x)
        others = _gem_gradients.of_others(jax.random.key(0), at_x, memory, None)
        return others.dots, others.products(), others.combined(v)

    dots, products, combined = known(Example(np.float32([2, 5]), np.int32(0), np.int32(1)))
    np.testing.assert_array_equal(dots, [2, 0])
    np.testing.assert_array_equal(products, [[1, 0], [0, 0]])
    np.testing.assert_array_equal(combined, [3, 0])


def known_of_others(sizes, tasks, is_shown):
    """The products with and of the tasks' gradients, and a sum of these."""
    model, rng = networks.mlp(sizes), np.random.default_rng(1)
    loss = model.loss if is_shown else lambda params, example: model.loss(params, example)
    memory = TaskExamples(blobs(2, tasks, 4), np.int32(rng.integers(0, 7, tasks)))
    example = at(blobs(3, 1), 0)._replace(task=np.int32(1))
    v = np.float32(rng.normal(size=tasks))

    @quickly
    def known(key, memory):
        params = model.init(key)
        grads = jax.grad(loss)(params, example)
        at_example = _gem_gradients.Incoming(loss, params, example, example.task, grads)
        others = _gem_gradients.of_others(key, at_example, memory, None)
        return others.dots, others.products(), others.combined(v)

    return jax.device_get(known(jax.random.key(0), memory))


@functools.cache
def known_one_by_one(sizes, tasks):
    """The same from a loss which does not show its first layer, whose rows are made for one task
    at a time whatever the limits are."""
    return known_of_others(sizes, tasks, is_shown=False)


@pytest.mark.parametrize("sizes", [(6, 5, 4, 3), (6, 3)])
@pytest.mark.parametrize(
    ("tasks", "largest_gram", "block"),
    [(2, 10**6, 1), (25, 10**6, 1), (2, 0, 1000), (25, 0, 1), (25, 0, 60)],
)
def test_every_form_gives_the_same(tasks, largest_gram, block, sizes, monkeypatch):
    """In Gram form or in rows made for a task or several at a time, of which the last may overlap.
    Gradients of size 1 in sums of some hundred: rounding of 1e-5."""
    monkeypatch.setattr(_gem_gradients, "LARGEST_GRAM", largest_gram)
    monkeypatch.setattr(_gem_gradients, "BLOCK", block)
    ours, wanted = known_of_others(sizes, tasks, is_shown=True), known_one_by_one(sizes, tasks)
    for our, theirs in zip(*map(jax.tree.leaves, (ours, wanted)), strict=True):
        np.testing.assert_allclose(our, theirs, atol=1e-5)


def test_agem_removes_what_the_sample_forbids():
    """Task 0's mean gradient is (2, 0): of (-1, 1) only (0, 1) is left."""
    learner = mer_jax.agem(
        by_example, optimizer=optax.sgd(1), num_tasks=3, num_memories=2, sample_size=50
    )
    state, _ = learn(learner, [(1, 0), (3, 0), (-1, 1)], [0, 0, 1])
    np.testing.assert_allclose(state.params, [-4, -1], atol=1e-6)


@pytest.mark.parametrize("make", [
    lambda: mer_jax.gem(
        MODEL.loss, optimizer=optax.sgd(0.1), num_tasks=2, num_memories=3, margin=0.5
    ),
    lambda: mer_jax.agem(
        MODEL.loss, optimizer=optax.sgd(0.1), num_tasks=2, num_memories=3, sample_size=4
    ),
], ids=["gem", "agem"])  # fmt: skip
def test_one_task_is_plain_sgd_and_an_unknown_one_is_not_a_number(make):
    stream, params = blobs(0, 8), initial(jax.random.key(0))
    one = stream._replace(task=np.zeros(8, np.int32))
    online = mer_jax.online(MODEL.loss, optimizer=optax.sgd(0.1))
    learner = make()

    def end(learner):
        state = learner.init(params, at(one, 0))
        return mer_jax.run(jax.random.key(0), learner, state, one)[0].params

    ends = quickly(lambda: [jax.tree.leaves(end(each)) for each in (learner, online)])()
    for ours, plain in zip(*ends, strict=True):
        np.testing.assert_allclose(ours, plain, atol=1e-6)
    state, unknown = learner.init(params, at(one, 0)), at(one, 0)._replace(task=np.int32(2))
    state, info = quickly(learner.update)(jax.random.key(0), state, unknown)
    assert np.isnan(info.loss)
    assert all(np.isnan(leaf).all() for leaf in jax.tree.leaves(state.params))


def test_seeds_side_by_side_equal_one_alone():
    learner = mer_jax.gem(
        MODEL.loss, optimizer=optax.sgd(0.1), num_tasks=2, num_memories=3, margin=0.5
    )
    stream = blobs(0, 12)
    stream = stream._replace(task=np.int32(np.arange(12) // 6))

    def train(key):
        state = learner.init(MODEL.init(key), at(stream, 0))
        return mer_jax.run(key, learner, state, stream)[0].params

    keys = jax.random.split(jax.random.key(0), 3)
    together = quickly(jax.vmap(train))(keys)
    alone = quickly(train)(keys[1])
    for many, one in zip(jax.tree.leaves(together), jax.tree.leaves(alone), strict=True):
        np.testing.assert_allclose(many[1], one, atol=1e-5)


@pytest.mark.parametrize(
    ("name", "value"), [("num_tasks", 0), ("num_memories", 0), ("margin", -1), ("ridge", -1)]
)
def test_arguments_that_make_no_sense(name, value):
    arguments = {"num_tasks": 2, "num_memories": 3, "margin": 0.5} | {name: value}
    with pytest.raises(ValueError, match=name):
        mer_jax.gem(by_example, optimizer=optax.sgd(0.1), **arguments)
