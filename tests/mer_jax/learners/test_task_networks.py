"""Independent and Task Input: the parameters of each task, and their initial values."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import mer_jax
from mer_jax import TaskParams, networks
from mer_jax.task_params import of_task, with_task
from mer_jax.types import Example
from tests.mer_jax.compiling import quickly
from tests.mer_jax.golden import at
from tests.mer_jax.problems import blobs, half_square


def by_example(params, example):
    return half_square(params.own + params.shared, example.x)


def stream(xs, tasks):
    return Example(np.float32(xs), np.zeros(len(xs), np.int32), np.int32(tasks))


def run(learner, params, examples):
    @quickly
    def go(params):
        state = learner.init(params, at(examples, 0))
        return mer_jax.run(jax.random.key(0), learner, state, examples)

    return go(params)


def learn(make, own, shared, examples, optimizer=None):
    learner = make(by_example, optimizer=optimizer or optax.sgd(0.5))
    return run(learner, TaskParams(np.float32(own), np.float32(shared)), examples)


def test_a_network_starts_from_the_previous_tasks_and_only_once():
    """Task 2 goes from 1 to 4.5, and task 0 starts there. Back at 2 it goes on from its own."""
    learner = mer_jax.independent(
        lambda params, example: half_square(params.own, example.x), optimizer=optax.sgd(0.5)
    )
    examples = stream([8, 0, 8], [2, 0, 2])
    state, _ = run(learner, TaskParams(np.float32([5, 6, 1]), ()), examples)
    assert state.params.own.tolist() == [2.25, 6, 6.25]
    assert state.begun.tolist() == [True, False, True]


def test_each_task_changes_its_own_part_and_the_shared_one():
    """8 from 0 + 0: both parts go to 4. Then 0 with a new own part, 2: 6 too much, both lose 3."""
    state, infos = learn(mer_jax.task_input, [0, 2, 7], 0, stream([8, 0], [0, 1]))
    np.testing.assert_array_equal(state.params.own, [4, -1, 7])
    assert state.params.shared == 1
    np.testing.assert_array_equal(infos.loss, [32, 18])
    state, _ = learn(mer_jax.independent, [0, 2, 7], 0, stream([8, 0], [0, 1]))
    np.testing.assert_array_equal(state.params.own, [4, 0, 7])  # from 4 + 4, both lose 4


def test_the_optimizer_begins_anew_with_each_task():
    """One that moves in its first step only: from 0 + 0 by 8 both, and from 0 + 8 to 10 by 2."""
    once = optax.scale_by_schedule(lambda count: jnp.where(count == 0, -1.0, 0.0))
    state, _ = learn(mer_jax.task_input, [0, 0], 0, stream([8, 8, 10], [0, 0, 1]), once)
    assert state.params.own.tolist() == [8, 2]


@pytest.mark.parametrize("task", [2, 5, -1, -3])
@pytest.mark.parametrize("learner", [mer_jax.independent, mer_jax.task_input])
def test_an_unknown_task_is_not_a_number(learner, task):
    """Neither is the loss nor a network, so that a later evaluation shows it too."""
    state, infos = learn(learner, [0, 2], 0, stream([8, 0], [0, task]))
    assert np.isnan(infos.loss).tolist() == [False, True]
    assert np.isnan(state.params.own).any()


def test_parameters_must_say_whose_they_are():
    with pytest.raises(ValueError, match="params must be TaskParams"):
        mer_jax.independent(by_example, optimizer=optax.sgd(0.1)).init(jnp.zeros(3), None)


@pytest.mark.parametrize("make", [networks.independent, networks.task_input])
def test_networks_of_tasks(make):
    model = make((8, 6, 6, 3), 3)
    params = jax.device_get(quickly(model.init)(jax.random.key(0)))
    x = np.random.default_rng(0).normal(size=8).astype(np.float32)
    apply = quickly(model.apply)
    logits = [np.asarray(apply(params, x, np.int32(task))) for task in range(3)]
    assert len({float(row[0]) for row in logits}) == 3  # no two tasks share all
    hidden = 2 if make is networks.independent else 6
    assert params.own["layers_0"]["kernel"].shape == (3, 8, hidden)
    assert set(params.shared) == (
        set() if make is networks.independent else {"layers_1", "layers_2"}
    )
    example = Example(x, np.int32(2), np.int32(1))

    @quickly
    def loss_and_round_trip(params):
        one = of_task(params, 1)
        kernel, bias, rest = model.loss.split(one)
        again = with_task(params, 1, model.loss.merge(kernel, bias, rest))
        return model.loss(one, example), again

    loss, again = loss_and_round_trip(params)
    wanted = np.log(np.exp(logits[1]).sum()) - logits[1][2]
    np.testing.assert_allclose(loss, wanted, rtol=1e-6)
    jax.tree.map(np.testing.assert_array_equal, again, params)


def test_hidden_units_must_go_round():
    with pytest.raises(ValueError, match="at least 7 units, one for each task, got 6"):
        networks.independent((8, 6, 6, 3), 7)


def test_learns():
    examples = blobs(0, 60)
    model = networks.task_input((*examples.x.shape[1:], 16, 3), 2)
    learner = mer_jax.task_input(model.loss, optimizer=optax.sgd(0.1))
    _, infos = run(learner, quickly(model.init)(jax.random.key(0)), examples)
    assert infos.loss[-20:].mean() < infos.loss[:20].mean()


def test_numpy_rows_are_taken_as_those_of_jax():
    """Also for an id of N or more, which NumPy refuses."""
    params = TaskParams(np.arange(3.0), np.float32(7))
    assert (of_task(params, 2).own, of_task(params, 5).own) == (2, 2)
    after = with_task(params, 5, TaskParams(jnp.float32(9), jnp.float32(8)))
    assert after.own.tolist() == [0, 1, 9]
    assert after.shared == 8
