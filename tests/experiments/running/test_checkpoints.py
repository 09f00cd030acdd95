"""Checkpoints on the disk: kept, found, damaged, of other runs."""

import errno
import os
import shutil

import numpy as np
import pytest

from experiments.running.checkpoints import Checkpoints, folder, forget
from experiments.running.program import check_free
from tests.experiments import toy

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
    assert f"skipping the damaged checkpoint {tmp_path}/2: " in said[0]
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
    check_free(toy.Config(out=tmp_path))
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
    with pytest.raises(
        ValueError, match=r"other values of seeds \(\[0, 1\] there, \[0, 2\] here\); resume it with"
    ):
        checkpoints(tmp_path, seeds=[0, 2]).newest()


@pytest.mark.parametrize("settings", ["", """ [tensorstore_spec='{"assume_metadata": true}']"""])
def test_the_reason_is_the_systems_own_among_the_storages_settings(settings, tmp_path, monkeypatch):
    """The storage writes its settings before the error code of the system, or it does not."""
    kept = checkpoints(tmp_path / "kept")
    text = f"Failed writing: \"a/file\": File too large{settings} [os_error_code='{errno.EFBIG}']"

    def fails():
        raise ValueError(f"OUT_OF_RANGE: Error writing\n{text}")

    monkeypatch.setattr(kept, "_manager", fails)
    with pytest.raises(OSError, match="cannot be saved") as raised:
        kept.save(5, ARRAYS)
    assert str(raised.value) == f"{tmp_path}/kept/5 cannot be saved: File too large"
