"""The loop and the program shell, whole, on the toy problem."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import jax
import numpy as np
import pytest

import mer_jax
from experiments.running import checkpoints, devices, loop, record
from experiments.running.checkpoints import Checkpoints, folder
from experiments.running.files import locked
from experiments.running.interrupt import interruptible, stop
from experiments.running.problem import Own, chunk_size, every
from experiments.running.program import main
from tests.experiments import toy

ROOT = Path(__file__).parents[3]


def run(out, *flags):
    main(toy.PROGRAM, ["--out", str(out), *map(str, flags)])
    return json.loads((out / "metrics.json").read_text())


def measured(content):
    """Everything but how long it took."""
    return [{**result, "seconds": 0} for result in content["results"]]


def refused(capsys, out, *flags, status=2):
    """The one line with which a program ends."""
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        main(toy.PROGRAM, ["--out", str(out), *map(str, flags)])
    assert end.value.code == status
    said = capsys.readouterr()
    line = said.err if status else said.out
    assert line.count("\n") == 1
    assert before == {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    return line


@pytest.fixture
def stopped(monkeypatch):
    """A function that makes every run stop at a place, once, as Ctrl-C does."""

    def stop_at(arm, place):
        due = Checkpoints.due

        def due_once_stopped(store, at):
            if store.folder.name == arm and at == place:
                stop()
                monkeypatch.setattr(Checkpoints, "due", due)
            return due(store, at)

        monkeypatch.setattr(Checkpoints, "due", due_once_stopped)

    return stop_at


def test_runs_are_those_of_a_plain_loop(tmp_path):
    """Two rates with three seeds, two runs at a time: each run alone, by hand."""
    content = run(tmp_path, "--seeds", 3, "--alpha", 0.5, 0.1, "--seed-batch", 2, "--seed", 4)
    assert content["format"] == record.FORMAT
    assert [result["name"] for result in content["results"]] == ["one alpha 0.5", "one alpha 0.1"]
    for result in content["results"]:
        assert result["per_seed"]["seed"] == [4, 5, 6]
        for seed, errors, final, places in zip(
            *(result["per_seed"][name] for name in ("seed", "errors", "final_error", "places")),
            strict=True,
        ):
            _, by_hand = toy.expected(seed, result["settings"]["alpha"])
            np.testing.assert_allclose(errors, by_hand, atol=1e-5)
            assert final == pytest.approx(by_hand[-1].mean(), abs=1e-5)
            assert places == [0, 20, 40, -1]  # the last evaluation is another program's
    assert (tmp_path / "left.txt").read_text().split()[0] == "4"
    assert "final_error" not in content  # of several settings nothing stands at the top level


def test_a_run_leaves_a_record_a_table_and_a_picture(tmp_path, capsys):
    content = run(tmp_path, "--seeds", 2, "--arms", "one", "two")
    names = ["left.txt", "metrics.json", "picture.png", "run.json", "table.md"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    said = capsys.readouterr().out
    assert "A toy of 3 tasks." in said
    assert ", ".join(names) in " ".join(said.split())
    assert "| One | " in (tmp_path / "table.md").read_text()
    asked = json.loads((tmp_path / "run.json").read_text())
    assert asked["command"] == "python -m tests.experiments.toy --seeds 2 --arms one two"
    assert content["config"] == asked["config"]
    assert content["versions"]["jax"] == jax.__version__
    assert content["versions"]["mer_jax"] == mer_jax.__version__
    assert content["arithmetic"]["mer_jax"] == mer_jax.__version__
    assert content["kind"] == "toy"


def test_a_single_setting_stands_at_the_top_level(tmp_path):
    content = run(tmp_path, "--seeds", 3)
    (result,) = content["results"]
    final = result["per_seed"]["final_error"]
    assert content["final_error"]["per_seed"] == final
    assert content["final_error"]["mean"] == pytest.approx(np.mean(final))
    assert content["final_error"]["std"] == pytest.approx(np.std(final, ddof=1))
    first, *_ = (toy.expected(0, 0.5)[1][-1].mean(),)
    assert final[0] == pytest.approx(first, abs=1e-5)


FLAGS = ["--seeds", 3, "--seed-batch", 2, "--arms", "one", "two", "--info", "--checkpoint-every", 5]


def test_stopped_and_resumed_it_ends_with_the_same_bits(tmp_path, stopped, capsys):
    """Once within a task, with infos on the way, and once between two batches of runs."""
    whole = run(tmp_path / "whole", *FLAGS)
    for arm, place in (("one-0", 25), ("two-2", 40)):
        stopped(arm, place)
        with pytest.raises(SystemExit) as end:
            run(tmp_path / "parts", *FLAGS, "--resume")
        assert end.value.code == 130
        said = " ".join(capsys.readouterr().out.split())
        assert f"stopped: finished results are in {tmp_path}/parts. --resume goes on" in said
        kept = [path.name for path in folder(tmp_path / "parts").glob(f"{arm}/*")]
        assert str(place) in kept
    parts = run(tmp_path / "parts", *FLAGS, "--resume")
    assert measured(parts) == measured(whole)
    assert not folder(tmp_path / "parts").exists()
    examples = np.array(parts["results"][0]["per_seed"]["examples"]["all"])
    assert examples.shape == (3, 60)
    np.testing.assert_allclose(examples.reshape(3, 3, 20).mean((0, 2)), [1, 2, 3], atol=0.1)


def test_a_table_names_what_is_not_learned_yet(tmp_path, stopped):
    stopped("two-0", 5)
    flags = ["--seeds", 1, "--arms", "one", "two", "--checkpoint-every", 5]
    with pytest.raises(SystemExit):
        run(tmp_path, *flags)
    assert (tmp_path / "table.md").read_text().endswith("settings. Not learned yet: Two.\n")
    run(tmp_path, *flags, "--resume")
    assert "Not learned yet" not in (tmp_path / "table.md").read_text()


def test_a_resumed_run_forgets_nothing_of_its_state(tmp_path, stopped, monkeypatch):
    """The checkpoint holds parameters, memory and count, which a plain loop gives."""
    stopped("one-0", 25)
    with pytest.raises(SystemExit):
        run(tmp_path, "--seeds", 1, "--checkpoint-every", 5)
    said = []
    store = Checkpoints(folder(tmp_path) / "one-0", dict, 5, False, said.append)
    monkeypatch.setattr(checkpoints, "differing", lambda was, now: [])  # as if it were its own
    place, arrays = store.newest()
    assert place == 25
    params, memory, count = arrays["state"]
    assert count == [25]
    assert len(np.unique(memory)) == 4
    assert len(arrays["error"]) == 2
    assert params[0] == pytest.approx(float(toy.expected(0, 0.5, 2)[1][1][0]) + 1, abs=1)


def test_an_unfinished_run_is_resumed_by_its_own_command_alone(tmp_path, stopped, capsys):
    stopped("one-0", 25)
    with pytest.raises(SystemExit):
        run(tmp_path, *FLAGS)
    assert "unfinished run: give --resume" in refused(capsys, tmp_path, *FLAGS)
    run_json = (tmp_path / "run.json").read_text()
    (tmp_path / "run.json").write_text(run_json.replace('"format": 2', '"format": 1'))
    says = "was begun by an earlier version of this program and cannot be resumed"
    assert says in refused(capsys, tmp_path, *FLAGS, "--resume")
    for damaged in ("{", "[]", "{}", '{"config": 3}'):
        (tmp_path / "run.json").write_text(damaged)
        says = f"{tmp_path}/run.json is damaged: "
        assert says in refused(capsys, tmp_path, *FLAGS, "--resume")


def test_a_folder_serves_one_run_at_a_time(tmp_path, capsys):
    """A second one names the first. A lock that a killed process left does not count."""
    (tmp_path / ".lock").write_text("process 1 on elsewhere since ever\n")
    with locked(tmp_path):
        with pytest.raises(SystemExit) as end:
            run(tmp_path, "--seeds", 1)
        assert end.value.code == 2
        said = capsys.readouterr().err
        assert f"{tmp_path} is in use by process {os.getpid()} on {socket.gethostname()}" in said
    assert run(tmp_path, "--seeds", 1)
    assert not (tmp_path / ".lock").exists()


def test_a_finished_run_is_not_written_over(tmp_path, capsys):
    run(tmp_path, "--seeds", 1)
    for flags in ([], ["--seed", 7]):
        assert "holds a finished run" in refused(capsys, tmp_path, "--seeds", 1, *flags)
    says = "was begun with other values of --seed (0 there, 7 here): give those of"
    assert says in refused(capsys, tmp_path, "--seeds", 1, "--seed", 7, "--resume")
    capsys.readouterr()
    run(tmp_path, "--seeds", 1, "--resume")
    assert "nothing was left to learn" in capsys.readouterr().out
    whole = (tmp_path / "metrics.json").read_bytes()
    for damaged in (whole[:100], b"[]", b"{}", whole.replace(b"results", b"other")):
        (tmp_path / "metrics.json").write_bytes(damaged)
        says = f"{tmp_path}/metrics.json is damaged"
        assert says in refused(capsys, tmp_path, "--seeds", 1, "--resume")


def test_what_a_finished_run_lacks_is_learned_or_drawn_again(tmp_path, capsys, monkeypatch):
    flags = ["--seeds", 2, "--arms", "one", "two"]
    whole = run(tmp_path, *flags)
    (tmp_path / "picture.png").unlink()
    (tmp_path / "table.md").unlink()
    record.load(path := tmp_path / "metrics.json")._replace(results=[]).write(path)
    known = json.loads(path.read_text())
    for lost in (0, 1):
        fewer = [one for number, one in enumerate(whole["results"]) if number != lost]
        path.write_text(json.dumps(known | {"results": fewer}))
        again = run(tmp_path, *flags, "--resume")
        assert measured(again) == measured(whole)
        assert (tmp_path / "picture.png").exists()
        assert (tmp_path / "table.md").exists()
    shorter = dict(whole["results"][0])
    shorter["per_seed"] = {name: values[:1] for name, values in shorter["per_seed"].items()}
    path.write_text(json.dumps(known | {"results": [shorter, whole["results"][1]]}))
    assert measured(run(tmp_path, *flags, "--resume")) == measured(whole)
    other = known["arithmetic"] | {"jax": "0.1"}
    path.write_text(json.dumps(known | {"results": fewer, "arithmetic": other}))
    says = f"other values of jax (0.1 there, {jax.__version__} here): use those to learn what is"
    assert says in refused(capsys, tmp_path, *flags, "--resume")


PLACE = ["--distributed", "--coordinator", "here:1", "--num-processes", 2, "--process-id", 0]


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--seeds", "many"], "many"),
        (["--colour", "red"], "--colour"),
        (["--seeds", 0], "--seeds must be a whole number of at least 1, got 0"),
        (["--seeds", 2**31], "--seeds must be less than 2^31"),
        (["--seed", -1], "--seed must be in [0, 4294967291] with --seeds 5, got -1"),
        (["--seed", 4294967296], "--seed must be in"),
        (["--seed-batch", 0], "--seed-batch must be a whole number"),
        (["--checkpoint-every", 0], "--checkpoint-every must be a whole number"),
        (["--alpha", -1], "--alpha must be a finite number of at least 0, got -1"),
        (["--alpha", "inf"], "--alpha must be a finite number"),
        (["--alpha", "nan"], "--alpha must be a finite number"),
        (["--process-id", 1], "need --distributed"),
        (["--distributed", "--coordinator", "here:1"], "go together: give all three or none"),
        ([*PLACE, "--coordinator", "here"], "--coordinator must be HOST:PORT, got here"),
        ([*PLACE, "--coordinator", "here:many"], "--coordinator must be HOST:PORT"),
        ([*PLACE, "--coordinator", ":1"], "--coordinator must be HOST:PORT"),
        ([*PLACE, "--process-id", 2], "--process-id must be from 0 to 1"),
        ([*PLACE, "--num-processes", 0], "--num-processes must be a whole number of at least 1"),
        ([*PLACE, "--wait-seconds", 0], "--wait-seconds must be a whole number of at least 1"),
        (["--wrong"], "the data are wrong in two lines"),
        (["--out", "{file}/below"], "{file}/below cannot be made: Not a directory; choose another"),
        (["--out", "{file}"], "{file} cannot be made: File exists; choose another --out"),
    ],
    ids=str,
)
def test_bad_input_gets_one_clear_line(flags, says, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    flags = [str(flag).format(file=tmp_path / "file") for flag in flags]
    line = refused(capsys, tmp_path, "--out", tmp_path / "out", *flags)
    assert line.startswith("tests.experiments.toy: error: ")
    assert says.format(file=tmp_path / "file") in line
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_one_is_singular(tmp_path, capsys):
    run(tmp_path, "--tasks", 1, "--seeds", 1)
    assert "A toy of 1 task.\n" in capsys.readouterr().out
    last = (tmp_path / "table.md").read_text().splitlines()[-1]
    assert last == "A toy of 1 task. Seconds: wall time of all seeds and settings."

    def caption(text):
        study = toy.prepare(toy.Config(), print)._replace(caption=text)
        prepared = toy.PROGRAM._replace(prepare=lambda config, say: study)
        return prepared.study(toy.Config(), print).caption

    assert caption("1 passes, 11 batches; 1 batches.") == "1 pass, 11 batches; 1 batch."
    assert caption("Seed 1 has 1 tasks.") == "Seed 1 has 1 task."
    assert caption("21 tasks, 1.1 seeds, 1 seeds from 1, ± is") == (
        "21 tasks, 1.1 seeds, 1 seed from 1, ± is"
    )


def test_runs_that_do_not_fit_are_refused(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(devices, "memory_bytes", lambda: 20)
    with pytest.raises(SystemExit) as end:
        run(tmp_path)
    assert end.value.code == 2
    assert "one run of one needs" in capsys.readouterr().err


def test_a_run_that_diverges_stops_at_the_next_checkpoint(tmp_path, capsys):
    for flags, where in (
        (["--checkpoint-every", 10], "after 10 examples, in task 1"),
        ([], "after 60 examples, in task 3"),  # done before its first checkpoint
    ):
        with pytest.raises(SystemExit) as end:
            run(tmp_path, "--seeds", 2, "--alpha", 1e30, *flags)
        assert end.value.code == 2
        said = capsys.readouterr().err
        assert f"seed 0, seed 1: no longer finite {where}" in said
        assert "the last good checkpoint is none" in said
    # In a sweep the others go on.
    shutil.rmtree(tmp_path)
    lost, kept = run(tmp_path, "--seeds", 2, "--alpha", 1e30, 0.5)["results"]
    assert lost["per_seed"]["final_error"] == [None, None]
    assert min(kept["per_seed"]["final_error"]) > 0
    assert "| One, alpha 1e+30 | diverged |" in (tmp_path / "table.md").read_text()


def test_help_explains_every_flag(capsys):
    with pytest.raises(SystemExit) as end:
        main(toy.PROGRAM, ["--help"])
    assert end.value.code == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for text in ("A toy.", "--seeds", "The first seed.", "--resume", "--no-resume",
                 "Number of tasks."):  # fmt: skip
        assert text in said


def learn(folder, **changed):
    """Ragged: seed 0 lacks the second half of its first task, and seed 1 of its second."""
    lengths = np.array([[10, 20, 20], [20, 10, 20]], np.int32)
    own = Own(np.arange(2, dtype=np.uint32), {"alpha": np.full(2, 0.5, np.float32)}, lengths)
    schedule = every("examples", 3, 20, 10, between=20)
    present = np.arange(20) < lengths[:, :, None]
    schedule = type(schedule)(**{**vars(schedule), "present": present, **changed})
    store = Checkpoints(folder, dict, None, False, print)
    return list(loop.learn(toy.problem(10, 20, False), schedule, own, np.float32(0.5), store, True))


def test_rows_come_in_order_and_what_is_missing_is_not_counted(tmp_path):
    steps = learn(tmp_path)
    assert [step.seen for step in steps] == [0, 10, 15, 25, 30, 40, 50, 50][: len(steps)]
    known = [len(step.rows) for step in steps]
    assert known == sorted(known)
    assert known[-1] == 4
    assert steps[-1].params.shape == (2,)


def test_a_chunk_that_no_run_has_is_not_learned(tmp_path):
    def present(lengths):
        return np.arange(20) < np.array(lengths, np.int32)[:, :, None]

    steps = learn(tmp_path, present=present([[10, 20, 20], [10, 20, 20]]))
    assert len(steps) == 7
    assert steps[1].seen == steps[2].seen == 10


def test_a_schedule_evaluates_some_tasks_and_leaves_the_others_unknown(tmp_path):
    *_, last = learn(tmp_path, evaluations={20: np.array([0, 1]), 60: np.arange(3)})
    first, second = (row["error"] for row in last.rows)
    assert np.isnan(first[:, 2]).all()
    assert np.isfinite(first[:, :2]).all()
    assert np.isfinite(second).all()


def test_a_batch_must_be_finite_or_may_diverge(tmp_path):
    own = Own(np.zeros(1, np.uint32), {"alpha": np.full(1, 1e30, np.float32)}, np.full((1, 1), 20))
    store = Checkpoints(tmp_path / "x", dict, None, False, print)
    arguments = toy.problem(10, 20, False), every("examples", 1, 20, 10, 20), own, np.float32(0)
    with pytest.raises(ValueError, match="no longer finite"):
        list(loop.learn(*arguments, store, may_diverge=False))
    *_, last = loop.learn(*arguments, store, may_diverge=True)
    assert not np.isfinite(last.params).all()


def test_chunks_are_as_fine_as_the_checkpoints():
    sizes = [chunk_size(*sizes) for sizes in ((1000,), (1000, 30), (997, 20), (15,))]
    assert sizes == [100, 25, 1, 15]
    assert chunk_size(60, None, [15, 45]) == 15


def test_several_mains_share_compiled_programs(tmp_path):
    """A second run of the same shapes compiles nothing."""
    run(tmp_path / "first", "--seeds", 2)
    with jax.log_compiles(), pytest.MonkeyPatch.context() as patch:
        compiled = []
        from jax._src import compiler

        patch.setattr(
            compiler, "compile_or_get_cached",
            lambda *args, **how: compiled.append(args) or pytest.fail("compiled again"),
        )  # fmt: skip
        run(tmp_path / "second", "--seeds", 2, "--seed", 3)
    assert not compiled


LONG = ["--length", "2000", "--seeds", "3", "--checkpoint-every", "100"]


def program(out, *flags, devices=1, stderr=False):
    """The toy as a process of its own, with the flags `LONG` and these."""
    options = f"import jax, sys; jax.config.update('jax_num_cpu_devices', {devices}); "
    code = options + (
        "from experiments.running import devices; devices.use_all_cores = lambda runs: None; "
        "from experiments.running.program import main; from tests.experiments import toy; "
        "main(toy.PROGRAM, sys.argv[1:])"
    )
    command = [sys.executable, "-c", code, *LONG, *flags, "--out", str(out)]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        command, cwd=ROOT, stdout=pipe, stderr=pipe if stderr else None, text=True
    )


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="it is the CPU that is split here")
def test_devices_and_processes_give_what_one_gives(tmp_path, unused_port):
    """Three runs on one device, on two, so that one is padding, and on two processes."""
    distributed = ["--distributed", "--coordinator", f"127.0.0.1:{unused_port}"]
    distributed += ["--num-processes", "2", "--process-id"]
    started = [
        program(tmp_path / "two", devices=2),
        program(tmp_path / "both", *distributed, "0"),
        program(tmp_path / "both", *distributed, "1"),
    ]
    one = measured(run(tmp_path / "one", *LONG))
    said = [process.communicate(timeout=300)[0] for process in started]
    assert [process.returncode for process in started] == [0] * 3
    assert "Final error" in said[1]
    assert "error" not in said[2]  # one of them speaks
    two, both = (
        measured(json.loads((tmp_path / name / "metrics.json").read_text()))
        for name in ("two", "both")
    )
    assert one == two == both
    assert len({tuple(errors[-1]) for errors in one[0]["per_seed"]["errors"]}) == 3


def test_killed_it_resumes_with_the_same_bits(tmp_path):
    """SIGKILL at any moment after the first checkpoint, and damage to the newest one."""
    killed = program(tmp_path / "parts")
    while not list(folder(tmp_path / "parts").glob("one-0/[0-9]*0")):
        assert killed.poll() is None
        time.sleep(0.01)
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    steps = [int(path.name) for path in folder(tmp_path / "parts").glob("one-0/[0-9]*0")]
    if len(steps) > 1:
        shutil.rmtree(folder(tmp_path / "parts") / f"one-0/{max(steps)}/arrays")
    resumed = run(tmp_path / "parts", *LONG, "--resume")
    assert measured(resumed) == measured(run(tmp_path / "whole", *LONG))


def test_a_signal_stops_at_the_next_checkpoint_and_a_second_one_at_once():
    said = []
    with interruptible(said.append):
        signal.raise_signal(signal.SIGINT)
        assert said == ["stopping at the next checkpoint; once more to stop at once"]
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGTERM)
