"""Events for TensorBoard: what is in the files."""

import builtins

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from experiments import supervised, tensorboard


def events(folder):
    """Every scalar in the folder's files as (name, step, value), in the order of writing."""
    found = []
    for path in sorted(folder.glob("events.*")):
        content = path.read_bytes()
        while content:  # length, its checksum, the event, its checksum
            length = int.from_bytes(content[:8], "little")
            event = Event.FromString(content[12 : 12 + length])
            found += [(v.tag, event.step, v.simple_value) for v in event.summary.value]
            content = content[16 + length :]
    return found


def test_means_over_runs_and_what_is_not_known_is_left_out(tmp_path):
    rows = [np.array([[1.0, np.nan], [3.0, np.nan]]), np.array([[4.0, 6.0], [6.0, 8.0]])]
    steps = [rows[:1], rows[:1], rows]
    folder = tmp_path / "run"
    passed = list(tensorboard.logged(iter(steps), folder, "score", lambda step: step, [0, 50]))
    assert passed == steps
    assert events(folder) == [
        ("score/task-1", 0, 2), ("score/task-1", 50, 5), ("score/task-2", 50, 7),
        ("score/all-tasks", 50, 6),
    ]  # fmt: skip


def test_a_run_that_goes_on_has_everything_once(tmp_path):
    """Also what was on the disk as a checkpoint, but not yet as an event."""
    rows = [np.array([[float(number)]]) for number in range(4)]
    for steps in ([rows[:1], rows[:2]], [rows[:3], rows]):
        list(tensorboard.logged(iter(steps), tmp_path / "run", "x", lambda step: step, range(4)))
    told = [(step, value) for name, step, value in events(tmp_path / "run") if "task-1" in name]
    assert told == [(0, 0), (1, 1), (2, 2), (3, 3)]


def test_a_run_writes_every_task_along_the_stream(tmp_path):
    supervised.main([
        "--method", "online", "--seeds", "2", "--tasks", "2", "--examples-per-task", "20",
        "--test-images", "20", "--tensorboard", "--out", str(tmp_path),
    ])  # fmt: skip
    told = events(tmp_path / "tensorboard/online-0")
    places = {(name, step) for name, step, _ in told}
    names = ("accuracy/task-1", "accuracy/task-2", "accuracy/all-tasks")
    assert places == {(name, step) for name in names for step in (0, 20, 40)}


def test_without_the_package_it_says_what_to_install(tmp_path, monkeypatch, capsys):
    find = builtins.__import__

    def without(name, *args):
        if name == "tensorboardX":
            raise ImportError(name)
        return find(name, *args)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SystemExit) as stop:
        supervised.main(["--tensorboard", "--out", str(tmp_path)])
    assert stop.value.code == 2
    assert "--tensorboard needs a package: pip install tensorboardX" in capsys.readouterr().err
