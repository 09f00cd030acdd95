"""Events for TensorBoard: what is in the files."""

import numpy as np
import pytest
from tensorboardX.proto.event_pb2 import Event

from experiments.running import options, tensorboard
from experiments.running.loop import Progress
from experiments.running.program import main
from tests.experiments import toy


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


def steps(counts, rows):
    return iter([Progress(0, [{"score": row} for row in rows[:count]], []) for count in counts])


def test_means_over_runs_and_what_is_not_known_is_left_out(tmp_path):
    rows = [np.array([[1.0, np.nan], [3.0, np.nan]]), np.array([[4.0, 6.0], [6.0, 8.0]])]
    folder = tmp_path / "run"
    passed = list(tensorboard.logged(steps([1, 1, 2], rows), folder, [0, 50]))
    assert [len(step.rows) for step in passed] == [1, 1, 2]
    assert events(folder) == [
        ("score/task-1", 0, 2), ("score/task-1", 50, 5), ("score/task-2", 50, 7),
        ("score/all-tasks", 50, 6),
    ]  # fmt: skip


def test_a_resumed_run_has_everything_once(tmp_path):
    """Also what was on the disk as a checkpoint, but not yet as an event."""
    rows = [np.array([[float(number)]]) for number in range(4)]
    for counts in ([1, 2], [3, 4]):
        list(tensorboard.logged(steps(counts, rows), tmp_path / "run", range(4)))
    told = [(step, value) for name, step, value in events(tmp_path / "run") if "task-1" in name]
    assert told == [(0, 0), (1, 1), (2, 2), (3, 3)]


def test_a_run_writes_every_task_along_the_stream(tmp_path):
    main(toy.PROGRAM, ["--seeds", "2", "--tasks", "2", "--tensorboard", "--out", str(tmp_path)])
    told = events(tmp_path / "tensorboard/one-0")
    places = {(name, step) for name, step, _ in told if name.startswith("error")}
    names = ("error/task-1", "error/task-2", "error/all-tasks")
    assert places == {(name, step) for name in names for step in (0, 20, 40)}


def test_without_the_package_it_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(options, "find_spec", lambda name: None)
    with pytest.raises(SystemExit) as stop:
        main(toy.PROGRAM, ["--tensorboard", "--out", str(tmp_path)])
    assert stop.value.code == 2
    assert "--tensorboard needs a package: pip install tensorboardX" in capsys.readouterr().err
