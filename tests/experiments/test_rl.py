"""The experiment on games: what it leaves behind, what it refuses, and how it goes on."""

import json
import re
from pathlib import Path

import jax
import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gymnax", reason="mer_jax.rl needs it")

from experiments import intervals, playing, rl, rl_sweeps, tables

SMALL = [
    "--tasks", "2", "--frames-per-task", "100", "--evaluate-every", "50", "--episodes", "2",
    "--max-frames", "60", "--seeds", "2", "--hidden", "8", "--capacity", "60", "--replays", "4",
]  # fmt: skip


def run(out, *more):
    rl.main([*SMALL, "--out", str(out), *more])
    return json.loads((out / "metrics.json").read_text())


@pytest.mark.parametrize(
    ("game", "agent"),
    [("catcher", "dqn"), ("catcher", "dqn-reservoir"), ("flappy-bird", "dqn-mer")],
)
def test_what_a_run_leaves_behind(game, agent, tmp_path):
    metrics = run(tmp_path, "--game", game, "--agent", agent)
    scores = np.array(metrics["scores"])
    assert scores.shape == (2, 5, 2)  # seeds, evaluations, tasks
    assert metrics["frames"] == [0, 50, 100, 150, 200]
    final = metrics["final_score"]
    np.testing.assert_allclose(final["per_seed"], scores[:, -1].mean(1), atol=1e-3)
    np.testing.assert_allclose(final["mean"], np.mean(final["per_seed"]), rtol=1e-6)
    by_task = [spread["mean"] for spread in metrics["score_by_task"]]
    np.testing.assert_allclose(by_task, scores[:, -1].mean(0), atol=1e-3)
    late = scores[:, 3:].mean((1, 2))
    np.testing.assert_allclose(metrics["late_score"]["per_seed"], late, atol=1e-3)
    gains = np.array([spread["per_seed"] for spread in metrics["gains_by_task"]])
    assert gains.shape == (2, 2)
    assert (gains >= 0).all()
    assert metrics["seconds"] > 0
    assert metrics["bytes_per_run"] > 60 * (2 * 4 * 4)
    assert metrics["config"]["agent"] == agent
    begun = json.loads((tmp_path / "run.json").read_text())
    assert begun == {name: metrics[name] for name in begun}
    table = (tmp_path / "table.md").read_text()
    assert f"| {final['mean']:.2f} ± {final['std']:.2f} |" in table
    assert (tmp_path / "scores.png").read_bytes().startswith(b"\x89PNG")
    with Image.open(tmp_path / "task-2.gif") as film:
        assert film.n_frames > 10
        assert max(film.size) == 240


def test_a_run_in_double_precision(tmp_path):
    with jax.enable_x64(True):
        metrics = run(tmp_path, "--game", "flappy-bird", "--agent", "dqn", "--no-films")
    assert np.isfinite(metrics["scores"]).all()


def test_a_sweep_has_an_entry_for_each_combination(tmp_path):
    metrics = run(
        tmp_path,
        "--no-films",
        "--alpha",
        "0.01",
        "0.001",
        "--gamma",
        "0.3",
        "1",
        "--seed-batch",
        "3",
    )
    entries = metrics["settings"]
    assert list(entries) == [
        f"alpha {alpha}, gamma {gamma}" for alpha in ("0.01", "0.001") for gamma in ("0.3", "1")
    ]
    alone = run(tmp_path / "alone", "--no-films", "--alpha", "0.001", "--gamma", "0.3")
    np.testing.assert_allclose(
        entries["alpha 0.001, gamma 0.3"]["scores"], alone["scores"], atol=0.01
    )


class Stop(Exception):
    pass


def test_it_goes_on_with_the_same_bits(tmp_path, monkeypatch):
    """Stopped after three of five evaluations, and then gone on with."""
    whole = run(tmp_path / "whole", "--no-films")
    flags = ["--no-films", "--checkpoint-every", "50"]
    learn = playing.learn

    def stopping(*args, **how):
        for number, step in enumerate(learn(*args, **how)):
            if number == 3:
                raise Stop
            yield step

    monkeypatch.setattr(playing, "learn", stopping)
    with pytest.raises(Stop):
        run(tmp_path / "part", *flags)
    monkeypatch.undo()
    with pytest.raises(SystemExit):
        run(tmp_path / "part", *flags)  # something was begun there
    again = run(tmp_path / "part", *flags, "--resume")
    assert again["scores"] == whole["scores"]
    assert again["params_checksums"] == whole["params_checksums"]


def test_an_agent_that_diverges_stops_the_run(tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run(tmp_path, "--no-films", "--alpha", "1e30", "--gamma", "1")
    assert stop.value.code == 2
    said = " ".join(capsys.readouterr().err.split())
    assert re.search(r"no longer finite after \d+ frames, in task \d; .* is none", said)
    assert not (tmp_path / "part/checkpoints").exists()


def test_differences_by_hand():
    """Differences 1, 2, 3: mean 2, standard error 1 / sqrt(3), t(2) = 4.3027."""
    found = intervals.of_difference({0: 2, 1: 4, 2: 6, 5: 70}, {2: 3, 1: 2, 0: 1, 4: 9})
    assert found == pytest.approx((2, 2 - 4.3027 / 3**0.5, 2 + 4.3027 / 3**0.5), abs=1e-3)
    assert str(intervals.of_difference({0: 2}, {0: 1})) == ""
    assert intervals.of_difference({0: 2}, {1: 1}) is None
    assert intervals.of_difference({0: 2, 1: None}, {0: 1, 1: 1}) is None


def test_the_table_of_games(tmp_path):
    """Drawn from cells as runs leave them; one that is there is not run again."""
    for agent in ("dqn", "dqn-mer", "dqn-reservoir"):
        out = tmp_path / "cells/catcher" / agent
        rng = np.random.default_rng(len(agent))
        config = rl.Config(agent=agent, seeds=3, out=out)
        out.mkdir(parents=True)
        result = rl.summary(rng.normal(size=(3, 151, 6)), rng.random((3, 6))) | {
            "title": "-", "settings": config.rates()[0], "seconds": 1.0
        }  # fmt: skip
        rl.write_results(config, {agent: result})
    tables.main(["rl", "--only-draw", "--out", str(tmp_path)])
    drawn = json.loads((tmp_path / "rl.json").read_text())["catcher"]
    assert list(drawn["differences"]) == ["final_score", "late_score", "mean_score"]
    for name in ("final_score", "late_score"):
        of_pairs = drawn["differences"][name]
        assert len(of_pairs) == 3
        of_mer, of_reservoir = (
            drawn[agent][name]["mean"] for agent in ("dqn-mer", "dqn-reservoir")
        )
        mean, low, high = of_pairs["DQN-MER over DQN with a reservoir"]
        assert mean == pytest.approx(of_mer - of_reservoir)
        assert low < mean < high
    assert "95 % interval" in (tmp_path / "rl.md").read_text()
    assert (tmp_path / "rl-catcher.png").read_bytes().startswith(b"\x89PNG")
    written = (tmp_path / "cells/catcher/dqn/metrics.json").stat().st_mtime_ns
    tables.main(["rl", "--cells", "catcher/dqn", "--seeds", "3", "--out", str(tmp_path)])
    assert (tmp_path / "cells/catcher/dqn/metrics.json").stat().st_mtime_ns == written
    for more in (["--tasks", "4"], ["--test-images", "3", "--seeds", "3"]):
        with pytest.raises(SystemExit) as stop:
            tables.main(["rl", "--cells", "catcher/dqn", "--out", str(tmp_path), *more])
        assert stop.value.code == 2


def test_a_cell_that_is_asked_for_more_seeds_learns_those(tmp_path, monkeypatch):
    """What came of them stands beside what was known, as if all had been learned at once."""

    def small(**how):
        smaller = {"frames_per_task": 100, "evaluate_every": 50, "episodes": 2, "max_frames": 60}
        return make(**smaller | {"hidden": (8,), "capacity": 60, "replays": 4} | how)

    make = rl.Config
    monkeypatch.setattr(rl, "Config", small)
    monkeypatch.setattr(rl, "write_films", lambda *args: None)

    def learned(folder, *seeds):
        for count in seeds:
            tables.main(["rl", "--cells", "catcher/dqn", "--tasks", "2", "--seeds", str(count),
                         "--out", str(folder)])  # fmt: skip
        return json.loads((folder / "cells/catcher/dqn/metrics.json").read_text())

    parts, whole = learned(tmp_path / "parts", "2", "3"), learned(tmp_path / "whole", "3")
    assert parts["seeds"] == whole["seeds"] == [0, 1, 2]
    for name in ("scores", "final_score", "late_score", "score_by_task", "gains_by_task"):
        assert parts[name] == whole[name]
    assert parts["command"] == whole["command"]
    assert not (tmp_path / "parts/cells/catcher/dqn/more").exists()


def test_the_table_of_sweeps(tmp_path):
    """The best setting is bold; each agent was given as many."""
    for cell in rl_sweeps.cells():
        config = rl.Config(agent=cell.agent, game=cell.game, out=tmp_path / "cells" / str(cell),
                           films=False, **dict(cell.swept), **dict(cell.on))  # fmt: skip
        assert len(config.rates()) == 6
        config.out.mkdir(parents=True)
        scores = np.arange(6.0)[:, None, None, None] + np.zeros((2, 151, 6))
        rl.write_results(config, {
            str(number): rl.summary(scores[number], np.ones((2, 6))) | {
                "title": "-", "settings": setting, "seconds": 1.0
            }
            for number, setting in enumerate(config.rates())
        })  # fmt: skip
    tables.main(["rl-sweeps", "--only-draw", "--out", str(tmp_path)])
    bold = [line for line in (tmp_path / "rl-sweeps.md").read_text().splitlines() if "**" in line]
    assert len(bold) == 6
    assert all("**5.00 ± 0.00**" in line for line in bold)
    tables.main(["rl-sweeps", "--out", str(tmp_path)])  # nothing is missing


RECORDED = Path(rl.__file__).parent / "results/rl-sweeps.json"


@pytest.mark.skipif(not RECORDED.exists(), reason="no sweep of the games is recorded yet")
def test_what_was_chosen_is_the_best_of_the_sweeps():
    tried = json.loads(RECORDED.read_text())
    assert set(tried) == {str(cell) for cell in rl_sweeps.cells()}
    for cell in rl_sweeps.cells():
        chosen = rl_sweeps.best(tried[str(cell)]["results"])["settings"]
        assert rl.CHOSEN[cell.game][cell.agent] == chosen


def test_the_tasks_get_harder():
    catcher, flappy = (playing.GAMES[name] for name in ("catcher", "flappy-bird"))
    speeds = [catcher.params(task).fall_speed for task in range(6)]
    np.testing.assert_allclose(speeds, [0.608, 0.638, 0.668, 0.698, 0.728, 0.758])
    gaps = [flappy.params(task).pipe_gap for task in range(6)]
    assert gaps == [100, 95, 90, 85, 80, 75]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--game", "pong"], "invalid choice"),
        (["--tasks", "0"], "--tasks must be a whole number"),
        (["--evaluate-every", "30"], "--frames-per-task must be a multiple of --evaluate-every"),
        (["--replays", "100"], "--replays must be at most --capacity"),
        (["--num-batches", "3"], "--replays must be a multiple of --num-batches"),
        (["--agent", "dqn", "--num-batches", "2"], "--num-batches is nothing that dqn reads"),
        (["--agent", "dqn", "--beta", "0.5"], "--beta is nothing that dqn reads"),
        (["--beta", "1.5"], r"--beta must be in \[0, 1\]"),
        (["--alpha", "-1"], "--alpha must be a finite number"),
        (["--epsilon", "2"], "--epsilon must be in"),
        (["--discount", "nan"], "--discount must be in"),
        (["--hidden", "0"], "each of --hidden must be a whole number"),
        (["--capacity", "2000000000"], "one run of dqn-mer needs .* smaller --capacity"),
        (["--hidden", "1000000000"], "one run of dqn-mer needs"),
        (["--alpha", "0.1", "0.1000000001"], r"--alpha must differ in six digits, got 0\.1 0\.1"),
        (["--seed", "-1"], "--seed must be in"),
        (["--max-frames", "0"], "--max-frames must be a whole number"),
        (["--max-frames", "3000000000"], "--max-frames must be less than"),
        (["--game", "flappy-bird", "--tasks", "16"], "--tasks must be at most 15 in flappy-bird"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_flags_get_one_clear_line(flags, says, tmp_path, capsys):
    with pytest.raises(SystemExit) as stop:
        run(tmp_path, *flags)
    assert stop.value.code == 2
    complaint = capsys.readouterr().err
    assert re.search(says, complaint)
    assert complaint.count("\n") == 1
