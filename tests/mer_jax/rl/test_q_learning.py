"""Deep Q-learning and its MER form: by hand, against plain loops, and as parts of a program."""

import contextlib
import copy
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import NamedSharding, PartitionSpec

pytest.importorskip("gymnax", reason="mer_jax.rl needs it")

import mer_jax
from mer_jax import rl
from mer_jax.rl import Judged, Transition, _q_agent
from tests.mer_jax.compiling import quickly
from tests.mer_jax.golden import at

pytestmark = pytest.mark.usefixtures("quick_keys")

ALWAYS_GREEDY = optax.constant_schedule(0.0)


def linear(obs_size, num_actions):
    """Q(s, a) = w[:, a] . s + b[a], whose steps can be written down."""
    return rl.q_network((obs_size, num_actions))


def weights(w, b):
    return {"layers_0": {"kernel": np.float32(w), "bias": np.float32(b)}}


def transition(obs, action, reward, next_obs, terminal=False):
    return Transition(
        np.float32(obs), np.int32(action), np.float32(reward), np.float32(next_obs),
        np.bool_(terminal),
    )  # fmt: skip


def mer_agent(model, **changed):
    settings = dict(
        alpha=0.5, beta=0.4, gamma=0.5, num_batches=1, batch_size=2, capacity=4, discount=0.9,
        epsilon=ALWAYS_GREEDY, target_every=1000,
    )  # fmt: skip
    return rl.dqn_mer(model, **(settings | changed))


def first_update(agent, params, seen):
    return agent.update(jax.random.key(0), agent.init(params, seen), seen)


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
    first = quickly(lambda seen: first_update(agent, start, seen))
    state, info = first(seen)
    expected = weights([[0, 0.145], [0.5, 0]], [0, 0.145])
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), state.params, expected)
    np.testing.assert_allclose(info.loss, 1.45 - 0.5)
    jax.tree.map(np.testing.assert_array_equal, state.target, start)
    # The end of a game is worth its reward alone: error 1, where Huber's slope is 1 as well.
    state, info = first(seen._replace(terminal=np.bool_(True)))
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
        state, _ = quickly(lambda seen, agent=agent: first_update(agent, start, seen))(seen)
        expected = weights([[0, 0.5], [0.5, 0]], [0, 0.5])
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), state.params, expected
        )
        jax.tree.map(np.testing.assert_array_equal, state.target, state.params)


def stream(length, obs_size=3):
    rng = np.random.default_rng(0)
    return Transition(
        np.float32(rng.normal(size=(length, obs_size))),
        np.int32(rng.integers(0, 2, length)),
        np.float32(rng.normal(size=length)),
        np.float32(rng.normal(size=(length, obs_size))),
        rng.random(length) < 0.2,
    )


def learned(agent, model, frames, **options):
    """The state after the frames, and the infos."""
    return quickly(learning(agent, model, frames), **options)(jax.random.key(3))


def learning(agent, model, frames):
    def run(key):
        def step(state, frame):
            return agent.update(jax.random.fold_in(key, state.step), state, frame)

        return jax.lax.scan(step, agent.init(model.init(key), at(frames, 0)), frames)

    return run


def test_without_the_pulls_mer_is_per_example_q_learning():
    """beta = gamma = 1 and s = 1: plain SGD, one transition at a time, the newest first."""
    model = rl.q_network((3, 8, 2))
    frames = stream(30)
    agent = mer_agent(model, beta=1.0, gamma=1.0, batch_size=4, capacity=8, target_every=7)
    state, _ = learned(agent, model, frames)

    memory = mer_jax.reservoir(8)
    params = target = jax.jit(model.init)(jax.random.key(3))
    kept = memory.init(at(frames, 0))

    @jax.jit
    def stored(number, kept, newest):
        key = jax.random.fold_in(jax.random.key(3), number)
        add_key, learn_key = jax.random.split(key)
        kept = memory.add(add_key, kept, newest)
        (batch_key,) = jax.random.split(learn_key, 1)
        return kept, memory.sample(batch_key, kept, 3)

    @jax.jit
    def descended(params, target, one):
        def loss(params):
            ahead = jnp.where(one.terminal, 0, model.apply(target, one.next_obs, None).max())
            error = model.apply(params, one.obs, None)[one.action] - one.reward - 0.9 * ahead
            return jnp.where(abs(error) < 1, error**2 / 2, abs(error) - 0.5)

        return jax.tree.map(lambda p, g: p - 0.5 * g, params, jax.grad(loss)(params))

    for number in range(30):
        newest = at(frames, number)
        kept, drawn = stored(number, kept, newest)
        replays, valid = jax.device_get(drawn)
        for one in [newest, *(at(replays, i) for i in range(3) if valid[i])]:
            params = descended(params, target, one)
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


def test_fifo_keeps_nothing_of_another_shape():
    state = rl.fifo(5).init(np.zeros(3, np.float32))
    for example in (np.zeros(1, np.float32), np.zeros(2, np.float32), np.zeros(3, np.int32)):
        with pytest.raises(ValueError, match=r"one row of the reservoir: expected float32\[3\]"):
            rl.fifo(5).add(jax.random.key(0), state, example)


@pytest.mark.parametrize(
    ("n", "says"),
    [
        (6, "at most the capacity of the fifo, 5, got 6; draw fewer .* or make a larger fifo"),
        (-1, "n must be a whole number of at least 0, got -1"),
        (2.0, "n must be a whole number of at least 0, got 2.0"),
    ],
)
def test_fifo_draws_no_more_than_it_can_hold(n, says):
    state = rl.fifo(5).init(np.zeros(3, np.float32))
    with pytest.raises(ValueError, match=says):
        rl.fifo(5).sample(jax.random.key(0), state, n)
    with pytest.raises(ValueError, match="n "):
        jax.jit(lambda n: rl.fifo(5).sample(jax.random.key(0), state, n))(2)


FIFO = rl.fifo(5)
draw_four = quickly(lambda key, state: FIFO.sample(key, state, 4))


@quickly
def add_to_fifo(state, example, offered):
    return FIFO.add(None, state, example, offered)


def test_fifo_takes_a_batch_as_one_after_the_other():
    add_batch = jax.jit(functools.partial(FIFO.add_batch, None))
    one = many = FIFO.init(np.int32(0))
    for size in (2, 1, 4, 12):
        batch = int(many.num_seen) + np.arange(size, dtype=np.int32)
        offered = batch % 3 != 2
        for number, taken in zip(batch, offered, strict=True):
            one = add_to_fifo(one, number, taken)
        many = add_batch(many, batch, offered)
        jax.tree.map(np.testing.assert_array_equal, many, one)
    draw_key, _ = jax.random.split(jax.random.key(0))
    drawn, valid, after = jax.jit(lambda *args: FIFO.sample_and_add(*args, 4))(
        jax.random.key(0), one, np.int32(99)
    )
    jax.tree.map(np.testing.assert_array_equal, (drawn, valid), draw_four(draw_key, one))
    jax.tree.map(np.testing.assert_array_equal, after, add_to_fifo(one, np.int32(99), True))


def test_fifo_is_flashbaxs_item_buffer():
    """The same rows are drawn, in the same order, while it fills and afterwards."""
    flashbax = pytest.importorskip("flashbax")
    theirs = flashbax.make_item_buffer(5, min_length=1, sample_batch_size=4)
    kept, state = jax.jit(theirs.init)(np.int32(0)), FIFO.init(np.int32(0))
    add_to_theirs, draw_theirs = jax.jit(theirs.add), jax.jit(theirs.sample)
    for number in range(13):
        kept = add_to_theirs(kept, np.int32(number))
        state = add_to_fifo(state, np.int32(number), True)
        key = jax.random.key(number)
        drawn, valid = draw_four(key, state)
        np.testing.assert_array_equal(drawn, draw_theirs(kept, key).experience)
        np.testing.assert_array_equal(valid, np.arange(4) < number + 1)


def test_fifo_keeps_the_newest_and_draws_evenly():
    state = FIFO.init(np.int32(0))
    _, valid = draw_four(jax.random.key(0), add_to_fifo(state, np.int32(7), True))
    np.testing.assert_array_equal(valid, [True, False, False, False])
    for number in range(8):
        state = add_to_fifo(state, np.int32(number), True)
    keys = jax.random.split(jax.random.key(0), 1000)
    drawn, valid = jax.jit(jax.vmap(lambda key: FIFO.sample(key, state, 5)))(keys)
    assert valid.all()
    counts = np.bincount(np.ravel(drawn), minlength=8)
    np.testing.assert_array_equal(counts[:3], 0)
    assert abs(counts[3:] - 1000).max() < 150


@pytest.fixture(scope="module")
def catching():
    """An agent that plays a small and short Catcher."""
    env = rl.Scaled(rl.Catcher(64))
    params = rl.CatcherParams(fall_speed=0.06, max_steps_in_episode=40)
    model = rl.q_network((4, 16, 3))
    agent = mer_agent(
        model, alpha=0.02, gamma=1.0, batch_size=4, capacity=50, target_every=20,
        epsilon=optax.linear_schedule(1.0, 0.1, 100),
    )  # fmt: skip

    def begin(seed):
        network_key, game_key = jax.random.split(jax.random.key(seed))
        return rl.start(game_key, agent, env, params, model.init(network_key))

    def frames(seed, state, count):
        return rl.play(jax.random.key(seed + 100), agent, env, params, state, count)

    def many(seeds):
        return jax.vmap(lambda seed: frames(seed, begin(seed), 25))(seeds)

    play = quickly(frames, same_fusions=True, static_argnums=2)
    return env, quickly(begin), play, quickly(many)


def test_frames_in_pieces_give_the_same_bits(catching):
    _, begin, frames, _ = catching
    whole, infos = frames(1, begin(1), 75)
    part, pieces = begin(1), []
    for _ in range(3):
        part, piece = frames(1, part, 25)
        pieces.append(piece.loss)
    jax.tree.map(np.testing.assert_array_equal, part, whole)
    np.testing.assert_array_equal(np.concatenate(pieces), infos.loss)


def test_seeds_differ_and_repeat_and_may_be_vmapped(catching):
    _, begin, frames, many = catching
    of_all, _ = many(np.arange(3))
    once, _ = frames(1, begin(1), 25)
    again, _ = frames(1, begin(1), 25)
    jax.tree.map(np.testing.assert_array_equal, once, again)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a[1], b, rtol=1e-4, atol=1e-5),
        of_all.agent.params, once.agent.params,
    )  # fmt: skip
    kernels = np.asarray(of_all.agent.params["layers_0"]["kernel"])
    assert abs(kernels[0] - kernels[1]).max() > 0.01


def in_two_pieces(catching, seed):
    """The state after 50 frames, all of which are kept, and the infos."""
    _, begin, frames, _ = catching
    first, early = frames(seed, begin(seed), 25)
    state, late = frames(seed, first, 25)
    return state, jax.tree.map(lambda *parts: np.concatenate(parts), early, late)


def test_what_is_kept_is_what_was_seen_and_a_time_limit_is_no_end(catching):
    """40 frames at most an episode: the frame that is cut short is followed by what it led to."""
    env, *_ = catching
    state, _ = in_two_pieces(catching, 4)
    kept = jax.tree.map(lambda rows: np.asarray(rows), state.agent.memory.examples)
    assert not kept.terminal[39]
    fall = int(0.06 * 1000 / 30) / env.scale[3]
    np.testing.assert_allclose(
        kept.next_obs[39, 3] - kept.obs[39, 3], fall, atol=0.6 * fall, rtol=0
    )
    assert abs(kept.obs[40] - kept.next_obs[39]).max() > 0.1  # another episode has begun
    same = np.r_[0:39, 40:49]
    np.testing.assert_array_equal(kept.obs[same + 1], kept.next_obs[same])
    starts = jax.jit(lambda: env.seen(rl.Catcher(64).get_obs(rl.CatcherState(25, 0.0, 0, 0, 3, 0))))
    np.testing.assert_allclose(kept.obs[40, :2], starts()[:2], atol=1e-6)


def test_a_scaled_game_knows_its_bounds_and_can_be_copied():
    env = copy.copy(rl.Scaled(rl.FlappyBird()))
    assert env.num_actions == rl.FlappyBird().num_actions
    space = env.observation_space(env.default_params)
    keys = jax.random.split(jax.random.key(0), 200)
    obs = np.asarray(quickly(jax.vmap(lambda key: env.reset(key, env.default_params)[0]))(keys))
    low, high = np.asarray(space.low), np.asarray(space.high)
    assert ((obs >= low) & (obs <= high)).all()
    assert np.abs([low, high]).max() < 10


def test_exploration_goes_by_the_schedule():
    model = linear(2, 4)
    agent = mer_agent(model, epsilon=optax.linear_schedule(1.0, 0.0, 10))
    seen = transition([1, 0], 0, 0.0, [0, 1])
    start = weights([[0, 0, 1, 0], [0, 0, 0, 0]], [0, 0, 0, 0])

    @jax.jit
    def actions_at(step):
        now = agent.init(start, seen)._replace(step=step)
        keys = jax.random.split(jax.random.key(0), 4000)
        return jax.vmap(lambda key: agent.act(key, now, seen.obs))(keys)

    for step, share in ((0, 0.25), (5, 0.625), (10, 1.0), (99, 1.0)):
        actions = np.asarray(actions_at(np.int32(step)))
        assert abs((actions == 2).mean() - share) < 0.03
        assert actions.dtype == np.int32


def test_scores_are_sums_of_rewards_up_to_the_end_or_the_cap():
    """A paddle that stays on the left misses three fruits unless they fall on it: -3 - 5."""
    env = rl.Catcher()

    def score(policy, cap, **changed):
        params = rl.CatcherParams(**changed)
        played = quickly(lambda key: rl.evaluate(key, policy, env, params, 8, cap))
        return jax.device_get(played(jax.random.key(0)))

    stay = score(lambda obs: 0, 10_000)
    assert (stay.score == stay.gains - 3 - 5).all()
    assert (stay.gains == 0).any()
    np.testing.assert_array_equal(score(lambda obs: 0, 20).score, 0)

    def follow(obs):
        ahead = obs[2] - obs[0] - 5 * obs[1]
        return jnp.where(jnp.abs(ahead) < 20, 2, jnp.where(ahead > 0, 1, 0))

    caught = score(follow, 1000)
    assert caught.gains.mean() > 15
    # The environment's own limit counts, too.
    few, same = score(follow, 1000, max_steps_in_episode=200), score(follow, 200)
    np.testing.assert_array_equal(few.gains, same.gains)
    assert few.gains.max() < caught.gains.mean()


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
    judge = jax.jit(_q_agent.judging(model, 0.5))
    eye = np.eye(2, dtype=np.float32)
    batch = Transition(eye, np.int32([0, 1]), np.float32([1, 2]), eye, np.array([False, True]))
    judged = judge(weights([[3, 4], [5, 6]], [0, 0]), batch)
    assert isinstance(judged, Judged)
    np.testing.assert_allclose(judged.target, [1 + 0.5 * 4, 2])


CAPACITY = 20_000


def small_agent(kind, capacity=CAPACITY, **changed):
    model = rl.q_network((4, 16, 3))
    shared = dict(discount=0.9, epsilon=optax.linear_schedule(1.0, 0.1, 20), target_every=20)
    if kind == "mer":
        return model, mer_agent(
            model, num_batches=2, batch_size=4, capacity=capacity, **shared | changed
        )
    memory = {"fifo": rl.fifo, "reservoir": mer_jax.reservoir}[kind](capacity)
    return model, rl.dqn(
        model, optimizer=optax.sgd(0.01), batch_size=8, memory=memory, **shared | changed
    )


@pytest.mark.parametrize("kind", ["fifo", "reservoir", "mer"])
def test_no_frame_copies_a_leaf_of_the_replay(kind):
    """XLA's count of copies, for a step alone, in a scan, and with both under a vmap.

    A leaf has at least 20 kB.
    """
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
        program = quickly(function, same_fusions=True, donate_argnums=0)
        compiled = program.lower(*args).compile()
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

    @quickly
    def end(start):
        keys = jax.random.split(jax.random.key(0), 200)
        return jax.lax.scan(step, agent.init(start, seen), keys)[0].params

    start = weights([[0.5]], [0])
    ends = jax.device_get([end(start), end(jax.tree.map(lambda p: p.astype(jnp.bfloat16), start))])
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

    @quickly
    def filled_and_after(fill_keys, keys):
        def fill(state, key):
            return plain.update(key, state, seen)[0], None

        state, _ = jax.lax.scan(fill, agent.init(start, seen), fill_keys)
        return state, jax.vmap(lambda key: agent.update(key, state, seen))(keys)

    split = jax.random.split
    state, (after, info) = jax.device_get(
        filled_and_after(split(jax.random.key(8), 64), split(jax.random.key(9), 2000))
    )
    assert state.params["layers_0"]["bias"] == 0  # the reward is 0, and so is the value
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
            ends.append(learned(agent, model, stream(20, 4), same_fusions=True)[0])
        jax.tree.map(np.testing.assert_array_equal, *ends)


class InDouble(rl.Catcher):
    """Catcher with rewards and observations of double precision."""

    default_params = rl.CatcherParams(fall_speed=0.06)

    def get_obs(self, state, params=None, key=None):
        return super().get_obs(state).astype(jnp.float64)

    def step_env(self, key, state, action, params):
        obs, state, reward, *rest = super().step_env(key, state, action, params)
        return obs, state, reward.astype(jnp.float64), *rest


@pytest.mark.parametrize("name", ["BernoulliBandit-misc", "UmbrellaChain-bsuite", None])
def test_rewards_of_other_types(name):
    """Integers in the second, in double precision in the last."""
    import gymnax

    with jax.enable_x64(name is None):
        env = InDouble(64) if name is None else gymnax.make(name)[0]
        params = env.default_params
        sizes = (*env.observation_space(params).shape, env.num_actions)
        model = rl.q_network(sizes)
        agent = mer_agent(model)

        @quickly
        def run(key):
            state = rl.start(key, agent, env, params, model.init(key))
            state, infos = rl.play(key, agent, env, params, state, 30)
            policy = rl.greedy(model, state.agent.params)
            return state, infos, rl.evaluate(key, policy, env, params, 3, 20)

        state, infos, played = run(jax.random.key(0))
        assert jax.tree.leaves(state.agent.memory.examples.reward)[0].dtype == jnp.float32
        assert infos.episode_return.dtype == jnp.float32
        assert (played.score.dtype, played.gains.dtype) == (jnp.float32, jnp.int32)
        assert np.isfinite(played.score).all()


@pytest.mark.parametrize(
    ("name", "outputs", "says"),
    [
        ("CartPole-v1", 3, r"each of the 2 actions of env, shape \[2\], got shape \[3\]"),
        ("Pendulum-v1", 1, "must be discrete .* got Box"),
    ],
)
def test_a_network_and_an_environment_that_do_not_fit(name, outputs, says):
    import gymnax

    env, params = gymnax.make(name)
    model = rl.q_network((*env.observation_space(params).shape, outputs))

    def start(key):
        return rl.start(key, mer_agent(model), env, params, model.init(key))

    with pytest.raises(ValueError, match=says):
        jax.eval_shape(start, jax.random.key(0))


def test_returns_of_finished_episodes(catching):
    """Sums of what was kept, over the frames between the ends of two episodes."""
    state, infos = in_two_pieces(catching, 3)
    kept = jax.tree.map(np.asarray, state.agent.memory.examples)
    assert infos.episode_over.sum() > 0
    assert infos.loss.shape == (50,)
    total = 0.0
    for frame in range(50):
        total += kept.reward[frame]
        assert infos.episode_return[frame] == total
        assert infos.episode_over[frame] or not kept.terminal[frame]
        total *= not infos.episode_over[frame]
    assert state.episode_return == total
    ends = np.flatnonzero(infos.episode_over)
    assert (np.diff([-1, *ends]) <= 40).all()  # the time limit


def test_the_greedy_policy():
    model = linear(2, 3)
    policy = rl.greedy(model, weights([[1, 0, 2], [0, 3, 1]], [0, 0, 0]))
    actions = jax.jit(jax.vmap(policy))(np.float32([[1, 0], [0, 1], [0, 0]]))
    np.testing.assert_array_equal(actions, [2, 1, 0])
    assert actions.dtype == jnp.int32


def whole_run(kind, make_key=jax.random.key):
    """A function of a seed: its network after 30 frames, the infos, and what it then gains."""
    env = rl.Scaled(rl.Catcher(64))
    params = rl.CatcherParams(fall_speed=0.06, max_steps_in_episode=40)
    model, agent = small_agent(kind, 25)

    def run(seed):
        network_key, *keys = jax.random.split(make_key(seed), 4)
        state = rl.start(keys[0], agent, env, params, model.init(network_key))
        state, infos = rl.play(keys[1], agent, env, params, state, 30)
        policy = rl.greedy(model, state.agent.params)
        return state, infos, rl.evaluate(keys[2], policy, env, params, 3, 50)

    return run


@contextlib.contextmanager
def all_checks():
    """Every mode that only raises, so that one run shows that none of them does."""
    with (
        jax.numpy_dtype_promotion("strict"),
        jax.numpy_rank_promotion("raise"),
        jax.debug_nans(True),
        jax.debug_infs(True),
    ):
        yield


MODES = {"x64": lambda: jax.enable_x64(True), "checks": all_checks}


@pytest.fixture(scope="module")
def plain_run():
    return quickly(whole_run("mer"))(np.uint32(3))


@pytest.mark.parametrize("mode", MODES)
def test_modes_of_jax_change_no_number(mode, plain_run):
    with MODES[mode]():
        came = quickly(whole_run("mer"))(np.uint32(3))
    assert jax.tree.map(jnp.result_type, came) == jax.tree.map(jnp.result_type, plain_run)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), came, plain_run
    )


def test_no_tracer_leaks(plain_run):
    with jax.checking_leaks():
        traced = jax.eval_shape(whole_run("mer"), np.uint32(3))
    chex.assert_trees_all_equal_shapes_and_dtypes(traced, plain_run)


def test_old_keys_are_the_same_and_other_generators_work(monkeypatch):
    key = jax.random.key.func  # not of `quick_keys`
    monkeypatch.setattr("jax.random.key", key)
    old, new = (quickly(whole_run("mer", make))(np.uint32(3)) for make in (jax.random.PRNGKey, key))
    jax.tree.map(np.testing.assert_array_equal, old, new)
    rbg = quickly(whole_run("mer", lambda seed: key(seed, impl="rbg")))(np.uint32(3))
    assert np.isfinite(rbg[1].loss).all()


def run_without_game(kind):
    """A function of a seed: its network after 30 frames of a stream, and the infos."""
    model, agent = small_agent(kind, 25)
    learn = learning(agent, model, stream(30, 4))
    return lambda seed: learn(jax.random.key(seed))


def on_devices():
    """Seeds under a vmap in a mesh of the context, whose axis is explicit, and by hand.

    This needs four devices, see `test_on_devices`.
    """
    seeds, over = np.arange(4, dtype=np.uint32), PartitionSpec("seed")
    mesh = jax.make_mesh((4,), ("seed",))
    placed = jax.device_put(seeds, NamedSharding(mesh, over))
    run = jax.vmap(whole_run("mer"))
    expected = jax.device_get(quickly(run)(seeds))
    with jax.set_mesh(mesh):
        came = quickly(run)(placed)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6), came, expected
    )
    assert {leaf.sharding.spec[0] for leaf in jax.tree.leaves(came)} == {"seed"}
    # The numbers of the other agent are compared by `composing.on_mesh`: here only types can go
    # wrong. The game and all that plays in it are the same for both.
    other = jax.vmap(run_without_game("fifo"))
    with jax.set_mesh(mesh):
        traced = jax.eval_shape(other, placed)
    assert {leaf.sharding.spec[0] for leaf in jax.tree.leaves(traced)} == {"seed"}
    for one, known in ((run, expected), (other, jax.eval_shape(other, seeds))):
        by_hand = jax.shard_map(one, mesh=mesh, in_specs=over, out_specs=over)
        chex.assert_trees_all_equal_shapes_and_dtypes(jax.eval_shape(by_hand, placed), known)
