"""The program that kills runs: what it compares, and its flags."""

import importlib
import json
import subprocess
import types
from pathlib import Path

import numpy as np
import pytest

from experiments import survival
from experiments.running.command_line import parse
from experiments.running.interrupt import stop
from experiments.tables import cells
from experiments.tables.__main__ import TABLES
from mer_jax.data import omniglot


def test_bad_input_gets_one_clear_line(tmp_path, capsys):
    for args, says in (
        (["--kills", "0", "--out", str(tmp_path / "new")], "--kills must be a whole number"),
        (
            ["--seed", "-1", "--out", str(tmp_path / "new")],
            "--seed must be a finite number of at least 0",
        ),
        (["--resume", "--out", __file__], "cannot be made: File exists; choose another --out"),
        (["--out", str(tmp_path)], "exists already; give --resume, or choose another"),
    ):
        with pytest.raises(SystemExit) as stop:
            survival.main(args)
        assert stop.value.code == 2
        complaint = capsys.readouterr().err
        assert says in complaint
        assert complaint.count("\n") == 1


@pytest.fixture
def scripts(monkeypatch):
    """A function that makes shell scripts stand for the programs, one for each process."""
    start = subprocess.Popen

    def stand_in(*commands):
        waiting = iter(commands)
        monkeypatch.setattr(
            subprocess, "Popen", lambda args, **how: start(["sh", "-c", f"exec {next(waiting)}"])
        )

    return stand_in


def test_a_run_is_killed_or_ends_before(tmp_path, scripts):
    scripts("sleep 60", "true", "false", "false")
    assert survival.run("plain", tmp_path, most=0.0)
    assert not survival.run("plain", tmp_path, most=120.0)
    for most in (None, 120.0):
        with pytest.raises(ValueError, match="ended with status 1"):
            survival.run("plain", tmp_path, most=most)


def test_one_of_two_is_killed_and_the_other_ends_by_itself(tmp_path, scripts, monkeypatch):
    """Or it hangs, which is an error."""
    second = slice(1, 2)
    scripts("sleep 0.2", "sleep 60", "sleep 0.2", "true", "sleep 60", "sleep 60")
    assert survival.run("two processes", tmp_path, number=2, most=0.0, victims=second)
    assert not survival.run("two processes", tmp_path, number=2, most=0.1, victims=second)
    monkeypatch.setattr(survival, "LIMIT", 0.2)
    with pytest.raises(ValueError, match=r"has not ended in 0\.2 s"):
        survival.run("two processes", tmp_path, number=2, most=0.0, victims=second)


def test_seconds_and_revisions_may_differ_at_any_depth(tmp_path):
    metrics = {"a": 1, "seconds": 2, "b": [{"seconds": 3, "c": {"git_revision": 4, "d": 5}}, 6]}
    for folder in (tmp_path, tmp_path / "cells"):
        folder.mkdir(exist_ok=True)
        (folder / "metrics.json").write_text(json.dumps(metrics))
    same = {"a": 1, "b": [{"c": {"d": 5}}, 6]}
    assert survival.told(tmp_path) == {"metrics.json": same, "cells/metrics.json": same}


@pytest.mark.parametrize("name", survival.RUNS)
def test_its_runs_are_flags_of_the_programs(name, monkeypatch, tmp_path):
    started, number = [], survival.PROCESSES.get(name, 1)
    done = types.SimpleNamespace(poll=lambda: 0, wait=lambda: 0, kill=lambda: None)
    monkeypatch.setattr(subprocess, "Popen", lambda args, **how: started.append(args) or done)
    survival.run(name, tmp_path / "out", number=number)
    assert len(started) == number
    for process, (_, _, module, *flags) in enumerate(started):
        place = {"experiments.supervised": ".study", "experiments.rl": ""}.get(module, ".__main__")
        config = parse(module, importlib.import_module(module + place).Config, flags)
        config.check()
        if module == "experiments.tables":
            cell = next(one for one in TABLES[config.table].cells if one.name in config.cells)
            given = {"seeds": config.seeds, "tasks": config.tasks, "dataset": config.dataset}
            assert len(cells.jobs(cell, given, config.out, 1)) == config.seeds
            continue
        assert config.checkpoint_every
        if number > 1:
            assert (config.num_processes, config.process_id) == (number, process)


def test_the_drawings_are_as_many_as_omniglot_has(tmp_path):
    """Reading them takes seconds, so that their counts are compared here."""
    survival.drawings(tmp_path)
    with np.load(tmp_path / "omniglot.npz") as arrays:
        found = dict(arrays)
    assert found["ink"].shape == (omniglot.NUM_CHARACTERS * omniglot.NUM_DRAWERS, 1379)
    assert len(found["alphabet_names"]) == omniglot.NUM_ALPHABETS
    keys = np.stack([found[name] for name in ("alphabet", "character", "drawer")])
    assert len(np.unique(keys, axis=1).T) == len(found["ink"])
    assert {found[name].dtype for name in ("ink", "alphabet", "character", "drawer")} == {
        np.dtype(np.uint8)
    }


def test_one_that_is_done_too_soon_is_begun_anew(tmp_path, monkeypatch):
    """The first is done before its moment, the second has come to a checkpoint."""
    moments = []

    def run(name, out, number, most, victims):
        assert not out.exists()
        (out / "checkpoints/mer-0" / f"{100 * len(moments)}").mkdir(parents=True)
        moments.append(most)
        return len(moments) == 2

    monkeypatch.setattr(survival, "run", run)
    told = survival.kill_one("rl", tmp_path / "rl-0", np.random.default_rng(0), 10.0)
    assert told["killed_after"] == round(moments[1], 2)
    assert told["newest_save"] == "mer-0/100"
    assert told["finished_before"] == 1


def test_what_is_done_so_far_is_on_the_disk_and_is_not_done_again(tmp_path, monkeypatch, capsys):
    """One run ends as it should, one does not, one fails, and one is stopped."""
    ends = iter(["these bits", "these bits", "these bits", "other bits"])

    def told(out):
        if (found := next(ends, None)) is None:
            raise ValueError(f"{out} ended with status 1")
        return found

    started = []
    monkeypatch.setattr(survival, "RUNS", {"rl": "", "tables": "tables"})
    monkeypatch.setattr(survival, "told", told)
    monkeypatch.setattr(survival, "drawings", lambda out: None)
    monkeypatch.setattr(survival, "run", lambda *args, **how: started.append(args) or True)
    flags = ["--kills", "3", "--out", str(tmp_path / "out")]
    with pytest.raises(SystemExit):
        survival.main([*flags, "--resume"])
    said = capsys.readouterr()
    assert "nothing to resume in" in said.out
    assert "ended with status 1" in said.err
    written = json.loads((tmp_path / "out/survival.json").read_text())
    assert [run["same_bits"] for run in written["runs"]] == [True, False]
    assert [name for name, *_ in started] == ["rl"] * 4 + ["tables"] * 4 + ["rl"] * 2
    assert started[3][2:] == ("--resume",)
    assert started[7][2:] == ()  # a table is resumed by the very same command
    assert "1 of 2 runs" in (tmp_path / "out/survival.md").read_text()
    started.clear()
    monkeypatch.setattr(survival, "told", lambda out: stop())
    with pytest.raises(SystemExit) as end:
        survival.main([*flags, "--resume", "--kills", "4"])
    assert end.value.code == 130
    assert [Path(out).name for _, out, *_ in started] == ["rl-2", "rl-2"]
    assert "3 of" not in capsys.readouterr().out
    written = json.loads((tmp_path / "out/survival.json").read_text())
    assert [run["same_bits"] for run in written["runs"]] == [True, False, True]
