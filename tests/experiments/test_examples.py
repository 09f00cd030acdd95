"""The examples run, learn what they should, and stay short."""

import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from experiments.examples import drifting_sine
from experiments.running import record
from experiments.running.checkpoints import Checkpoints
from experiments.running.interrupt import stop
from experiments.running.program import main

FILES = sorted((Path(__file__).parents[2] / "experiments/examples").glob("*.py"))


def names_after(example):
    """The global names of an example after it ran as a program."""
    return runpy.run_module(f"experiments.examples.{example}", run_name="__main__")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_is_short(path):
    assert len(path.read_text().splitlines()) <= 60


def test_the_first_task_is_kept():
    known = np.asarray(names_after("own_scan")["metrics"]["task 0"])
    assert known[0] < 0.8 < known[199]
    assert known[-1] > 0.8


def test_a_method_of_ones_own_is_compared_with_the_others(tmp_path):
    """In a process of its own, since the flags are made from METHODS when they are imported."""
    flags = "--method er decaying-er --seeds 1 --tasks 2 --examples-per-task 100 --test-images 50"
    command = [sys.executable, "-m", "experiments.examples.own_method", *flags.split()]
    subprocess.run([*command, "--out", str(tmp_path)], check=True, capture_output=True)
    known = record.load(tmp_path / "metrics.json")
    assert sorted(known.about["command"].split()[1:]) == sorted(command[1:])
    er, own = known.results
    assert (er.title, own.title) == ("ER", "ER, falling rate")
    assert own.settings == {"alpha": 0.1, "batch_size": 11, "capacity": 200}
    assert own.per_seed["params_checksum"] != er.per_seed["params_checksum"]


def test_an_experiment_in_one_file(tmp_path, monkeypatch):
    """It is killed in the middle and resumed, and leaves a record and a picture.

    Of half its tasks, which are enough for a difference.
    """
    flags = ["--seeds", "1", "--checkpoint-every", "100", "--out", str(tmp_path)]
    due = Checkpoints.due

    def stopped(store, place):
        if (store.folder.name, place) == ("mer-0", 700):
            stop()
        return due(store, place)

    monkeypatch.setattr(drifting_sine, "TASKS", 3)
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "due", stopped)
        with pytest.raises(SystemExit):
            main(drifting_sine.PROGRAM, flags)
    main(drifting_sine.PROGRAM, [*flags, "--resume"])
    mer, er = record.load(tmp_path / "metrics.json").results
    assert mer.spread("error").mean < er.spread("error").mean < 0.1
    assert mer.array("error_curve").shape == (1, 16, 3)
    assert (tmp_path / "error.png").read_bytes().startswith(b"\x89PNG")
