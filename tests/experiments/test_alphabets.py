"""Alphabets one after another, of different lengths, with every method; on made characters."""

import functools
import json

import numpy as np
import pytest

from experiments import checkpoints, comparison, methods, omniglot_table, output, supervised

SETTINGS = {
    "mer": ["--alpha", "0.1", "--beta", "0.3", "--gamma", "1", "--num-batches", "2"],
    "mer-big-batch": ["--alpha", "0.1", "--gamma", "0.3"],
    "mer-current-rate": ["--alpha", "0.1", "--gamma", "0.3", "--s", "2"],
    "er": ["--alpha", "0.1"],
    "er-by-task": ["--alpha", "0.1"],
    "gem": ["--alpha", "0.1", "--margin", "0", "--ridge", "0"],
    "agem": ["--alpha", "0.1", "--sample-size", "5"],
    "ewc": ["--alpha", "0.1", "--num-memories", "5", "--strength", "1"],
    "exact-alignment": ["--alpha", "0.1", "--alignment", "0.001"],
    "independent": ["--alpha", "0.1"],
    "task-input": ["--alpha", "0.1"],
    "online": ["--alpha", "0.1"],
}


def learned(out, method, *more):
    """The metrics of two seeds, of which each draws the order of the alphabets."""
    batch = ["--batch-size", "4"] if "batch_size" in methods.METHODS[method].settings else []
    supervised.main([
        "--dataset", "omniglot", "--benchmark", "omniglot", "--tasks", "2", "--seeds", "2",
        "--capacity", "20", "--method", method, *SETTINGS[method], *batch, "--out", str(out), *more,
    ])  # fmt: skip
    return json.loads((out / "metrics.json").read_text())


@pytest.fixture
def small(monkeypatch, made_omniglot):
    """A network of one small module, which compiles fast."""
    convolutional = functools.partial(comparison.convolutional, features=(8,))
    monkeypatch.setattr(comparison, "convolutional", convolutional)


@pytest.mark.parametrize("method", methods.METHODS)
def test_every_method_learns_alphabets(method, small, tmp_path):
    """30 and 60 drawings, of which a third or a half is right by chance at most."""
    metrics = learned(tmp_path, method)
    R = np.array(metrics["accuracy_matrix"])
    assert R.shape == (2, 3, 2)
    assert sum(metrics["examples_per_task"]) == 90
    assert metrics["test_images"] == 20  # of four characters by five drawers
    assert metrics["learning_accuracy"]["mean"] > (20 if method == "independent" else 60)


def test_stopped_within_an_alphabet_it_goes_on_with_the_same_bits(small, tmp_path, monkeypatch):
    whole = learned(tmp_path / "whole", "mer")
    due = checkpoints.Checkpoints.due

    def due_once_stopped(kept, at):
        if at == 30:
            checkpoints.stop()
        return due(kept, at)

    with monkeypatch.context() as patched:
        patched.setattr(checkpoints.Checkpoints, "due", due_once_stopped)
        with pytest.raises(SystemExit) as stop:
            learned(tmp_path / "parts", "mer")
    assert stop.value.code == 130
    parts = learned(tmp_path / "parts", "mer", "--resume")
    for name in ("params_checksums", "accuracy_matrix", "retained_accuracy"):
        assert parts[name] == whole[name]


def test_the_table_of_alphabets(small, tmp_path):
    """From cells as they are kept: all alphabets, and the first ten."""
    result = learned(tmp_path / "run", "er")
    for name in ("omniglot/er-5120", "first-10/omniglot/er-5120", "first-10/omniglot/gem-1020"):
        path = tmp_path / f"cells/{name}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        kept = {"entries": {"er": result}, "seeds": [0, 1], "command": "", "devices": ["cpu:0"]}
        path.write_text(json.dumps(kept))
    omniglot_table.draw("omniglot", tmp_path)
    table = (tmp_path / "omniglot.md").read_text()
    row = f"| ER | 5120 | {output.cell(result['retained_accuracy'])} |"
    assert table.count(row) == 2
    assert "Omniglot, all 50 alphabets; 2 seeds" in table
    (gem,) = [line for line in table.splitlines() if "| 1020 |" in line]
    assert "18.03 ± 0.15" in gem
    assert set(json.loads((tmp_path / "omniglot.json").read_text())) == {
        "omniglot/er-5120", "first-10/omniglot/er-5120", "first-10/omniglot/gem-1020"
    }  # fmt: skip
    for name in ("omniglot.png", "omniglot-50-alphabets.png", "omniglot-10-alphabets.png"):
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")
