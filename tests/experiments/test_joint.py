"""The program that trains on all drawings at once, on made characters."""

import json

import numpy as np
import pytest

from experiments import checkpoints, joint


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Networks of two small modules, which compile fast."""
    networks = {name: how | {"features": (8, 8)} for name, how in joint.NETWORKS.items()}
    monkeypatch.setattr(joint, "NETWORKS", networks)


def test_every_network_learns(tmp_path, made_omniglot):
    joint.main(["--tasks", "2", "--passes", "4", "--batch-size", "6", "--out", str(tmp_path)])
    told = json.loads((tmp_path / "joint.json").read_text())
    for name in ("VALID", "SAME", "SAME, normalized"):
        accuracies = told[name]["test_accuracy"]
        assert len(accuracies) == 4
        assert accuracies[-1] > 80
    assert told["command"] == "python -m experiments.joint --tasks 2 --passes 4 --batch-size 6"
    assert (tmp_path / "joint.md").read_text().count("\n| ") == 4
    assert (tmp_path / "joint.png").stat().st_size > 1000


def test_it_learns_from_a_part_of_them(tmp_path, made_omniglot, monkeypatch):
    learned = []

    def learn(model, train, test, config, kept):
        learned.append(len(train.y))
        yield [50.0] * config.passes, np.zeros(1)

    monkeypatch.setattr(joint, "learn", learn)
    flags = ["--tasks", "2", "--memories", "12", "--passes", "2", "--batch-size", "6"]
    joint.main([*flags, "--out", str(tmp_path)])
    assert learned == [12] * 3
    told = (tmp_path / "joint.md").read_text()
    assert "trained on 12 training drawings" in told
    assert "--tasks 2 --memories 12" in told


FEW = ["--tasks", "2", "--passes", "3", "--batch-size", "6"]


def test_an_interrupted_one_goes_on_with_the_same_numbers(tmp_path, made_omniglot, monkeypatch):
    joint.main([*FEW, "--out", str(tmp_path / "whole")])
    save, out = checkpoints.Checkpoints.save, tmp_path / "cut"

    def interrupted(self, at, arrays):
        if at == 2 and self.folder.name == "SAME":
            checkpoints.stop()
        save(self, at, arrays)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoints.Checkpoints, "save", interrupted)
        with pytest.raises(SystemExit) as stop:
            joint.main([*FEW, "--out", str(out)])
    assert stop.value.code == 130
    with pytest.raises(SystemExit):  # which says that --resume must be given
        joint.main([*FEW, "--out", str(out)])
    with pytest.raises(SystemExit):  # another rate's run
        joint.main([*FEW, "--alpha", "0.2", "--resume", "--out", str(out)])
    joint.main([*FEW, "--resume", "--out", str(out)])
    assert not checkpoints.folder(out).exists()
    ends = [json.loads((tmp_path / name / "joint.json").read_text()) for name in ("whole", "cut")]
    for name in joint.NETWORKS:
        whole, cut = ({**end[name], "seconds": None} for end in ends)
        assert whole == cut


def test_a_network_that_diverges_stops_the_run(tmp_path, made_omniglot, capsys):
    with pytest.raises(SystemExit):
        joint.main([*FEW, "--alpha", "1e20", "--out", str(tmp_path)])
    assert "VALID: no longer finite after pass 1" in " ".join(capsys.readouterr().err.split())


def test_what_makes_no_sense(tmp_path, made_omniglot, capsys):
    for flags, says in (
        (["--passes", "0"], "--passes must be a whole number"),
        (["--alpha", "-1"], "--alpha must be"),
        (["--seed", "4294967296"], "--seed must be in [0, 4294967295]"),
        (["--tasks", "3"], "got 3"),
        (["--tasks", "2", "--batch-size", "91"], "--batch-size must be at most 90"),
        (["--tasks", "2", "--memories", "0"], "--memories must be a whole number"),
        (["--tasks", "2", "--memories", "91"], "--memories must be at most 90"),
        (["--tasks", "2", "--memories", "20"], "--batch-size must be at most 20"),
    ):
        with pytest.raises(SystemExit) as stop:
            joint.main([*flags, "--out", str(tmp_path)])
        assert stop.value.code == 2
        complaint = capsys.readouterr().err
        assert says in complaint
        assert complaint.count("\n") == 1
