"""Experience replay and online learning, by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mer_jax
from mer_jax.learners.er import task_mean_shares
from mer_jax.types import Example
from tests.mer_jax.compiling import quickly
from tests.mer_jax.golden import at
from tests.mer_jax.learners.test_mer import MODEL, blobs, half_square, initial

pytestmark = pytest.mark.usefixtures("quick_keys")


def by_example(params, example):
    return half_square(params, example.x)


def stream(*values, tasks=None):
    x = np.float32(values)
    task = np.zeros(len(values), np.int32) if tasks is None else np.int32(tasks)
    return Example(x, task, task)


def test_er_steps_on_the_mean_over_what_there_is():
    """At rate 1/2 from 0, 8 leads to 4. Then 0 and its replay, 8, have mean 4, and p stays."""
    learner = mer_jax.er(by_example, optimizer=optax.sgd(0.5), batch_size=5, capacity=3)
    examples = stream(8, 0)
    state, update = learner.init(np.float32(0), at(examples, 0)), quickly(learner.update)
    state, info = update(jax.random.key(0), state, at(examples, 0))
    assert (state.params, info.loss) == (4, 32)
    state, info = update(jax.random.key(1), state, at(examples, 1))
    assert (state.params, info.loss) == (4, 8)
    np.testing.assert_array_equal(state.memory.examples.x, [8, 0, 0])


def test_er_by_task_sums_the_means_of_the_tasks():
    """At rate 1/4 from 0, 8 leads to 2. Then 6 of a new task adds a whole step: 2 + 1.5 + 1."""
    learner = mer_jax.er_by_task(
        by_example, optimizer=optax.sgd(0.25), batch_size=5, capacity=3, num_tasks=2
    )
    examples = stream(8, 6, tasks=[0, 1])
    state, update = learner.init(np.float32(0), at(examples, 0)), quickly(learner.update)
    for i in range(2):
        state, _ = update(jax.random.key(i), state, at(examples, i))
    assert state.params == 4.5


def test_shares_of_a_task_add_up_to_1():
    shares = quickly(lambda task, present: task_mean_shares(task, present, 3))
    task, present = np.int32([2, 0, 2, 2, 1]), np.float32([1, 1, 1, 0, 1])
    np.testing.assert_array_equal(shares(task, present), [0.5, 1, 0.5, 0, 1])
    of_unknown = shares(np.int32([0, 3]), np.ones(2, np.float32))
    assert np.isnan(of_unknown).tolist() == [False, True]


def test_any_optimizer_will_do_and_keeps_its_state():
    learner = mer_jax.er(MODEL.loss, optimizer=optax.adam(1e-3), batch_size=4, capacity=8)
    examples = blobs(0, 10)
    state = learner.init(initial(jax.random.key(0)), at(examples, 0))
    state, _ = quickly(lambda state: mer_jax.run(jax.random.key(0), learner, state, examples))(
        state
    )
    assert optax.tree.get(state.opt_state, "count") == state.step == 10


@pytest.mark.parametrize("name", ["batch_size", "capacity", "num_tasks"])
def test_sizes_that_make_no_sense(name):
    sizes = {"batch_size": 4, "capacity": 8, "num_tasks": 2} | {name: 0}
    with pytest.raises(ValueError, match=f"{name} must be a whole number of at least 1"):
        mer_jax.er_by_task(by_example, optimizer=optax.sgd(0.1), **sizes)


@pytest.mark.parametrize("shape", [(1,), (3,)])
def test_a_loss_that_is_not_one_number_is_refused(shape):
    learner = mer_jax.er(
        lambda params, example: jnp.full(shape, params), optimizer=optax.sgd(0.1), batch_size=3,
        capacity=4,
    )  # fmt: skip
    state = learner.init(np.float32(0), np.float32(0))
    with pytest.raises(ValueError, match="must give one number, got shape"):
        jax.eval_shape(learner.update, jax.random.key(0), state, np.float32(1))
