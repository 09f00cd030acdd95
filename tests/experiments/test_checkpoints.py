"""Runs that were killed go on where they were, with the same bits, or say why they do not."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from experiments import supervised, training
from experiments.checkpoints import Checkpoints, check_begun, folder, forget

ROOT = Path(__file__).parents[2]
FLAGS = [
    "--method", "er", "online", "--seeds", "2", "--seed-batch", "1", "--tasks", "3",
    "--examples-per-task", "60", "--test-images", "50", "--watch", "--checkpoint-every", "30",
]  # fmt: skip


def told(out):
    """Everything that was measured, without how long it took."""
    metrics = json.loads((out / "metrics.json").read_text())["methods"]
    for result in metrics.values():
        assert result.pop("seconds") > 0
    return metrics


def program(out, *more):
    """The run as a process of its own: how many devices there are may change the last bits."""
    command = [sys.executable, "-m", "experiments.supervised", *FLAGS, "--out", str(out), *more]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)


def killed(out, after, *more):
    """Runs until `after` holds, then kills it."""
    process = program(out, *more)
    began = time.monotonic()
    while not after():
        assert process.poll() is None, "it ended before it was killed"
        assert time.monotonic() - began < 300
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()


def finished(out, *more):
    assert program(out, *more).wait(timeout=300) == 0
    assert not (out / "checkpoints").exists()
    return told(out)


def test_killed_and_damaged_it_ends_with_the_same_bits(tmp_path, capsys):
    def steps(name):
        """The checkpoints of a batch of runs, by how many examples were learned."""
        names = [path.name for path in (tmp_path / "killed/checkpoints" / name).glob("*")]
        return [int(name) for name in names if name.isdigit()]

    killed(tmp_path / "killed", lambda: steps("er-0"))
    killed(tmp_path / "killed", lambda: any(step > 60 for step in steps("online-1")), "--resume")
    # Half the disk was lost as well: the one before the newest does.
    _flip(tmp_path / f"killed/checkpoints/online-1/{max(steps('online-1'))}")
    assert finished(tmp_path / "killed", "--resume") == finished(tmp_path / "whole")

    # Neither the same command nor any other writes over what is finished.
    before = (tmp_path / "whole/metrics.json").read_bytes()
    for more in ([], ["--seed", "7"], ["--seed", "7", "--resume"]):
        with pytest.raises(SystemExit) as stop:
            supervised.main([*FLAGS, "--out", str(tmp_path / "whole"), *more])
        assert stop.value.code == 2
        assert "holds what a run came to" in capsys.readouterr().err
    # Killed after its last line was written, it has nothing to go on with.
    with pytest.raises(SystemExit) as stop:
        supervised.main([*FLAGS, "--out", str(tmp_path / "whole"), "--resume"])
    assert stop.value.code == 0
    assert "holds all that there is to be learned" in capsys.readouterr().out
    assert (tmp_path / "whole/metrics.json").read_bytes() == before
    for damaged in (before[:100], b"[]", b"{}"):
        (tmp_path / "whole/metrics.json").write_bytes(damaged)
        with pytest.raises(SystemExit) as stop:
            supervised.main([*FLAGS, "--out", str(tmp_path / "whole"), "--resume"])
        assert stop.value.code == 2
        assert "holds what a run came to" in capsys.readouterr().err


@pytest.fixture
def begun(tmp_path):
    """A folder with two checkpoints of an unfinished run."""
    killed(tmp_path, lambda: (tmp_path / "checkpoints/er-0/60").is_dir())
    return tmp_path


def test_what_was_begun_is_neither_overwritten_nor_gone_on_with_by_other_runs(begun, capsys):
    for more, says in (
        ([], "holds an unfinished run: give --resume"),
        (["--resume", "--alpha", "0.02"], "was made with other values of settings"),
        (["--resume", "--examples-per-task", "50"], "was made with other values of tasks"),
        (["--resume", "--seed", "7"], "other values of seeds, tasks"),
    ):
        with pytest.raises(SystemExit) as stop:
            supervised.main([*FLAGS, "--out", str(begun), *more])
        assert stop.value.code == 2
        assert says in capsys.readouterr().err


def test_asked_to_stop_it_keeps_what_it_has_and_says_how_to_go_on(tmp_path):
    """Ctrl-C in the middle, long before the first checkpoint would be due."""
    flags = ["--method", "online", "--tasks", "20", "--checkpoint-every", "100000"]
    command = [sys.executable, "-m", "experiments.supervised", *flags, "--out", str(tmp_path)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    for line in process.stdout:
        if "Online: alpha" in line:
            break
    time.sleep(3)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=300)
    assert "stopping at the next checkpoint" in said
    assert "--resume goes on" in " ".join(said.split())
    assert process.returncode == 130
    (at,) = [path.name for path in (tmp_path / "checkpoints/online-0").iterdir()]
    assert 0 < int(at) < 4000


def test_a_run_that_diverged_stops_at_the_next_checkpoint(tmp_path, capsys):
    flags = [
        "--method", "online", "--alpha", "1e30", "--seeds", "2", "--tasks", "2",
        "--examples-per-task", "40", "--checkpoint-every", "20", "--out", str(tmp_path),
    ]  # fmt: skip
    with pytest.raises(SystemExit) as stop:
        supervised.main(flags)
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert "seed 0, seed 1: no longer finite after " in said
    assert "in task 1; the last good checkpoint is none" in said
    # Nor does one that is done before its first checkpoint go unseen.
    at = flags.index("--checkpoint-every")
    with pytest.raises(SystemExit):
        supervised.main([*flags[:at], *flags[at + 2 :]])
    assert "no longer finite after 80 examples, in task 2" in capsys.readouterr().err
    # In a sweep the others go on.
    shutil.rmtree(tmp_path / "checkpoints", ignore_errors=True)
    supervised.main([*flags, "--alpha", "1e30", "0.01"])
    settings = json.loads((tmp_path / "metrics.json").read_text())["methods"]
    assert settings["online alpha 1e+30"]["retained_accuracy"]["mean"] is None
    assert settings["online alpha 0.01"]["retained_accuracy"]["mean"] > 0


def test_parts_are_as_fine_as_the_checkpoints_that_are_asked_for():
    assert [training.chunk_size(*sizes) for sizes in ((1000,), (1000, 30), (997, 20), (15,))] == [
        100, 25, 1, 15
    ]  # fmt: skip


ARRAYS = {"state": [np.arange(5.0), np.array([[1, 2]], np.int32)], "accuracies": [np.ones((2, 3))]}


def checkpoints(folder, said=None, **changed):
    said = [] if said is None else said
    identity = {"seeds": [0, 1], "settings": {"alpha": 0.1}} | changed
    return Checkpoints(folder, lambda: identity, 10, False, said.append)


def same(kept):
    at, arrays = kept
    assert arrays.keys() == ARRAYS.keys()
    for name, leaves in ARRAYS.items():
        for leaf, again in zip(leaves, arrays[name], strict=True):
            assert again.dtype == leaf.dtype
            np.testing.assert_array_equal(again, leaf)
    return at


def test_only_the_newest_are_kept_and_the_newest_is_found(tmp_path):
    kept = checkpoints(tmp_path / "of-these")
    assert kept.newest() is None
    saved = []
    for at in range(5, 45, 5):
        if kept.due(at):
            kept.save(at, ARRAYS)
            saved.append(at)
    assert saved == [10, 20, 30, 40]
    again = checkpoints(tmp_path / "of-these")
    assert same(again.newest()) == 40
    assert again.seconds > 0
    assert not again.due(45)
    names = [path.name for path in (tmp_path / "of-these").iterdir()]
    assert sorted(names) == ["30", "40"]


def _files(step):
    return sorted(path for path in step.rglob("*") if path.is_file())


def _cut(step):
    for path in _files(step):
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _flip(step):
    """One bit in the largest file, which holds the arrays."""
    path = max(_files(step), key=lambda path: path.stat().st_size)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def _emptied(step):
    shutil.rmtree(step)
    step.mkdir()


def _of_another(step):
    shutil.rmtree(step / "arrays")
    shutil.copytree(step.parent / "1" / "arrays", step / "arrays")


def _copied(step):
    """The whole of the one before, under this one's name."""
    shutil.rmtree(step)
    shutil.copytree(step.parent / "1", step)


def _without(name):
    def damage(step):
        path = step / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return damage


def _told(change):
    def damage(step):
        path = step / "told/metadata"
        path.write_text(change(path.read_text()))

    return damage


DAMAGES = {
    "cut": _cut,
    "empty files": lambda step: [path.write_bytes(b"") for path in _files(step)],
    "empty folder": _emptied,
    "a bit": _flip,
    "noise": lambda step: [path.write_bytes(os.urandom(100)) for path in _files(step)],
    "no arrays": _without("arrays"),
    "nothing told": _without("told"),
    "no JSON": _told(lambda text: text[:-3]),
    "other checksum": _told(lambda text: text.replace('"checksum": "', '"checksum": "0')),
    "no checksum": _told(lambda text: text.replace("checksum", "check")),
    "other seeds": _told(lambda text: text.replace('"seeds": [0', '"seeds": [7')),
    "other seconds": _told(lambda text: text.replace('"seconds": ', '"seconds": 1')),
    "of another": _of_another,
    "another's place": _copied,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_one_is_passed_over_for_the_one_before(damage, tmp_path):
    kept, said = checkpoints(tmp_path), []
    kept.save(1, ARRAYS)
    kept.save(2, ARRAYS | {"accuracies": [np.zeros((2, 3))]})
    damage(tmp_path / "2")
    again = checkpoints(tmp_path, said)
    assert same(again.newest()) == 1
    assert len(said) == 1
    assert f"passing over the damaged checkpoint {tmp_path}/2: " in said[0]
    # It goes on, and comes to the same place.
    again.save(2, ARRAYS)
    assert same(checkpoints(tmp_path, said).newest()) == 2
    assert len(said) == 1
    for step in "12":
        shutil.rmtree(tmp_path / step / "arrays")
    with pytest.raises(ValueError, match="every checkpoint is damaged; delete it"):
        checkpoints(tmp_path).newest()


def test_what_is_finished_is_never_gone_on_with(tmp_path, monkeypatch):
    """Even if it is killed while it deletes what it no longer needs."""
    checkpoints(folder(tmp_path) / "mer-0").save(1, ARRAYS)
    with monkeypatch.context() as patched:
        patched.setattr(shutil, "rmtree", lambda *args, **how: None)
        forget(tmp_path)
    check_begun(supervised.Config(out=tmp_path))
    checkpoints(folder(tmp_path) / "mer-0").save(1, ARRAYS)
    forget(tmp_path)
    assert not list(tmp_path.iterdir())


def test_one_that_is_not_finished_does_not_count(tmp_path):
    kept, said = checkpoints(tmp_path), []
    kept.save(1, ARRAYS)
    shutil.copytree(tmp_path / "1", tmp_path / "2.orbax-checkpoint-tmp")
    assert same(checkpoints(tmp_path, said).newest()) == 1
    assert not said


def test_of_other_runs_none_is_taken(tmp_path):
    checkpoints(tmp_path).save(1, ARRAYS)
    with pytest.raises(ValueError, match="was made with other values of seeds; delete it"):
        checkpoints(tmp_path, seeds=[0, 2]).newest()
