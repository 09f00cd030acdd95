"""The program for games: its results, its resume and its checks of flags."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip("gymnax", reason="mer_jax.rl needs it")

import experiments
from experiments.rl import CHOSEN, PROGRAM, TITLES, Config, measure
from experiments.running import interrupt, record
from experiments.running.checkpoints import Checkpoints
from experiments.running.program import main

pytestmark = pytest.mark.usefixtures("quick_keys")

SMALL = [
    "--tasks", "2", "--frames-per-task", "100", "--evaluate-every", "50", "--episodes", "2",
    "--max-frames", "60", "--seeds", "2", "--hidden", "8", "--capacity", "60", "--replays", "4",
]  # fmt: skip
SWEEP = [*SMALL, "--game", "flappy-bird", "--alpha", "0.01", "1e30", "--gamma", "1"]


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A finished sweep, of which one setting diverges."""
    out = tmp_path_factory.mktemp("rl")
    main(PROGRAM, [*SWEEP, "--out", str(out)])
    return out


def test_a_run_leaves_metrics_pictures_and_films(whole):
    known = record.load(whole / "metrics.json")
    assert known.about["frames"] == [0, 50, 100, 150, 200]
    finite, diverged = known.results
    assert finite.title == "DQN-MER, alpha 0.01"
    assert finite.settings == {"alpha": 0.01, "beta": 1.0, "gamma": 1.0}
    scores = finite.array("scores")
    assert scores.shape == (2, 5, 2)  # seeds, evaluations, tasks
    np.testing.assert_allclose(finite.array("final_score"), scores[:, -1].mean(1), atol=1e-3)
    np.testing.assert_allclose(finite.array("score_by_task"), scores[:, -1], atol=1e-3)
    assert (finite.array("gains_by_task") >= 0).all()
    assert np.isfinite(diverged.array("scores")[:, 0]).all()
    assert np.isnan(diverged.array("scores")[:, 1:]).all()  # a network that is not finite has none
    table = (whole / "table.md").read_text()
    assert f"| {finite.spread('final_score').text()} |" in table
    assert "4 replays a frame" in table
    assert (whole / "scores.png").read_bytes().startswith(b"\x89PNG")
    for task in (1, 2):
        with Image.open(whole / f"task-{task}.gif") as film:
            assert film.n_frames > 10
            assert max(film.size) == 240


def test_a_resumed_run_has_the_same_bits(whole, tmp_path, monkeypatch):
    """It is stopped in the second task, after three of five evaluations."""
    flags = [*SWEEP, "--no-films", "--checkpoint-every", "50", "--out", str(tmp_path)]
    due = Checkpoints.due

    def stopping(store, place):
        if place == 150:
            interrupt.stop()
        return due(store, place)

    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "due", stopping)
        with pytest.raises(SystemExit) as stop:
            main(PROGRAM, flags)
    assert stop.value.code == 130
    assert not (tmp_path / "metrics.json").exists()
    main(PROGRAM, [*flags, "--resume"])
    ends = [json.loads((out / "metrics.json").read_text())["results"] for out in (whole, tmp_path)]
    assert [one["per_seed"] for one in ends[0]] == [one["per_seed"] for one in ends[1]]
    assert not (tmp_path / "task-1.gif").exists()


def test_metrics_by_hand():
    """One seed, two tasks of two evaluations each. The last task began after the third."""
    scores = np.array([[[0, 0], [1, 2], [3, 4], [5, 6], [7, 9]]], np.float32)
    found = measure({"score": scores, "gains": 2 * scores}, [], None)
    assert found["final_score"] == [8]
    assert found["late_score"] == [(5 + 6 + 7 + 9) / 4]
    assert found["score_by_task"] == [[7, 9]]
    assert found["gains_by_task"] == [[14, 18]]
    assert found["scores"] == scores.tolist()


def test_settings_of_a_sweep():
    config = Config(alpha=(0.01, 0.001), gamma=(0.3, 1.0))
    (arm,) = PROGRAM.study(config, print).arms
    assert arm.title == TITLES["dqn-mer"]
    assert [setting.label for setting in arm.settings] == [
        f"alpha {alpha}, gamma {gamma}" for alpha in ("0.01", "0.001") for gamma in ("0.3", "1")
    ]
    assert all(setting.rates["beta"] == 1.0 for setting in arm.settings)
    (chosen,) = PROGRAM.study(Config(agent="dqn"), print).arms[0].settings
    assert (chosen.rates, chosen.label) == (CHOSEN["catcher", "dqn"], "")


def test_chosen_rates_are_the_best_of_the_sweeps():
    path = Path(experiments.__file__).parent / "results/rl-sweeps.json"
    tried = json.loads(path.read_text())
    for (game, agent), chosen in CHOSEN.items():
        results = tried[f"sweeps/{game}/{agent}"]["results"]
        finite = [one for one in results if one["late_score"]["mean"] is not None]
        assert max(finite, key=lambda one: one["late_score"]["mean"])["settings"] == chosen


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--game", "pong"], "invalid choice"),
        (["--tasks", "0"], "--tasks must be a whole number"),
        (["--evaluate-every", "30"], "--frames-per-task must be a multiple of --evaluate-every"),
        (["--replays", "100"], "--replays must be at most --capacity 60, got 100"),
        (["--num-batches", "3"], "--replays must be a multiple of --num-batches, got 4 and 3"),
        (["--agent", "dqn", "--num-batches", "2"], "--num-batches is not used by dqn"),
        (["--agent", "dqn", "--beta", "0.5"], r"--beta is not used by dqn \(it uses --alpha\)"),
        (["--beta", "1.5"], "--beta must be a number from 0 to 1"),
        (["--alpha", "-1"], "--alpha must be a finite number"),
        (["--epsilon", "2"], "--epsilon must be a number from 0 to 1, got"),
        (["--discount", "nan"], "--discount must be a number from 0 to 1, got"),
        (["--hidden", "0"], "each of --hidden must be a whole number"),
        (
            ["--capacity", "2000000000"],
            "one run of dqn-mer needs .* smaller sizes, such as --capacity",
        ),
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
        main(PROGRAM, [*SMALL, "--out", str(tmp_path / "out"), *flags])
    assert stop.value.code == 2
    complaint = capsys.readouterr().err
    assert re.search(says, complaint)
    assert complaint.count("\n") == 1
