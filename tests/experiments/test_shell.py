"""Wrong flags and full disks: each ends in status 0, or in one line on stderr with status 2."""

import contextlib
import errno
import gc
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import jax
import numpy as np
import pytest

pytest.importorskip("gymnax", reason="mer_jax.rl needs it")

from experiments import joint
from experiments import rl as rl
from experiments.report import __main__ as report
from experiments.running import command_line, devices, files, progress
from experiments.running.checkpoints import Checkpoints
from experiments.running.program import main
from tests.experiments import toy


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


@pytest.mark.parametrize("args", [["--seeds", "1"], ["--help"]])
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="Linux has it")
def test_stdout_on_a_full_device(args, tmp_path, capsys, monkeypatch):
    with open("/dev/full", "w", encoding="utf-8") as full:
        monkeypatch.setattr(sys, "stdout", full)
        line = ends(args, tmp_path / "run", capsys)
        monkeypatch.undo()
    assert line == "stdout: No space left on device"


@contextlib.contextmanager
def closed_pipe(monkeypatch):
    """A stdout whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    with open(writing, "w", encoding="utf-8") as pipe:
        monkeypatch.setattr(sys, "stdout", pipe)
        yield
        monkeypatch.undo()
        pipe.write("what Python writes when it ends")


def test_a_run_without_a_reader_is_finished(tmp_path, capsys, monkeypatch):
    with closed_pipe(monkeypatch):
        main(toy.PROGRAM, ["--seeds", "1", "--out", str(tmp_path)])
    assert (tmp_path / "metrics.json").exists()
    assert capsys.readouterr().err == ""


def test_help_without_a_reader_ends_without_a_word(capsys, monkeypatch):
    with closed_pipe(monkeypatch), pytest.raises(SystemExit, match="141"):
        main(toy.PROGRAM, ["--help"])
    assert capsys.readouterr().err == ""


def test_a_full_disk_is_named_by_the_file(tmp_path, capsys, monkeypatch):
    def fails(path):
        path.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    files.write_text(path := tmp_path / "file", "old")
    with pytest.raises(SystemExit), command_line.errors("program"):
        files.write(path, fails)
    assert (
        capsys.readouterr().err
        == f"program: error: {path} cannot be written: No space left on device\n"
    )
    assert [(one.name, one.read_text()) for one in tmp_path.iterdir()] == [("file", "old")]


def test_a_full_disk_under_a_checkpoint(tmp_path, capfd):
    """A limit on the size of files stands in for the disk. Without it the save succeeds."""
    store = Checkpoints(tmp_path / "some", lambda: {}, None, lasting=True, say=print)
    arrays = {"state": list(np.random.default_rng(0).random((30, 10_000)))}
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(SystemExit), command_line.errors("program"):
            store.save(5, arrays)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    gc.collect()
    (line,) = capfd.readouterr().err.splitlines()
    assert line == f"program: error: {tmp_path}/some/5 cannot be saved: File too large"
    store.save(5, arrays)
    assert store.newest()[0] == 5


def test_ctrl_c_does_not_interrupt_a_save(tmp_path, monkeypatch, recwarn):
    """An interrupted save of orbax's would leave coroutines, with a warning of each."""
    store = Checkpoints(tmp_path / "some", lambda: {}, None, lasting=True, say=print)
    manager = store._manager

    def interrupted():
        time.sleep(0.1)  # until it is waited for
        signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)
        return manager()

    monkeypatch.setattr(store, "_manager", interrupted)
    # Programs that a shell began in the background ignore SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            store.save(5, {"state": [np.arange(10.0)] * 30})
    finally:
        signal.signal(signal.SIGINT, before)
    monkeypatch.undo()
    gc.collect()
    assert store.newest()[0] == 5
    assert not [one for one in recwarn if "never awaited" in str(one.message)]


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
    with jax.disable_jit(), pytest.raises(ValueError, match="unset JAX_DISABLE_JIT"):
        devices.check()


def test_ctrl_c_while_packages_are_loaded():
    command = [sys.executable, "-m", "experiments.report"]
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    # Programs that a shell began in the background ignore SIGINT, and so do those that they begin.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    process = subprocess.Popen(command, **how)
    signal.signal(signal.SIGINT, before)
    with process:
        assert process.stdout.readline() == b"loading JAX\n"
        process.send_signal(signal.SIGINT)
        assert process.stderr.read() == b"stopped by Ctrl-C\n"
    assert process.returncode == 130


def test_a_linked_folder_is_deleted(tmp_path):
    (there := tmp_path / "there").mkdir()
    (link := tmp_path / "link").symlink_to(there)
    files.remove(link)
    assert not list(tmp_path.iterdir())
