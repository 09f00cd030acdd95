"""The benchmark's own machinery; what it measures is no test."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest

import mer_jax
from experiments import bench


def test_pairs_are_measured_in_turn():
    clock = itertools.count()
    first, second = bench.pairs(lambda: next(clock), lambda: next(clock), repeats=3)
    assert (first, second) == ([0, 2, 4], [1, 3, 5])
    assert bench.row("what", [3.0, 1.0, 2.0], "s").median == 2.0


def test_measures_a_step_of_both_kinds():
    assert bench.mer_seconds(num_batches=2, batch_size=3, capacity=10, length=2)() > 0
    assert bench.batched_seconds(batch_size=3, length=2)() > 0


def test_plays_as_many_frames_as_it_says():
    """Of a game that gives 1 for each: shared out among the devices, each game's sum."""
    pytest.importorskip("gymnax", reason="mer_jax.rl needs it")
    env = mer_jax.rl.Catcher()
    env.step_env = lambda key, state, *_: (jnp.zeros(4), state, jnp.float32(1), False, {})
    played = bench.frames(env, env.default_params, num_games=8, length=7)()
    np.testing.assert_array_equal(np.ravel(played), [7] * 8)


def test_bad_input_gets_one_clear_line(capsys):
    with pytest.raises(SystemExit) as stop:
        bench.main(["--repeats", "0"])
    assert stop.value.code == 2
    complaint = capsys.readouterr().err
    assert "--repeats must be a whole number of at least 1, got 0" in complaint
    assert complaint.count("\n") == 1
