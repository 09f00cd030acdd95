"""Catcher and Flappy Bird against recordings of the originals, frame by frame, and by hand."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

pytest.importorskip("gymnax", reason="the games are gymnax environments")

from mer_jax import rl
from mer_jax.rl import flappy_bird
from tests.mer_jax.compiling import quickly

ROOT = Path(__file__).parents[3]
RECORDED = Path(__file__).parent / "games"
CATCHER = sorted(path.stem for path in RECORDED.glob("catcher_*.npz"))
FLAPPY = sorted(path.stem for path in RECORDED.glob("flappy_*.npz"))


def recorded(name):
    """All rows of a recording, those which a frame leads to, and those before these."""
    with np.load(RECORDED / f"{name}.npz") as file:
        rows = {key: file[key] for key in file.files}
    after = np.flatnonzero(rows["kind"] == 2)
    assert len(after) > 3000
    return rows, after, after - 1


@functools.cache
def step_of_all(make, *args):
    """A compiled frame of the game `make(*args)`, from many states at once."""
    return quickly(jax.vmap(make(*args).step_env, in_axes=(0, 0, 0, None)))


@functools.cache
def resets(make, *args):
    """A compiled reset of the game `make(*args)`, with many keys."""
    return quickly(jax.vmap(make(*args).reset_env, in_axes=(0, None)))


LONGEST = 8192


def frames(params, states, actions, make, *args):
    """One frame from each of the states, all at once.

    Short recordings are filled up with copies of their first state, so that one program serves all.
    """
    size = len(actions)
    row = np.arange(max(LONGEST, size))
    row[size:] = 0
    keys = jax.random.split(jax.random.key(0), len(row))
    states, actions = jax.tree.map(lambda leaf: np.asarray(leaf)[row], (states, actions))
    came = jax.device_get(step_of_all(make, *args)(keys, states, actions, params))
    return jax.tree.map(lambda leaf: leaf[:size], came)


def catcher_states(rows, which):
    names = ("paddle_x", "paddle_vel", "fruit_x", "fruit_y", "lives")
    return rl.CatcherState(*(rows[name][which] for name in names), np.zeros(len(which), np.int32))


@pytest.mark.parametrize("name", CATCHER)
def test_catcher_is_the_original_frame_by_frame(name):
    rows, after, before = recorded(name)
    size_and_rule = int(rows["width"]), str(rows["rule"])
    env = rl.Catcher(*size_and_rule)
    params = rl.CatcherParams(fall_speed=float(rows["fall_speed"]))
    obs, state, reward, over, _ = frames(
        params, catcher_states(rows, before), rows["action"][after], rl.Catcher, *size_and_rule
    )
    drawn = rows["draw_fruit"][after, 0] >= 0
    assert 20 < drawn.sum() < len(drawn) / 2
    np.testing.assert_array_equal(state.paddle_x, rows["paddle_x"][after])
    np.testing.assert_allclose(state.paddle_vel, rows["paddle_vel"][after], atol=1e-4, rtol=0)
    np.testing.assert_array_equal(state.lives, rows["lives"][after])
    np.testing.assert_array_equal(reward, rows["reward"][after])
    np.testing.assert_array_equal(over, rows["game_over"][after])
    for field in ("fruit_x", "fruit_y"):
        np.testing.assert_array_equal(
            getattr(state, field)[~drawn], rows[field][after][~drawn], field
        )
    np.testing.assert_allclose(obs[~drawn], rows["state"][after][~drawn], atol=1e-4, rtol=0)
    # What was drawn anew is one of the places, and has fallen for a frame.
    assert set(state.fruit_x[drawn]) <= set(env.places_x)
    fall = float(rows["fall_speed"]) * 1000 / 30
    whole = np.trunc if env.rounding == "trunc" else np.rint
    assert set(state.fruit_y[drawn]) <= {int(whole(fall - y)) for y in env.places_y}


def flappy_states(rows, which):
    lives = rows["lives"][which]
    return rl.FlappyBirdState(
        rows["bird_y"][which],
        rows["bird_vel"][which],
        rows["bird_flapped"][which],
        rows["bird_thrust"][which] > 0,
        rows["pipe_x"][which],
        rows["pipe_gap_start"][which],
        lives,
        np.zeros_like(lives),
    )


@pytest.mark.parametrize("name", FLAPPY)
def test_flappy_bird_is_the_original_frame_by_frame(name):
    rows, after, before = recorded(name)
    params = rl.FlappyBirdParams(pipe_gap=int(rows["pipe_gap"]))
    obs, state, reward, over, _ = frames(
        params, flappy_states(rows, before), rows["action"][after], rl.FlappyBird
    )
    drawn = rows["draw_gap"][after] >= 0  # [n, 3]
    assert 20 < drawn.sum() < len(drawn) / 2
    for field in ("bird_y", "bird_vel", "lives"):
        np.testing.assert_array_equal(getattr(state, field), rows[field][after], field)
    np.testing.assert_array_equal(state.flapped, rows["bird_flapped"][after])
    np.testing.assert_array_equal(state.thrust, rows["bird_thrust"][after] > 0)
    np.testing.assert_allclose(state.pipe_x, rows["pipe_x"][after], atol=1e-3, rtol=0)
    np.testing.assert_array_equal(
        state.pipe_gap_start[~drawn], rows["pipe_gap_start"][after][~drawn]
    )
    np.testing.assert_array_equal(reward, rows["reward"][after])
    np.testing.assert_array_equal(over, rows["game_over"][after])
    gaps = state.pipe_gap_start[drawn]
    assert rows["pipe_min"] <= gaps.min() <= gaps.max() <= rows["pipe_max"]
    # A new gap is far away, and only the two next pipes are seen.
    np.testing.assert_allclose(
        obs[~drawn.any(1)], rows["state"][after][~drawn.any(1)], atol=1e-3, rtol=0
    )


@pytest.mark.parametrize("name", [FLAPPY[0], CATCHER[0]])
def test_a_reset_is_the_original_but_for_the_birds_velocity(name):
    rows, _, _ = recorded(name)
    at_resets = np.flatnonzero(rows["kind"] == 1)
    if name in FLAPPY:
        env, params = rl.FlappyBird(), rl.FlappyBirdParams(pipe_gap=int(rows["pipe_gap"]))
        fields = {"bird_y": "bird_y", "flapped": "bird_flapped", "thrust": "bird_thrust"}
        fields |= {"pipe_x": "pipe_x", "lives": "lives"}
        fields_at_0 = ("bird_vel",)
    else:
        env = rl.Catcher(int(rows["width"]), str(rows["rule"]))
        params = rl.CatcherParams()
        fields = {name: name for name in ("paddle_x", "paddle_vel")}
        fields_at_0 = ()
    _, state = jax.device_get(quickly(env.reset_env)(jax.random.key(0), params))
    assert all(getattr(state, field) == 0 for field in fields_at_0)
    for ours, theirs in fields.items():
        for row in rows[theirs][at_resets]:
            np.testing.assert_array_equal(getattr(state, ours), row)


def even(drawn, places):
    """Whether the places were drawn equally often, by a chi-squared test."""
    places = np.asarray(places)
    counts = (np.asarray(drawn)[:, None] == places).sum(0)
    assert counts.sum() == len(drawn), "something else was drawn"
    return stats.chisquare(counts).pvalue > 1e-4


@pytest.mark.parametrize(("size", "rounding"), [(640, "trunc"), (64, "round")])
def test_fruits_are_drawn_evenly(size, rounding):
    env = rl.Catcher(size, rounding)
    keys = jax.random.split(jax.random.key(3), 40_000)
    _, state = jax.device_get(resets(rl.Catcher, size, rounding)(keys, env.default_params))
    assert (len(env.places_x), len(env.places_y)) == {640: (13, 8), 64: (12, 7)}[size]
    assert even(state.fruit_x, env.places_x)
    assert even(-state.fruit_y, env.places_y)
    pairs = state.fruit_x * 1000 - state.fruit_y
    assert even(pairs, [x * 1000 + y for x in env.places_x for y in env.places_y])
    assert not even(pairs[: len(pairs) // 2].repeat(2), np.unique(pairs))  # the test can fail


@pytest.mark.parametrize("gap", [100, 95, 90, 85, 80, 75])
def test_gaps_are_drawn_evenly(gap):
    """At a reset and when a pipe comes in anew."""
    first, last = {100: (25, 192), 95: (23, 195), 90: (22, 197), 85: (21, 200), 80: (20, 202),
                   75: (18, 205)}[gap]  # fmt: skip
    params = rl.FlappyBirdParams(pipe_gap=gap)
    keys = jax.random.split(jax.random.key(gap), 40_000)
    _, state = jax.device_get(resets(rl.FlappyBird)(keys, params))
    for pipe in range(3):
        assert even(state.pipe_gap_start[:, pipe], range(first, last + 1))
    assert abs(np.corrcoef(state.pipe_gap_start.T) - np.eye(3)).max() < 0.03
    gone = state.replace(pipe_x=np.tile(np.float32([-56, 88, 232]), (40_000, 1)))
    _, state, *_ = frames(params, gone, np.ones(40_000, np.int32), rl.FlappyBird)
    assert even(state.pipe_gap_start[:, 0], range(first, last + 1))
    np.testing.assert_allclose(state.pipe_x[0], [393.6, 84, 228], rtol=1e-6)


def test_after_the_game_is_over_nothing_changes():
    for env, over in (
        (rl.Catcher(), rl.CatcherState(100, 3.0, 200, 700, 0, 9)),
        (rl.FlappyBird(), rl.FlappyBirdState(
            300.0, 4.0, False, False, np.float32([90, 234, 378]), np.int32([30, 40, 50]), -1, 9)),
    ):  # fmt: skip
        params = env.default_params
        obs, state, reward, done, _ = quickly(env.step_env)(jax.random.key(0), over, 0, params)
        jax.tree.map(np.testing.assert_array_equal, state, over)
        assert (float(reward), bool(done)) == (0, True)
        np.testing.assert_array_equal(obs, env.get_obs(over, params))


def test_the_last_crash_may_come_with_a_point():
    """Between the pipes at x = 80 and above the gap: +1 and -5, from one life to none."""
    state = rl.FlappyBirdState(
        20.0, 4.0, False, False, np.float32([80, 224, 368]), np.int32([30, 40, 50]), 1, 0
    )
    env = rl.FlappyBird()
    _, state, reward, over, _ = quickly(env.step_env)(
        jax.random.key(0), state, 1, env.default_params
    )
    assert (float(reward), bool(over), int(state.lives)) == (-4, True, 0)


@pytest.mark.parametrize(
    ("env", "changed"),
    [
        (rl.Catcher(), {}),
        (rl.Catcher(64, "round"), {"fall_speed": 0.0608, "lives": 2}),
        (rl.FlappyBird(), {"pipe_gap": 80}),
    ],
)
def test_as_a_gymnax_environment(env, changed):
    """Six values, an episode that begins anew by itself, spaces that hold what is seen."""
    params = env.default_params.replace(max_steps_in_episode=50, **changed)
    assert env.num_actions == env.action_space(params).n

    def step(carry, key):
        action_key, key = jax.random.split(key)
        action = env.action_space(params).sample(action_key)
        obs, state, reward, terminated, truncated, info = env.step(key, carry, action, params)
        seen = obs, info["final_observation"], state.time, reward, terminated, truncated
        return state, seen

    @quickly
    def play(key, keys):
        _, start = env.reset(key, params)
        end, seen = jax.lax.scan(step, start, keys)
        return start, end, seen, jax.vmap(env.observation_space(params).contains)(seen[0])

    keys = jax.random.split(jax.random.key(1), 2000)
    state, end, seen, contained = jax.device_get(play(jax.random.key(0), keys))
    obs, final, time, reward, terminated, truncated = seen
    assert jax.tree.map(lambda leaf: (leaf.shape, leaf.dtype), end) == jax.tree.map(
        lambda leaf: (leaf.shape, leaf.dtype), state
    )
    assert terminated.sum() + truncated.sum() > 30
    assert truncated.sum() > 0
    np.testing.assert_array_equal(time == 0, terminated | truncated)
    assert contained.all()
    assert obs.dtype == final.dtype == reward.dtype == np.float32
    goes_on = ~(terminated | truncated)
    np.testing.assert_array_equal(final[goes_on], obs[goes_on])
    state_space = env.state_space(params)
    assert set(state_space.spaces) == set(vars(state))


def test_difficulty_may_be_traced():
    speeds = np.float32([0.608, 0.638])
    state = rl.CatcherState(300, 0.0, 100, 0, 3, 0)
    _, fallen, *_ = quickly(
        jax.vmap(
            lambda speed: rl.Catcher().step_env(
                jax.random.key(0), state, 2, rl.CatcherParams(fall_speed=speed)
            )
        )
    )(speeds)
    np.testing.assert_array_equal(fallen.fruit_y, [20, 21])


def test_what_is_drawn():
    """The corners of every box, and nothing beside it."""
    image = np.asarray(quickly(rl.Catcher().render)(rl.CatcherState(256, 0.0, 76, 300, 3, 0)))
    assert (image.shape, image.dtype) == ((640, 640, 3), np.uint8)
    white = np.argwhere((image == 255).all(-1))
    np.testing.assert_array_equal(white.min(0), [611, 256])
    np.testing.assert_array_equal(white.max(0), [636, 383])
    fruit = np.argwhere((image == (255, 120, 120)).all(-1))
    np.testing.assert_array_equal(fruit.min(0), [300, 76])
    np.testing.assert_array_equal(fruit.max(0), [337, 113])
    assert len(white) + len(fruit) == (image != 0).any(-1).sum()

    state = rl.FlappyBirdState(
        200.0, 0.0, False, False, np.float32([100, 244, 388]), np.int32([150, 60, 90]), 1, 0
    )
    image = np.asarray(quickly(rl.FlappyBird().render)(state))
    assert image.shape == (flappy_bird.HEIGHT, flappy_bird.WIDTH, 3)
    colours = {tuple(image[row, column]) for row, column in ((0, 80), (260, 80), (400, 100))}
    assert len(colours) == 1  # the pipe above its gap and below
    assert tuple(image[200, 57]) == tuple(image[223, 90]) != tuple(image[224, 57])
    assert tuple(image[200, 74 + 20]) == tuple(image[0, 0])  # in the gap there is sky


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: rl.Catcher(0), "size must be a whole number of at least 1, got 0"),
        (lambda: rl.Catcher(3), "size must be at least 9, to leave the fruit a pixel, got 3"),
        (lambda: rl.Catcher(640, "floor"), 'rounding must be "trunc" or "round", got \'floor\''),
    ],
)
def test_bad_games(make, says):
    with pytest.raises(ValueError, match=says):
        make()


def test_without_gymnax_the_rest_works():
    program = (
        "import sys; sys.modules['gymnax'] = None\n"
        "import mer_jax\n"
        "try:\n    mer_jax.rl\n"
        "except ImportError as error:\n    print(error)"
    )
    result = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, check=True,
        env=os.environ | {"JAX_PLATFORMS": "cpu"},
    )  # fmt: skip
    assert result.stdout.strip() == "mer_jax.rl needs gymnax: pip install 'mer_jax[rl]'"


GAMES = [(rl.Catcher(64), {"fall_speed": 0.06}), (rl.FlappyBird(), {"pipe_gap": 95})]


def played(env, changed, one_by_one=False):
    """What 60 frames give, the first crash of Flappy Bird among them, and a picture.

    Args:
      one_by_one: if True, the operations of the reset and of the picture are run one after another,
        so that JAX looks at the numbers between them.
    """
    compiled = (lambda function: function) if one_by_one else quickly
    params = env.default_params.replace(**changed)

    def frame(carry, key):
        obs, carry, reward, terminated, truncated, info = env.step(key, carry, 1, params)
        return carry, (obs, info["final_observation"], reward, terminated, truncated)

    state = compiled(env.reset)(jax.random.key(0), params)[1]
    keys = jax.random.split(jax.random.key(1), 60)
    end, seen = quickly(lambda state, keys: jax.lax.scan(frame, state, keys))(state, keys)
    return end, seen, compiled(env.render)(end, params)


@functools.cache
def played_plainly(number):
    return played(*GAMES[number])


@pytest.mark.parametrize("number", range(len(GAMES)), ids=["catcher", "flappy"])
@pytest.mark.parametrize(
    "mode",
    [
        lambda: jax.enable_x64(True),
        lambda: jax.numpy_dtype_promotion("strict"),
        lambda: jax.numpy_rank_promotion("raise"),
        lambda: jax.debug_nans(True),
        lambda: jax.debug_infs(True),
        lambda: jax.checking_leaks(),
    ],
    ids=["x64", "strict", "rank", "nans", "infs", "leaks"],
)
def test_a_game_keeps_its_types_and_its_numbers(number, mode):
    env, changed = GAMES[number]
    expected = played_plainly(number)
    with mode():
        came = played(
            env, changed, one_by_one=jax.config.jax_debug_nans or jax.config.jax_debug_infs
        )
    assert np.any(expected[1][3]) or isinstance(env, rl.Catcher)
    assert jax.tree.map(lambda leaf: leaf.dtype, came) == jax.tree.map(
        lambda leaf: leaf.dtype, expected
    )
    jax.tree.map(np.testing.assert_array_equal, came, expected)


def test_any_environment_can_be_scaled():
    gymnax = pytest.importorskip("gymnax")
    plain, params = gymnax.make("MountainCar-v0")
    env = rl.Scaled(plain, centre=(-0.5, 0.01), scale=(0.5, 0.05))
    key = jax.random.key(0)
    obs, state = quickly(env.reset)(key, params)
    centre, scale = np.array([-0.5, 0.01]), np.array([0.5, 0.05])
    of_plain = np.asarray(quickly(plain.reset)(key, params)[0])
    np.testing.assert_allclose(obs, (of_plain - centre) / scale, rtol=1e-6)
    after = quickly(env.step)(key, state, 2, params)
    of_plain = np.asarray(quickly(plain.step)(key, state, 2, params)[0])
    np.testing.assert_allclose(after[0], (of_plain - centre) / scale, rtol=1e-6)
    np.testing.assert_array_equal(after[0], after[5]["final_observation"])
    space = env.observation_space(params)
    np.testing.assert_allclose(space.low, [(-1.2 + 0.5) / 0.5, (-0.07 - 0.01) / 0.05], rtol=1e-5)
    # One number for all, and whole numbers that become floating-point ones.
    board = rl.Scaled(gymnax.make("Freeway-MinAtar")[0], centre=0.5, scale=0.5)
    obs, _ = quickly(board.reset)(key, board.default_params)
    assert set(np.unique(obs)) == {-1, 1}
    assert obs.dtype == board.observation_space(board.default_params).dtype == jnp.float32


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "env must have an attribute centre, got MountainCar without one; give centre="),
        ({"centre": 0}, "env must have an attribute scale, got MountainCar without one"),
        ({"centre": 0, "scale": (1, 0)}, r"scale must be above 0, got \[1.0, 0.0\]"),
        ({"centre": np.inf, "scale": 1}, "centre must be finite, got inf"),
        ({"centre": 0, "scale": (1, 1, 1)}, r"scale must be one number or .* \[2\], got \[3\]"),
    ],
)
def test_bad_scales(given, says):
    env, params = pytest.importorskip("gymnax").make("MountainCar-v0")
    with pytest.raises(ValueError, match=says):
        jax.eval_shape(rl.Scaled(env, **given).reset, jax.random.key(0), params)
