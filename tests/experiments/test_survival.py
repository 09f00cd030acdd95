"""The program that kills runs: what it compares, and its flags."""

import importlib
import json
import subprocess
import sys
import types
from pathlib import Path

import numpy as np
import pytest

from experiments import survival
from experiments.running.command_line import parse


def test_bad_input_gets_one_clear_line(tmp_path, capsys):
    for args, says in (
        (["--kills", "0", "--out", str(tmp_path / "new")], "--kills must be a whole number"),
        (
            ["--seed", "-1", "--out", str(tmp_path / "new")],
            "--seed must be a finite number of at least 0",
        ),
        (["--out", str(tmp_path)], "exists already; delete it or name another"),
    ):
        with pytest.raises(SystemExit) as stop:
            survival.main(args)
        assert stop.value.code == 2
        complaint = capsys.readouterr().err
        assert says in complaint
        assert complaint.count("\n") == 1


def test_a_run_is_killed_or_ends_before(tmp_path, monkeypatch):
    """A program that does next to nothing, and ends with a status, stands for the others."""
    code = "import pathlib, sys; p = pathlib.Path(sys.argv[1]); p.mkdir(exist_ok=True); "
    code += "(p / 'metrics.json').write_text(sys.argv[2]); sys.exit(%s)"
    metrics = {"a": 1, "seconds": 2, "b": [{"seconds": 3, "c": {"git_revision": 4, "d": 5}}, 6]}
    start = subprocess.Popen

    def popen(args, **how):
        _, _, module, *_, out = args
        status = module.removeprefix("experiments.")
        return start([sys.executable, "-S", "-c", code % status, out, json.dumps(metrics)])

    monkeypatch.setattr(subprocess, "Popen", popen)
    monkeypatch.setattr(survival, "RUNS", {"0": "", "2": ""})
    assert survival.run("0", tmp_path, most=0.0)
    assert not survival.run("0", tmp_path, most=120.0)
    # Seconds and revisions may differ between two runs, at any depth.
    assert survival.told(tmp_path) == {"a": 1, "b": [{"c": {"d": 5}}, 6]}
    for most in (None, 120.0):
        with pytest.raises(ValueError, match="ended with status 2"):
            survival.run("2", tmp_path, most=most)


@pytest.mark.parametrize("name", survival.RUNS)
def test_its_runs_are_flags_of_the_programs(name, monkeypatch):
    started = []
    done = types.SimpleNamespace(wait=lambda *args: 0, kill=lambda: None)
    monkeypatch.setattr(subprocess, "Popen", lambda args, **how: started.append(args) or done)
    survival.run(name, Path("out"), "--resume")
    _, _, module, *flags = started[0]
    place = {"experiments.supervised": ".study", "experiments.language": ".__main__"}.get(
        module, ""
    )
    config = parse(module, importlib.import_module(module + place).Config, flags)
    config.check()
    assert config.resume
    assert config.checkpoint_every


def test_one_that_is_done_too_soon_is_begun_anew(tmp_path, monkeypatch):
    """The first is done before its moment, the second has come to a checkpoint."""
    moments = []

    def run(name, out, most):
        assert not out.exists()
        (out / "checkpoints/mer-0" / f"{100 * len(moments)}").mkdir(parents=True)
        moments.append(most)
        return len(moments) == 2

    monkeypatch.setattr(survival, "run", run)
    told = survival.kill_one("rl", tmp_path / "rl-0", np.random.default_rng(0), 10.0)
    assert told["killed_after"] == round(moments[1], 2)
    assert told["newest_checkpoint"] == "mer-0/100"


def test_what_is_done_so_far_is_on_the_disk_after_every_kill(tmp_path, monkeypatch, capsys):
    """One run goes on as it should, one does not, and one fails."""
    ends = iter(["these bits", "these bits", "other bits"])

    def told(out):
        if (found := next(ends, None)) is None:
            raise ValueError(f"{out} ended with status 1")
        return found

    monkeypatch.setattr(survival, "RUNS", {"rl": ""})
    monkeypatch.setattr(survival, "told", told)
    monkeypatch.setattr(survival, "run", lambda *args, **how: True)
    with pytest.raises(SystemExit):
        survival.main(["--kills", "3", "--out", str(tmp_path / "out")])
    assert "ended with status 1" in capsys.readouterr().err
    written = json.loads((tmp_path / "out/survival.json").read_text())
    assert [run["same_bits"] for run in written["runs"]] == [True, False]
    assert "1 of 2 runs" in (tmp_path / "out/survival.md").read_text()
