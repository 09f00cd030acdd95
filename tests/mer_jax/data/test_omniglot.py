"""Omniglot from a folder and from the authors' archives, and errors for bad files."""

import io
import os
import zipfile

import numpy as np
import pytest
from PIL import Image

from mer_jax.data import omniglot
from mer_jax.data.datasets import DataError

FOLDER = os.environ.get("MER_JAX_DATA_DIR", "")
RNG = np.random.default_rng(0)
NAMES = ("Angelic", "Magi")
CHARACTERS = (2, 1)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Two alphabets of two and one characters, each by three drawers."""
    monkeypatch.delenv("MER_JAX_DATA_DIR", raising=False)
    for name, value in (("NUM_ALPHABETS", 2), ("NUM_CHARACTERS", 3), ("NUM_DRAWERS", 3)):
        monkeypatch.setattr(omniglot, name, value)


def rows():
    """(alphabet, character, drawer), the last two from 1, in the order of their labels."""
    return [
        (alphabet, character + 1, drawer + 1)
        for alphabet, count in enumerate(CHARACTERS)
        for character in range(count)
        for drawer in range(3)
    ]


INK = RNG.random((9, 105, 105)) < 0.2


def write_npz(path, order=range(9), **changed):
    alphabet, character, drawer = np.array(rows(), np.uint8)[list(order)].T
    arrays = {
        "ink": np.packbits(INK[list(order)].reshape(-1, 11025), axis=1),
        "alphabet": alphabet,
        "character": character,
        "drawer": drawer,
        "alphabet_names": np.array(NAMES),
    } | changed
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})


def write_archives(folder):
    parts = {"images_background.zip": 0, "images_evaluation.zip": 1}
    for archive, which in parts.items():
        with zipfile.ZipFile(folder / archive, "w") as file:
            for ink, (alphabet, character, drawer) in zip(INK, rows(), strict=True):
                if alphabet != which:
                    continue
                png = io.BytesIO()
                Image.fromarray(~ink).save(png, "png")
                place = f"{NAMES[alphabet]}/character{character:02}/0001_{drawer:02}.png"
                file.writestr(f"{archive[:-4]}/{place}", png.getvalue())


def check(data):
    assert data.names == NAMES
    np.testing.assert_array_equal(data.labels, np.repeat([0, 1, 2], 3))
    np.testing.assert_array_equal(data.alphabets, np.repeat([0, 1], [6, 3]))
    np.testing.assert_array_equal(data.drawers, np.tile([0, 1, 2], 3))
    assert [a.dtype for a in data[:4]] == [np.uint8, np.int32, np.int32, np.int32]
    # 4 x 105 = 15 x 28: with each pixel four times, a patch is a block of 15 x 15.
    fine = INK.repeat(4, axis=1).repeat(4, axis=2).reshape(9, 28, 15, 28, 15)
    np.testing.assert_array_equal(data.images, np.rint(255 * fine.mean((2, 4))))


@pytest.mark.parametrize("place", [".", "omniglot"])
def test_from_a_folder_in_any_order(tmp_path, place):
    (tmp_path / place).mkdir(exist_ok=True)
    write_npz(tmp_path / place / "omniglot.npz", RNG.permutation(9))
    check(omniglot.load(tmp_path))


def test_from_the_authors_archives(tmp_path, monkeypatch):
    write_archives(tmp_path)
    monkeypatch.setenv("MER_JAX_DATA_DIR", str(tmp_path))
    check(omniglot.load())


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"ink": None}, "a whole omniglot.npz, got KeyError"),
        ({"ink": np.zeros((9, 3), np.uint8)}, "a whole omniglot.npz, got ValueError"),
        ({"character": np.ones(9, np.uint8)}, "got 2 alphabets, 2 characters, 9 drawings"),
        ({"drawer": np.ones(9, np.uint8)}, "all characters by the same 3 drawers"),
        ({"character": np.ones(8, np.uint8)}, r"uint8 arrays of as many rows, .* uint8 \[8\]"),
        ({"ink": np.zeros((8, 1379), np.uint8)}, r"as many rows, got ink uint8 \[8, 1379\]"),
        ({"drawer": np.uint8(1)}, r"as many rows, .*drawer uint8 \[\]"),
        ({"drawer": np.ones(9)}, r"uint8 arrays of as many rows, .*drawer float64"),
        ({"alphabet_names": np.array("one")}, r"alphabet_names \[50\]"),
        ({"alphabet_names": np.array(["one"])}, "got 1 alphabets"),
        ({"alphabet_names": np.array(["one", "two", "three"])}, "got 3 alphabets"),
    ],
)
def test_what_is_wrong_with_a_file(tmp_path, changed, says):
    write_npz(tmp_path / "omniglot.npz", **changed)
    with pytest.raises(DataError, match=says):
        omniglot.load(tmp_path)


def test_a_folder_without_it(tmp_path):
    with pytest.raises(DataError, match=r"expected omniglot\.npz or images_background\.zip"):
        omniglot.load(tmp_path)
    with pytest.raises(DataError, match=r"no such folder; .*--data-dir, for MER_JAX_DATA_DIR or a"):
        omniglot.load(tmp_path / "none")
    write_archives(tmp_path)
    (tmp_path / "images_evaluation.zip").write_bytes(b"half")
    with pytest.raises(DataError, match="a whole archive, got BadZipFile"):
        omniglot.load(tmp_path)


@pytest.mark.skipif(
    not os.path.exists(os.path.join(FOLDER, "omniglot.npz")),
    reason="MER_JAX_DATA_DIR names no folder with omniglot.npz",
)
def test_the_real_one(monkeypatch):
    monkeypatch.undo()
    data = omniglot.load(FOLDER)
    assert data.images.shape == (32460, 28, 28)
    characters = [len(np.unique(data.labels[data.alphabets == i])) for i in range(50)]
    assert (min(characters), max(characters), sum(characters)) == (14, 55, 1623)
    assert 15 < data.images.mean() < 30  # ink is the lesser part
