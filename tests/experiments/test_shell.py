"""Wrong flags and full disks: each ends in status 0, or in one line on stderr with status 2."""

import contextlib
import dataclasses
import errno
import gc
import os
import resource
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("gymnax", reason="mer_jax.rl needs it")

from experiments import joint, survival
from experiments import rl as rl
from experiments.bench import __main__ as bench
from experiments.language import __main__ as language
from experiments.report import __main__ as report
from experiments.running import command_line, devices, files, progress
from experiments.running.checkpoints import Checkpoints
from experiments.running.program import main
from experiments.supervised import study as supervised
from experiments.tables import __main__ as tables
from tests.experiments import toy

EDGES = ["-1", "0", "1", "2", "2147483647", "2147483648", "99999999999999999999", "1e400", "nan",
         "x", "", "1.5", "None", "[/b]", "--", "-", "~", "é"]  # fmt: skip
PROGRAMS = [supervised, rl, joint, language, survival, bench, tables]


def ends(args, out, capsys):
    """The line on stderr with which the toy ends, or its output if it ends well."""
    code = None
    try:
        main(toy.PROGRAM, [*args, "--out", str(out)])
    except SystemExit as stop:
        code = stop.code
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert (code, len(lines)) in {(None, 0), (0, 0), (2, 1)}
    return lines[0].removeprefix("tests.experiments.toy: error: ") if lines else said.out


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["--tasks", "x"], "--tasks: expected a whole number, got x"),
        (["--seed_batch=1.5"], "--seed-batch: expected a whole number, got 1.5"),
        (["--alpha", "0.5", "x"], "--alpha: expected a number, got x"),
        (["--arms"], "--arms: expected at least one value, got none"),
        (["--tasks", "2147483647"], "--seeds 5 --tasks 2147483647 --length 20 need at least"),
        (["--length", "2147483647"], "--seeds 5 --tasks 3 --length 2147483647 need at least"),
        (["--seeds", "2147483647"], "--seeds 2147483647 need at least"),
    ],
)
def test_a_wrong_number_is_refused(args, line, tmp_path, capsys):
    assert ends(args, tmp_path / "run", capsys).startswith(line)
    assert not (tmp_path / "run").exists()


@given(
    st.lists(
        st.tuples(
            st.sampled_from([field.name for field in dataclasses.fields(toy.Config)][:-1]),
            st.sampled_from([" ", "="]), st.lists(st.sampled_from(EDGES), max_size=2),
        ), max_size=3,
    )
)  # fmt: skip
@settings(max_examples=300, deadline=None, derandomize=True, database=None,
          suppress_health_check=[HealthCheck.function_scoped_fixture])  # fmt: skip
def test_no_flags_end_in_a_traceback(tmp_path, capsys, flags):
    args = ["--length", "4", "--tasks", "2", "--seeds", "1"]
    for name, joint_by, values in flags:
        if name in {"distributed", "out"}:
            continue
        text = f"--{name.replace('_', '-')}"
        args += [f"{text}={values[0]}"] if joint_by == "=" and values else [text, *values]
    shutil.rmtree(tmp_path / "run", ignore_errors=True)
    ends(args, tmp_path / "run", capsys)


@given(st.data())
@settings(max_examples=300, deadline=None, derandomize=True, database=None)
def test_no_configuration_ends_check_in_a_traceback(data):
    module = data.draw(st.sampled_from(PROGRAMS))
    fields = dataclasses.fields(module.Config)
    changed = {}
    for field in data.draw(st.lists(st.sampled_from(fields), max_size=3)):
        kind = str(field.type)
        numbers = st.sampled_from([-1, 0, 1, 2, 3, 1000, 2**31 - 1, 2**31, 10**20])
        if "float" in kind:
            numbers = st.sampled_from(
                [-1.0, 0.0, 1e-30, 0.5, 1.0, 1e308, float("inf"), float("nan")]
            )
        elif "int" not in kind or "Literal" in kind:
            continue
        tuples = st.lists(numbers, max_size=3).map(tuple)
        changed[field.name] = data.draw(tuples if "tuple" in kind else numbers)
    config = dataclasses.replace(module.Config(), **changed)
    with contextlib.suppress(ValueError):
        config.check()


@pytest.mark.parametrize("args", [["--seeds", "1"], ["--help"]])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
def test_stdout_on_a_full_device(args, tmp_path, capsys, monkeypatch):
    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        line = ends(args, tmp_path / "run", capsys)
        monkeypatch.undo()
    assert line == "stdout: No space left on device"


def test_a_full_disk_is_named_by_the_file(tmp_path, capsys, monkeypatch):
    def fails(path):
        path.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    files.write_text(path := tmp_path / "file", "old")
    with pytest.raises(SystemExit), command_line.errors("program"):
        files.write(path, fails)
    assert capsys.readouterr().err == f"program: error: {path}: No space left on device\n"
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("file", "old")]


def test_a_full_disk_under_a_checkpoint(tmp_path, capfd):
    """A limit on the size of files stands in for the disk. Without it the save succeeds."""
    store = Checkpoints(tmp_path / "some", lambda: {}, None, lasting=True, say=print)
    arrays = {"state": [np.random.default_rng(0).random(10_000)]}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(SystemExit), command_line.errors("program"):
            store.save(5, arrays)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    gc.collect()
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"program: error: {tmp_path}/some/5 was not saved: ")
    assert "File too large" in line
    store.save(5, arrays)
    assert store.newest()[0] == 5


def test_paths_have_no_tilde(monkeypatch):
    monkeypatch.setenv("HOME", "/home/her")
    assert command_line.parse("x", joint.Config, ["--out=~/x"]).out == Path("/home/her/x")
    given_paths = command_line.parse("x", report.Config, ["~/a", "~no-such/b"])
    assert given_paths.runs == (Path("/home/her/a"), Path("~no-such/b"))


def test_markup_in_names_is_shown_as_it_is(tmp_path, capsys):
    arms = ["--seeds", "1", "--arms", "a[b]:smile:[/b]"]
    said = ends(arms, out := tmp_path / "X" / "run[", capsys).replace("\n", "")
    assert "A[B]:Smile:[/B]" in said
    assert f"{out}:" in said  # the line may end there
    progress.console().print("[/b] :smile: [red]")
    assert capsys.readouterr().out == "[/b] :smile: [red]\n"


@pytest.mark.parametrize("columns", ["1", "5"])
def test_help_in_a_narrow_terminal(columns, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", columns)
    with pytest.raises(SystemExit, match="0"):
        command_line.parse("x", toy.Config, ["--help"])
    assert "--tasks" in capsys.readouterr().out


def test_without_compiling_there_is_one_line():
    with jax.disable_jit(), pytest.raises(ValueError, match="JAX_DISABLE_JIT is set"):
        devices.check()


def test_ctrl_c_while_packages_are_loaded():
    command = [sys.executable, "-m", "experiments.report"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"loading JAX\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b"stopped by Ctrl-C\n"
    assert process.returncode == 130


def test_a_linked_folder_is_deleted(tmp_path):
    (there := tmp_path / "there").mkdir()
    (link := tmp_path / "link").symlink_to(there)
    files.remove(link)
    assert not list(tmp_path.iterdir())
