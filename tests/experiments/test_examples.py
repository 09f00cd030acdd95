"""The examples run, learn what they should, and stay short."""

from pathlib import Path

import pytest

from experiments.examples import drifting_sine
from experiments.running import record
from experiments.running.checkpoints import Checkpoints
from experiments.running.interrupt import stop
from experiments.running.program import main

FILES = sorted((Path(__file__).parents[2] / "experiments/examples").glob("*.py"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_an_example_is_short(path):
    assert len(path.read_text().splitlines()) <= 60


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
