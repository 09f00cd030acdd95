"""Runs that are resumed with one flag or setting changed: refused, or continued as they began."""

import dataclasses
import json

import jax
import numpy as np
import pytest

from experiments import joint, rl
from experiments.language.__main__ import PROGRAM as LANGUAGE
from experiments.running.checkpoints import SETTINGS, folder
from experiments.running.command_line import deciding
from experiments.running.options import flag
from experiments.running.program import check_free
from experiments.supervised.study import PROGRAM as SUPERVISED
from tests.experiments import toy
from tests.experiments.running.test_loop import FLAGS, measured, refused, run
from tests.experiments.running.test_loop import stopped as stopped

PROGRAMS = (SUPERVISED, rl.PROGRAM, LANGUAGE, joint.PROGRAM, toy.PROGRAM)
FREE = {"out", "data_dir", "distributed", "coordinator", "num_processes", "process_id",
        "wait_seconds", "tensorboard", "resume"}  # fmt: skip
"""Flags that may change. The data, the devices and the number of processes are checked apart."""


@pytest.fixture
def half(tmp_path, stopped):
    """A run that stopped half-way, with evaluations and infos, and all its flags."""
    stopped("one-0", 25)
    with pytest.raises(SystemExit):
        run(tmp_path / "half", *FLAGS)
    return tmp_path / "half"


def test_another_flag_is_refused_with_both_values(half, capsys):
    for name, values, both in (
        ("--seeds", [2], "(3 there, 2 here)"),
        ("--seed", [7], "(0 there, 7 here)"),
        ("--seed-batch", [3], "(2 there, 3 here)"),
        ("--tasks", [4], "(3 there, 4 here)"),
        ("--length", [10], "(20 there, 10 here)"),
        ("--alpha", [0.2], "([0.5] there, [0.2] here)"),
        ("--arms", ["one"], "(['one', 'two'] there, ['one'] here)"),
        ("--info", ["--no-info"], "(True there, False here)"),
        ("--checkpoint-every", [10], "(5 there, 10 here)"),
    ):
        asked = [name, *values] if name != "--info" else values
        says = f"was begun with other values of {name} {both}: give those of {half}/run.json"
        assert says in refused(capsys, half, *FLAGS, "--resume", *asked)


def test_other_settings_of_jax_are_refused_with_both_values(half, capsys):
    """As JAX_ENABLE_X64=1 changes them."""
    others = {"jax_default_prng_impl": "rbg", "jax_random_seed_offset": 3,
              "jax_optimization_level": "O1"}  # fmt: skip
    assert {"jax_enable_x64", "jax_threefry_partitionable", *others} <= {*SETTINGS}
    for name in SETTINGS:
        was = getattr(jax.config, name)
        other = others.get(name, not was)
        jax.config.update(name, other)
        try:
            line = refused(capsys, half, *FLAGS, "--resume")
        finally:
            jax.config.update(name, was)
        assert f"made with other values of {name} ({was} there, " in line


def test_other_data_and_compiler_flags_are_refused(half, capsys, monkeypatch):
    def prepare(config, say):
        return toy.prepare(config, say)._replace(shared=np.float32(0.6))

    with monkeypatch.context() as patch:
        patch.setattr(toy, "PROGRAM", toy.PROGRAM._replace(prepare=prepare))
        assert "other values of shared (" in refused(capsys, half, *FLAGS, "--resume")
    monkeypatch.setenv("XLA_FLAGS", "--xla_dump_to=")
    line = refused(capsys, half, *FLAGS, "--resume")
    assert "other values of XLA_FLAGS (" in line
    assert "--xla_dump_to= here); resume it with those" in line


def test_what_decides_nothing_may_change(half, tmp_path):
    """Another folder, and a flag of processes without any. Devices change in `test_distributed`."""
    whole = measured(run(tmp_path / "whole", *FLAGS))
    moved = half.rename(tmp_path / "elsewhere")
    assert measured(run(moved, *FLAGS, "--resume", "--wait-seconds", 5)) == whole


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.module)
def test_every_flag_of_every_program_decides_or_is_free(program, tmp_path):
    """None learns here: a flag is compared with run.json before any data are read."""
    config = program.config(out=tmp_path, resume=True)
    folder(tmp_path).mkdir()
    begun = {"format": 2, "config": deciding(config)}
    (tmp_path / "run.json").write_text(json.dumps(begun))
    check_free(config)
    for field in dataclasses.fields(config):
        was = getattr(config, field.name)
        other = not was if isinstance(was, bool) else was + 1 if isinstance(was, int) else "x"
        if field.name in FREE:
            continue
        says = rf"other values of {flag(field.name)} \(.* there, {other} here\): give those"
        with pytest.raises(ValueError, match=says):
            check_free(dataclasses.replace(config, **{field.name: other}))


def test_a_value_that_was_not_given_is_said_so(half, capsys):
    begun = json.loads((half / "run.json").read_text())
    for was in (None, []):
        begun["config"]["tasks"] = was
        (half / "run.json").write_text(json.dumps(begun))
        line = refused(capsys, half, *FLAGS, "--resume")
        assert "other values of --tasks (not given there, 3 here): give those of" in line
        assert line.strip().endswith(
            f"run.json, or delete the folder {half}, or choose another --out"
        )


def test_what_resume_does_is_said_where_a_run_is(half, tmp_path, capsys):
    otherwise = f"delete the folder {half}, or choose another --out"
    says = f"holds an unfinished run: give --resume to resume it, {otherwise}"
    assert says in refused(capsys, half, *FLAGS)
    run(half, *FLAGS, "--resume")
    assert "nothing to resume" not in capsys.readouterr().out
    says = f"a finished run: give --resume to keep its results and learn missing ones, {otherwise}"
    assert says in refused(capsys, half, *FLAGS)
    run(new := tmp_path / "new", *FLAGS, "--resume")
    assert f"nothing to resume in {new}, beginning" in " ".join(capsys.readouterr().out.split())
