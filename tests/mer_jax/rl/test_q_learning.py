"""Deep Q-learning and its MER form: by hand and against plain loops."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

pytest.importorskip("gymnax", reason="mer_jax.rl needs it")

import mer_jax
from mer_jax import rl
from mer_jax.rl import Judged, Transition, _q_agent
from tests.mer_jax.rl.agents import (
    ALWAYS_GREEDY,
    CAPACITY,
    learned,
    linear,
    mer_agent,
    small_agent,
    stream,
    transition,
    weights,
)


def test_one_update_on_two_states_by_hand():
    """States are the unit vectors. In state 0 action 1 gives 1 and leads to state 1.

    Q = 0 but for Q(1, 0) = 0.5, so the target is 1 + 0.9 * 0.5 = 1.45. The batch is the transition
    and its one replay, itself. Huber's slope is -1 at first (the error is above 1): a step of
    alpha = 0.5 adds 0.5 to w[0, 1] and to b[1], so Q(0, 1) = 1. The error is then 0.45: another
    step adds 0.225 to each. Within the batch beta = 0.4 leaves 0.29 of 0.725, and gamma 0.145.
    """
    agent = mer_agent(linear(2, 2))
    start = weights([[0, 0], [0.5, 0]], [0, 0])
    seen = transition([1, 0], 1, 1.0, [0, 1])
    state, info = agent.update(jax.random.key(0), agent.init(start, seen), seen)
    expected = weights([[0, 0.145], [0.5, 0]], [0, 0.145])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), state.params, expected)
    np.testing.assert_allclose(info.loss, 1.45 - 0.5)
    jax.tree.map(np.testing.assert_array_equal, state.target, start)
    # The end of a game is worth its reward alone: error 1, where Huber's slope is 1 as well.
    over = seen._replace(terminal=jnp.bool_(True))
    state, info = agent.update(jax.random.key(0), agent.init(start, over), over)
    np.testing.assert_allclose(info.loss, 0.5)
    np.testing.assert_allclose(state.params["layers_0"]["bias"], [0, 0.5 * 0.4 * 0.5], atol=1e-6)


def test_a_q_learning_step_by_hand():
    """The same transition, once: one step on the mean loss, whatever is stored beside."""
    seen = transition([1, 0], 1, 1.0, [0, 1])
    start = weights([[0, 0], [0.5, 0]], [0, 0])
    for memory in (mer_jax.reservoir(4), rl.fifo(4)):
        agent = rl.dqn(
            linear(2, 2), optimizer=optax.sgd(0.5), batch_size=3, memory=memory, discount=0.9,
            epsilon=ALWAYS_GREEDY, target_every=1,
        )  # fmt: skip
        state, _ = agent.update(jax.random.key(0), agent.init(start, seen), seen)
        expected = weights([[0, 0.5], [0.5, 0]], [0, 0.5])
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), state.params, expected
        )
        jax.tree.map(np.testing.assert_array_equal, state.target, state.params)


def test_without_the_pulls_mer_is_per_example_q_learning():
    """beta = gamma = 1 and s = 1: plain SGD, one transition at a time, the newest first."""
    model = rl.q_network((3, 8, 2))
    frames = stream(30)
    agent = mer_agent(model, beta=1.0, gamma=1.0, batch_size=4, capacity=8, target_every=7)
    state, _ = learned(agent, model, frames)

    memory = mer_jax.reservoir(8)
    params = target = model.init(jax.random.key(9))
    kept = memory.init(jax.tree.map(lambda leaf: leaf[0], frames))
    for number in range(30):
        newest = jax.tree.map(lambda leaf: leaf[number], frames)  # noqa: B023
        key = jax.random.fold_in(jax.random.key(3), number)
        add_key, learn_key = jax.random.split(key)
        kept = memory.add(add_key, kept, newest)
        (batch_key,) = jax.random.split(learn_key, 1)
        replays, valid = memory.sample(batch_key, kept, 3)
        batch = [newest]
        batch += [jax.tree.map(lambda leaf: leaf[i], replays) for i in range(3) if valid[i]]  # noqa: B023
        for one in batch:
            ahead = 0 if one.terminal else model.apply(target, one.next_obs, None).max()

            def loss(params, one=one, ahead=ahead):
                error = model.apply(params, one.obs, None)[one.action] - one.reward - 0.9 * ahead
                return jnp.where(abs(error) < 1, error**2 / 2, abs(error) - 0.5)

            grads = jax.grad(loss)(params)
            params = jax.tree.map(lambda p, g: p - 0.5 * g, params, grads)
        if (number + 1) % 7 == 0:
            target = params
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), state.params, params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), state.target, target)


def test_the_gram_form_and_the_plain_scan_agree(monkeypatch):
    model = rl.q_network((3, 8, 8, 2))
    plain = model._replace(loss=lambda params, judged: model.loss(params, judged))
    ends = [
        learned(mer_agent(either, batch_size=5, num_batches=2, capacity=9), model, stream(40))[0]
        for either in (model, plain)
    ]
    assert mer_jax.steps.gram.fits(model.loss, ends[0].params)
    assert not mer_jax.steps.gram.fits(plain.loss, ends[1].params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), *ends)


def test_exploration_goes_by_the_schedule():
    model = linear(2, 4)
    agent = mer_agent(model, epsilon=optax.linear_schedule(1.0, 0.0, 10))
    seen = transition([1, 0], 0, 0.0, [0, 1])
    state = agent.init(weights([[0, 0, 1, 0], [0, 0, 0, 0]], [0, 0, 0, 0]), seen)
    keys = jax.random.split(jax.random.key(0), 4000)
    for step, share in ((0, 0.25), (5, 0.625), (10, 1.0), (99, 1.0)):
        now = state._replace(step=jnp.int32(step))
        actions = jax.vmap(lambda key: agent.act(key, now, seen.obs))(keys)  # noqa: B023
        assert abs((actions == 2).mean() - share) < 0.03
        assert actions.dtype == jnp.int32


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"batch_size": 0}, "batch_size must be a whole number"),
        ({"num_batches": 0}, "num_batches must be a whole number"),
        ({"capacity": 0}, "capacity must be a whole number"),
        ({"target_every": 0}, "target_every must be a whole number"),
        ({"discount": 1.5}, "discount must be"),
        ({"beta": -0.1}, "beta must be"),
        ({"alpha": -1}, "alpha must be"),
        ({"epsilon": 0.1}, "epsilon must be a function of the step"),
    ],
)
def test_bad_settings(change, says):
    with pytest.raises(ValueError, match=says):
        mer_agent(linear(2, 2), **change)


def test_a_judgement_is_of_the_target_network():
    model = linear(2, 2)
    judge = _q_agent.judging(model, 0.5)
    batch = Transition(
        jnp.eye(2), jnp.int32([0, 1]), jnp.float32([1, 2]), jnp.eye(2), jnp.array([False, True])
    )
    judged = judge(weights([[3, 4], [5, 6]], [0, 0]), batch)
    assert isinstance(judged, Judged)
    np.testing.assert_allclose(judged.target, [1 + 0.5 * 4, 2])


@pytest.mark.parametrize("kind", ["fifo", "reservoir", "mer"])
def test_no_frame_copies_a_leaf_of_the_replay(kind):
    """By XLA's account, alone, in a scan, and with both under a vmap; a leaf is 20 kB at least."""
    model, agent = small_agent(kind)
    env, params = rl.Scaled(rl.Catcher(64)), rl.CatcherParams(fall_speed=0.06)
    key = jax.eval_shape(jax.random.key, 0)
    state = jax.eval_shape(lambda key: rl.start(key, agent, env, params, model.init(key)), key)
    seen = transition(np.zeros(4), 0, 0.0, np.zeros(4))

    def frame(state, key):
        return agent.update(key, state.agent, seen)

    def frames(state, key):
        return rl.play(key, agent, env, params, state, 10)

    def temporary(function, *args):
        compiled = jax.jit(function, donate_argnums=0).lower(*args).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    smallest = min(leaf.size * leaf.dtype.itemsize for leaf in jax.tree.leaves(
        state.agent.memory.examples))  # fmt: skip
    assert smallest == CAPACITY
    three = jax.tree.map(
        lambda leaf: jax.ShapeDtypeStruct((3, *leaf.shape), leaf.dtype), (state, key)
    )
    for function in (frame, frames):
        assert temporary(function, state, key) < smallest
        assert temporary(jax.vmap(function), *three) < 3 * smallest


@pytest.mark.parametrize("kind", ["fifo", "mer"])
def test_parameters_of_few_bits_learn_as_in_single_precision(kind):
    """Steps of 1e-3 towards a reward of 1 would be lost beside a value of 0.5."""
    model = linear(1, 1)
    shared = dict(discount=0.0, epsilon=ALWAYS_GREEDY, target_every=100)
    agent = mer_agent(model, alpha=1e-3, beta=1.0, gamma=1.0, **shared)
    if kind == "fifo":
        agent = rl.dqn(
            model, optimizer=optax.sgd(1e-3), batch_size=4, memory=rl.fifo(9), **shared
        )  # fmt: skip
    seen = transition([1], 0, 1.0, [1])

    def step(state, key):
        return agent.update(key, state, seen)[0], None

    ends = []
    for start in (weights([[0.5]], [0]), jax.tree.map(jnp.bfloat16, weights([[0.5]], [0]))):
        keys = jax.random.split(jax.random.key(0), 200)
        ends.append(jax.lax.scan(step, agent.init(start, seen), keys)[0].params)
    full, few = ends
    assert {leaf.dtype for leaf in jax.tree.leaves(few)} == {jnp.dtype(jnp.bfloat16)}
    # Each step takes the error, 0.5 at first, 2e-3 of the way. MER takes two for most frames.
    assert full["layers_0"]["bias"] > 0.99 * (0.5 - 0.5 * (1 - 2e-3) ** 200) / 2
    # Half of a unit in the last of 8 places, twice, since the loss sees rounded parameters, too.
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2**-7), few, full)


def random_sign(key, seen):
    return seen._replace(reward=jax.random.rademacher(key, (), jnp.float32) / 2)


@pytest.mark.parametrize("kind", ["fifo", "mer"])
def test_each_row_is_augmented_anew_and_what_is_stored_is_not(kind):
    """Rewards of 1/2 or -1/2 by chance on 64 rows: the mean step is a 1/8 as wide as one row's.

    With discount 0, gradients at Q = 0 are minus the rewards. MER's 64 steps are so small that all
    are taken at Q = 0, nearly.
    """
    model = linear(1, 1)
    start, rate = weights([[0]], [0]), 1e-4
    shared = dict(discount=0.0, epsilon=ALWAYS_GREEDY, target_every=100)
    if kind == "fifo":
        make = lambda augment: rl.dqn(  # noqa: E731
            model, optimizer=optax.sgd(64 * rate), batch_size=64, memory=rl.fifo(64),
            augment=augment, **shared,
        )  # fmt: skip
    else:
        make = lambda augment: rl.dqn_mer(  # noqa: E731
            model, alpha=rate, beta=1.0, gamma=1.0, num_batches=1, batch_size=64, capacity=64,
            augment=augment, **shared,
        )  # fmt: skip
    seen = transition([1], 0, 0.0, [1])
    agent, plain = make(random_sign), make(None)
    state = agent.init(start, seen)
    fill = jax.jit(lambda state, key: plain.update(key, state, seen)[0])
    for number in range(64):
        state = fill(state, jax.random.key(number))
    assert state.params["layers_0"]["bias"] == 0  # the reward is 0, and so is the value
    keys = jax.random.split(jax.random.key(9), 2000)
    after, info = jax.vmap(lambda key: agent.update(key, state, seen))(keys)
    steps = after.params["layers_0"]["bias"][:, 0] / rate
    np.testing.assert_allclose(steps.std(), np.sqrt(64) / 2, rtol=5 / np.sqrt(2 * 2000))
    np.testing.assert_allclose(steps.mean(), 0, atol=5 * np.sqrt(64) / 2 / np.sqrt(2000))
    assert (info.loss == 0).all()  # that of the transition as it was seen
    assert (after.memory.examples.reward == 0).all()


def test_an_augmentation_that_changes_nothing_gives_the_same_bits():
    for kind in ("fifo", "mer"):
        ends = []
        for augment in (None, lambda key, seen: seen):
            model, agent = small_agent(kind, 30, augment=augment)
            frames = stream(20)._replace(obs=jnp.ones((20, 4)), next_obs=jnp.zeros((20, 4)))
            ends.append(learned(agent, model, frames)[0])
        jax.tree.map(np.testing.assert_array_equal, *ends)
