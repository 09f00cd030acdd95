"""EWC by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mer_jax
from mer_jax.types import Example
from tests.mer_jax.compiling import quickly
from tests.mer_jax.golden import at
from tests.mer_jax.learners.test_mer import half_square


def by_example(params, example):
    return half_square(params, example.x)


def learning(xs, tasks, **changed):
    """A function of EWC's strength: what it makes of a stream."""
    stream = Example(np.float32(xs), np.zeros(len(xs), np.int32), np.int32(tasks))

    def learn(strength):
        sizes = {"num_tasks": 5, "num_memories": 2} | changed
        learner = mer_jax.ewc(by_example, optimizer=optax.sgd(0.5), strength=strength, **sizes)
        state = learner.init(np.float32(0), at(stream, 0))
        return mer_jax.run(jax.random.key(0), learner, state, stream)

    return learn


def learn(xs, tasks, strength=0.5, **changed):
    return quickly(learning(xs, tasks, **changed), static_argnums=0)(strength)


def test_a_finished_task_pulls_back():
    """A step from 0 to 4, towards 8, where the gradient is -4, so F = 16.

    The penalty is 0.5 * 16 * (p - 4)^2. The first step towards 0 leads to 2. Then the penalty's
    slope is 16 * (2 - 4) = -32, which leads to 17.
    """
    state, infos = learn([8, 0, 0], [0, 1, 1])
    assert state.params == 2 - 0.5 * (2 - 32)
    assert (state.importance, state.anchor) == (8, 32)
    np.testing.assert_array_equal(infos.loss, [32, 8, 2])  # without the penalty


def test_the_first_examples_of_the_task_say_what_matters():
    """The first two of 8, 4, 0 are stored. At the end, p = 2, and their mean gradient is -4."""
    state, _ = learn([8, 4, 0, 0], [3, 3, 3, 1])
    assert state.importance == 0.5 * 4**2
    np.testing.assert_array_equal(state.memory.num_seen, [1])


def test_tasks_add_up_and_take_no_room():
    one, many = learn([8, 4], [0, 1])[0], learn([8, 4, 2, 1, 7], [0, 1, 2, 3, 4])[0]
    assert jax.tree.map(jnp.shape, one) == jax.tree.map(jnp.shape, many)
    assert many.importance > one.importance


def test_without_strength_it_is_plain_sgd():
    state, _ = learn([8, 0, 0], [0, 1, 1], strength=0.0)
    assert state.params == 1


def test_strength_may_be_swept():
    swept, _ = quickly(jax.vmap(learning([8, 0, 0], [0, 1, 1])))(np.float32([0, 0.5]))
    np.testing.assert_array_equal(swept.params, [1, 17])


def test_an_unknown_task_is_not_a_number():
    state, infos = learn([8, 0], [0, 5])
    assert np.isnan(state.params)
    assert np.isnan(infos.loss).tolist() == [False, True]


@pytest.mark.parametrize("name", ["num_tasks", "num_memories", "strength"])
def test_arguments_that_make_no_sense(name):
    with pytest.raises(ValueError, match=name):
        learn([8], [0], **{name: -1})
