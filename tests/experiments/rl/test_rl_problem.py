"""The problem of a game: its tasks, its agents and its programs, which are only traced."""

import subprocess
import sys

import jax
import numpy as np
import pytest

pytest.importorskip("gymnax", reason="mer_jax.rl needs it")

from experiments.rl import CHOSEN, GAMES, Play, problem
from experiments.running.problem import Own

pytestmark = pytest.mark.usefixtures("quick_keys")


def test_tasks_get_harder():
    catcher, flappy = (GAMES[name] for name in ("catcher", "flappy-bird"))
    speeds = [catcher.params(task).fall_speed for task in range(6)]
    np.testing.assert_allclose(speeds, [0.608, 0.638, 0.668, 0.698, 0.728, 0.758])
    assert [flappy.params(task).pipe_gap for task in range(6)] == [100, 95, 90, 85, 80, 75]


@pytest.mark.parametrize("x64", [False, True])
@pytest.mark.parametrize(("game", "agent"), CHOSEN)
def test_programs_are_traced_in_both_precisions(game, agent, x64):
    play = Play(game=game, agent=agent, tasks=2, hidden=(8,), capacity=60, evaluate_every=50)
    part = problem(play)
    assert part is problem(Play(**vars(play)))  # so that two runs share compiled programs
    with jax.enable_x64(x64):
        own = Own(
            np.uint32(0), {name: np.float32(rate) for name, rate in CHOSEN[game, agent].items()}
        )
        params = jax.eval_shape(part.network, own.seed)
        state = jax.eval_shape(part.start, params, own, ())
        after, info, fine = jax.eval_shape(part.advance, state, own, (), np.int32(0))
        assert jax.tree.leaves((state, part.params(state))) == jax.tree.leaves((after, params))
        assert (info, fine.shape) == (None, ())
        for evaluate in (part.evaluate, part.last):
            row = jax.eval_shape(evaluate, params, own, (), np.int32(0), np.arange(2))
            assert {name: values.shape for name, values in row.items()} == {
                "score": (2,), "gains": (2,)
            }  # fmt: skip


def test_the_backend_starts_when_a_game_is_made():
    """gymnax starts it when it is imported, and each core is made a device before."""
    code = (
        "import sys; from experiments.rl import PROGRAM, Config; "
        "PROGRAM.study(Config(), print); assert 'gymnax' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
